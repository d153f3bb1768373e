"""The exceptions of the package.

HFTError
├─ SpecError(ValueError)      the spec is wrong: .problems lists everything
├─ RenderError                a defect of this package: names the template and line
├─ BackendError               the backend refused, or could not be reached: .cause
│  ├─ AuthError               no token, a wrong one, or one without the permission
│  ├─ QuotaError              no credits left, or a limit reached
│  ├─ JobNotFound             no such job, or the token may not see it
│  └─ HubUnavailable          no answer, or a server error, after all retries
│     └─ NotAsked             the plan was made offline: nobody asked
├─ BudgetExceeded             the run is expected to cost more than it may: .estimate, .cap
└─ JobFailed                  the run ended without success: .status, .log_tail
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hfjobs_trainer.problems import Problem
    from hfjobs_trainer.running.backends.base import JobStatus


def describe(problems: Sequence[Problem], subject: str) -> str:
    """All problems as one message, the errors first."""
    ordered = sorted(problems, key=lambda problem: problem.severity != "error")
    errors = sum(problem.severity == "error" for problem in problems)
    count = (
        f"{errors or len(problems)} {'problem' if errors else 'warning'}{'' if (errors or len(problems)) == 1 else 's'}"
    )
    tail = "; nothing was submitted" if errors else ""
    return "\n".join([f"{count} in this {subject}{tail}", *(f"  {problem}" for problem in ordered)])


class HFTError(Exception):
    """Base class of the exceptions of this package."""


class SpecError(HFTError, ValueError):
    """A spec cannot be run; ``problems`` lists everything that is wrong with it.

    Args:
        problems: All problems found, errors first.
        subject: What was checked, for the message's first line, such as ``"DPO spec"``.
    """

    def __init__(self, problems: Sequence[Problem], subject: str = "spec") -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        self.subject = subject
        super().__init__(describe(self.problems, subject))

    def __reduce__(self) -> tuple[type[SpecError], tuple[tuple[Problem, ...], str]]:
        return type(self), (self.problems, self.subject)


class RenderError(HFTError):
    """A template is wrong: a defect of this package, not of the spec."""


class BackendError(HFTError):
    """A backend refused or could not be reached; ``cause`` is the underlying exception."""

    def __init__(self, message: str, cause: BaseException | None = None) -> None:
        super().__init__(message)
        self.cause = cause


class AuthError(BackendError):
    """No token, a wrong token, or a token without the needed permission."""


class QuotaError(BackendError):
    """The account has no credits left, or has reached a limit."""


class JobNotFound(BackendError):
    """No job has this id, or the token may not see it."""


class HubUnavailable(BackendError):
    """The Hub did not answer, or answered with a server error, also after retries."""


class NotAsked(HubUnavailable):
    """The Hub was not asked for what must be known before money is spent: the plan was made offline."""


class BudgetExceeded(HFTError):
    """A run is expected to cost more than ``max_usd``; nothing was submitted.

    Args:
        estimate: Expected cost, US dollars, on the flavor that was named, else on the cheapest on which the run fits.
        cap: ``max_usd``, US dollars.
        problems: All problems found; the one about cost names the cheapest alternative.
        subject: What was checked, for the message's first line.
    """

    def __init__(self, estimate: float, cap: float, problems: Sequence[Problem] = (), subject: str = "spec") -> None:
        self.estimate, self.cap = estimate, cap
        self.problems: tuple[Problem, ...] = tuple(problems)
        self.subject = subject
        super().__init__(describe(self.problems, subject))

    def __reduce__(self) -> tuple[type[BudgetExceeded], tuple[float, float, tuple[Problem, ...], str]]:
        return type(self), (self.estimate, self.cap, self.problems, self.subject)


class JobFailed(HFTError):
    """A run ended without success.

    Args:
        job_id: Id of the job, as ``Job.from_id`` takes it.
        status: Its last status.
        log_tail: The last lines of its log, oldest first.
    """

    def __init__(self, job_id: str, status: JobStatus, log_tail: Sequence[str] = ()) -> None:
        self.job_id, self.status, self.log_tail = job_id, status, tuple(log_tail)
        told = f": {status.message}" if status.message else ""
        lines = [f"job {job_id} ended in {status.stage}{told}", *(f"  | {line}" for line in self.log_tail)]
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[type[JobFailed], tuple[str, JobStatus, tuple[str, ...]]]:
        return type(self), (self.job_id, self.status, self.log_tail)
