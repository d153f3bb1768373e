"""The time that is left counts from the start of the container; what may hang gets no more than it."""

from __future__ import annotations

import contextvars
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hfjobs_trainer.rendering.runtime.clock import seconds_left, within

ROOT = Path(__file__).parents[3]
LOOKS = """
import subprocess, sys, time
from hfjobs_trainer.rendering.runtime.clock import seconds_left
if sys.argv[1] == "waits":
    time.sleep(1.5)
    again = [sys.executable, "-c", sys.argv[2], "looks", sys.argv[2]]
    sys.exit(subprocess.call(again, start_new_session=len(sys.argv) > 3))
print(seconds_left())
"""


@pytest.fixture(autouse=True)
def no_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HFT_TIMEOUT", "HFT_DEADLINE"):
        monkeypatch.setenv(name, "")  # so that it is put back after the test
        monkeypatch.delenv(name)


def test_the_time_counts_from_the_start_of_the_session() -> None:
    """As in a container, where uv installs and then starts the script."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "HFT_TIMEOUT": "600"}
    env.pop("HFT_DEADLINE", None)
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", LOOKS, "waits", LOOKS],
        env=env,
        start_new_session=True,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    took = time.monotonic() - started

    # the machine tells when it was booted in whole seconds
    assert 600 - took - 1.1 < float(done.stdout) < 600 - 0.4


def test_the_time_is_carried_on_to_sessions_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HFT_TIMEOUT", "600")
    left = seconds_left()

    done = subprocess.run(
        [sys.executable, "-c", LOOKS, "looks"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )

    assert left - 10 < float(done.stdout) < left


def test_without_a_timeout_there_is_no_deadline() -> None:
    assert seconds_left() == float("inf")
    assert "HFT_DEADLINE" not in os.environ


def test_a_session_older_than_the_timeout_is_no_containers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal's: the container would have ended long ago."""
    monkeypatch.setenv("HFT_TIMEOUT", "0.1")
    assert 0 < seconds_left() <= 0.1


def test_what_hangs_or_fails_is_given_up_with_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    hung = threading.Event()
    started = time.monotonic()

    def hang() -> None:
        hung.wait(30)

    def fail(what: str) -> None:
        raise OSError(what)

    within(0.2, hang)
    within(5, fail, "no route")
    within(-3, hang)
    assert time.monotonic() - started < 5
    hung.set()

    warnings = capsys.readouterr().out.splitlines()
    assert ["hang" in line or "no route" in line for line in warnings] == [True] * 3
    assert "fail was given up (5 s left): OSError('no route')" in warnings[1]


def test_it_sees_what_its_caller_sees() -> None:
    """trackio keeps its run in a context variable."""
    run = contextvars.ContextVar[str]("run")
    run.set("this one")
    seen: list[str] = []

    within(5, lambda: seen.append(run.get()))

    assert seen == ["this one"]
