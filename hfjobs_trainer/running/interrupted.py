"""What is said when watching or waiting is interrupted: the job goes on."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hfjobs_trainer.running.job import Job


def tell_how_to_return(job: Job, usd_per_hour: float | None = None) -> str:
    """One line: that the job goes on and what that costs, how to come back to it and how to stop it.

    Args:
        job: The job.
        usd_per_hour: Price of all of its machines, US dollars; ``None`` if unknown.
    """
    costs = f" (${usd_per_hour:,.2f} an hour)" if usd_per_hour else ""
    resumes = "; nothing resumes it by itself now" if job.max_resumes else ""
    return f'job goes on{costs}: hft.Job.from_id("{job.id}").watch() comes back to it, job.cancel() stops it{resumes}'


@contextmanager
def told_when_interrupted(job: Job) -> Generator[None]:
    """Have a ``KeyboardInterrupt`` say so; IPython then shows that in place of the frames of this package."""
    try:
        yield
    except KeyboardInterrupt as error:
        if not vars(error):  # of nested ones, the inner one has said it
            line = tell_how_to_return(job)
            error.add_note(line)
            vars(error)["_render_traceback_"] = lambda: [f"KeyboardInterrupt: {line}"]
        raise
