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
└─ JobFailed                  the run ended without success: .status, .log_tail, .advice, .diagnosis

SubmitInterrupted(KeyboardInterrupt)   no error: the user interrupted ``submit``; says what is known of the job
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hfjobs_trainer.display import plural, wrapped_table

if TYPE_CHECKING:
    from hfjobs_trainer.problems import Problem
    from hfjobs_trainer.running.backends.base import JobStatus
    from hfjobs_trainer.running.diagnose import Diagnosis


def describe(problems: Sequence[Problem], subject: str) -> str:
    """All problems as one message, the errors first; of a great many, the first ones."""
    shown, rest = in_brief(problems)
    return "\n".join(
        [headline(problems, subject), *(f"  {problem}" for problem in shown), *(f"  {line}" for line in rest)]
    )


MOST_CHARACTERS = 12_000
"""Characters of problems that are shown at once: some 200 lines of a terminal, more than anyone reads."""


def in_brief(problems: Sequence[Problem]) -> tuple[list[Problem], list[str]]:
    """The problems that are shown, the errors first, and a line that counts the others, if there are any."""
    ordered, size = sorted(problems, key=lambda problem: problem.severity != "error"), 0
    for index, problem in enumerate(ordered):
        size += len(problem.path) + len(problem.why) + len(problem.fix) + 40
        if index and size > MOST_CHARACTERS:
            return ordered[:index], [f"... and {len(ordered) - index:,} more"]
    return ordered, []


def headline(problems: Sequence[Problem], subject: str) -> str:
    """How many problems there are in what, and that nothing was submitted if one is an error."""
    tail = "; nothing was submitted" if any(problem.severity == "error" for problem in problems) else ""
    return f"{count_problems(problems)} in this {subject}{tail}"


def count_problems(problems: Sequence[Problem]) -> str:
    """Such as ``"2 problems"``, the warnings beside them not counted, or ``"1 warning"``; ``"no problems"``."""
    errors = sum(problem.severity == "error" for problem in problems)
    return plural(errors, "problem") if errors else plural(len(problems), "warning") if problems else "no problems"


class HFTError(Exception):
    """Base class of the exceptions of this package.

    IPython shows the message and the user's own line, without the frames of this package between them.
    """

    def _render_traceback_(self) -> list[str]:
        own = [f"{where}\n    {line}" if line else where for where, line in _users_frames(self)]
        return [*own[-1:], *self._message_lines()]

    def _message_lines(self) -> list[str]:
        return f"{type(self).__name__}: {self}".split("\n")


class _Problems(HFTError):
    """An error that is made of problems, which a notebook shows as a table."""

    problems: tuple[Problem, ...]
    subject: str

    def _message_lines(self) -> list[str]:
        ordered, rest = in_brief(self.problems)
        marks = {"error": "", "warning": "(warning) "}
        rows = [(item.code, item.path, marks[item.severity] + item.why) for item in ordered]
        fixes = [f"fix: {item.fix}" if item.fix else "" for item in ordered]
        told = f"{type(self).__name__}: {headline(self.problems, self.subject)}"
        return [told, "", *wrapped_table(("code", "field", "what is wrong"), rows, fixes), *rest]


class SpecError(_Problems, ValueError):
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


class BudgetExceeded(_Problems):
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
        advice: What can be done now, such as where its model is, a line each.
        diagnosis: Why it failed, the likeliest first; empty if that is not known.
    """

    def __init__(
        self,
        job_id: str,
        status: JobStatus,
        log_tail: Sequence[str] = (),
        advice: Sequence[str] = (),
        diagnosis: Sequence[Diagnosis] = (),
    ) -> None:
        self.job_id, self.status, self.log_tail, self.advice = job_id, status, tuple(log_tail), tuple(advice)
        self.diagnosis = tuple(diagnosis)
        told = f"job {job_id} ended in {status.stage}" + (f": {status.message}" if status.message else "")
        lines = [told, *(f"{self.diagnosis[0]}".split("\n") if self.diagnosis else ()), *self.advice]
        if self.log_tail:  # and at last in one line, which is all that some logs show of an error
            lines += [f"  | {line}" for line in self.log_tail]
            lines.append(f"{told}; hft.Job.from_id({job_id!r}).logs() ends with: {self.log_tail[-1]}")
        super().__init__("\n".join(lines))

    def __reduce__(self) -> tuple[type[JobFailed], tuple[object, ...]]:
        return type(self), (self.job_id, self.status, self.log_tail, self.advice, self.diagnosis)


class SubmitInterrupted(KeyboardInterrupt):
    """``submit`` was interrupted; the message says in one line what is known of the job.

    Args:
        told: What is known.
        job_ids: Ids of the jobs that were created and go on; of several nodes, that of each.
        usd_per_hour: What they cost together, US dollars per hour; ``None`` if unknown.
    """

    def __init__(self, told: str, job_ids: Sequence[str] = (), usd_per_hour: float | None = None) -> None:
        self.told, self.job_ids, self.usd_per_hour = told, tuple(job_ids), usd_per_hour
        price = f"; it costs ${usd_per_hour:.2f} per hour" if self.job_ids and usd_per_hour else ""
        super().__init__(f"{told}{price}")

    def __reduce__(self) -> tuple[type[SubmitInterrupted], tuple[str, tuple[str, ...], float | None]]:
        return type(self), (self.told, self.job_ids, self.usd_per_hour)

    def _render_traceback_(self) -> list[str]:
        return [str(self)]


def _users_frames(error: BaseException) -> list[tuple[str, str]]:
    """Place and text of each line outside of this package, and outside of IPython, through which the error came."""
    import traceback
    from pathlib import Path

    ours = str(Path(__file__).parent)
    found: list[tuple[str, str]] = []
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename.startswith(ours):
            break
        if f"{os.sep}IPython{os.sep}" not in frame.filename:
            cell = "ipykernel_" in frame.filename or frame.filename.startswith("<ipython-input")
            place = f"line {frame.lineno} of this cell" if cell else f"{frame.filename}:{frame.lineno}"
            found.append((place, frame.line or ""))
    return found
