"""A submitted run: its status, its log, its result."""

from __future__ import annotations

import contextlib
import time
import warnings
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from hfjobs_trainer.display import html_link, html_pairs
from hfjobs_trainer.errors import BackendError, JobFailed
from hfjobs_trainer.running.backends.base import Backend, JobRecord, JobStatus, Resumes, Stage
from hfjobs_trainer.running.backends.registry import backend_of, open_backend, traits_at
from hfjobs_trainer.running.cost import usd_per_hour, usd_so_far
from hfjobs_trainer.running.earlier import jobs_before
from hfjobs_trainer.running.ending import Ending, advise, refuse_resume
from hfjobs_trainer.running.events import Event, read_events
from hfjobs_trainer.running.interrupted import told_when_interrupted
from hfjobs_trainer.running.observed import LONGEST_PAUSE, Observed
from hfjobs_trainer.running.result import JobResult, read_result

if TYPE_CHECKING:
    from hfjobs_trainer.facts.backends import BackendName
    from hfjobs_trainer.running.diagnose import Diagnosis
    from hfjobs_trainer.running.resuming import Resuming


class Job:
    """A run that a backend has accepted.

    Args:
        record: The backend's record of the accepted run.
        backend: The backend that runs it.
        resuming: When it is resumed by itself while ``wait``, ``watch`` or ``result`` is up; ``None``: never.
        earlier: Records of the jobs that it resumes, oldest first; ``None``: they are looked up when they are needed.
    """

    def __init__(
        self,
        record: JobRecord,
        backend: Backend,
        resuming: Resuming | None = None,
        earlier: Sequence[JobRecord] | None = None,
    ) -> None:
        self._seen = Observed(record, backend)
        self._backend = backend
        self._resuming = resuming
        self._earlier = earlier
        self._ends: dict[str, JobStatus] = {}
        """How the earlier jobs ended, by their ids."""
        self._why_not = ""  # it was not resumed by itself

    @classmethod
    def from_id(cls, job_id: str, *, backend: Backend | BackendName | None = None, token: str | None = None) -> Job:
        """Find a job by its id, for instance from another process.

        Args:
            job_id: ``"namespace/id"`` on Hugging Face Jobs, ``"local/..."`` on this machine.
            backend: Where it runs, a ``Backend`` or its name; default: derived from the id.
            token: Hugging Face token; by default the one of the environment or of ``hf auth login``.

        Raises:
            JobNotFound: There is no such job, or the token may not see it.
            ValueError: There is no backend of this name.
        """
        chosen = backend_of(job_id) if backend is None else backend
        if isinstance(chosen, str):
            chosen = open_backend(chosen, token=token)
        return cls(chosen.inspect(job_id), chosen)

    def __repr__(self) -> str:
        return f"Job({self.id!r})"

    def _repr_html_(self) -> str:
        rows = {"job": self.id, "on": self.record.flavor or self._backend.name}
        try:
            rows["stage"] = str(self.status())
            cost = self.cost()
        except BackendError as error:
            rows["stage"] = f"unknown: {error}"
        else:
            rows |= {} if cost is None else {"cost": f"${cost:.2f}"}
        return html_pairs(rows) + (f"<p>{html_link(self.url, self.url)}</p>" if self.url else "")

    @property
    def id(self) -> str:
        """The id that ``Job.from_id`` takes."""
        return self.record.id

    @property
    def url(self) -> str | None:
        """URL of the job's page; ``None`` if it has none."""
        return self.record.url

    @property
    def backend(self) -> Backend:
        """The backend that runs it."""
        return self._backend

    @property
    def record(self) -> JobRecord:
        """Labels, flavor, folder and time of submission."""
        return self._seen.record

    @property
    def resumes(self) -> tuple[str, ...]:
        """Ids of the jobs of the same run before this one, which it resumes, oldest first."""
        return tuple(record.id for record in self._before())

    def _before(self) -> Sequence[JobRecord]:
        if self._earlier is None:
            self._earlier = jobs_before(self.record, self._backend)
        return self._earlier

    def status(self) -> JobStatus:
        """The current status of the job.

        Of one that did not end well, what its log says is told too, such as ``"stopped at the deadline at step 40,
        resumable: job.resume(timeout=...)"``, with ``resumable=True``; the log is read once.
        """
        return self._seen.status()

    @property
    def stage(self) -> Stage:
        """The stage of the job now; once it is known to have ended, nothing is asked any more."""
        return self._seen.now().stage

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended, well or not."""
        return self._seen.now().is_terminal

    @property
    def succeeded(self) -> bool:
        """Whether the job has ended well."""
        return self._seen.now().succeeded

    @property
    def message(self) -> str | None:
        """The backend's explanation of the stage, such as ``"Job timeout"``."""
        return self._seen.now().message

    def logs(self, follow: bool = False) -> Iterator[str]:
        """The lines of the log; with ``follow``, until the job has ended.

        On Jobs, the iterator's ``close()`` may be called from any thread, and ends it.
        """
        return self._backend.logs(self.id, follow=follow)

    def events(self, follow: bool = False) -> Iterator[Event]:
        """What the script reported, from the first event; with ``follow``, until the job has ended."""
        return read_events(self.logs(follow=follow))

    @property
    def max_resumes(self) -> int:
        """How often it is resumed by itself at most, while ``wait``, ``watch`` or ``result`` is up."""
        return 0 if self._resuming is None else self._resuming.most

    def watch(self) -> Job:
        """``wait``, and show progress: a panel in a terminal or a notebook, plain lines elsewhere.

        Interrupted (Ctrl-C, or the notebook's button), it returns, says how to come back, and the job goes on.

        Returns:
            This job: ``job.watch().succeeded``.
        """
        from hfjobs_trainer.running.watch import watch

        watch(self)
        return self

    def wait(self, timeout: float | None = None, poll: float = LONGEST_PAUSE) -> Job:
        """Wait until the job has ended, well or not: ``job.wait().raise_for_status()``, ``job.wait().succeeded``.

        Outages of the Hub are waited out: up to 30 checks in a row may fail, each after retries of its own; refusals of
        the token or of the job's id, for a minute. With ``max_resumes``, a job that can go on is resumed, and waited
        for in turn.

        Args:
            timeout: Longest wait for the end, in seconds; ``None``: no limit. Its log is read then, and if lines are
                missing, for a minute more at most.
            poll: Longest pause between two checks, seconds; the first ones follow each other faster.

        Returns:
            This job.

        Raises:
            TimeoutError: The job has not ended in time; it keeps running. A check under way is finished first.
            HubUnavailable: The Hub stayed unreachable; the job keeps running.
            KeyboardInterrupt: It was interrupted; the job keeps running.
        """
        left, began = timeout, time.monotonic()
        with told_when_interrupted(self):
            while True:
                self.wait_for_end(left, poll)
                goes_on, self._why_not = self.go_on()
                if not goes_on:
                    return self
                left = None if timeout is None else max(0.0, began + timeout - time.monotonic())

    def go_on(self) -> tuple[bool, str]:
        """Resume the ended job if ``max_resumes`` says so; this object then stands for the new one.

        Returns:
            Whether it was resumed; and a line about that, empty if there is nothing to say.
        """
        policy, seen = self._resuming, self._seen
        status, stated, ending = seen.end, seen.stated, seen.ending
        if policy is None or status is None or stated is None or status.succeeded:
            return False, ""
        if ending is None or not status.resumable:
            unread = ending is None and status.started_at is not None
            return False, f"job {self.id} is not resumed by itself: its log cannot be read" if unread else ""
        done, ended = len(self._before()), self.id
        try:
            price = usd_per_hour(self._backend, self.record) if policy.max_usd is not None else None
            why = policy.refusal(
                stated,
                ending,
                done=done,
                spent=None if policy.max_usd is None else self.cost(),
                usd_per_hour=None if price is None else price * max(1, len(self.record.members)),
            )
            if why:
                return False, f"job {ended} is not resumed by itself: {why}"
            earlier, record = (*self._before(), self.record), self._resume(None, None)
        except BackendError as error:
            warnings.warn(f"job {ended} was not resumed: {error}", RuntimeWarning, stacklevel=3)
            return False, ""
        self._ends[ended] = status
        self._seen, self._earlier = Observed(record, self._backend), earlier
        return True, f"job {ended}: {status.message}; resumed as job {self.id} ({done + 1} of {policy.most})"

    def resume(self, timeout: int | float | str | timedelta | None = None, flavor: str | None = None) -> Job:
        """Go on with a run that ended before its end, from its last whole checkpoint. On Jobs this costs money.

        It is a job of its own, with its own id, log and events, which begin after the checkpoint; steps, metrics and
        checkpoints are those of the run. Its script is the same, and the values of its secrets are read anew. So it
        can be resumed from another process as well: ``hft.Job.from_id(...).resume()``.

        Args:
            timeout: How long the rest is expected to take, as in a spec; what is sent is that plus 25%. Default: the
                timeout of this job.
            flavor: Flavor of the new job; default: that of this one. The script says whether it can go on exactly on
                another number of GPUs, and ends if it cannot. Not on this machine.

        Returns:
            The new job.

        Raises:
            BackendError: The job goes on, ended well, was stopped by ruin, or has no whole checkpoint; another job of
                the run goes on; or the backend refuses it. The message says what to do instead.
            ValueError: ``timeout`` is no duration.
        """
        record = self._resume(timeout, flavor)
        return Job(record, self._backend, earlier=(*self._before(), self.record))

    def _resume(self, timeout: int | float | str | timedelta | None, flavor: str | None) -> JobRecord:
        from hfjobs_trainer.running.resuming import padded

        backend = self._backend
        if not isinstance(backend, Resumes):
            raise BackendError(f"the backend {backend.name!r} resumes no runs: submit it again")
        seconds = None if timeout is None else padded(timeout)
        status = self.status()
        has_begun = status.is_terminal and not status.succeeded and status.started_at is not None
        refuse_resume(self.id, status, self._seen.read_end() if has_begun else Ending(), labels=self.record.labels)
        return backend.resume(self.id, timeout_seconds=seconds, flavor=flavor)

    def wait_for_end(self, timeout: float | None = None, poll: float = LONGEST_PAUSE) -> JobStatus:
        """``wait`` for the job's end; return its final status."""
        return self._seen.wait_for_end(timeout, poll)

    def raise_for_status(self) -> Job:
        """Raise ``JobFailed`` if the job has ended without success, with the last lines of the log if they can be read.

        Returns:
            This job.
        """
        self._raise_unless_well(self.status())
        return self

    def _raise_unless_well(self, status: JobStatus) -> None:
        if not status.is_terminal or status.succeeded:
            return
        diagnosis = self._diagnose(status)
        told = [*advise(status, self._seen.ending or Ending()), self._why_not]
        raise JobFailed(self.id, status, self._seen.tail, [*filter(None, told)], diagnosis)

    def diagnose(self) -> tuple[Diagnosis, ...]:
        """Say why the job failed, by its status, its events and its log, and what to type instead.

        Returns:
            What may have been the reason, the likeliest first; empty if nothing is known, if the job goes on, ended
            well or was canceled.

        Raises:
            BackendError: Its status cannot be read; a log that cannot be read is done without.
        """
        return self._diagnose(self.status())

    def _diagnose(self, status: JobStatus) -> tuple[Diagnosis, ...]:
        from hfjobs_trainer.running.diagnose import diagnose_end

        if not status.is_terminal or status.succeeded:
            return ()
        with contextlib.suppress(BackendError):  # the failure itself is known
            self._seen.read_end()
        text, stated = self._seen.excerpt.text, self._seen.stated or status
        return diagnose_end(text, stated, flavor=self.record.flavor, resumable=status.resumable)

    def cancel(self) -> None:
        """Stop the job; do nothing if it has ended already."""
        self._backend.cancel(self.id)

    def cost(self) -> float | None:
        """Cost of the run so far in US dollars: of this job and those that it resumes, for all nodes.

        ``None`` if the price is unknown. The price is today's, and each started minute counts as a whole one.
        """
        before, own = self.cost_before(), usd_so_far(self._backend, self.record, self.status())
        return None if before is None or own is None else before + own

    def cost_before(self) -> float | None:
        """Cost of the jobs that it resumes, US dollars; ``None`` if a price is unknown."""
        total = 0.0
        for record in self._before():
            status = self._ends[record.id] = self._ends.get(record.id) or self._backend.status(record.id)
            usd = usd_so_far(self._backend, record, status)
            if usd is None:
                return None
            total += usd
        return total

    def result(self, timeout: float | None = None) -> JobResult:
        """The result of the run: model, metrics, files. Waits for its end.

        Args:
            timeout: Longest wait in seconds; ``None``: no limit.

        Of a job whose log may be incomplete, ``.incomplete`` says why, beside a warning; ask again later.

        Raises:
            JobFailed: It ended without success.
            TimeoutError: The job has not ended in time; it keeps running.
            HubUnavailable: As for ``wait``, or the log could not be read 30 times in a row.
        """
        self._seen.forget_incomplete()
        self.wait(timeout)
        self._raise_unless_well(self._seen.now())
        seen = self._seen
        seen.read_end(patiently=True)
        keeps_files = traits_at(self._backend).keeps_files
        return read_result(seen.events, self.record, keeps_files=keeps_files, incomplete=seen.incomplete)
