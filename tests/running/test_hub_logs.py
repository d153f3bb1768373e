"""Every line of a job's log, once, through broken streams."""

from __future__ import annotations

import threading
import time
from typing import Any

import hubsim
import pytest

from hfjobs_trainer.errors import HubUnavailable
from hfjobs_trainer.running.backends.hub import HubBackend
from hfjobs_trainer.running.backends.hub_log import Transcript
from tests.running.hub_runs import finish, plan, play

pytestmark = pytest.mark.usefixtures("temporary")


LINES = [f"line {n}" for n in range(12)]
BROKEN_STREAMS: dict[str, list[dict[str, Any]]] = {
    "reset": [{"sse": {"after": 4, "how": "reset"}}],
    "end of a chunk": [{"sse": {"after": 4, "how": "truncate"}}],
    "clean end": [{"sse": {"after": 4, "how": "close"}}],
    "again and again": [{"sse": {"after": n, "how": "reset"}} for n in (2, 4, 3)],
    "readings cut short": [{"sse": {"after": n, "how": "close"}} for n in (3, 5, 8)],
    "unavailable when opened again": [{"sse": {"after": 4, "how": "reset"}}, {"response": {"status": 502}, "times": 3}],
    "unavailable from the start": [{"response": {"status": 503}}],
    "too many requests": [{"response": {"status": 429}}],
}


@pytest.mark.parametrize("faults", BROKEN_STREAMS.values(), ids=BROKEN_STREAMS)
@pytest.mark.parametrize("seconds", [0.1, 0.8], ids=["ended", "running"])
def test_every_line_once(hub: hubsim.Hub, backend: HubBackend, faults: list[dict[str, Any]], seconds: float) -> None:
    record = play(hub, backend, LINES, seconds)
    if seconds < 0.5:
        finish(hub, record)
    for fault in faults:
        hub.fail(path="/logs$", **fault)
    assert list(backend.logs(record.id, follow=True)) == LINES
    assert all(fault["times"] == 0 for fault in hub.faults)


def test_a_job_whose_state_cannot_be_read_for_a_while(hub: hubsim.Hub, backend: HubBackend) -> None:
    record = play(hub, backend, LINES)
    finish(hub, record)
    hub.fail(path="/logs$", sse={"after": 3, "how": "reset"})
    hub.fail(path=f"/{record.id}$", response={"status": 503}, times=4)
    assert list(backend.logs(record.id, follow=True)) == LINES


def test_a_hub_that_keeps_the_end_of_a_log_only(hub: hubsim.Hub, backend: HubBackend) -> None:
    record = play(hub, backend, LINES)
    finish(hub, record)
    hub.fail(path="/logs$", sse={"after": 8, "how": "reset"})
    lines = backend.logs(record.id, follow=True)
    first = [next(lines) for _ in range(7)]
    hub.cfg["logReplayLimit"] = 7
    assert [*first, *lines] == LINES


WAITING = f"""
import os, time
print({chr(10).join(LINES)!r}, flush=True)
while not os.path.exists(os.path.expanduser("~/release")):
    time.sleep(0.02)
"""


@pytest.mark.parametrize("refused", [0, 2], ids=["at once", "after a while"])
def test_a_running_job_of_which_the_end_is_replayed(hub: hubsim.Hub, backend: HubBackend, refused: int) -> None:
    record = backend.submit(plan(script=WAITING))
    job = hub.jobs[record.id.split("/")[1]]
    hub.fail(path="/logs$", sse={"after": 5, "how": "reset"})
    if refused:
        hub.fail(path="/logs$", response={"status": 502}, times=refused)

    def release() -> None:
        while len(hub.requests("/logs$")) < 2 + refused:
            time.sleep(0.02)
        (job.dir / "home" / "release").touch()

    thread = threading.Thread(target=release)
    thread.start()
    lines = backend.logs(record.id, follow=True)
    shown = [next(lines) for _ in range(4)]
    hub.cfg["logReplayLimit"] = 9
    shown += lines
    thread.join()
    assert shown == LINES


def test_a_log_that_cannot_be_read(hub: hubsim.Hub, backend: HubBackend) -> None:
    record = play(hub, backend, LINES)
    hub.fail(path="/logs$", response={"status": 503}, times=99)
    for follow in (True, False):
        with pytest.raises(HubUnavailable, match="503"):
            list(backend.logs(record.id, follow=follow))


def test_reading_a_log_can_be_left(hub: hubsim.Hub, backend: HubBackend) -> None:
    record = play(hub, backend, LINES, 6)
    lines = backend.logs(record.id, follow=True)
    assert next(lines) == "line 0"
    lines.close()
    backend.cancel(record.id)


def test_overwritten_text_is_not_shown(hub: hubsim.Hub, backend: HubBackend) -> None:
    record = play(hub, backend, ["a", " 10%\r 20%\rdone"])
    assert list(backend.logs(record.id, follow=True)) == ["a", "done"]


@pytest.mark.parametrize(
    ("streams", "log", "shown"),
    [
        (["ab"], "abc", "abc"),
        (["ab", "abcd"], "abcd", "abcd"),
        (["abcd"], "ab", "abcd"),
        (["abf"], "abcdef", "abfcde"),
        (["abcd"], "cdef", "abcdef"),
        (["abcd"], "xyz", "abcdxyz"),
        (["aaaa"], "aaaaaa", "aaaaaa"),
        (["abab"], "babx", "ababx"),
        (["abfg"], "bcdefg", "abfgcde"),
        ([], "", ""),
        (["ab"], "", "ab"),
    ],
)
def test_a_transcript_takes_each_line_once(streams: list[str], log: str, shown: str) -> None:
    transcript = Transcript()
    out = ""
    for reading in (*streams, log, log):
        transcript.begin()
        out += "".join(line for line in reading if transcript.is_new(line))
    assert out == shown
    assert len(transcript) == len(shown)
