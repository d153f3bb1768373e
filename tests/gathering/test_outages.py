"""A Hub that is broken, slow or away costs seconds, and leaves facts unknown."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from gathering.repos import CARD, TOKEN, gathered, make_model, make_repo, spec
from hubsim import Hub

from hfjobs_trainer.facts import AccountFacts, Facts
from hfjobs_trainer.facts.gap import PRICES, needed_answers
from hfjobs_trainer.facts.gap import TOKEN as TOKEN_OWNER
from hfjobs_trainer.gathering import answer, gather
from hfjobs_trainer.gathering import hub as hub_module

HOUR = {"Retry-After": "3600"}
PAUSES = answer.PAUSES


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asks again at once."""
    monkeypatch.setattr(answer, "PAUSES", (0.01, 0.01))


@pytest.mark.parametrize(
    "fault",
    [
        {"response": {"status": 500}},
        {"response": {"status": 429, "headers": HOUR}},
        {"response": {"status": 403}},
        {"response": {"status": 200, "body": "<html>"}},
        {"response": {"status": 200, "body": "[]"}},
        {"response": {"status": 200, "body": "{}"}},
        {"response": {"status": 200, "body": "null"}},
        {"reset": "before"},
        {"reset": "mid"},
    ],
    ids=json.dumps,
)
def test_a_broken_hub_is_unknown_and_raises_nothing(hub: Hub, fault: dict[str, Any]) -> None:
    hub.fail(path=".", times=1000, **fault)
    facts = gathered(hub, spec())
    assert facts.model.num_parameters is None
    assert facts.dataset.columns is None
    assert facts.hardware is None
    assert facts.account.name is None
    was_refused = fault.get("response", {}).get("status") == 403
    assert {what.split(" (")[0] for what in facts.unanswered} == (
        set() if was_refused else {"your token", "acme/llama", "acme/chat", "the prices"}
    )


@pytest.mark.parametrize(
    "fault",
    [
        {"response": {"status": 503}, "times": 2},
        {"response": {"status": 429, "headers": {"Retry-After": "1"}}},
        {"response": {"status": 200, "body": "<html>"}},
        {"reset": "before"},
        {"reset": "mid"},
    ],
    ids=json.dumps,
)
@pytest.mark.parametrize("path", ["whoami", "models/acme/llama", "datasets/acme/chat", "jobs/hardware"])
def test_what_fails_for_a_moment_is_asked_again(hub: Hub, path: str, fault: dict[str, Any]) -> None:
    make_model(hub, "acme/llama")
    make_repo(hub, "datasets", "acme/chat", {"README.md": CARD})
    hub.fail(path=f"/api/{path}", **fault)
    facts = gathered(hub, spec())
    assert (facts.model.num_parameters, facts.dataset.num_rows, facts.account.name) == (35, 1000, "alice")
    assert facts.hardware is not None
    assert facts.unanswered == ()
    assert len(hub.requests(f"/api/{path}")) == fault.get("times", 1) + 1


@pytest.mark.parametrize(
    ("fault", "asked"),
    [({"status": 403}, 1), ({"status": 501}, 1), ({"status": 503}, 3), ({"status": 429, "headers": HOUR}, 1)],
    ids=json.dumps,
)
def test_nothing_is_asked_again_in_vain(hub: Hub, fault: dict[str, Any], asked: int) -> None:
    hub.fail(path="whoami", response=fault, times=1000)
    gathered(hub, spec())
    assert len(hub.requests("whoami")) == asked


NAMES = ("acme/llama", "acme/chat", PRICES, TOKEN_OWNER)


def needed(facts: Facts) -> dict[str, str]:
    """Why what a run cannot do without, and the prices, were not answered."""
    return {gap.about: gap.why for gap in needed_answers(facts.gaps)}


def test_a_closed_port_is_unknown() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    facts = gather(spec(), token=TOKEN, endpoint=f"http://127.0.0.1:{port}")
    assert needed(facts) == dict.fromkeys(NAMES, "no connection (ConnectError), asked 3 times")
    assert replace(facts, gaps=()) == Facts(account=AccountFacts(has_token=True))


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def dripping() -> Iterator[str]:
    """A server whose answers never end: each byte comes in time, the last never does."""
    stopped = threading.Event()

    def drip(connection: socket.socket) -> None:
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            while not stopped.wait(0.05):
                try:
                    connection.sendall(b" ")
                except OSError:
                    return

    def serve(listener: socket.socket) -> None:
        while not stopped.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=drip, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        stopped.set()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("server", ["silent", "dripping"])
def test_a_hub_that_hangs_is_given_up(
    server: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "TOTAL_SECONDS", 1.0)
    monkeypatch.setattr(hub_module, "CALL_SECONDS", 2.0)
    facts = gather(spec(), token=TOKEN, endpoint=request.getfixturevalue(server))
    assert needed(facts) == dict.fromkeys(NAMES, "no answer within 1 s")
    assert replace(facts, gaps=()) == Facts(account=AccountFacts(has_token=True))


def test_three_attempts_are_within_the_bound() -> None:
    attempts = len(PAUSES) + 1
    assert attempts * hub_module.CALL_SECONDS + sum(PAUSES) < hub_module.TOTAL_SECONDS == 20
    assert hub_module.NOTICE_SECONDS < hub_module.TOTAL_SECONDS


@pytest.mark.timeout(60)
def test_a_long_wait_is_told_of(
    silent: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(hub_module, "TOTAL_SECONDS", 0.8)
    monkeypatch.setattr(hub_module, "NOTICE_SECONDS", 0.1)
    gather(spec(), token=TOKEN, endpoint=silent)
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("hft: the Hub has not answered yet for ")
    told = line.removeprefix("hft: the Hub has not answered yet for ").split(";")[0].split(", ")
    assert set(NAMES) <= set(told)


def test_a_quick_hub_is_not_told_of(hub: Hub, capfd: pytest.CaptureFixture[str]) -> None:
    gathered(hub, spec())
    assert capfd.readouterr().err == ""


def test_an_answer_after_the_deadline_does_not_count(hub: Hub) -> None:
    asked = hub_module.Hub(hub.endpoint, TOKEN, deadline=time.monotonic() - 1)
    hub.fail(path="whoami", delay=0.5)
    assert asked.ask_account()() == AccountFacts(has_token=True)


def test_a_hub_never_shows_its_token() -> None:
    assert TOKEN not in repr(hub_module.Hub(token=TOKEN))
