"""Interrupting ``submit``, by real signals: one line says what is known of the job."""

from __future__ import annotations

import contextlib
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import hubsim
import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.planning.plan import Plan
from hfjobs_trainer.running.backends.base import JobRecord
from hfjobs_trainer.running.backends.hub_connection import THREAD
from tests.running.hub_runs import LIST, POST, QUICK, found_as_told, plan, sent

pytestmark = pytest.mark.usefixtures("interruptible")
ROOT = Path(__file__).parents[2]
NOTHING = "interrupted: nothing was submitted"


@pytest.fixture
def interruptible() -> Iterator[None]:
    # whoever starts the tests in the background has them ignore the signal
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupt(status: int, body: Any) -> tuple[int, Any]:
    """Interrupt the tests while the Hub answers."""
    os.kill(os.getpid(), signal.SIGINT)
    return status, body


def interrupt_once(happened: Callable[[], object]) -> threading.Thread:
    def wait() -> None:
        deadline = time.monotonic() + 60
        while not happened() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def wait_for_requests() -> None:
    for thread in threading.enumerate():
        if thread.name == THREAD:
            thread.join(20)


def submit(backend: hft.HubBackend, **changes: Any) -> hft.SubmitInterrupted:
    with pytest.raises(hft.SubmitInterrupted) as raised:
        backend.submit(plan(**changes))
    assert "\n" not in str(raised.value)
    return raised.value


@pytest.mark.parametrize("path", ["/paths-info", "/batch$"])
def test_before_the_job_nothing_was_submitted(hub: hubsim.Hub, backend: hft.HubBackend, path: str) -> None:
    hub.fail(path=path, rewrite=interrupt)
    told = submit(backend)
    wait_for_requests()
    assert (str(told), told.job_ids) == (NOTHING, ())
    assert sent(hub) == []


def test_a_job_whose_answer_comes_is_told_of(hub: hubsim.Hub, backend: hft.HubBackend) -> None:
    hub.script(runSecs=60)
    hub.fail(**POST, rewrite=interrupt)
    told = submit(backend)
    (name,) = hub.jobs
    assert told.job_ids == (f"alice/{name}",)
    back = f'hft.Job.from_id("alice/{name}")'
    assert str(told) == (
        f"interrupted: job alice/{name} was created and goes on: {back} comes back to it, .cancel() stops it"
    )
    assert not hub.jobs[name].canceled.is_set()


def test_a_job_whose_answer_is_lost_is_looked_for(
    hub: hubsim.Hub, backend: hft.HubBackend, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.fail(**POST, hang="after")
    interrupt_once(lambda: hub.jobs)
    assert submit(backend).job_ids == tuple(f"alice/{name}" for name in hub.jobs)
    assert "hft: interrupted; looking for the job under its label" in capsys.readouterr().err


def test_what_is_not_known_can_be_looked_for(hub: hubsim.Hub, backend: hft.HubBackend) -> None:
    hub.cfg["listLagSecs"] = 60
    hub.fail(**POST, hang="after")
    interrupt_once(lambda: hub.jobs)
    told = submit(backend)
    assert str(told).startswith("interrupted: whether a job was created is not known: look with hft.Client(")
    hub.cfg["listLagSecs"] = 0
    assert found_as_told(hub, str(told)) == list(hub.jobs) != []


def test_a_second_interrupt_ends_the_look(hub: hubsim.Hub, connect: Callable[..., hft.HubBackend]) -> None:
    hub.fail(**POST, reset="after")
    hub.fail(**LIST, rewrite=lambda status, body: interrupt(status, []))
    hub.fail(**LIST, rewrite=lambda status, body: interrupt(status, []))
    told = submit(connect(patience=replace(QUICK, search=30, farewell=60)))
    assert found_as_told(hub, str(told)) == list(hub.jobs) != []


def test_after_a_refusal_nothing_was_submitted(hub: hubsim.Hub, connect: Callable[..., hft.HubBackend]) -> None:
    hub.fail(**POST, response={"status": 429, "headers": {"Retry-After": "30"}})
    interrupt_once(lambda: [entry for entry in hub.requests(POST["path"], "POST") if entry["status"] == 429])
    assert str(submit(connect(patience=replace(QUICK, quota=60)))) == NOTHING
    assert hub.jobs == {}


def test_a_request_that_did_not_begin_is_not_made_later(hub: hubsim.Hub, backend: hft.HubBackend) -> None:
    from hfjobs_trainer.running.backends.hub_duplicates import JOBS, Duplicates
    from hfjobs_trainer.running.backends.hub_submission import Submission

    connection = backend._connection  # pyright: ignore[reportPrivateUsage]
    submission = Submission(connection, plan().request, "alice", {}, Duplicates(connection, JOBS))
    assert str(submission._tell_interrupt()) == NOTHING  # pyright: ignore[reportPrivateUsage]
    outcome = submission._post()  # pyright: ignore[reportPrivateUsage]
    assert outcome.failure is not None
    assert hub.jobs == {}


def test_of_several_nodes_none_is_left(hub: hubsim.Hub, backend: hft.HubBackend) -> None:
    hub.script(count=2, runSecs=60)
    hub.fail(**POST, skip=1, rewrite=interrupt)
    told = submit(backend, nodes=3)
    assert told.job_ids == ()
    names = [f"alice/{name}" for name in hub.jobs]
    assert f"2 of 3 nodes were created ({', '.join(names)}), and canceled: nothing was left running" in str(told)
    for job in hub.jobs.values():
        job.join(20)
    assert {job.stage for job in hub.jobs.values()} == {"CANCELED"}


def test_nodes_that_are_all_there_go_on(hub: hubsim.Hub, backend: hft.HubBackend) -> None:
    hub.script(count=2, runSecs=60)
    hub.fail(**POST, skip=1, rewrite=interrupt)
    told = submit(backend, nodes=2)
    assert told.job_ids == tuple(f"alice/{name}" for name in hub.jobs)
    assert not any(job.canceled.is_set() for job in hub.jobs.values())


def test_nodes_that_cannot_be_canceled_are_named(hub: hubsim.Hub, backend: hft.HubBackend) -> None:
    hub.script(count=2, runSecs=60)
    hub.fail(**POST, skip=1, rewrite=interrupt)
    hub.fail(path="/cancel$", response={"status": 503}, times=9)
    told = submit(backend, nodes=3)
    assert told.job_ids == tuple(f"alice/{name}" for name in hub.jobs)
    assert all(f'hft.Job.from_id("{name}").cancel()' in str(told) for name in told.job_ids)


def test_a_schedule_is_told_of_too(hub: hubsim.Hub, backend: hft.HubBackend) -> None:
    hub.fail(method="POST", path="/api/scheduled-jobs/alice$", rewrite=interrupt)
    with pytest.raises(hft.SubmitInterrupted, match=r'hft\.ScheduledJob\.from_id\(".*"\) comes back to it, \.delete'):
        backend.schedules.submit(plan(schedule="@weekly"))


@pytest.fixture
def asked(tmp_path: Path) -> dict[str, Any]:
    file = tmp_path / "hello.py"
    file.write_text("# /// script\n# dependencies = []\n# ///\nprint('hello')\n")
    return {"method": "script", "script": str(file), "hardware": "t4-small", "timeout": "10m"}


def test_the_price_is_told(hub: hubsim.Hub, asked: dict[str, Any]) -> None:
    client = hft.Client(backend=hft.HubBackend("hf_alice_write", None, hub.endpoint, QUICK))
    hub.fail(path="/whoami", rewrite=interrupt)
    with pytest.raises(KeyboardInterrupt, match=f"^{NOTHING}$"):
        client.submit(asked)
    hub.fail(**POST, rewrite=interrupt)
    with pytest.raises(hft.SubmitInterrupted, match=r"stops it; it costs \$0\.40 per hour$") as raised:
        client.submit(asked)
    assert raised.value._render_traceback_() == [str(raised.value)]  # what a notebook shows
    again = pickle.loads(pickle.dumps(raised.value))
    assert (str(again), again.job_ids) == (str(raised.value), raised.value.job_ids)


class Interrupted(hft.InProcessBackend):
    """A backend that is interrupted right after it has accepted a run, or right before."""

    accepts = True

    def submit(self, plan: Plan) -> JobRecord:
        if self.accepts:
            super().submit(plan)
        raise KeyboardInterrupt


def test_any_backend_is_asked_for_the_job(asked: dict[str, Any]) -> None:
    backend = Interrupted()
    client = hft.Client(backend=backend)
    ready = client.plan(asked, offline=True)
    with pytest.raises(hft.SubmitInterrupted, match=r"job inprocess/\S+ was created and goes on") as raised:
        client.submit(ready)
    assert raised.value.job_ids == tuple(record.id for record in backend.list({}))
    backend.finish(raised.value.job_ids[0])
    backend.accepts = False
    with pytest.raises(hft.SubmitInterrupted, match=r"not known: look with hft\.jobs\(\)|nothing was submitted"):
        client.submit(ready)


SCRIPT = """
import os, signal, hfjobs_trainer as hft
from tests.running.test_interrupts import Interrupted
signal.signal(signal.SIGINT, signal.default_int_handler)
client = hft.Client(backend=Interrupted())
spec = hft.Script({script!r}, hardware="t4-small", timeout="10m")
client.submit(client.plan(spec, offline=True))
"""


def test_a_script_ends_with_the_line(asked: dict[str, Any]) -> None:
    command = [sys.executable, "-c", SCRIPT.format(script=asked["script"])]
    ended = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, [ROOT, ROOT / "tests"]))},
    )
    lines = ended.stderr.splitlines()
    assert re.fullmatch(r".*SubmitInterrupted: interrupted: job inprocess/\S+ was created .*", lines[-1])
    assert len(lines) < 20
    assert ended.returncode != 0


def test_on_this_machine(tmp_path: Path, asked: dict[str, Any]) -> None:
    Path(asked["script"]).write_text("import time; time.sleep(60)\n")
    backend = hft.LocalBackend(root=tmp_path / "runs", python="current", grace_seconds=1)
    client = hft.Client(backend=backend)
    ready = client.plan(asked, offline=True)
    interrupt_once(lambda: list(backend.root.glob("*/record.json")) if backend.root.is_dir() else [])
    told = ""
    with contextlib.suppress(hft.SubmitInterrupted):
        try:
            client.submit(ready)
            time.sleep(60)  # it was faster
        except hft.SubmitInterrupted as interrupted:
            told = str(interrupted)
            raise
        except KeyboardInterrupt:
            told = "done"
    jobs = backend.list({})
    live = [record for record in jobs if not backend.status(record.id).is_terminal]
    for record in live:
        backend.cancel(record.id)
    assert told == "done" or (told == NOTHING and not live) or any(record.id in told for record in jobs)
