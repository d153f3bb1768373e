"""Every line of a job's log, once, through broken streams."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import hubsim
import pytest

from hfjobs_trainer.errors import AuthError, HubUnavailable, JobFailed
from hfjobs_trainer.running.backends.hub import HubBackend
from hfjobs_trainer.running.backends.hub_log import Transcript
from hfjobs_trainer.running.job import Job
from tests.running.hub_runs import QUICK, finish, plan, play
from tests.running.places import GOOD_RUN

pytestmark = pytest.mark.usefixtures("temporary")


LINES = [f"line {n}" for n in range(12)]
WAITING = f"""
import os, time
print({chr(10).join(LINES)!r}, flush=True)
while not os.path.exists(os.path.expanduser("~/release")):
    time.sleep(0.02)
"""
BROKEN_STREAMS: dict[str, list[dict[str, Any]]] = {
    "reset": [{"sse": {"after": 4, "how": "reset"}}],
    "end of a chunk": [{"sse": {"after": 4, "how": "truncate"}}],
    "clean end": [{"sse": {"after": 4, "how": "close"}}],
    "again and again": [{"sse": {"after": n, "how": "reset"}} for n in (2, 4, 3)],
    "readings cut short": [{"sse": {"after": n, "how": "close"}} for n in (3, 5, 8)],
    "unavailable when opened again": [{"sse": {"after": 4, "how": "reset"}}, {"response": {"status": 502}, "times": 3}],
    "unavailable from the start": [{"response": {"status": 503}}],
    "too many requests": [{"response": {"status": 429}}],
    "cut at the same line each time": [{"sse": {"after": 6, "how": "close"}, "times": 6}],
    "cut before the first line": [{"sse": {"after": n, "how": "close"}} for n in (1, 1, 0, 1)],
    "silent": [{"sse": {"after": 6, "how": "stall"}, "times": 2}],
}
IMPATIENT = replace(QUICK, silence=0.6)


@pytest.mark.parametrize("faults", BROKEN_STREAMS.values(), ids=BROKEN_STREAMS)
@pytest.mark.parametrize("seconds", [0.1, 0.8], ids=["ended", "running"])
def test_every_line_once(
    hub: hubsim.Hub, connect: Callable[..., HubBackend], faults: list[dict[str, Any]], seconds: float
) -> None:
    backend = connect(patience=IMPATIENT)
    record = play(hub, backend, LINES, seconds)
    if seconds < 0.5:
        finish(hub, record)
    for fault in faults:
        hub.fail(path="/logs$", **fault)
    assert list(backend.logs(record.id, follow=True)) == LINES
    assert all(fault["times"] == 0 for fault in hub.faults)


CUT_READINGS: dict[str, list[dict[str, Any]]] = {
    "clean ends": [{"sse": {"after": n, "how": "close"}} for n in (8, 8, 1, 8)],
    "silence": [{"sse": {"after": 8, "how": "stall"}, "times": 2}],
    "breaks": [{"sse": {"after": n, "how": "reset"}} for n in (1, 8)],
}


@pytest.mark.parametrize("faults", CUT_READINGS.values(), ids=CUT_READINGS)
@pytest.mark.parametrize("seconds", [0.1, 60.0], ids=["ended", "running"])
def test_a_log_that_is_not_followed_is_read_whole(
    hub: hubsim.Hub, backend: HubBackend, faults: list[dict[str, Any]], seconds: float
) -> None:
    if seconds < 1:
        record = play(hub, backend, LINES, seconds)
        finish(hub, record)
    else:
        record = backend.submit(plan(script=WAITING))
        wait_for(lambda: len(hub.jobs[record.id.split("/")[1]].lines) > len(LINES))
    for fault in faults:
        hub.fail(path="/logs$", **fault)
    assert list(backend.logs(record.id, follow=False)) == LINES
    assert all(fault["times"] == 0 for fault in hub.faults)
    backend.cancel(record.id)


@pytest.mark.parametrize("follow", [True, False])
def test_a_log_that_is_cut_for_ever_is_told(hub: hubsim.Hub, backend: HubBackend, follow: bool) -> None:
    record = play(hub, backend, LINES)
    finish(hub, record)
    hub.fail(path="/logs$", sse={"after": 6, "how": "close"}, times=999)
    hub.fail(path="/logs$", sse={"after": 6, "how": "close"}, times=999)
    lines = backend.logs(record.id, follow=follow)
    with pytest.warns(RuntimeWarning, match=f"the log of job {record.id} may be incomplete: the Hub sent it cut short"):
        assert list(lines) == LINES[:5]
    assert "cut short" in (lines.incomplete or "")


# -- streams that do not end


@pytest.fixture
def stays_open(hub: hubsim.Hub) -> Iterator[None]:
    """Log streams stay open after the end of their job; none is left behind."""
    hub.cfg |= {"streamsStayOpen": True, "keepaliveSecs": 0.05}
    yield
    wait_for(lambda: not streams())


def streams() -> list[str]:
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith("hfjobs-trainer-")]


def wait_for(happens: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not happens():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.usefixtures("stays_open")
def test_a_stream_that_stays_open_is_left_when_its_job_has_ended(hub: hubsim.Hub, backend: HubBackend) -> None:
    record = play(hub, backend, GOOD_RUN, 0.3)
    assert list(backend.logs(record.id, follow=True)) == list(GOOD_RUN)
    assert list(backend.logs(record.id, follow=False)) == list(GOOD_RUN)
    assert Job(record, backend).watch().result().model == "me/model"
    record = play(hub, backend, ["last words"], 0.3, exitCode=1)
    with pytest.raises(JobFailed, match="exit code: 1") as caught:
        Job(record, backend).result()
    assert caught.value.log_tail == ("last words",)


def test_a_silent_job_that_runs_is_not_left(hub: hubsim.Hub, backend: HubBackend) -> None:
    hub.cfg["keepaliveSecs"] = 0.05
    record = play(hub, backend, ["a", "b"], 1.6)
    assert list(backend.logs(record.id, follow=True)) == ["a", "b"]
    # once more, perhaps, when the stream is over a moment before the job is
    assert sum(not entry["query"] for entry in hub.requests("/logs$")) <= 2
    assert len(hub.requests(f"/{record.id}$")) >= 3  # it was looked at meanwhile


@pytest.mark.usefixtures("stays_open")
@pytest.mark.parametrize("by", ["the reader", "a reader of events", "another thread", "an interrupt"])
def test_whoever_leaves_a_log_leaves_no_thread(hub: hubsim.Hub, backend: HubBackend, by: str) -> None:
    record = play(hub, backend, [GOOD_RUN[0], *"b" * 99], 60)
    lines = backend.logs(record.id, follow=True)
    assert next(lines) == GOOD_RUN[0]
    assert streams()
    if by == "the reader":
        lines.close()
    elif by == "a reader of events":
        lines.close()
        assert next(Job(record, backend).events(follow=True)).kind == "start"
    elif by == "another thread":
        ended = threading.Thread(target=list, args=(lines,))
        ended.start()
        lines.close()
        ended.join(60)
        assert not ended.is_alive()
    else:
        timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGINT])
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            list(lines)
    wait_for(lambda: not streams())
    backend.cancel(record.id)


# -- logs that lag behind the stage of their job


@pytest.mark.parametrize("follow", [True, False])
def test_lines_that_come_after_the_end_of_their_job_are_read(
    hub: hubsim.Hub, connect: Callable[..., HubBackend], follow: bool
) -> None:
    hub.cfg["logLagSecs"] = 0.5
    backend = connect(patience=replace(QUICK, settle=1.2, late=60.0))
    record = play(hub, backend, LINES, 0.2)
    if not follow:
        finish(hub, record)
    assert list(backend.logs(record.id, follow=follow)) == LINES


def test_a_result_waits_for_the_end_of_the_log(hub: hubsim.Hub, connect: Callable[..., HubBackend]) -> None:
    hub.cfg["logLagSecs"] = 1.0
    backend = connect(patience=replace(QUICK, late=60.0))
    result = Job(play(hub, backend, GOOD_RUN), backend).result()
    assert (result.model, result.steps, result.incomplete) == ("me/model", 3, None)


OURS = {"sdk": "hfjobs-trainer", "method": "sft", "spec": "0123456789abcdef"}


@pytest.mark.parametrize(("labels", "lines"), [(OURS, LINES), ({}, GOOD_RUN[:-1])], ids=["its labels", "its start"])
def test_a_result_says_that_the_end_of_the_log_is_missing(
    hub: hubsim.Hub, backend: HubBackend, labels: dict[str, str], lines: Sequence[str]
) -> None:
    hub.script(logs=list(lines), runSecs=0.1)
    job = Job(backend.submit(plan(labels=labels)), backend)
    with pytest.warns(RuntimeWarning, match="may be incomplete: the job is COMPLETED, but"):
        result = job.result()
    assert "its script ends is not there" in (result.incomplete or "")
    assert "incomplete=" in repr(result)
    assert "its script ends is not there" in result._repr_html_()


def test_a_result_reads_the_log_once(hub: hubsim.Hub, backend: HubBackend) -> None:
    record = play(hub, backend, GOOD_RUN)
    assert Job(record, backend).result().steps == 3
    assert [entry["query"] for entry in hub.requests("/logs$")] == [[("tail", "1")], []]


# -- refusals in the middle


def test_one_refusal_in_the_middle_ends_nothing(hub: hubsim.Hub, backend: HubBackend) -> None:
    record = play(hub, backend, LINES, 0.8)
    hub.fail(path=f"/{record.id}$", skip=1, response={"status": 401})
    hub.fail(path="/logs$", skip=1, response={"status": 403})
    assert list(backend.logs(record.id, follow=True)) == LINES
    hub.fail(path=f"/{record.id}$", response={"status": 404})
    assert Job(record, backend).wait(poll=0.05).succeeded
    assert all(fault["times"] == 0 for fault in hub.faults)


def test_refusals_that_last_end_it(hub: hubsim.Hub, backend: HubBackend) -> None:
    record = backend.submit(plan(script=WAITING))
    lines = backend.logs(record.id, follow=True)
    assert next(lines) == LINES[0]
    hub.fail(path=f"/{record.id}", response={"status": 401}, times=999)
    with pytest.raises(AuthError):
        list(lines)
    with pytest.raises(AuthError):
        Job(record, backend).wait(poll=0.05)
    hub.faults.clear()
    backend.cancel(record.id)


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
