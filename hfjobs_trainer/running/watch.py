"""Live progress of a job, in a terminal or a notebook."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from hfjobs_trainer.display import without_widget_warning
from hfjobs_trainer.errors import HubUnavailable, QuotaError

if TYPE_CHECKING:
    from hfjobs_trainer.running.backends.base import JobStatus
    from hfjobs_trainer.running.events import Event
    from hfjobs_trainer.running.job import Job

# What a bar shows beside its progress, in this order, where it is known.
SHOWN_METRICS = ("loss", "eval_loss", "reward", "mean_token_accuracy")
BAR_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{postfix}"
WAITING_FORMAT = "{desc}"


def watch(job: Job) -> JobStatus:
    """Show a progress bar until the job has ended, then one line that says how.

    With ``max_resumes``, each job that resumes it has a bar of its own.

    Returns:
        The final status.
    """
    while True:
        status = _watch_one(job)
        told = describe(job, status)
        goes_on, line = job.go_on()
        print("\n".join(filter(None, [line if goes_on else told, "" if goes_on else line])))
        if not goes_on:
            return status


def _watch_one(job: Job) -> JobStatus:
    with contextlib.closing(Progress(job.id)) as progress:
        with contextlib.suppress(HubUnavailable, QuotaError):  # the log is followed through an outage
            progress.say(job.status().stage)
        for event in job.events(follow=True):
            progress.show(event)
        # The log may be over a little before the job is.
        return job.wait_for_end()


class Progress:
    """The bar, fed with events, whether they come as they happen or together.

    Args:
        title: Stands before the bar.
    """

    def __init__(self, title: str) -> None:
        with without_widget_warning():
            from tqdm import auto

            # tqdm carries no types.
            self.bar: Any = getattr(auto, "tqdm")(desc=title, bar_format=WAITING_FORMAT)  # noqa: B009
        self.title = title
        self.metrics: dict[str, float | None] = {}
        self.anchor: tuple[float, int] | None = None

    def say(self, text: str) -> None:
        """Show a word in place of the bar."""
        self.bar.set_description_str(f"{self.title}: {text}")

    def show(self, event: Event) -> None:
        """Bring the bar up to date."""
        if event.kind == "start":
            self.say(f"loading on {event.data.get('gpu') or event.data.get('device')}")
        elif event.kind == "warning":
            self.bar.write(f"warning: {event.data.get('message')}")
        elif event.kind == "resumed":
            self.bar.write(f"goes on after step {event.step}")
        elif event.kind == "ruin":
            self.bar.write(f"step {event.step}: {event.data.get('what')}: {event.data.get('meaning')}")
        elif event.kind == "log" and event.step is not None and event.max_steps:
            self._advance(event, event.step, event.max_steps)

    def _advance(self, event: Event, step: int, max_steps: int) -> None:
        if self.bar.total != max_steps:
            self.bar.reset(total=max_steps)
            self.bar.bar_format = BAR_FORMAT
            self.bar.set_description_str(self.title, refresh=False)
        self.metrics |= event.metrics
        told = [f"{name} {value:.4g}" for name in SHOWN_METRICS if (value := self.metrics.get(name)) is not None]
        # By the script's clock, from its first report on: reports may come together, and a resumed run starts late.
        since, done = self.anchor = self.anchor or (event.time, step)
        if done < step < max_steps:
            told.append(f"eta {duration((event.time - since) / (step - done) * (max_steps - step))}")
        self.bar.set_postfix_str(", ".join(told), refresh=False)
        self.bar.update(step - self.bar.n)

    def close(self) -> None:
        """Close the bar as it is."""
        self.bar.refresh()
        self.bar.close()


def describe(job: Job, status: JobStatus) -> str:
    """One line on how a job ended."""
    took = ""
    if status.started_at and status.finished_at:
        took = f" after {duration((status.finished_at - status.started_at).total_seconds())}"
    why = f" ({status.message})" if status.message else ""
    hint = "" if status.succeeded else "; job.raise_for_status() shows the end of its log"
    return f"job {job.id}: {status.stage}{took}{why}{hint}"


def duration(seconds: float) -> str:
    """Seconds in a readable form: ``"45s"``, ``"3m 20s"``, ``"2h 05m"``."""
    whole = max(0, round(seconds))
    minutes, rest = divmod(whole, 60)
    if minutes >= 60:
        return f"{minutes // 60}h {minutes % 60:02d}m"
    return f"{minutes}m {rest:02d}s" if minutes else f"{rest}s"
