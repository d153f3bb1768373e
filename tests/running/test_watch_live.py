"""``watch()`` in real processes: in a terminal, in a pipe, in a notebook; to its end, and interrupted."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hubsim
import pytest

from hfjobs_trainer.running.backends.hub import HubBackend
from hfjobs_trainer.running.backends.local import LocalBackend
from hfjobs_trainer.running.job import Job
from hfjobs_trainer.running.planned import PLAN
from tests.running.hub_runs import plan
from tests.running.places import LocalPlace, event_line

ROOT = Path(__file__).parents[2]
WATCHES = """
import sys
import hfjobs_trainer as hft
job = hft.Job.from_id(sys.argv[1]).watch()
print("returned", job.stage, flush=True)
"""
PLANNED = json.dumps({"name": "dpo-tiny", "low": 840, "high": 1080, "timeout": 3600, "model": "alice/model"})
LATEST = 60.0
"""Seconds after which whatever a test waits for is given up."""


def steps(count: int) -> list[str]:
    started = event_line("start", 1.0, method="dpo", device="cuda", gpu="T4", world_size=1)
    done = [event_line("log", 2.0 + n, step=n, max_steps=count, metrics={"loss": 1 / n}) for n in range(1, count + 1)]
    return [started, *done, event_line("end", 3.0 + count, step=count, seconds=1.0, metrics={})]


def start(hub: hubsim.Hub, backend: HubBackend, lines: list[str], seconds: float, **more: Any) -> str:
    hub.script(logs=lines, runSecs=seconds, **more)
    return backend.submit(plan(env={"COLOR": "blue", PLAN: PLANNED})).id


def child_env(hub: hubsim.Hub | None, **more: str) -> dict[str, str]:
    place = {} if hub is None else {"HF_ENDPOINT": hub.endpoint, "HF_TOKEN": "hf_alice_write"}
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "PYTHONIOENCODING")}
    return {**kept, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "40", **place, **more}


@contextlib.contextmanager
def in_terminal(job_id: str, env: dict[str, str]) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[str], str]]]:
    """A process that watches in a terminal of its own, and what reads it until something is there."""
    ours, theirs = pty.openpty()
    seen = b""

    def read_until(wanted: str) -> str:
        nonlocal seen
        deadline = time.monotonic() + LATEST
        while wanted not in seen.decode("utf-8", "ignore"):
            assert time.monotonic() < deadline, seen[-2000:]
            try:
                chunk = os.read(ours, 1 << 16)
            except OSError:  # it has ended
                chunk = b""
            assert chunk, seen[-2000:]
            seen += chunk
        return seen.decode("utf-8", "ignore")

    with subprocess.Popen(
        [sys.executable, "-c", WATCHES, job_id], stdin=theirs, stdout=theirs, stderr=theirs, env=env, close_fds=True
    ) as process:
        os.close(theirs)
        try:
            yield process, read_until
        finally:
            process.kill()
            os.close(ours)


def test_a_terminal_shows_one_panel_which_stays(hub: hubsim.Hub, backend: HubBackend):
    lines = steps(20)
    job_id = start(hub, backend, lines, 2.0)
    with in_terminal(job_id, child_env(hub)) as (_, read_until):
        shown = read_until("returned COMPLETED")
    assert "planned 14-18m" in shown
    last = shown[shown.rindex("╭") :]
    assert "20/20" in last
    assert "COMPLETED" in last
    assert f"job {job_id}: COMPLETED after" in last
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")  # the cursor is back
    assert "Traceback" not in shown


def test_interrupting_it_in_a_terminal_says_how_to_come_back(hub: hubsim.Hub, backend: HubBackend):
    job_id = start(hub, backend, [], 1.0, schedSecs=600.0, schedMessage="no t4-small is free")
    with in_terminal(job_id, child_env(hub)) as (process, read_until):
        read_until("no t4-small is free")
        read_until("$0.00")
        for _ in range(2):  # the second would leave the terminal without its cursor
            process.send_signal(signal.SIGINT)
        shown = read_until("returned SCHEDULING")
    assert "planned 14-18m" in shown
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")
    told = re.sub(r"\s+", " ", shown[shown.rindex("job goes on") :])
    assert f'($0.40 an hour): hft.Job.from_id("{job_id}").watch() comes back to it, job.cancel() stops it' in told
    assert "Traceback" not in shown
    hub.jobs[job_id.split("/")[1]].cancel()


def test_a_pipe_gets_lines_and_an_interrupt_ends_them(tmp_path: Path):
    place = LocalPlace(tmp_path / "runs")
    job = place.start(steps(20)[:5], exit_code=None)
    env = child_env(None, HFT_HOME=str(tmp_path), PYTHONUNBUFFERED="1")
    with subprocess.Popen(
        [sys.executable, "-c", WATCHES, job.id], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env, text=True
    ) as process:
        assert process.stdout is not None
        lines: list[str] = []
        for line in process.stdout:
            lines.append(line.rstrip())
            if "step 1/20" in line:
                process.send_signal(signal.SIGINT)
    assert lines[0] == f"job {job.id}"
    assert any(line.endswith("loading on T4") for line in lines)
    way = f'hft.Job.from_id("{job.id}").watch() comes back to it, job.cancel() stops it'
    assert lines[-2:] == [f"job goes on: {way}", "returned RUNNING"]
    assert "\x1b" not in "".join(lines)
    assert job.stage == "RUNNING"
    job.cancel()
    job.wait(LATEST)


NOTEBOOK = [
    "import os, signal, threading, hfjobs_trainer as hft",
    "job = hft.Job.from_id({0!r}).watch()",
    "threading.Timer(2, os.kill, (os.getpid(), signal.SIGINT)).start()\njob = hft.Job.from_id({1!r}).watch()",
    "threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()\njob.wait()",
]


@pytest.mark.slow
def test_a_notebook_keeps_the_last_panel(
    hub: hubsim.Hub, backend: HubBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import nbclient
    import nbformat

    jobs = start(hub, backend, steps(20), 1.0), start(hub, backend, [], 600.0)
    goes_on = hub.jobs[jobs[1].split("/")[1]]
    for line in steps(20)[:6]:
        goes_on.emit(line)
    for name, value in child_env(hub, IPYTHONDIR=str(tmp_path)).items():
        monkeypatch.setenv(name, value)
    untyped: Any = nbformat
    cells = [untyped.v4.new_code_cell(cell.format(*jobs)) for cell in NOTEBOOK]
    notebook = untyped.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(notebook, timeout=int(LATEST), allow_errors=True).execute()
    _, whole, interrupted, waited = (cell.outputs for cell in notebook.cells)
    (output,) = whole
    page = output.data["text/html"]
    assert "20/20" in page
    assert "COMPLETED" in page
    assert output.data["text/plain"] == f"job {jobs[0]}: COMPLETED after 1s"
    assert len(json.dumps(output)) < 6000
    (output,) = interrupted
    assert "5/20" in output.data["text/html"]
    assert "job.cancel() stops it" in output.data["text/plain"]
    (output,) = waited
    assert output.ename == "KeyboardInterrupt"
    (told,) = output.traceback
    assert "job goes on" in told
    goes_on.cancel()


def test_an_outage_is_told_and_waited_out(hub: hubsim.Hub, backend: HubBackend, capsys: pytest.CaptureFixture[str]):
    job_id = start(hub, backend, steps(20), 1.0)
    refusal = {"status": 503, "body": {"error": "busy"}}
    job = Job(backend.inspect(job_id), backend)
    hub.fail(method="GET", path=f"/api/jobs/{job_id}$", response=refusal, times=3)  # as often as it is asked
    assert job.watch().succeeded
    assert "its status is not known, it is asked for again" in capsys.readouterr().out


def test_what_a_job_uses_is_measured(hub: hubsim.Hub, backend: HubBackend, tmp_path: Path):
    hub.script(logs=["line"], runSecs=600.0)
    record = backend.submit(plan())
    while backend.status(record.id).stage != "RUNNING":
        time.sleep(0.05)
    used = backend.usage(record.id)
    assert used is not None
    assert [gpu.percent for gpu in used.gpus] == [50]
    assert used.gpus[0].used_gib == pytest.approx(used.gpus[0].total_gib / 2)
    assert used.cpu_percent is not None
    job = hub.jobs[record.id.split("/")[1]]
    job.cancel()
    job.join(LATEST)
    assert backend.usage(record.id) is None


def test_of_a_run_here_its_memory_is_measured(tmp_path: Path):
    place = LocalPlace(tmp_path)
    job = place.start(["here"], exit_code=None)
    next(iter(job.logs(follow=True)))
    here = place.backend
    assert isinstance(here, LocalBackend)
    used = here.usage(job.id)
    assert used is not None
    assert used.used_gib is not None
    assert used.total_gib is not None
    assert 0 < used.used_gib < used.total_gib
    job.cancel()
    assert here.usage(job.wait(LATEST).id) is None
