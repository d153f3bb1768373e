"""A process that is watched: its time, its memory and its output have bounds, and nothing of it outlives the call."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hfjobs_trainer.running.backends.processes import descendants, marked, signal_group, signal_process

GIB = 1 << 30
# Between two looks at the memory, seconds.
LOOK_SECONDS = 0.25
# After everything was killed: how long its output is awaited, seconds.
LAST_WORDS = 2.0
# Of an output that is longer, its beginning and its end are kept: bytes.
HEAD, TAIL = 16 << 10, 256 << 10
# Dies with the process that started it, where the kernel offers it (Linux).
_BOUND_TO_PARENT = (
    "import ctypes, os, sys\n"
    "if sys.platform == 'linux':\n"
    "    ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)\n"
    "os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a process and all that it starts may take; beyond any of these it is killed.

    Attributes:
        seconds: Time.
        memory: Memory of all its processes together, bytes: what is resident, pages that they share counted once. The
            address space is not bounded, since torch reserves much more than it uses.
        output: What it writes to stdout and stderr, bytes.
    """

    seconds: float = 300.0
    memory: int = 12 * GIB
    output: int = 64 << 20


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that has ended.

    Attributes:
        exit_code: Its exit status; negative for a signal.
        stopped: Which limit it met, empty for none.
        log: What it wrote, the middle left out if that is long.
        lines: The lines that begin as an event does, whole.
        seconds: How long it ran.
        peak: The most memory that was seen, bytes.
    """

    exit_code: int
    stopped: str
    log: str
    lines: tuple[str, ...]
    seconds: float
    peak: int


class _Output:
    """The beginning and the end of an output, and its events."""

    def __init__(self) -> None:
        self.size = 0
        self.head, self.tail = b"", deque[bytes]()
        self.kept = 0
        self.partial = b""
        self.events: list[str] = []

    def add(self, chunk: bytes) -> None:
        self.size += len(chunk)
        room = HEAD - len(self.head)
        self.head += chunk[:room]
        if rest := chunk[room:]:
            self.tail.append(rest)
            self.kept += len(rest)
            while self.kept - len(self.tail[0]) > TAIL:
                self.kept -= len(self.tail.popleft())
        *lines, partial = (self.partial + chunk).split(b"\n")
        self.events += [line.decode("utf-8", "replace") for line in lines if line.startswith(b'{"event": "hft.')]
        # what is so long is no event
        self.partial = partial if len(partial) < (8 << 20) else b""

    def text(self) -> str:
        left_out = self.size - len(self.head) - self.kept
        gap = b"\n[%d bytes are left out]\n" % left_out if left_out else b""
        return (self.head + gap + b"".join(self.tail)).decode("utf-8", "replace")


def run(command: Sequence[str], *, folder: Path, env: Mapping[str, str], mark: str, limits: Limits) -> Ended:
    """Run a command to its end or to its limits.

    Args:
        command: An interpreter and its arguments.
        folder: Its working directory.
        env: All its environment.
        mark: A text in its environment that no other process has: what it started is found by it, whatever group or
            parent that has.
        limits: What it may take.

    Raises:
        OSError: It could not be started.
    """
    started = time.monotonic()
    process = subprocess.Popen(
        [command[0], "-c", _BOUND_TO_PARENT, *command[1:]],
        cwd=folder,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert process.stdout is not None
    output, peak, stopped = _Output(), 0, ""
    with process.stdout as stream, selectors.DefaultSelector() as selector:
        os.set_blocking(stream.fileno(), False)
        selector.register(stream, selectors.EVENT_READ)
        try:
            look = started
            while process.poll() is None and not stopped:
                now = time.monotonic()
                if now >= look:
                    look = now + LOOK_SECONDS
                    peak = max(peak, sum(map(resident, descendants(process.pid, group=process.pid) or [process.pid])))
                ready = selector.select(max(0.0, min(look, started + limits.seconds) - now))
                if ready and not _drain(stream.fileno(), output):
                    selector.unregister(stream)  # it writes no more, and need not have ended
                stopped = _met(limits, time.monotonic() - started, peak, output.size)
        finally:
            kill(process.pid, mark)
            process.wait()
        # what is in the pipe is read; a writer that is not found may hold it open
        deadline = time.monotonic() + LAST_WORDS
        while _drain(stream.fileno(), output) and time.monotonic() < deadline:
            time.sleep(0.01)
    seconds = time.monotonic() - started
    return Ended(process.returncode, stopped, output.text(), tuple(output.events), seconds, peak)


def _met(limits: Limits, seconds: float, memory: int, output: int) -> str:
    """The limit that is met, in words."""
    if seconds >= limits.seconds:
        return f"it ran longer than {limits.seconds:g} s"
    if memory > limits.memory:
        return f"it took more than {limits.memory / GIB:.3g} GiB of memory"
    if output > limits.output:
        return f"it wrote more than {limits.output / (1 << 20):.3g} MiB of output"
    return ""


def _drain(descriptor: int, output: _Output) -> bool:
    """Take what there is, some of it if it is much; whether there may be more."""
    for _ in range(64):
        try:
            chunk = os.read(descriptor, 1 << 16)
        except BlockingIOError:
            return True
        if not chunk:
            return False
        output.add(chunk)
    return True


def resident(pid: int) -> int:
    """Memory of a process in bytes, shared pages in parts; 0 where it cannot be told."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text("utf-8").splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    except (OSError, ValueError):
        pass
    if Path("/proc/self/stat").exists():
        return 0  # it has ended
    told = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], capture_output=True, text=True, check=False).stdout
    return int(told.strip() or 0) << 10


def kill(pid: int, mark: str) -> None:
    """Kill a process, its group, its descendants, and whatever else has the mark."""
    for _ in range(5):
        found = {*descendants(pid, group=pid), *marked(mark)}
        signal_group(pid, signal.SIGKILL)
        for each in found:
            signal_process(each, signal.SIGKILL)
        if not found - {pid}:
            return
        time.sleep(0.02)
