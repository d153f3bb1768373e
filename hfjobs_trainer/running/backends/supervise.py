"""The process that stays with a run on this machine: starts the script, keeps its log, ends it when told to.

It is started detached, so that it outlives whoever submitted the run. ``python -m`` this module with a folder and the
descriptor of its lock reads ``record.json``, writes ``log.txt``, ``events.jsonl`` and ``status.json`` there, and
says on stdout whether the script has started. It imports little beyond the standard library, to start fast.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hfjobs_trainer.running.backends import processes
from hfjobs_trainer.running.backends.heirs import (
    Heir,
    adopt_orphans,
    bind_to_parent,
    copy_for,
    end_left,
    leave_heir,
    mark_of,
)
from hfjobs_trainer.running.backends.local_files import (
    LARGEST_RECORD,
    LONGEST_MESSAGE,
    Reserve,
    open_private,
    read_file,
    remove_quietly,
    write_json,
)
from hfjobs_trainer.running.backends.processes import Identity
from hfjobs_trainer.running.events import parse_event

STARTED = "started"
# After the script has ended and everything it left behind was killed: how long a last writer may hold the log, seconds.
LAST_WORDS = 2.0
# Between two rounds of killing, seconds: a process may be born while the others are killed.
KILL_AGAIN = 0.5
# A "line" longer than this holds no event: bytes.
LONGEST_LINE = 1 << 20
# Between two looks whether the run is cancelled, seconds: who cancels it may be where no signal comes from.
CANCEL_LOOK = 2.0
CANCEL = "cancel"
"""A file of this name in the run folder cancels the run."""
DIED = "the supervisor of this run died"
# What a script may still write once nobody reads it, bytes.
_PIPE = 1 << 20
# With less room than this a disk is full, bytes.
_NO_ROOM = 64 << 10


def main() -> None:
    """Detach, start the script, report, and stay with it to its end."""
    if os.fork():
        # The submitter need not wait for the one that stays, and gets no zombie.
        os._exit(0)
    folder, lock = Path(sys.argv[1]), int(sys.argv[2])
    signals = _Signals()
    try:
        os.set_inheritable(lock, False)
        os.ftruncate(lock, 0)
        os.write(lock, str(os.getpid()).encode())
        record = json.loads(read_file(folder / "record.json", LARGEST_RECORD))
        run = Run(folder, record, signals)
    except (OSError, ValueError) as error:  # the latter for what no system takes in a command or an environment
        print(error, flush=True)
        sys.exit(1)
    with contextlib.suppress(BrokenPipeError):  # the submitter is gone already: the run continues
        print(STARTED, flush=True)
    silence = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(silence, stream)
    if run.process is None:
        return run.finish("CANCELED", None)
    with contextlib.suppress(OSError):  # it does without
        run.heir = leave_heir(run.inherit, lock)
    try:
        run.attend(run.process)
    except Exception as error:  # whatever it was, nothing may run unattended
        run.kill()
        run.finish("ERROR", f"the supervisor failed: {type(error).__name__}: {error}")
    if run.heir is not None:
        run.heir.dismiss()
    return None


def now() -> str:
    """The time as ISO 8601 text, UTC."""
    return datetime.now(UTC).isoformat()


class _Signals:
    """Wakes the waiting supervisor when it is told to stop, and when a process has ended."""

    def __init__(self) -> None:
        self.stop = False
        self.wake, wake_end = os.pipe()
        for end in (self.wake, wake_end):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(wake_end, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, self._on_child)
        signal.signal(signal.SIGTERM, self._on_stop)
        for ignored in (signal.SIGHUP, signal.SIGINT):
            signal.signal(ignored, signal.SIG_IGN)

    def _on_child(self, *_: object) -> None:
        """Nothing to do: with a handler, the signal wakes the supervisor."""

    def _on_stop(self, *_: object) -> None:
        self.stop = True

    def clear(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while os.read(self.wake, 4096):
                pass


class Run:
    """A script that is running, and the files about it.

    Args:
        folder: The run folder; the script's working directory, unless the record has another.
        record: What ``record.json`` holds.
        signals: Where a request to stop arrives.

    Attributes:
        process: The script; ``None`` if the run was cancelled before it was started.

    Raises:
        OSError: The script could not be started, or the folder not be written to.
        ValueError: The command or the environment is none.
    """

    def __init__(self, folder: Path, record: dict[str, Any], signals: _Signals) -> None:
        self.folder, self.record, self.signals = folder, record, signals
        self.exit_code: int | None = None
        self.log_error: OSError | None = None
        self.partial = b""
        self.started_at: str | None = None
        self.started = time.monotonic()
        self.process: subprocess.Popen[bytes] | None = None
        self.script: Identity | None = None
        self.output: int | None = None
        self.supervisor = os.getpid()
        self.heir: Heir | None = None
        self.reserve = Reserve(folder / "status.json")
        self.log = os.open(folder / "log.txt", os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self.events = open_private(folder / "events.jsonl", os.O_WRONLY | os.O_APPEND)
        adopt_orphans()
        if self.is_cancelled():
            return
        self.started_at, self.started = now(), time.monotonic()
        self.process = self.start()
        self.script = Identity.of(self.process.pid)
        try:
            self.write_status("RUNNING", None)
        except OSError:
            self.kill()
            raise

    def start(self) -> subprocess.Popen[bytes]:
        """Start the script, bound to this process, with its output in a pipe that is read here."""
        import fcntl  # Windows lacks it

        self.output, inlet = os.pipe()
        with contextlib.suppress(OSError, AttributeError):  # Linux has it, within a limit of the user
            fcntl.fcntl(inlet, fcntl.F_SETPIPE_SZ, _PIPE)
        try:
            return subprocess.Popen(
                self.record["command"],
                cwd=self.record.get("cwd") or self.folder,
                env={**os.environ, **self.record["env"], **dict([mark_of(self.folder)])},
                stdin=subprocess.DEVNULL,
                stdout=inlet,
                stderr=subprocess.STDOUT,
                # It can read its own output: so it may go on and save, at what it prints, when nobody else reads it.
                pass_fds=[self.output],
                start_new_session=True,
                preexec_fn=bind_to_parent(),
            )
        finally:
            os.close(inlet)

    def is_cancelled(self) -> bool:
        """Whether somebody has asked for the end of the run."""
        return self.signals.stop or os.path.lexists(self.folder / CANCEL)

    def attend(self, process: subprocess.Popen[bytes]) -> None:
        """Copy the output until the script and all that it started have ended; end them when asked or out of time."""
        limit: int | None = self.record["timeout_seconds"]
        grace: float = self.record["grace_seconds"]
        verdict: tuple[str, str | None] | None = None
        kill_at: float | None = None
        last_call: float | None = None
        while True:
            deadlines = [moment for moment in (kill_at, last_call) if moment is not None]
            if limit is not None and verdict is None:
                deadlines.append(self.started + limit)
            if verdict is None:
                deadlines.append(time.monotonic() + CANCEL_LOOK)
            self.wait(min(deadlines) - time.monotonic() if deadlines else None)
            self.reap(process)
            moment = time.monotonic()
            if verdict is None and self.exit_code is None:
                if self.is_cancelled():
                    verdict = ("CANCELED", None)
                    remove_quietly(self.folder / CANCEL)  # so that it is known to be heeded
                elif limit is not None and moment >= self.started + limit:
                    verdict = ("ERROR", "Job timeout")
                if verdict is not None:
                    processes.signal_group(process.pid, signal.SIGTERM)
                    kill_at = moment + grace
            if self.exit_code is not None and verdict is None:
                verdict = self.judge(self.exit_code)
                # As when a container ends: what the script left behind ends with it.
                for pid in self.survivors():
                    processes.signal_process(pid, signal.SIGTERM)
                kill_at = moment + grace
            if kill_at is not None and moment >= kill_at:
                self.kill()
                kill_at = moment + KILL_AGAIN
                last_call = last_call or moment + LAST_WORDS
            if verdict is None or self.exit_code is None:
                continue
            if (last_call is not None and moment >= last_call) or (self.output is None and not self.survivors()):
                return self.finish(*verdict)

    def wait(self, seconds: float | None) -> None:
        """Sleep until there is output, a signal, or the time has passed; copy the output."""
        waiting_for = [self.signals.wake] if self.output is None else [self.signals.wake, self.output]
        # Where orphans are not handed to us, their end goes unreported.
        if self.exit_code is not None:
            seconds = min(0.1, seconds or 0.1)
        ready, _, _ = select.select(waiting_for, [], [], None if seconds is None else max(0.0, seconds))
        if self.signals.wake in ready:
            self.signals.clear()
        if self.output is not None and self.output in ready:
            chunk = os.read(self.output, 1 << 16)
            if chunk:
                self.keep(chunk)
            else:
                self.output = None

    def keep(self, chunk: bytes) -> None:
        """Write output to the log, and the events in it to theirs; a full disk does not stop the run."""
        *lines, self.partial = re.split(rb"[\r\n]", self.partial + chunk)
        self.partial = self.partial[-LONGEST_LINE:]
        found = [parse_event(line.decode("utf-8", "replace")) for line in lines if b'"hft.' in line]
        try:
            write_all(self.log, chunk)
            for event in filter(None, found):
                fields = {"event": f"hft.{event.kind}", "time": event.time, **event.data}
                write_all(self.events, json.dumps(fields).encode() + b"\n")
        except OSError as error:
            self.log_error = error

    def reap(self, process: subprocess.Popen[bytes]) -> None:
        """Take note of the processes that have ended."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                if pid == process.pid:
                    self.exit_code = process.returncode = os.waitstatus_to_exitcode(status)

    def survivors(self) -> list[int]:
        """Processes that the script started and that still run, itself included."""
        found = [] if self.process is None else processes.descendants(os.getpid(), group=self.process.pid)
        return [pid for pid in found if self.heir is None or pid != self.heir.pid]

    def kill(self) -> None:
        """Kill the script and everything that it started."""
        for pid in self.survivors():
            processes.signal_process(pid, signal.SIGKILL)

    def inherit(self) -> None:
        """See to the run after the death of its supervisor: keep its last words, end what runs, write its status."""
        output = self.output
        assert output is not None

        def pause(seconds: float) -> None:
            remove_quietly(self.folder / CANCEL)  # it is being done
            if not copy_for(seconds, output, self.keep):
                time.sleep(seconds)

        end_left(self.folder, self.script, self.record["grace_seconds"], pause)
        copy_for(LAST_WORDS, output, self.keep)
        if self.reserve.is_kept:
            self.finish("ERROR", DIED)

    def judge(self, exit_code: int) -> tuple[str, str | None]:
        """Stage and message for a script that ended by itself."""
        if exit_code == 0:
            return "COMPLETED", None
        number = -exit_code if exit_code < 0 else exit_code - 128
        with contextlib.suppress(ValueError):
            name = signal.Signals(number).name
            hint = ", often because the machine ran out of memory" if number == signal.SIGKILL else ""
            return "ERROR", f"Job failed with exit code: {128 + number} ({name}{hint})"
        return "ERROR", f"Job failed with exit code: {exit_code}"

    def finish(self, stage: str, message: str | None) -> None:
        """Write the final status, for which there is room on the disk."""
        lost = self.log_error
        is_full = lost is not None and lost.errno in (errno.ENOSPC, errno.EDQUOT)
        told = [message]
        if is_full or (self.exit_code and not has_room(self.folder)):
            told.append("the disk was full")
        if lost is not None:
            told.append("the log is incomplete" + ("" if is_full else f": {lost.strerror}"))
        self.reserve.write(self.status(stage, "; ".join(filter(None, told)) or None, now()))
        remove_quietly(self.folder / CANCEL)

    def write_status(self, stage: str, message: str | None) -> None:
        """Replace ``status.json``."""
        write_json(self.folder / "status.json", self.status(stage, message, None))

    def status(self, stage: str, message: str | None, finished_at: str | None) -> dict[str, Any]:
        """What ``status.json`` holds."""
        return {
            "stage": stage,
            "message": message and message[:LONGEST_MESSAGE],
            "started_at": self.started_at,
            "finished_at": finished_at,
            "exit_code": self.exit_code,
            "pid": self.script and self.script.pid,
            "birth": self.script and self.script.birth,
            "supervisor": self.supervisor,
            "supervisor_birth": processes.birth_of(self.supervisor),
        }


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte: the kernel may take fewer when the disk fills up."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def has_room(folder: Path) -> bool:
    """Whether there is room on a folder's disk, as far as is known."""
    with contextlib.suppress(OSError):
        room = os.statvfs(folder)
        return room.f_bavail * room.f_frsize >= _NO_ROOM
    return True


if __name__ == "__main__":
    main()
