"""A bucket volume that is written late, as hf-mount does it: what a job wrote shortly before its end never arrives."""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
from pathlib import Path

Stamp = tuple[int, int]
"""Size and time of the last change of a file, nanoseconds."""
LOOK_SECONDS = 0.05


class LateMount:
    """A folder in which a job works in place of the bucket's own, and which is brought into line with it.

    A change is carried over once it is ``seconds`` old; those that are younger when the job ends are lost. Changes in
    the bucket appear in the folder at the next look.

    Args:
        bucket: The bucket's folder.
        folder: The job's, made here.
        seconds: How late changes are carried over.
    """

    def __init__(self, bucket: Path, folder: Path, seconds: float) -> None:
        self.bucket, self.folder, self.seconds = bucket, folder, seconds
        self.common: dict[str, tuple[Stamp, Stamp]] = {}
        """What both had when they were last alike: stamps in the folder and in the bucket."""
        self.pending: dict[str, tuple[Stamp | None, float]] = {}
        """Changes in the folder, ``None`` for a deletion, and when they were seen."""
        folder.mkdir(parents=True)
        self.partial = folder.with_name(f"{folder.name}-partial")
        self.ended = threading.Event()
        self.look()
        self.thread = threading.Thread(target=self._live, daemon=True, name=f"mount of {bucket}")
        self.thread.start()

    def close(self) -> None:
        """The job has ended: what is not carried over by now is lost."""
        self.ended.set()
        self.thread.join()
        self.look()

    def _live(self) -> None:
        while not self.ended.wait(LOOK_SECONDS):
            self.look()

    def look(self) -> None:
        """Take note of changes on both sides, and carry over those that are old enough."""
        now = time.monotonic()
        here, there = stamps(self.folder), stamps(self.bucket)
        for name in here.keys() | there.keys() | self.common.keys():
            known = self.common.get(name, (None, None))
            if here.get(name) != known[0]:
                self._carry(name, here.get(name), now)
            elif there.get(name) != known[1]:
                self._copy(self.bucket, self.folder, name)
                self.pending.pop(name, None)

    def _carry(self, name: str, stamp: Stamp | None, now: float) -> None:
        seen = self.pending.get(name)
        if seen is None or seen[0] != stamp:
            self.pending[name] = (stamp, now)
        elif now - seen[1] >= self.seconds:
            del self.pending[name]
            self._copy(self.folder, self.bucket, name)

    def _copy(self, source: Path, target: Path, name: str) -> None:
        new = target / name
        with contextlib.suppress(FileNotFoundError):
            if not (source / name).exists():
                new.unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    for folder in new.relative_to(target).parents[:-1]:
                        (target / folder).rmdir()
            else:
                new.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source / name, self.partial)
                self.partial.replace(new)
        both = [stamp_of(folder / name) for folder in (self.folder, self.bucket)]
        if both[0] is None or both[1] is None:
            self.common.pop(name, None)
        else:
            self.common[name] = (both[0], both[1])


def stamps(folder: Path) -> dict[str, Stamp]:
    found: dict[str, Stamp] = {}
    for place, _, names in os.walk(folder):
        for path in (Path(place, name) for name in names if not name.endswith(".hubsim-tmp")):
            if (stamp := stamp_of(path)) is not None:
                found[path.relative_to(folder).as_posix()] = stamp
    return found


def stamp_of(path: Path) -> Stamp | None:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_size, stat.st_mtime_ns
