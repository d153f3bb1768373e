"""The local backend when something goes wrong: what is killed, cancelled early, damaged, or finds the disk full.

``python -m benchmarks.faults local`` tries many more of these.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.faults import local_tasks
from benchmarks.faults.local import cancel_early, interrupt, kill_supervisor, marked, on_small_disk
from benchmarks.faults.local_damage import CALLS, Folders, ask_odd_ids, damages, probe
from hfjobs_trainer.errors import BackendError, JobNotFound
from hfjobs_trainer.running.backends.heirs import left_of
from hfjobs_trainer.running.backends.processes import Identity, birth_of
from hfjobs_trainer.running.job import Job
from hfjobs_trainer.running.job_list import list_jobs
from tests.running.places import GOOD_RUN, LocalPlace, event_line

# Saves when it is told to end, after it has said more than a pipe takes by itself; tells how often it was told.
SAVES = """
import pathlib, signal, time
told = []
signal.signal(signal.SIGTERM, lambda *_: told.append(1))
print("up", flush=True)
while not told:
    time.sleep(0.01)
print("x" * 200_000, flush=True)
time.sleep(0.2)
pathlib.Path("saved").write_text(str(len(told)))
print("saved", flush=True)
"""


@pytest.fixture
def place(tmp_path: Path) -> LocalPlace:
    return LocalPlace(tmp_path / "runs")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    return Folders(tmp_path_factory.mktemp("faults"))


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def end_supervisor(place: LocalPlace, job: Job) -> None:
    """Kill it as one does who wants it gone, when the script has begun."""
    assert next(job.logs(follow=True)) == "up"
    os.kill(int((place.folder(job) / "lock").read_text()), signal.SIGKILL)


def test_a_script_saves_when_its_supervisor_is_killed(place: LocalPlace):
    job = place.run(SAVES)
    end_supervisor(place, job)
    status = job.wait(60).status()
    assert (status.stage, status.message) == ("ERROR", "the supervisor of this run died")
    assert status.finished_at is not None
    assert (place.folder(job) / "saved").read_text() == "1"
    assert [line[:2] for line in job.logs()] == ["up", "xx", "sa"]


def test_what_ignores_the_death_of_its_supervisor_is_killed(place: LocalPlace):
    job = place.run(local_tasks.STUBBORN, env={"FAULT_MARK": str(place.root)})
    end_supervisor(place, job)
    assert job.wait(60).stage == "ERROR"
    until(lambda: not marked(place.root))


@pytest.mark.parametrize("both", [False, True])
def test_cancelling_a_run_without_supervisor_lets_it_save(place: LocalPlace, both: bool):
    job = place.run(SAVES)
    end_supervisor(place, job)
    if both:  # its heir too: then nobody reads the last words, and it saves all the same
        place.kill_supervisors(job)
    job.cancel()  # at once: they may not be quite dead
    assert job.wait(60).status().message == "the supervisor of this run died"
    assert (place.folder(job) / "saved").read_text() == "1"


@pytest.mark.parametrize("moment", [0.0, 0.2])
def test_what_a_killed_supervisor_leaves_can_be_ended(tmp_path: Path, moment: float):
    assert list(kill_supervisor(tmp_path / "runs", moment)) == []


def test_another_process_that_got_the_id_is_not_signalled(place: LocalPlace):
    job = place.run(local_tasks.SLEEPS)
    assert next(job.logs(follow=True)) == "up"
    place.kill_supervisors(job)
    job.cancel()
    assert job.wait(60).stage == "ERROR"
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(300)"]) as other:
        for lock in ("", str(other.pid)):
            path = place.folder(job) / "status.json"
            path.write_text(json.dumps(json.loads(path.read_text()) | {"pid": other.pid, "supervisor": other.pid}))
            (place.folder(job) / "lock").write_text(lock)
            job.cancel()
            assert other.poll() is None
        known = Identity(other.pid, birth_of(other.pid) or "")
        assert known.is_alive
        assert left_of(place.folder(job), known) == [other.pid]
        other.kill()
    assert not known.is_alive


@pytest.mark.parametrize("moment", [0.0, 0.1])
def test_a_run_can_be_cancelled_while_it_starts(tmp_path: Path, moment: float):
    assert list(cancel_early(tmp_path / "runs", moment)) == []


@pytest.mark.parametrize("moment", [0.02, 0.1])
def test_interrupting_submit_leaves_nothing_or_a_job(tmp_path: Path, moment: float):
    assert list(interrupt(tmp_path / "runs", moment)) == []


def test_a_run_is_cancelled_from_where_no_signal_comes(place: LocalPlace):
    job = place.run(local_tasks.SLEEPS)
    (place.folder(job) / "cancel").touch()
    assert job.wait(60).status().stage == "CANCELED"
    assert not (place.folder(job) / "cancel").exists()


@pytest.mark.parametrize("damage", ["missing", "empty", "garbage", "directory", "FIFO"])
def test_a_live_run_is_cancelled_without_its_lock(place: LocalPlace, damage: str):
    job = place.run(local_tasks.SLEEPS)
    assert next(job.logs(follow=True)) == "up"
    dict(damages("lock", b""))[damage](place.folder(job) / "lock")
    assert job.status().stage == "RUNNING"
    job.cancel()
    assert job.wait(60).status().stage == "CANCELED"


def test_a_live_run_is_cancelled_without_a_readable_status(place: LocalPlace):
    job = place.run(local_tasks.SLEEPS)
    assert next(job.logs(follow=True)) == "up"
    (place.folder(job) / "status.json").write_text("{")
    job.cancel()
    until(lambda: "CANCELED" in (place.folder(job) / "status.json").read_text())


@pytest.mark.parametrize(
    ("task", "given"),
    [("during", ("0", "script")), ("during", ("0", "outside")), ("before", ("0",)), ("read-only", ())],
)
def test_a_full_disk_is_told_with_the_exit_code(task: str, given: tuple[str, ...]):
    told = on_small_disk(task, *given)
    if told is None:
        pytest.skip(
            "this system gives no small disk: `unshare --mount` is refused, also in a user namespace of its own"
        )
    said = json.loads(told)
    if task == "during":
        assert said["message"].startswith("Job failed with exit code: 3; the disk was full")
    else:
        why = "No space left on device" if task == "before" else "Read-only file system"
        assert why in said["error"]
        assert said["left"] == []


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("record.json", "missing"),
        ("record.json", "garbage"),
        ("record.json", "FIFO"),
        ("record.json", "loop of links"),
        ("record.json", "link to /dev/zero"),
        ("record.json", "created_at is '2026-01-01T00:00:00'"),
        ("record.json", "labels is NaN"),
        ("status.json", "cut at 2/4"),
        ("status.json", "holds [[[[[[[[[[[[[[[[[[[["),
        ("status.json", 'stage is {"a": {"b": []}}'),
        ("status.json", "1 GiB of nothing"),
        ("log.txt", "FIFO"),
        ("log.txt", "directory"),
        ("log.txt", "zeros"),
        ("log.txt", "1 GiB of nothing"),
        ("lock", "socket"),
        ("lock", "dangling link"),
        ("script.py", "missing"),
    ],
)
def test_a_damaged_run_is_told_of_and_no_other_suffers(folders: Folders, file: str, damage: str):
    def violations() -> Iterator[tuple[str, str]]:
        harm = dict(damages(file, (folders.made["failed"] / file).read_bytes()))[damage]
        for call in CALLS:
            yield from probe(folders.fresh("failed"), harm, file, call, known=call != "inspect")

    assert list(violations()) == []


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("saved", {"step": 1, "path": "x" * 5000}),
        ("kept", {"step": [1], "place": "a\0b"}),
        ("pushed", {"repo": {"a": 1}, "url": 10**30, "commit": []}),
        ("end", {"step": True, "seconds": "long", "metrics": [1], "output_dir": {}}),
    ],
)
def test_a_log_may_hold_events_that_are_none(place: LocalPlace, kind: str, fields: dict[str, object]):
    lines = [*GOOD_RUN, event_line(kind, **fields)]
    result = place.start(lines).result(60)
    assert f"{result!r}{result._repr_html_()}"
    failed = place.start(lines, 3).wait(60)
    assert "exit code: 3" in str(failed.message)
    assert failed._repr_html_()


def test_what_stands_between_zeros_is_read(place: LocalPlace):
    job = place.start(["first"]).wait(60)
    with (place.folder(job) / "log.txt").open("r+b") as log:
        for mebibytes in (5, 40):
            log.seek(mebibytes << 20)
            log.write(b"at %d\n" % mebibytes)
        log.truncate(1 << 30)
    assert list(job.logs()) == ["first", "at 5", "at 40"]


def test_a_file_may_come_and_go(folders: Folders):
    for call in ("inspect", "status", "list", "html"):
        assert list(probe(folders.fresh("failed"), None, "record.json", call, known=True)) == []


def test_ids_that_no_job_has_and_roots_that_are_none():
    tried, violations = ask_odd_ids()
    assert (tried > 150, violations) == (True, [])
    with pytest.raises(BackendError, match=r"^'x{80}'\.\.\. does not tell where") as caught:
        Job.from_id("x" * 5000)
    assert len(str(caught.value)) < 300


def test_the_list_tells_what_it_leaves_out(place: LocalPlace):
    labels = {"sdk": "hfjobs-trainer"}
    jobs = [place.start(labels=labels).wait(60) for _ in range(3)]
    (place.folder(jobs[0]) / "record.json").write_text("{")
    (place.folder(jobs[1]) / "record.json").unlink()
    shutil.copy(place.folder(jobs[2]) / "log.txt", place.root / "log.txt")
    found = list_jobs([place.backend], group=None, method=None, labels=None)
    assert [job.id for job in found] == [jobs[2].id]
    first = min(place.folder(job) for job in jobs[:2])
    assert found.note.startswith(f"2 runs left out: the files of the run in {first} are damaged: record.json ")
    assert found.note.endswith("delete the folder")
    assert repr(found).endswith(f"1 run; {found.note}")
    with pytest.raises(BackendError, match=r"record\.json is missing"):
        Job.from_id(jobs[1].id, backend=place.backend)
    shutil.rmtree(place.folder(jobs[1]))
    with pytest.raises(JobNotFound):
        jobs[1].status()


def test_a_root_that_cannot_be_listed_hides_no_other_place(place: LocalPlace, tmp_path: Path):
    job = place.start(labels={"sdk": "hfjobs-trainer"}).wait(60)
    (tmp_path / "file").touch()
    other = LocalPlace(tmp_path / "file").backend
    with pytest.raises(BackendError, match="cannot be listed"):
        other.list({})
    found = list_jobs([place.backend, other], group=None, method=None, labels=None)
    assert [each.id for each in found] == [job.id]
    assert f"left out: the runs under {tmp_path / 'file'} cannot be listed" in found.note


@pytest.mark.parametrize("umask", [0o000, 0o077, 0o277])
def test_a_run_is_its_users_alone(tmp_path: Path, umask: int):
    code = f"""
        import os
        from pathlib import Path
        from tests.running.places import GOOD_RUN, LocalPlace, event_line
        os.umask({umask})
        script = "open('mine', 'w'); import time; print('up', flush=True); time.sleep(300)"
        LocalPlace(Path({str(tmp_path / "new" / "runs")!r})).run(script, env={{"FAULT_MARK": {str(tmp_path)!r}}})
    """
    (tmp_path / "new").mkdir()
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], cwd=Path(__file__).parents[2], check=True)
    place = LocalPlace(tmp_path / "new" / "runs")
    (record,) = place.backend.list({})
    job = Job(record, place.backend)
    assert next(job.logs(follow=True)) == "up"
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in [place.root, *place.root.rglob("*")]}
    assert modes.pop("mine") == 0o666 & ~umask
    folders = {place.root.name, place.folder(job).name}
    assert modes == {name: 0o700 if name in folders else 0o600 for name in modes}
    assert "lock" in modes
    job.cancel()
    until(lambda: not marked(tmp_path))


def test_no_thread_that_submits_takes_the_run_with_it(place: LocalPlace):
    jobs: list[Job] = []
    thread = threading.Thread(target=lambda: jobs.append(place.start(["up"], exit_code=None)))
    thread.start()
    thread.join()
    assert next(jobs[0].logs(follow=True)) == "up"
    assert jobs[0].status().stage == "RUNNING"
    jobs[0].cancel()
    assert jobs[0].wait(60).stage == "CANCELED"
