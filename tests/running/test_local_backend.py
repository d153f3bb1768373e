"""The local backend with real processes: what outlives whom, what ends with what, and what is left on the disk."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from hfjobs_trainer.errors import BackendError, JobFailed, JobNotFound
from hfjobs_trainer.running.backends import processes
from hfjobs_trainer.running.backends.local import LocalBackend, default_root
from hfjobs_trainer.running.events import read_events
from hfjobs_trainer.running.job import Job
from tests.running.places import GOOD_RUN, LocalPlace, event_line, plan_of

REPOSITORY = Path(__file__).parents[2]
# A child that ignores SIGTERM and a grandchild in a session of its own, as launchers of several processes start them.
FAMILY = """
import subprocess, sys, time
sleep = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
family = [
    subprocess.Popen([sys.executable, "-c", sleep], start_new_session=own, stdout=subprocess.PIPE) for own in (0, 1)
]
for member in family:
    member.stdout.readline()
print(*(member.pid for member in family), flush=True)
"""


@pytest.fixture
def place(tmp_path: Path) -> LocalPlace:
    return LocalPlace(tmp_path / "runs")


def until(condition: Callable[[], bool]) -> None:
    """Wait for what another process is about to do."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    return any(process.pid == pid for process in processes.running_processes())


def status_of(place: LocalPlace, job: Job) -> dict[str, object]:
    return json.loads((place.folder(job) / "status.json").read_text())


def in_another_process(code: str) -> subprocess.Popen[str]:
    """Run code in a session of its own. It writes no bytecode, which a limit on the size of files would cut short."""
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def test_the_run_folder_holds_all_there_is_to_know(place: LocalPlace):
    job = place.start([*GOOD_RUN, "the end"], labels={"group": "a"}).wait(60)
    folder = place.folder(job)
    assert {path.name for path in folder.iterdir()} == {
        "script.py",
        "log.txt",
        "events.jsonl",
        "record.json",
        "status.json",
        "lock",
    }
    assert (folder / "log.txt").read_text().splitlines() == [*GOOD_RUN, "the end"]
    events = (folder / "events.jsonl").read_text().splitlines()
    assert list(read_events(events)) == list(read_events(GOOD_RUN))
    record = json.loads((folder / "record.json").read_text())
    assert (record["id"], record["labels"]) == (job.id, {"group": "a"})
    assert status_of(place, job)["exit_code"] == 0


def test_the_script_works_in_its_folder_and_knows_its_run(place: LocalPlace):
    script = """
        import os, pathlib
        pathlib.Path("out").mkdir()
        print(os.getcwd(), os.environ["HFT_RUN_ID"], os.environ["TRACKIO_DIR"], os.environ["MINE"], sep="\\n")
    """
    job = place.run(textwrap.dedent(script), env={"MINE": "yes", "HFT_RUN_ID": "another"}).wait(60)
    folder = place.folder(job)
    assert list(job.logs()) == [str(folder), folder.name, str(folder / "trackio"), "yes"]
    assert job.id == f"local/{folder.name}"
    assert (folder / "out").is_dir()


def test_what_is_in_no_encoding_is_logged_as_it_came(place: LocalPlace):
    garbage = bytes(range(256)) * 300
    end = event_line("end", step=1)
    script = f"""
        import sys
        sys.stdout.buffer.write({garbage!r} + b"\\n")
        sys.stderr.write(" 10%|#\\r 20%|##\\r")
        sys.stderr.flush()
        print({end!r})
        sys.stdout.buffer.write(b"no newline at the end \\xe2\\x82")
    """
    job = place.run(textwrap.dedent(script)).wait(60)
    assert job.status().stage == "COMPLETED"
    assert (place.folder(job) / "log.txt").read_bytes().startswith(garbage)
    assert list(job.logs())[-2:] == [end, "no newline at the end \ufffd"]
    assert [event.kind for event in job.events()] == ["end"]


def test_a_run_outlives_the_process_that_submitted_it(place: LocalPlace, tmp_path: Path):
    go = tmp_path / "go"
    script = textwrap.dedent(f"""
        import os, time
        print("begun", flush=True)
        while not os.path.exists({str(go)!r}):
            time.sleep(0.05)
        print("done")
    """)
    code = f"""
        import time
        from pathlib import Path
        from tests.running.places import LocalPlace
        print(LocalPlace(Path({str(place.root)!r})).run({script!r}).id, flush=True)
        time.sleep(600)
    """
    with in_another_process(code) as submitter:
        assert submitter.stdout is not None
        job_id = submitter.stdout.readline().strip()
        submitter.kill()
    job = Job.from_id(job_id, backend=place.backend)
    lines = job.logs(follow=True)
    assert next(lines) == "begun"
    assert job.status().stage == "RUNNING"
    go.touch()
    assert list(lines) == ["done"]
    assert job.wait(60).status().stage == "COMPLETED"


def test_interrupting_the_submitter_does_not_reach_the_run(place: LocalPlace):
    code = f"""
        import contextlib, signal, time
        from pathlib import Path
        from tests.running.places import LocalPlace
        signal.signal(signal.SIGINT, signal.default_int_handler)  # A shell's background jobs ignore it.
        print(LocalPlace(Path({str(place.root)!r})).start(["ready"], exit_code=None).id, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            time.sleep(600)
    """
    with in_another_process(code) as submitter:
        assert submitter.stdout is not None
        job = Job.from_id(submitter.stdout.readline().strip(), backend=place.backend)
        assert next(job.logs(follow=True)) == "ready"
        # As a terminal does it: to the whole process group.
        os.killpg(submitter.pid, signal.SIGINT)
    assert job.status().stage == "RUNNING"
    job.cancel()
    assert job.wait(60).status().stage == "CANCELED"


def test_at_the_time_limit_the_whole_family_is_ended(place: LocalPlace):
    job = place.run(FAMILY + "time.sleep(600)", timeout_seconds=4)
    pids = [int(pid) for pid in next(job.logs(follow=True)).split()]
    status = job.wait(60).status()
    assert (status.stage, status.message) == ("ERROR", "Job timeout")
    assert not any(is_running(pid) for pid in [*pids, int(str(status_of(place, job)["pid"]))])


def test_cancelling_ends_the_whole_family(place: LocalPlace):
    job = place.run(FAMILY + "time.sleep(600)")
    pids = [int(pid) for pid in next(job.logs(follow=True)).split()]
    assert all(is_running(pid) for pid in pids)
    job.cancel()
    assert job.wait(60).status().stage == "CANCELED"
    assert not any(is_running(pid) for pid in pids)


def test_what_a_script_leaves_behind_ends_with_it(place: LocalPlace):
    job = place.run(FAMILY + "print('done')")
    assert job.wait(60).status().stage == "COMPLETED"
    *_, pids, last = job.logs()
    assert last == "done"
    assert not any(is_running(int(pid)) for pid in pids.split())


def test_a_script_may_say_last_words_when_it_is_cancelled(place: LocalPlace):
    script = """
        import signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("saved"))
        print("ready", flush=True)
        time.sleep(600)
    """
    job = place.run(textwrap.dedent(script))
    lines = job.logs(follow=True)
    assert next(lines) == "ready"
    job.cancel()
    assert list(lines) == ["saved"]
    assert job.status().stage == "CANCELED"


def test_a_script_may_close_its_output_and_go_on(place: LocalPlace):
    script = "import os, sys, time\nos.close(1); os.close(2)\ntime.sleep(0.3)\nos._exit(4)"
    assert "exit code: 4" in (place.run(script).wait(60).status().message or "")


def test_a_script_that_was_killed_is_told_apart(place: LocalPlace):
    job = place.run("import os, signal\nprint('dying', flush=True)\nos.kill(os.getpid(), signal.SIGKILL)")
    message = job.wait(60).status().message
    assert message == "Job failed with exit code: 137 (SIGKILL, often because the machine ran out of memory)"
    with pytest.raises(JobFailed, match="dying"):
        job.raise_for_status()


def test_a_run_without_its_supervisor_has_failed(place: LocalPlace):
    job = place.start(["ready"], exit_code=None)
    lines = job.logs(follow=True)
    assert next(lines) == "ready"
    place.kill_supervisors(job)
    until(lambda: job.status().is_terminal)
    assert (job.status().stage, job.status().message) == ("ERROR", "the supervisor of this run died")
    assert list(lines) == []
    # Its process id may be another's by now: nobody is signalled.
    (place.folder(job) / "lock").write_text(str(os.getpid()))
    assert job.status().stage == "ERROR"
    job.cancel()


def test_a_full_disk_cuts_the_log_not_the_run(place: LocalPlace):
    # A limit on the size of files stands in for the disk: what is written beyond it fails in the same way.
    code = f"""
        import resource
        from pathlib import Path
        from tests.running.places import LocalPlace
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
        print(LocalPlace(Path({str(place.root)!r})).run("print('x' * 100_000)").id)
    """
    with in_another_process(code) as submitter:
        job_id, _ = submitter.communicate()
    job = Job.from_id(job_id.strip(), backend=place.backend).wait(60)
    assert (job.status().stage, job.status().message) == ("COMPLETED", "the log is incomplete: File too large")
    assert (place.folder(job) / "log.txt").stat().st_size == 20_000


def test_a_disk_too_full_to_start_leaves_nothing(place: LocalPlace):
    code = f"""
        import resource
        from pathlib import Path
        from hfjobs_trainer.errors import BackendError
        from tests.running.places import LocalPlace
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
        try:
            LocalPlace(Path({str(place.root)!r})).run("#" * 1000)
        except BackendError as error:
            print(error)
    """
    with in_another_process(code) as submitter:
        told, _ = submitter.communicate()
    assert "could not be written" in told
    assert "LocalBackend(root=...)" in told
    assert list(place.root.iterdir()) == []


def test_a_root_that_is_no_folder_is_told(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(BackendError, match="could not be written"):
        LocalPlace(tmp_path / "file").start()


def test_a_script_that_cannot_start_leaves_nothing(place: LocalPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    broken = tmp_path / "bin" / "uv"
    broken.parent.mkdir()
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", str(broken.parent))
    with pytest.raises(BackendError, match="could not be started"):
        LocalBackend(place.root).submit(plan_of("print()"))
    assert list(place.root.iterdir()) == []


def test_a_secret_reaches_the_script_and_no_file(place: LocalPlace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_API_KEY", "s3cr3t-value")
    script = "import os\nprint(len(os.environ['WANDB_API_KEY']))"
    job = place.run(script, secrets=("WANDB_API_KEY", "HF_TOKEN"), env={"WANDB_API_KEY": "s3cr3t-value"}).wait(60)
    assert list(job.logs()) == ["12"]
    files = [path for path in place.root.rglob("*") if path.is_file()]
    assert len(files) == 6
    assert not any(b"s3cr3t-value" in path.read_bytes() for path in files)
    assert json.loads((place.folder(job) / "record.json").read_text())["secrets"] == ["WANDB_API_KEY", "HF_TOKEN"]
    assert "s3cr3t-value" not in f"{job!r}{place.backend!r}{job.record}"


def test_a_secret_that_is_not_set_is_told(place: LocalPlace, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    with pytest.raises(BackendError, match="export WANDB_API_KEY="):
        place.run("print()", secrets=("WANDB_API_KEY",))
    assert not place.root.exists()


@pytest.mark.parametrize("job_id", ["local/..", "local/../runs", "local//etc", "local/.hidden", "local/a/b"])
def test_an_id_never_leaves_the_root(place: LocalPlace, job_id: str):
    place.start().wait(60)
    shutil.copytree(next(place.root.iterdir()), place.root / ".hidden")
    with pytest.raises(JobNotFound, match="LocalBackend"):
        place.backend.status(job_id)


def test_without_locks_the_package_is_there_and_the_backend_says_why():
    code = """
import sys
sys.modules["fcntl"] = None  # as on Windows
import hfjobs_trainer as hft
from hfjobs_trainer import *
assert hasattr(hft, "LocalBackend") and LocalBackend is hft.LocalBackend
for use in (hft.LocalBackend, lambda: hft.Client(backend="local").jobs(), lambda: hft.Job.from_id("local/x")):
    try:
        use()
    except hft.BackendError as error:
        print(error)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.stderr == ""
    assert ended.stdout.count("on Windows, use it inside WSL") == 3


@pytest.mark.parametrize("file", ["record.json", "status.json"])
@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"created_at": 1}'])
def test_a_damaged_run_is_told_of(place: LocalPlace, file: str, text: str):
    job = place.start().wait(20)
    (place.folder(job) / file).write_text(text)
    with pytest.raises(BackendError, match=f"{place.folder(job)} are damaged"):
        job.status()
    if file == "record.json":
        with pytest.raises(BackendError, match="damaged"):
            Job.from_id(job.id, backend=place.backend)


def test_another_interpreter_than_there_are_is_refused():
    with pytest.raises(ValueError, match="python='curent'"):
        LocalBackend(python=cast("Any", "curent"))


def test_what_is_no_run_is_not_listed(place: LocalPlace):
    job = place.start().wait(60)
    (place.root / "notes").mkdir()
    (place.root / "half").mkdir()
    (place.root / "half" / "record.json").write_text("{")
    assert [record.id for record in place.backend.list({})] == [job.id]


def test_runs_lie_in_the_home_of_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HFT_HOME", str(tmp_path))
    assert default_root() == LocalBackend().root == tmp_path / "runs"
    monkeypatch.delenv("HFT_HOME")
    assert default_root() == Path.home() / ".cache" / "hfjobs_trainer" / "runs"


def test_the_supervisor_is_there_at_once():
    code = "import sys, hfjobs_trainer.running.backends.supervise\nprint(*sys.modules)"
    with in_another_process(code) as process:
        loaded, _ = process.communicate()
    assert not {"pydantic", "huggingface_hub", "jinja2", "httpx", "tqdm"} & set(loaded.split())
