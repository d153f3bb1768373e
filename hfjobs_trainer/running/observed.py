"""A job as it is seen: its status from one look to the next, and once it has ended, its log."""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections import deque

from hfjobs_trainer.errors import BackendError
from hfjobs_trainer.running.backends.base import (
    RESUMES_LABEL,
    Backend,
    JobRecord,
    JobStatus,
    LogLines,
    Tolerant,
    Verifies,
)
from hfjobs_trainer.running.backends.registry import traits_at
from hfjobs_trainer.running.ending import Ending, explain, read_ending
from hfjobs_trainer.running.events import Event, read_events
from hfjobs_trainer.running.failing import Excerpt
from hfjobs_trainer.running.outage import Outage, Tolerance

# Lines of the log that come with a failure.
TAIL_LINES = 20
# Pauses between two checks of a job's status, seconds: short at first, so that an early failure is seen early.
FIRST_PAUSE, LONGEST_PAUSE, PAUSE_GROWTH = 0.2, 5.0, 1.3


class Observed:
    """What is known of one job. A job that resumes it is another one.

    Args:
        record: The backend's record of the job.
        backend: The backend that runs it.

    Attributes:
        end: Its final status with what its log says of it; ``None`` until it is known to have ended.
        stated: The final status as the backend states it.
        ending: What its log says of its end; ``None`` until that was read.
        events: What it reported, once its log was read at its end.
        tail: The last lines of that log.
        incomplete: Why that log may be incomplete; ``None`` if it is not.
        excerpt: As much of it as tells why the run failed.
    """

    def __init__(self, record: JobRecord, backend: Backend) -> None:
        self.record = record
        self.backend = backend
        self.end: JobStatus | None = None
        self.stated: JobStatus | None = None
        self.ending: Ending | None = None
        self.events: tuple[Event, ...] = ()
        self.tail: tuple[str, ...] = ()
        self.incomplete: str | None = None
        self.excerpt = Excerpt()
        self._is_verified = False

    def status(self) -> JobStatus:
        """The status now; of one that did not end well, with what its log says."""
        stated = self.backend.status(self.record.id)
        if not stated.is_terminal:
            self.end = None
        elif self.end is None or stated != self.stated or self.ending is None:
            self.stated, self.end = stated, self._explained(stated)
        return self.end or stated

    def now(self) -> JobStatus:
        """The status; once the job is known to have ended, nothing is asked any more."""
        return self.end or self.status()

    def _explained(self, stated: JobStatus) -> JobStatus:
        if stated.succeeded or stated.started_at is None:
            return stated
        try:
            ending = self.read_end()
        except BackendError:
            return stated
        return explain(stated, ending, continues=RESUMES_LABEL in self.record.labels)

    def read_end(self, *, patiently: bool = False) -> Ending:
        """What the log of the ended job says of its end; read once, its events and its last lines kept.

        Args:
            patiently: Whether to wait outages out, as when a log is followed.
        """
        if self.ending is None:
            events: list[Event] = []
            tail: deque[str] = deque(maxlen=TAIL_LINES)
            excerpt = Excerpt()
            lines = self.backend.logs(self.record.id, follow=patiently)
            for line in lines:
                excerpt.add(line)
                found = [*read_events([line])]
                events += found
                if not found and line.strip():
                    tail.append(line)
            self.events, self.tail, self.excerpt = tuple(events), tuple(tail), excerpt
            self.incomplete = lines.incomplete if isinstance(lines, LogLines) else None
            self.ending = read_ending(events, is_here=traits_at(self.backend).is_here)
        return self.ending

    def forget_incomplete(self) -> None:
        """Have the log be read again if it may be incomplete."""
        if self.incomplete is not None:
            self.incomplete, self.ending = None, None

    def _verified(self, status: JobStatus) -> JobStatus:
        """The status of a job that has ended, once what it pushed was looked at from outside."""
        if self._is_verified or not (status.succeeded and isinstance(self.backend, Verifies)):
            return status
        try:
            self.read_end()
            wrong = self.backend.verify(self.events)
        except BackendError as error:
            warnings.warn(f"what job {self.record.id} pushed was not checked: {error}", RuntimeWarning, stacklevel=5)
            return status
        self._is_verified = self.incomplete is None
        if wrong is not None:
            status = self.end = dataclasses.replace(status, stage="ERROR", message=wrong)
        return status

    def wait_for_end(self, timeout: float | None, poll: float) -> JobStatus:
        """Wait until the job has ended, through outages of the Hub; return its final status."""
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = min(FIRST_PAUSE, poll)
        outage = Outage(self.backend.tolerance if isinstance(self.backend, Tolerant) else Tolerance())
        stage = "an unknown stage"
        while True:
            try:
                status = self.status()
            except BackendError as error:
                outage.count(error)
            else:
                outage.end()
                if status.is_terminal:
                    return self._verified(status)
                stage = status.stage
            left = pause if deadline is None else deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(
                    f"job {self.record.id} is still in {stage} after {timeout:g} s; it keeps running: wait again, or"
                    " stop it with job.cancel()"
                )
            time.sleep(min(pause, left))
            pause = min(pause * PAUSE_GROWTH, poll)
