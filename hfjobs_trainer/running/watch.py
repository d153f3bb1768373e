"""Live progress of a job: a panel in a terminal or a notebook, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from hfjobs_trainer.running.interrupted import tell_how_to_return
from hfjobs_trainer.running.watching.figures import duration
from hfjobs_trainer.running.watching.following import End, Following, News, Outage, Price, Used
from hfjobs_trainer.running.watching.plain import PlainLog
from hfjobs_trainer.running.watching.progress import Progress
from hfjobs_trainer.running.watching.screen import Screen, interrupted_once, open_screen

if TYPE_CHECKING:
    from hfjobs_trainer.running.backends.base import JobStatus
    from hfjobs_trainer.running.job import Job

REDRAW = 0.5
"""Seconds between two drawings."""


def watch(job: Job) -> None:
    """Show a job until it has ended, then one line that says how; interrupted, one that says how to come back.

    With ``max_resumes``, each job that resumes it has a panel of its own.
    """
    progress: Progress | None = None
    goes_on = True
    with interrupted_once():
        while goes_on:
            screen: Screen = PlainLog()  # until it is known what there is
            progress, parting = Progress(job.record, before=progress), ""
            try:
                screen = open_screen()
                with contextlib.closing(Following(job)) as following:
                    status = _follow(following, progress, screen)
                end = describe(job, status, progress.model)
                goes_on, line = job.go_on()
                parting = line if goes_on else "\n".join(filter(None, [end, *map(str, job.diagnose()[:1]), line]))
            except KeyboardInterrupt:
                goes_on, parting = False, _tell_interrupted(job, progress)
            finally:
                screen.close(progress, time.time(), parting)


def _follow(following: Following, progress: Progress, screen: Screen) -> JobStatus:
    drawn = 0.0
    while True:
        for news in following.news(REDRAW):
            if isinstance(news, End):
                if news.error is not None:
                    raise news.error
                if news.status is not None:
                    progress.see_status(news.status)
                    return news.status
            _take_in(news, progress, following)
            screen.see(progress, time.time())
            if time.monotonic() - drawn >= REDRAW:  # also while much comes at once
                screen.draw(progress, time.time())
                drawn = time.monotonic()
        if time.monotonic() - drawn >= REDRAW:
            screen.draw(progress, time.time())
            drawn = time.monotonic()


def _take_in(news: News, progress: Progress, following: Following) -> None:
    if isinstance(news, str):
        is_waiting = progress.status is not None and progress.status.stage == "SCHEDULING"
        progress.see_line(news)
        if is_waiting:
            following.look()
    elif isinstance(news, Price):
        progress.usd_per_hour, progress.usd_before = news.usd_per_hour, news.usd_before
    elif isinstance(news, Used):
        progress.see_usage(news.node, news.usage)
    elif isinstance(news, Outage):
        progress.outage = news.why
    elif not isinstance(news, End):
        progress.see_status(news)


def describe(job: Job, status: JobStatus, model: str | None = None) -> str:
    """One line on how a job ended, and what to do next.

    Args:
        job: The job.
        status: Its final status.
        model: Where its model is.
    """
    took = ""
    if status.started_at and status.finished_at:
        took = f" after {duration((status.finished_at - status.started_at).total_seconds())}"
    why = f" ({status.message})" if status.message else ""
    if status.succeeded:
        hint = f"; its model: {model}" if model else ""
    else:
        hint = "; job.raise_for_status() shows the end of its log"
    return f"job {job.id}: {status.stage}{took}{why}{hint}"


def _tell_interrupted(job: Job, progress: Progress) -> str:
    status, price = progress.status, progress.usd_per_hour
    if status is not None and status.is_terminal:
        return describe(job, status, progress.model)
    return tell_how_to_return(job, None if price is None else price * progress.machines)
