"""Run folders that something has damaged: every file, every damage, every call."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import resource
import shutil
import signal
import socket
import tempfile
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any, cast

from benchmarks.faults.report import Violation
from hfjobs_trainer.errors import BackendError, JobFailed, JobNotFound
from hfjobs_trainer.running.backends.base import JobRecord
from hfjobs_trainer.running.backends.local import LocalBackend
from hfjobs_trainer.running.job import Job
from hfjobs_trainer.running.job_list import list_jobs
from tests.running.places import GOOD_RUN, LocalPlace

FILES = ("record.json", "status.json", "log.txt", "events.jsonl", "lock", "script.py")
# A call that takes longer hangs; one that resumes a run starts two processes: seconds.
HANGS, RESUME_HANGS = 10.0, 60.0
# What a call may take beyond what the process has: a file is not read whole because it is there. Bytes.
MEMORY = 1 << 30
# Of some 6,000 combinations of file, damage and call, so many are drawn at scale 1.
CELLS = 1200
# A message that is longer is not read: characters.
LONGEST_MESSAGE = 1000

Damage = Callable[[Path], object]
Call = Callable[[LocalBackend, str, Job | None], object]


class Hung(BaseException):
    """A call did not come back."""


def damages(file: str, sample: bytes) -> Iterator[tuple[str, Damage]]:
    """What may befall a file, by name.

    Args:
        file: Its name.
        sample: What it holds in a run that is well.
    """
    yield "missing", lambda path: path.unlink()
    yield "empty", lambda path: path.write_bytes(b"")
    for quarter in (1, 2, 3):
        yield f"cut at {quarter}/4", lambda path, n=quarter: os.truncate(path, path.stat().st_size * n // 4)
    yield "garbage", lambda path: path.write_bytes(random.Random(0).randbytes(4096))
    yield "zeros", lambda path: path.write_bytes(bytes(4096))
    for text in ("[]", "null", "1", '"x"', "NaN", "{}", '{"created_at": 1}', "[" * 100_000, "9" * 5000, "\ufeff{}"):
        yield f"holds {text[:20]}", lambda path, text=text: path.write_text(text, "utf-8")
    yield "utf-16", lambda path: path.write_bytes(path.read_bytes().decode("utf-8", "replace").encode("utf-16"))
    yield "directory", lambda path: (path.unlink(), path.mkdir())
    yield "dangling link", lambda path: _link(path, path.with_name("nowhere"))
    yield "loop of links", lambda path: _link(path, path)
    yield "link to /dev/zero", lambda path: _link(path, Path("/dev/zero"))
    yield "link to /dev/tty", lambda path: _link(path, Path("/dev/tty"))
    yield "FIFO", lambda path: (path.unlink(), os.mkfifo(path))
    yield "socket", _socket
    yield "unreadable", lambda path: path.chmod(0)
    yield "1 GiB of nothing", lambda path: os.truncate(path, 1 << 30)
    yield "a line of 8 MiB", lambda path: path.write_bytes(b"x" * (8 << 20))
    if file in ("record.json", "status.json"):
        yield from _wrong_fields(json.loads(sample))


def _wrong_fields(fields: Mapping[str, Any]) -> Iterator[tuple[str, Damage]]:
    values: tuple[Any, ...] = (
        None,
        [],
        {"a": {"b": []}},
        [None],
        1e400,
        float("nan"),
        10**30,
        -1,
        True,
        "x\0y",
        "../..",
    )
    times: tuple[Any, ...] = ("2026-01-01", "2026-01-01T00:00:00", "yesterday", "0001-01-01T00:00:00+23:59", "")
    for name, value in product(fields, values):
        yield f"{name} is {json.dumps(value)[:30]}", lambda path, n=name, v=value: _set(path, n, v)
    for name, value in product([name for name in fields if name.endswith("_at")], times):
        yield f"{name} is {value!r}", lambda path, n=name, v=value: _set(path, n, v)
    for name in fields:
        yield f"without {name}", lambda path, n=name: _set(path, n, ...)


def _set(path: Path, name: str, value: Any) -> None:
    fields = json.loads(path.read_bytes()) | {name: value}
    path.write_text(json.dumps({key: each for key, each in fields.items() if each is not ...}), "utf-8")


def _link(path: Path, to: Path) -> None:
    path.unlink()
    path.symlink_to(to)


def _socket(path: Path) -> None:
    path.unlink()
    there = os.open(path.parent, os.O_RDONLY)
    try:  # the name of a socket has a hundred characters at most
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"/proc/self/fd/{there}/{path.name}")
    finally:
        os.close(there)


@contextlib.contextmanager
def flickering(path: Path) -> Generator[None]:
    """A file that is there in one moment and gone in the next."""
    done = threading.Event()

    def flicker() -> None:
        away = path.with_name("away")
        while not done.is_set():
            path.rename(away)
            time.sleep(0.0003)
            away.rename(path)
            time.sleep(0.0003)

    thread = threading.Thread(target=flicker)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _with_job(use: Callable[[Job], object]) -> Call:
    """A call of a job that was found before its folder was damaged."""

    def call(backend: LocalBackend, job_id: str, job: Job | None) -> object:
        return use(job or Job.from_id(job_id, backend=backend))

    return call


CALLS: Mapping[str, Call] = {
    "inspect": lambda backend, job_id, _: backend.inspect(job_id),
    "backend.status": lambda backend, job_id, _: backend.status(job_id),
    "backend.cancel": lambda backend, job_id, _: backend.cancel(job_id),
    "backend.resume": lambda backend, job_id, _: backend.resume(job_id),
    "list": lambda backend, _, __: backend.list({}),
    "jobs": lambda backend, _, __: repr(list_jobs([backend], group=None, method=None, labels=None)),
    "status": _with_job(lambda job: str(job.status())),
    "logs": _with_job(lambda job: deque(job.logs(), maxlen=1)),
    "follow": _with_job(lambda job: deque(job.logs(follow=True), maxlen=1)),
    "events": _with_job(lambda job: [*job.events()]),
    "cost": _with_job(lambda job: job.cost()),
    "result": _with_job(lambda job: job.result(timeout=3)),
    "wait": _with_job(lambda job: job.wait(timeout=3)),
    "watch": _with_job(lambda job: job.watch()),
    "raise_for_status": _with_job(lambda job: job.raise_for_status()),
    "resume": _with_job(lambda job: job.resume()),
    "html": _with_job(lambda job: f"{job!r}{job._repr_html_()}"),  # pyright: ignore[reportPrivateUsage]
}


class Folders:
    """Runs that have ended, of which each probe damages a copy.

    Args:
        home: Where they are made.
    """

    def __init__(self, home: Path) -> None:
        place = LocalPlace(home / "made")
        jobs = {
            "well": place.start(GOOD_RUN),
            "failed": place.start(["one", "two"], 3),
            "lost": place.start(["on"], None),
        }
        lost = jobs.pop("lost")
        next(lost.logs(follow=True))
        script = json.loads((place.folder(lost) / "status.json").read_text())["pid"]
        place.kill_supervisors(lost)
        while not lost.status().is_terminal:
            time.sleep(0.02)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(script, signal.SIGKILL)
        self.made = {name: place.folder(job.wait(60)) for name, job in jobs.items()} | {"lost": place.folder(lost)}
        self.root = home / "runs"

    def fresh(self, state: str) -> Path:
        """A copy of a run in that state, with one beside it that is well."""
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.root)
        self.root.mkdir(parents=True)
        for each in {state, "well"}:
            shutil.copytree(self.made[each], self.root / self.made[each].name)
        if state == "well":
            shutil.copytree(self.made["failed"], self.root / self.made["failed"].name)
        return self.root / self.made[state].name


def probe(folder: Path, damage: Damage | None, file: str, name: str, *, known: bool) -> Iterator[tuple[str, str]]:
    """Damage a file of a run, make a call, and tell the promises that did not hold, each with what was seen.

    Args:
        folder: The run; others are beside it.
        damage: What befalls the file; ``None``: it comes and goes during the call.
        file: The file.
        name: The call.
        known: Whether the job was found before.
    """
    backend = LocalBackend(folder.parent, python="current", grace_seconds=0.5)
    job_id = f"local/{folder.name}"
    others = {f"local/{other.name}" for other in folder.parent.iterdir()} - {job_id}
    job = Job.from_id(job_id, backend=backend) if known else None
    if damage is not None:
        damage(folder / file)
    found: object = None
    try:
        with contextlib.nullcontext() if damage else flickering(folder / file), limited(name):
            found = CALLS[name](backend, job_id, job)
    except Hung:
        yield "hangs", f"{HANGS:g} s"
    except (BackendError, TimeoutError) as error:
        yield from judge_message(error, folder)
    except JobFailed as error:
        if len(str(error.status)) > LONGEST_MESSAGE:
            yield "endless message", f"{len(str(error))} characters"
    except Exception as error:
        yield "raw error", f"{type(error).__name__}: {str(error)[:100]}"
    if name == "list" and isinstance(found, list):
        listed = [record.id for record in cast("list[JobRecord]", found)]
        if not all(other in listed for other in others):
            yield "others lost", "a run that is well is not listed"
    if "resume" in name:
        end_all(folder.parent)


def judge_message(error: Exception, folder: Path) -> Iterator[tuple[str, str]]:
    """What is wrong with the message of an error."""
    told = str(error)
    if len(told) > LONGEST_MESSAGE:
        yield "endless message", f"{len(told)} characters"
    if folder.name not in told:
        yield "unclear message", told[:100]
    if not isinstance(error, JobNotFound) and "damaged" in told and "delete" not in told:
        yield "no way out", told[:100]


def end_all(root: Path) -> None:
    """Kill what a probe has started, by no means of the package's."""
    for _ in range(100):
        found = [process for process in Path("/proc").glob("[0-9]*") if _is_of(process, root)]
        for process in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(process.name), signal.SIGKILL)
        if not found:
            return
        time.sleep(0.01)


def _is_of(process: Path, root: Path) -> bool:
    """Whether a process works under a root, or is told of it."""
    with contextlib.suppress(OSError):
        told = (process / "cmdline").read_bytes()
        return f"{root}/".encode() in told or (process / "cwd").readlink().is_relative_to(root)
    return False


@contextlib.contextmanager
def limited(name: str) -> Generator[None]:
    """Raise ``Hung`` in a call that takes too long, and ``MemoryError`` in one that takes too much."""

    def ring(*_: object) -> None:
        raise Hung

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text("ascii").split()[0]) * resource.getpagesize()
    before = signal.signal(signal.SIGALRM, ring)
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, hard))
    signal.setitimer(signal.ITIMER_REAL, RESUME_HANGS if "resume" in name else HANGS)
    quiet = io.StringIO()
    try:
        with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.signal(signal.SIGALRM, before)


def damage_runs(scale: float, seed: int) -> tuple[int, list[Violation]]:
    """Try the matrix, or a share of it drawn by the seed; return how many were tried, and what did not hold."""
    violations: list[Violation] = []
    with tempfile.TemporaryDirectory() as home:
        folders = Folders(Path(home))
        cells: list[tuple[str, str, Damage | None, str]] = []
        for file in FILES:
            kinds: list[tuple[str, Damage | None]] = [*damages(file, (folders.made["failed"] / file).read_bytes())]
            for kind, damage in [*kinds, ("comes and goes", None)]:
                cells += [(file, kind, damage, call) for call in CALLS]
        chance = random.Random(seed)
        chance.shuffle(cells)
        cells = cells[: max(1, round(CELLS * scale))]
        for file, kind, damage, call in cells:
            state, known = chance.choice([*folders.made]), chance.random() < 0.5
            where = f"{call}, run {state}, {file} {kind}"
            for what, seen in probe(folders.fresh(state), damage, file, call, known=known):
                violations.append(Violation(what, where, seen))
    return len(cells), violations


def odd_ids() -> Iterator[str]:
    """Ids that no job has."""
    yield from (
        "x" * 5000,
        "../" * 2000,
        "a\0b",
        "a\nb",
        "a\n",
        "..",
        ".",
        "",
        "/etc",
        "//",
        "é" * 200,
        "\ud800",
        "a/b",
    )
    yield from ("~", "*", "record.json", "%00", "a" * 255, "a" * 256, "\u202e", "-", ".hidden", "日本" * 60)


def ask_odd_ids() -> tuple[int, list[Violation]]:
    """Ask for jobs that cannot be, and for what is no run folder."""
    violations: list[Violation] = []
    tried = 0
    names = ("inspect", "backend.status", "logs", "follow", "backend.cancel", "backend.resume")
    with tempfile.TemporaryDirectory() as home:
        root = Path(home, "runs")
        root.mkdir()
        (root / "file").touch()
        os.mkfifo(root / "fifo")
        (root / "loop").symlink_to("loop")
        (root / "empty").mkdir()
        missing, file, fifo = root / "missing", root / "file", root / "fifo"
        cells: list[tuple[Path, str, str]] = [*product([root], [*odd_ids(), "file", "fifo", "loop", "empty"], names)]
        cells += [*product([missing, file, fifo, root / "loop"], ["x"], [*names, "list", "jobs"])]
        for place, job_id, name in cells:
            tried += 1
            backend = LocalBackend(place, python="current")
            where = f"{name}, id {job_id[:20]!r}, root {place.name}"
            try:
                with limited(name):
                    CALLS[name](backend, f"local/{job_id}", None)
            except Hung:
                violations.append(Violation("hangs", where))
            except BackendError as error:
                if name not in ("list", "jobs") and not isinstance(error, JobNotFound):
                    violations.append(Violation("not told as absent", where, str(error)[:100]))
                if len(str(error)) > LONGEST_MESSAGE:
                    violations.append(Violation("endless message", where, f"{len(str(error))} characters"))
            except Exception as error:
                violations.append(Violation("raw error", where, f"{type(error).__name__}: {str(error)[:100]}"))
    return tried, violations
