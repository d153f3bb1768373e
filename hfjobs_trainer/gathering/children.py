"""Processes that answer questions, one line of JSON each: for what must not be imported or run in the client's own."""

from __future__ import annotations

import atexit
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import hfjobs_trainer

# Variables that a child needs to find its interpreter, its libraries and its caches; no token is among them.
_PASSED = ("PATH", "HOME", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "VIRTUAL_ENV")


class Child:
    """One process of a module of this package, which reads questions from its stdin until that ends.

    Args:
        module: The module, with a ``__main__``.
        first_seconds: What it may take until its first answer, imports included, seconds.
        next_seconds: What it may take for each answer after it, seconds.
        python: The interpreter; default: the running one.
        most_bytes: Longest answer, bytes.
        env: Further environment variables.
    """

    def __init__(
        self,
        module: str,
        *,
        first_seconds: float,
        next_seconds: float,
        python: str | None = None,
        most_bytes: int = 16 * 1024**2,
        env: Mapping[str, str] | None = None,
    ) -> None:
        root = str(Path(hfjobs_trainer.__file__).parents[1])  # where the package is found, installed or not
        self._process = subprocess.Popen(
            [python or sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=root,
            env=_environment(root) | dict(env or {}),
        )
        self._lines: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._seconds, self._next_seconds = first_seconds, next_seconds
        self._most_bytes = most_bytes
        threading.Thread(target=self._read, name="hfjobs-trainer-child", daemon=True).start()

    def _read(self) -> None:
        stream = self._process.stdout
        assert stream is not None
        try:
            while (line := stream.readline(self._most_bytes)).endswith(b"\n"):
                self._lines.put(line)
        except (OSError, ValueError):
            pass  # closed by ``stop``
        self._lines.put(b"")

    def ask(self, question: str, *, seconds: float | None = None) -> dict[str, Any] | None:
        """The answer; ``None`` if the child died, said too much, or its time was up. Then only ``stop`` is left.

        Args:
            question: One line.
            seconds: What it may take, if that is less than it might.
        """
        stream = self._process.stdin
        assert stream is not None
        # a child that reads no more would make the writing wait for ever
        writing = threading.Thread(target=_write, args=(stream, question), daemon=True)
        writing.start()
        try:
            line = self._lines.get(timeout=self._seconds if seconds is None else min(seconds, self._seconds))
        except queue.Empty:
            return None
        self._seconds = self._next_seconds
        return json.loads(line) if line else None

    @property
    def is_alive(self) -> bool:
        """Whether it still runs."""
        return self._process.poll() is None

    def leave(self) -> None:
        """Close this process's ends of the pipes, without ending the child: after a fork it is the parent's."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                os.close(stream.fileno())
        self._process.returncode = 0

    def stop(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                _close(stream)


def _write(stream: Any, question: str) -> None:
    try:
        stream.write(question.encode() + b"\n")
        stream.flush()
    except (OSError, ValueError):
        return  # the child has ended, which its output tells


def _close(stream: Any) -> None:
    try:
        stream.close()
    except OSError:
        # what the dead child did not read
        return


def _environment(root: str) -> dict[str, str]:
    """What a child sees: no tokens, no GPU, no Hub."""
    kept = {name: os.environ[name] for name in _PASSED if name in os.environ}
    path: Iterable[str] = (root, *filter(None, [os.environ.get("PYTHONPATH")]))
    return kept | {
        "PYTHONPATH": os.pathsep.join(path),
        "CUDA_VISIBLE_DEVICES": "",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "OMP_NUM_THREADS": "1",
        "PYTHONWARNINGS": "ignore",
        "TOKENIZERS_PARALLELISM": "false",
    }


class Warm:
    """One process of a module that stays between questions, started when it is first needed, for a whole process.

    Safe to use from several threads, and after a fork, whose child gets a process of its own. It is ended with the
    interpreter, if not before.

    Args:
        module: The module, with a ``__main__``.
        most_bytes: Longest answer, bytes.
    """

    def __init__(self, module: str, *, most_bytes: int) -> None:
        self._module, self._most_bytes = module, most_bytes
        self._lock = threading.Lock()
        self._child: Child | None = None
        self._python: str | None = None
        atexit.register(self.stop)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forget)

    def start(self) -> None:
        """Start the process with the running interpreter, if none is there or on its way."""
        if self._lock.acquire(blocking=False):
            try:
                self._ready(sys.executable, 60.0)
            finally:
                self._lock.release()

    def ask(self, question: str, seconds: float, python: str) -> dict[str, Any] | None:
        """The answer; ``None`` if there is none within so many seconds, waiting for others included.

        Args:
            question: One line.
            seconds: The time.
            python: The interpreter.
        """
        until = time.monotonic() + seconds
        if not self._lock.acquire(timeout=seconds):
            return None
        try:
            child = self._ready(python, seconds)
            answer = child.ask(question, seconds=max(0.0, until - time.monotonic()))
            if answer is None:
                self._end()
            return answer
        finally:
            self._lock.release()

    def stop(self) -> None:
        """End the process; the next question starts another."""
        with self._lock:
            self._end()

    def _ready(self, python: str, seconds: float) -> Child:
        if self._child is not None and (not self._child.is_alive or self._python != python):
            self._end()
        if self._child is None:
            self._child = Child(
                self._module, first_seconds=seconds, next_seconds=seconds, python=python, most_bytes=self._most_bytes
            )
            self._python = python
        return self._child

    def _end(self) -> None:
        if self._child is not None:
            self._child.stop()
            self._child = None

    def _forget(self) -> None:
        # the process belongs to the parent, whose lock another of its threads may have held
        self._lock = threading.Lock()
        if self._child is not None:
            self._child.leave()
            self._child = None
