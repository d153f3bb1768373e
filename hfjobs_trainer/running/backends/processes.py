"""Processes of this machine: who descends from whom, and signals that tolerate the dead."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Process(NamedTuple):
    """A process, its parent and its process group."""

    pid: int
    parent: int
    group: int


def descendants(ancestor: int, *, group: int) -> list[int]:
    """Running processes that descend from ``ancestor`` or are of the process group ``group``; zombies do not count."""
    children: dict[int, list[int]] = defaultdict(list)
    found: list[int] = []
    for process in running_processes():
        children[process.parent].append(process.pid)
        if process.group == group:
            found.append(process.pid)
    family = [ancestor]
    for pid in family:
        family.extend(children[pid])
    return list(dict.fromkeys(found + family[1:]))


def running_processes() -> Iterator[Process]:
    """Every process that is not a zombie."""
    if Path("/proc/self/stat").exists():
        yield from _from_proc()
    else:
        yield from _from_ps()


def _from_proc() -> Iterator[Process]:
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        with contextlib.suppress(OSError):
            # The name, in parentheses, may hold anything: parentheses and spaces too.
            _, _, rest = (entry / "stat").read_text("utf-8", "replace").rpartition(")")
            state, parent, group = rest.split()[:3]
            if state not in "ZX":
                yield Process(int(entry.name), int(parent), int(group))


def _from_ps() -> Iterator[Process]:
    with subprocess.Popen(
        ["ps", "-A", "-o", "pid=,ppid=,pgid=,stat="], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    ) as ps:
        listing, _ = ps.communicate()
    for line in listing.splitlines():
        pid, parent, group, state = line.split()[:4]
        if int(pid) != ps.pid and not state.startswith("Z"):
            yield Process(int(pid), int(parent), int(group))


def signal_process(pid: int, number: int) -> None:
    """Send a signal to a process, if it still exists."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def signal_group(group: int, number: int) -> None:
    """Send a signal to a process group, if it still exists."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
