"""Runs on this machine: damaged folders, killed supervisors, cancels and interrupts while it starts, full disks."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

from benchmarks.faults import local_tasks
from benchmarks.faults.local_damage import ask_odd_ids, damage_runs
from benchmarks.faults.report import Section, Violation
from hfjobs_trainer.errors import BackendError, JobNotFound
from hfjobs_trainer.running.backends.base import JobStatus
from hfjobs_trainer.running.backends.local import LocalBackend
from hfjobs_trainer.running.job import Job
from tests.running.places import LocalPlace

T = TypeVar("T")
REPOSITORY = Path(__file__).parents[2]
# How long something may take that is under way, seconds: generous, since the machine may be busy.
SOON = 20.0
# A disk of this size is filled, bytes.
DISK = 256 << 10


def run(*, scale: float = 1.0, seed: int = 0) -> Section:
    """Inject the faults; ``scale`` is the share of them that is tried."""
    chance = random.Random(seed)
    cells, violations = 0, list[Violation]()
    counts: list[str] = []
    series: tuple[tuple[str, Callable[[], tuple[int, list[Violation]]]], ...] = (
        ("damaged files", lambda: damage_runs(scale, seed)),
        ("odd ids and roots", ask_odd_ids),
        ("killed supervisors", lambda: tried(kill_supervisor, _moments(24 * scale, chance))),
        ("cancels while it starts", lambda: tried(cancel_early, _moments(24 * scale, chance))),
        ("interrupts of submit", lambda: tried(interrupt, _moments(24 * scale, chance))),
        ("full disks", lambda: full_disks(scale)),
    )
    for title, attempt in series:
        count, found = attempt()
        cells += count
        violations += found
        counts.append(f"{title}: {count:,} tried, {len(found)} violations")
    return Section("Runs on this machine", cells, tuple(violations), tuple(counts))


def _moments(count: float, chance: random.Random) -> list[float]:
    """Seconds after the start of something, the first one at once."""
    return [0.0, *(chance.uniform(0, 0.4) for _ in range(max(1, round(count)) - 1))]


def tried(fault: Callable[[Path, float], Iterator[Violation]], moments: Sequence[float]) -> tuple[int, list[Violation]]:
    """Inject a fault at each of these moments, in a root of its own."""
    found: list[Violation] = []
    for moment in moments:
        with tempfile.TemporaryDirectory() as home:
            root = Path(home, "runs")
            try:
                found += fault(root, moment)
            finally:
                for pid in marked(root):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
    return len(moments), found


def kill_supervisor(root: Path, moment: float) -> Iterator[Violation]:
    """Kill it while the script goes on: the run has failed, its log ends, and what it started can be ended."""
    where = f"supervisor killed {moment:.3f} s after it was first seen"
    place = LocalPlace(root)
    submitted: list[Job] = []
    refused: list[str] = []

    def submit() -> None:
        try:
            submitted.append(place.run(local_tasks.STUBBORN, env={"FAULT_MARK": str(root)}))
        except BackendError as error:
            refused.append(str(error))

    thread = threading.Thread(target=submit)
    thread.start()
    pid = until(lambda: next((int(text) for path in root.glob("*/lock") if (text := path.read_text().strip())), None))
    time.sleep(moment)
    if pid is not None:
        os.kill(pid, signal.SIGKILL)
    thread.join()
    if refused:
        if "exited immediately" not in refused[0]:
            yield Violation("unclear message", where, refused[0])
        if left := list(root.iterdir()):
            yield Violation("left behind", where, f"{left}")
        if until(lambda: not marked(root)) is None:
            yield Violation("runs on", where, "a process of a run that was refused")
        return
    job = submitted[0]
    if until(lambda: job.status().is_terminal) is None:
        yield Violation("hangs", where, f"{job.status()}")
        return
    if job.status().stage != "ERROR":
        yield Violation("wrong end", where, f"{job.status()}")
    if not ends(lambda: [*job.logs(follow=True)]):
        yield Violation("hangs", where, "its log, followed")
    job.cancel()
    if until(lambda: not marked(root)) is None:
        yield Violation("runs on", where, f"{len(marked(root))} processes after cancel()")


def cancel_early(root: Path, moment: float) -> Iterator[Violation]:
    """Cancel a run as soon as it is seen, or a little later: it has been cancelled."""
    where = f"cancelled {moment:.3f} s after it was first seen"
    backend = LocalBackend(root, python="current", grace_seconds=0.5)
    place = LocalPlace(root)
    thread = threading.Thread(target=lambda: place.run(local_tasks.SLEEPS, env={"FAULT_MARK": str(root)}))
    thread.start()
    record = until(lambda: next(iter(backend.list({})), None), pause=0.0005)
    assert record is not None
    time.sleep(moment)
    backend.cancel(record.id)
    thread.join()
    status = until(lambda: found if (found := backend.status(record.id)).is_terminal else None, seconds=10)
    if status is None:
        yield Violation("cancel is lost", where, f"{backend.status(record.id)}")
    elif status.stage != "CANCELED":
        yield Violation("wrong end", where, f"{status}")
    elif until(lambda: not marked(root)) is None:
        yield Violation("runs on", where)


def interrupt(root: Path, moment: float) -> Iterator[Violation]:
    """Interrupt ``submit``: there is a whole job, or nothing."""
    where = f"submit interrupted after {moment:.3f} s"
    with started("submit", root) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(moment)
        process.send_signal(signal.SIGINT)
        told = process.communicate(timeout=2 * SOON)[0].strip()
    backend = LocalBackend(root, python="current", grace_seconds=0.5)
    found = [path.name for path in root.iterdir()] if root.is_dir() else []
    if told == "interrupted":
        if found:
            yield Violation("left behind", where, f"{found}")
        if marked(root):
            yield Violation("runs on", where)
        return
    for name in found:
        try:
            backend.cancel(f"local/{name}")
            if until(partial(_ended, backend, name)) is None:
                yield Violation("hangs", where, name)
        except JobNotFound as error:
            yield Violation("left behind", where, str(error)[:100])


def _ended(backend: LocalBackend, name: str) -> JobStatus | None:
    status = backend.status(f"local/{name}")
    return status if status.is_terminal else None


def full_disks(scale: float) -> tuple[int, list[Violation]]:
    """Fill a small disk before a run and during it; the exit code is known, or nothing is left behind."""
    found: list[Violation] = []
    rooms = [*range(0, 56 << 10, 4 << 10)]
    cells = [("read-only", 0, ""), *(("before", room, "") for room in rooms)]
    cells += [("during", room, how) for how in ("outside", "quiet", "script") for room in (0, 4096, 8192)]
    cells = cells[:: max(1, round(1 / scale))]
    for task, room, how in cells:
        where = f"disk {task}, {room >> 10} KiB left{how and ', ' + how}"
        told = on_small_disk(task, str(room), how)
        if told is None:
            return 0, []
        try:
            said = json.loads(told.splitlines()[-1])
        except (ValueError, IndexError):
            found.append(Violation("raw error", where, told[-200:]))
            continue
        if "raw" in said:
            found.append(Violation("raw error", where, said["raw"]))
        elif "error" in said:
            if said["left"]:
                found.append(Violation("left behind", where, f"{said['left']}"))
        elif "exit code: 3" not in (said["message"] or ""):
            found.append(Violation("exit code lost", where, f"{said}"))
        elif how in ("outside", "script") and not room and "disk was full" not in said["message"]:
            found.append(Violation("cause lost", where, f"{said}"))
    return len(cells), found


def on_small_disk(task: str, *given: str) -> str | None:
    """What a task says that has a disk of its own, which nobody else sees; ``None`` if this system has none."""
    namespace = ["unshare", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"]), "--mount"]
    with tempfile.TemporaryDirectory() as disk:
        mount = f"mount -t tmpfs -o size={DISK} none {disk} || exit 99; exec "
        command = [sys.executable, "-m", local_tasks.__name__, task, disk, *filter(None, given)]
        try:
            ended = subprocess.run(
                [*namespace, "--propagation", "private", "sh", "-c", mount + '"$@"', "sh", *command],
                cwd=REPOSITORY,
                capture_output=True,
                text=True,
                timeout=3 * SOON,
                check=False,
            )
        except FileNotFoundError:
            return None
        except subprocess.TimeoutExpired:
            return "it hangs"
    return None if ended.returncode == 99 or "unshare:" in ended.stderr else ended.stdout + ended.stderr


def started(task: str, root: Path) -> subprocess.Popen[str]:
    """Start a task in a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", local_tasks.__name__, task, str(root)],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def marked(root: Path) -> list[int]:
    """Processes of the runs under this root; zombies do not count, having no environment."""
    mark = f"FAULT_MARK={root}\0".encode()
    found: list[int] = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark in (entry / "environ").read_bytes():
                found.append(int(entry.name))
    return found


def until(look: Callable[[], T | None], seconds: float = SOON, pause: float = 0.01) -> T | None:
    """What is seen once something is; ``None`` if nothing was in time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(pause)
    return None


def ends(act: Callable[[], object]) -> bool:
    """Whether it comes back."""
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    thread.join(SOON)
    return not thread.is_alive()
