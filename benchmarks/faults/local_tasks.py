"""What a process does to runs on this machine, for the faults that need one of its own: run with a name and a root."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from hfjobs_trainer.errors import BackendError
from tests.running.places import LocalPlace

# Fails as one does that finds the disk full, or was told to.
FAILS = "import sys\nprint('the last words', flush=True)\nsys.exit(3)"
# Ends only when it is killed, as does what it starts, in a session of its own; says so when they are all there.
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(300)"
child = subprocess.Popen([sys.executable, "-c", code], start_new_session=True, stdout=subprocess.PIPE)
child.stdout.readline()
print("up", flush=True)
time.sleep(300)
"""
SLEEPS = "import time\nprint('up', flush=True)\ntime.sleep(300)"
FAILS_LATER = "import os, sys, time\nprint('up', flush=True)\nwhile not os.path.exists('go'):\n    time.sleep(0.01)\n{}"


def submit(root: Path) -> None:
    """Submit a run; it is interrupted at some moment."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    place = LocalPlace(root)
    print("go", flush=True)
    try:
        print(place.run(SLEEPS, env={"FAULT_MARK": str(root)}).id, flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)


def submit_read_only(root: Path) -> None:
    """Submit to a disk that cannot be written to, and say what came of it."""
    subprocess.run(["mount", "-o", "remount,bind,ro", root], check=True)
    report_submit(root)


def fill_before(root: Path, left: int) -> None:
    """Submit with so many bytes left on the disk, and say what came of it."""
    fill(root, left)
    report_submit(root)


def report_submit(root: Path) -> None:
    """Submit a run that fails, and say how it ended, or why it did not start and what that has left."""
    place = LocalPlace(root / "runs")
    try:
        job = place.run(FAILS).wait(60)
    except BackendError as error:
        left_behind = [path.name for path in (root / "runs").rglob("*")]
        print(json.dumps({"error": str(error), "left": left_behind}))
    except Exception as error:
        print(json.dumps({"raw": f"{type(error).__name__}: {error}"}))
    else:
        print(json.dumps({"stage": job.status().stage, "message": job.status().message}))


def fill_during(root: Path, left: int, how: str) -> None:
    """Fill the disk while a run goes on, from outside or by its own output; say how it ended."""
    place = LocalPlace(root / "runs")
    ending = {"outside": "print('x' * 5000)\n", "script": "print('x' * 1_000_000)\n", "quiet": ""}[how] + "sys.exit(3)"
    job = place.run(FAILS_LATER.format(ending))
    next(job.logs(follow=True))
    (place.folder(job) / "go").touch()
    if how != "script":
        fill(root, left)
    try:
        status = job.wait(60).status()
        read = [*job.logs(follow=True)][:1]
        print(json.dumps({"stage": status.stage, "message": status.message, "log": read}))
    except Exception as error:
        print(json.dumps({"raw": f"{type(error).__name__}: {error}"}))


def fill(root: Path, left: int) -> None:
    """Fill the disk up to so many bytes."""
    room = os.statvfs(root)
    with (root / "filler").open("wb", buffering=0) as filler:
        try:
            filler.write(bytes(max(0, room.f_bavail * room.f_frsize - left)))
            while not left:
                filler.write(b"x" * 512)
        except OSError:
            return


if __name__ == "__main__":
    task, folder, *given = sys.argv[1:]
    if task == "submit":
        submit(Path(folder))
    elif task == "read-only":
        submit_read_only(Path(folder))
    elif task == "before":
        fill_before(Path(folder), int(given[0]))
    else:
        fill_during(Path(folder), int(given[0]), given[1])
