"""Processes of this machine: who descends from whom, which is which, and signals that tolerate the dead."""

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


class Identity(NamedTuple):
    """One process and no other: its id, which another may get once it is dead, and its birth."""

    pid: int
    birth: str

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """The process that has this id now; ``None`` if there is none."""
        birth = birth_of(pid)
        return None if birth is None else cls(pid, birth)

    @classmethod
    def read(cls, pid: object, birth: object) -> Identity | None:
        """The identity that a file tells; ``None`` if it tells none."""
        if isinstance(pid, int) and 1 < pid < 1 << 31 and isinstance(birth, str) and birth:
            return cls(pid, birth)
        return None

    @property
    def is_alive(self) -> bool:
        """Whether this very process still runs."""
        found = _look(self.pid)
        return found is not None and found[1] == self.birth and found[0] not in "ZX"


def birth_of(pid: int) -> str | None:
    """When a process began, in a form that is the same at each look and differs for each process of the same id.

    ``None`` if there is none.
    """
    found = _look(pid)
    return None if found is None else found[1]


def _look(pid: int) -> tuple[str, str] | None:
    """State of a process, one letter, and its birth; ``None`` if there is none."""
    if not Path("/proc/self/stat").exists():
        told = subprocess.run(
            ["ps", "-o", "stat=,lstart=", "-p", str(pid)],
            env={**os.environ, "LC_ALL": "C", "TZ": "UTC"},
            capture_output=True,
            text=True,
            check=False,
        ).stdout.split()
        return (told[0][0], " ".join(told[1:])) if told else None
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return None
    # Fields from the third on, as proc(5) numbers them: the state, and as the 22nd ticks since the boot.
    fields = text.rpartition(")")[2].split()
    return fields[0], f"{boot} {fields[19]}"


def marked(mark: str) -> list[int]:
    """Processes but this one that have a text in the environment that they were given, where the system tells it."""
    found: list[int] = []
    wanted = mark.encode()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if wanted in (entry / "environ").read_bytes() and int(entry.name) != os.getpid():
                found.append(int(entry.name))
    return found


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
