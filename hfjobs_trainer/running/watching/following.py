"""What becomes known of a job while it is watched: read in threads, so that who watches is never held up."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from hfjobs_trainer.errors import BackendError
from hfjobs_trainer.running.backends.base import JobStatus, LogLines, Measures, Usage
from hfjobs_trainer.running.cost import usd_per_hour

if TYPE_CHECKING:
    from hfjobs_trainer.running.job import Job

# Seconds between two looks: at a job that waits, at one that runs, at what it uses.
WAITING, RUNNING, USING = 3.0, 10.0, 5.0
FIRST = 10.0
"""Seconds for which the log waits for the first status."""
THREAD = "hfjobs-trainer-watch"


@dataclass(frozen=True, slots=True)
class Price:
    """What one of its machines costs per hour, and what the jobs cost that it resumes, US dollars."""

    usd_per_hour: float | None
    usd_before: float | None


@dataclass(frozen=True, slots=True)
class Used:
    """What a node uses; ``None`` if that is not known any more."""

    node: int
    usage: Usage | None


@dataclass(frozen=True, slots=True)
class Outage:
    """Why its status is not known."""

    why: str


@dataclass(frozen=True, slots=True)
class End:
    """Its final status, after all else; or what keeps it from being known."""

    status: JobStatus | None = None
    error: BaseException | None = None


News = str | JobStatus | Price | Used | Outage | End
"""A line of its log, or one of the others."""


class Following:
    """Follows a job until it has ended, or until it is closed.

    Args:
        job: The job.
    """

    def __init__(self, job: Job) -> None:
        self._job, self._news = job, queue.SimpleQueue[News]()
        self._is_closed, self._look, self._has_looked = threading.Event(), threading.Event(), threading.Event()
        self._is_running = False
        self._lines: Iterator[str] | None = None
        self._start(self._read_log)
        self._start(self._watch_status)
        if isinstance(backend := job.backend, Measures):
            for node, name in enumerate(job.record.members or (job.id,)):
                self._start(partial(self._watch_usage, backend, node, name))

    def _start(self, work: Callable[[], None]) -> None:
        threading.Thread(target=work, daemon=True, name=THREAD).start()

    def close(self) -> None:
        """Follow it no longer; what is being asked for now is not waited for."""
        self._is_closed.set()
        self._look.set()
        if isinstance(self._lines, LogLines):
            self._lines.close()

    def look(self) -> None:
        """Ask for its status now, since it is likely to be another one."""
        self._look.set()

    def news(self, seconds: float) -> Iterator[News]:
        """What has become known; waits for the first of it, so long at most."""
        try:
            yield self._news.get(timeout=seconds)
            while True:
                yield self._news.get_nowait()
        except queue.Empty:
            return

    def _read_log(self) -> None:
        self._has_looked.wait(FIRST)  # so that the first lines find a stage
        try:
            self._lines = self._job.logs(follow=True)
            for line in self._lines:
                if self._is_closed.is_set():
                    return
                self._news.put(line)
            # the log may be over a little before the job is
            self._news.put(End(self._job.wait_for_end()))
        except BaseException as error:
            self._news.put(End(error=error))

    def _watch_status(self) -> None:
        job = self._job
        is_priced = False
        while not self._is_closed.is_set():
            try:
                status = job.backend.status(job.id)
            except BackendError as error:  # if that stays so, whoever reads the log says so
                self._is_running = False
                self._news.put(Outage(f"its status is not known, it is asked for again: {error}"))
            else:
                self._is_running = status.stage == "RUNNING"
                self._news.put(status)
                if not is_priced:
                    with contextlib.suppress(BackendError):
                        self._news.put(Price(usd_per_hour(job.backend, job.record), job.cost_before()))
                        is_priced = True
                if status.is_terminal:
                    return
            finally:
                self._has_looked.set()
            self._look.wait(RUNNING if self._is_running else WAITING)
            self._look.clear()

    def _watch_usage(self, backend: Measures, node: int, name: str) -> None:
        while not self._is_closed.wait(USING if self._is_running else 1.0):
            if not self._is_running:
                continue
            try:
                usage = backend.usage(name)
            except BackendError:
                usage = None  # it is not worth a word
            self._news.put(Used(node, usage))
