"""How a run ended that did not end well, by its status and its events: what stopped it, and what can be resumed."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from hfjobs_trainer.display import plural
from hfjobs_trainer.errors import BackendError
from hfjobs_trainer.running.backends.base import JobStatus
from hfjobs_trainer.running.events import Event

ENDED_WITH_ANOTHER, DEADLINE, RUIN, SIGNAL = 75, 76, 77, 143
"""Exit codes of a script that ended itself: ``rendering/runtime/stopping.py`` and ``nodes.py`` say so."""
MANIFEST = "hft_manifest*.json"
"""What a whole checkpoint on this machine has; with several nodes, one for each."""
_EXIT = re.compile(r"exit code: (\d+)")
_KILLED = 128
"""Exit codes above this are a signal's number and this."""


@dataclass(frozen=True, slots=True)
class Ending:
    """What the events of a run say of its end.

    Attributes:
        stopped: Why the script ended itself early, in its last attempt; ``None`` if it did not.
        kept: The last checkpoint that is known to be whole and to outlive the machine; ``None`` if there is none.
        resumed: The checkpoint from which it went on; ``None`` if it began anew.
        rescued: Where a model is that could not be pushed; ``None`` if there is none.
        step: The last step that was reported.
        has_checkpoints: Whether a checkpoint was so much as saved.
        is_done: Whether the last attempt had pushed its model whole, so that it began to delete its checkpoints.
    """

    stopped: Event | None = None
    kept: Event | None = None
    resumed: Event | None = None
    rescued: Event | None = None
    step: int | None = None
    has_checkpoints: bool = False
    is_done: bool = False


def read_ending(events: Iterable[Event], *, is_here: bool) -> Ending:
    """Read the events of a run.

    Args:
        events: All of them, oldest first.
        is_here: Whether its checkpoints are on this machine, so that they can be looked at.
    """
    stopped = kept = resumed = rescued = audited = end = None
    step: int | None = None
    has_checkpoints = False
    is_lost = False
    attempt = rescued_in = 0
    for event in events:
        step = step if event.step is None else event.step
        if event.kind == "start":  # another attempt
            attempt += 1
            stopped, audited, end, is_lost = None, None, None, False
        elif event.kind == "stopped":
            stopped = event
        elif event.kind == "resumed" and event.step is not None:
            resumed = event
        elif event.kind == "rescued":
            rescued, rescued_in = event, attempt
        elif event.kind == "audited" and event.data.get("branch") != "partial":
            audited = event
            rescued = rescued if attempt == rescued_in else None  # a later attempt pushed what an earlier one could not
        elif event.kind == "reloaded":
            is_lost |= not event.data.get("loaded")
        elif event.kind == "end":
            end = event
        elif event.kind in ("kept", "saved"):
            has_checkpoints = True
            if is_whole(place_of(event)) if is_here else event.kind == "kept":
                kept = event
    is_done = None not in (audited, end) and not is_lost and rescued is None and stopped is None
    return Ending(stopped, kept, resumed, rescued, step, has_checkpoints, is_done)


def place_of(event: Event) -> str:
    """Where the checkpoint of an event is, as the script says it."""
    return str(event.data.get("place") or event.data.get("path") or "")


def is_whole(folder: str) -> bool:
    """Whether this is a whole checkpoint on this machine."""
    try:
        return bool(folder) and next(Path(folder).glob(MANIFEST), None) is not None
    except (OSError, ValueError):  # a log holds what anyone has printed: this is no path
        return False


def exit_code(status: JobStatus) -> int | None:
    """The exit code in the message of a status; ``None`` if it has none."""
    found = _EXIT.search(status.message or "")
    return None if found is None else int(found[1])


def explain(status: JobStatus, ending: Ending, *, continues: bool = False) -> JobStatus:
    """The status of a run that did not end well, with what its events say of it.

    Args:
        status: As the backend states it.
        ending: What its events say.
        continues: Whether the run is the continuation of one that had a checkpoint.
    """
    stopped = ending.stopped
    code = exit_code(status)
    if stopped is not None and (code is None or code in (ENDED_WITH_ANOTHER, DEADLINE, RUIN, SIGNAL)):
        return _explain_stop(status, stopped, ending, continues=continues)
    resumable = (continues or bool(ending.kept or ending.resumed)) and not ending.is_done
    message = status.message
    if resumable and (code is None or code > _KILLED):
        known = ending.kept or ending.resumed
        since = "" if known is None or known.step is None else f" from step {known.step}"
        message = "; ".join(filter(None, [message, f"resumable{since}: {_way_on(status)}"]))
    return dataclasses.replace(status, message=message, resumable=resumable)


def _explain_stop(status: JobStatus, stopped: Event, ending: Ending, *, continues: bool) -> JobStatus:
    reason = stopped.data.get("reason")
    told = str(stopped.data.get("message") or "")
    behind = cast("int | None", stopped.data.get("checkpoint"))
    if ending.kept is not None and (ending.kept.step or 0) > (behind or 0):
        behind = ending.kept.step  # its copy was whole only after the script had looked
    resumable = reason != "ruin" and (behind is not None or bool(ending.kept or ending.resumed) or continues)
    at = "" if stopped.step is None else f" at step {stopped.step}"
    if reason in ("ruin", "over"):
        what = told if told.startswith("stopped") else f"stopped{at}" + (f": {told}" if told else "")
    elif reason == "signal":
        ended = {"CANCELED": "canceled"}.get(status.stage, "stopped by a signal")
        what = f"{'stopped at the timeout' if _is_timeout(status) else ended}{at}"
    else:
        what = f"stopped at the deadline{at}"
    if resumable:
        is_late = reason in ("deadline", "over") or _is_timeout(status)
        # the last step may have come too late to be kept
        since = "" if behind in (None, stopped.step) else f" from step {behind}"
        what += f", resumable{since}: {'job.resume(timeout=...)' if is_late else 'job.resume()'}"
    elif reason != "ruin":
        what += ", not resumable: no checkpoint was kept"
    return dataclasses.replace(status, message=what, resumable=resumable)


def _is_timeout(status: JobStatus) -> bool:
    return "timeout" in (status.message or "").lower()


def _way_on(status: JobStatus) -> str:
    return "job.resume(timeout=...)" if _is_timeout(status) else "job.resume()"


def may_pass(status: JobStatus, ending: Ending) -> bool:
    """Whether a run ended for want of time or of its machine, so that resuming it does not repeat what ended it.

    Args:
        status: As the backend states it.
        ending: What its events say.
    """
    if status.stage != "ERROR":
        return False
    code = exit_code(status)
    if code is None or code == ENDED_WITH_ANOTHER:  # a timeout, or a machine that was lost
        return ending.stopped is None or ending.stopped.data.get("reason") not in ("ruin", "over")
    if code == DEADLINE:
        return True
    return code > _KILLED and "OOMKilled" not in (status.message or "")


def advise(status: JobStatus, ending: Ending) -> list[str]:
    """What can be done about a run that did not end well, beside what its status says, a line each."""
    told: list[str] = []
    if ending.rescued is not None:
        told.append(f"the model is in {tell_rescue(ending.rescued)}")
    if status.resumable and "job.resume(" not in (status.message or ""):
        known = ending.kept or ending.resumed
        step = "" if known is None or known.step is None else f" of step {known.step}"
        told.append(f"the checkpoint{step} was kept: job.resume() goes on from it, with the same script")
    return told


def tell_rescue(event: Event) -> str:
    """Where a model is that could not be pushed, and what pushes it."""
    return f"{event.data.get('place')}; to push it: {event.data.get('command')}"


def refuse_resume(job_id: str, status: JobStatus, ending: Ending, *, labels: Mapping[str, str]) -> None:
    """Raise ``BackendError`` for a job that cannot be resumed, with what to do instead.

    Args:
        job_id: The job.
        status: Its status, explained.
        ending: What its events say.
        labels: Its labels.
    """
    again = "submit it again: hft.submit(spec)"
    why = ""
    if not status.is_terminal:
        why = f"it is {status.stage}: wait for its end, or stop it with job.cancel()"
    elif status.succeeded:
        why = f"it ended well, so nothing is left to do; to train anew, {again}"
    elif ending.stopped is not None and ending.stopped.data.get("reason") == "ruin":
        told = ending.stopped.data.get("message")
        why = f"resuming would repeat what stopped it{f' ({told})' if told else ''}: change the spec, and {again}"
    elif ending.is_done:
        why = f"its model was trained and pushed before it ended, so nothing is left to do; to train anew, {again}"
    elif status.started_at is None:
        why = f"it ended before it began, so nothing was saved: {again}"
    elif (method := labels.get("method")) and not _can_resume(method):
        why = f"the trainer of {method.upper()} has a loop of its own, which cannot go on from a checkpoint: {again}"
    elif not status.resumable:
        done = f"in {plural(ending.step, 'step')}" if ending.step else "before its first step"
        if ending.has_checkpoints:
            why = f"none of the checkpoints that it saved {done} outlived its machine: {again}; output.checkpoints says"
            why += " where they are kept (None: nowhere)"
        else:
            why = f"it saved no checkpoint {done}: {again}; save_steps says how often it saves, and output.checkpoints"
            why += " (None: nowhere) where"
    if why:
        raise BackendError(f"job {job_id} cannot be resumed: {why}")


def _can_resume(method: str) -> bool:
    from hfjobs_trainer.specs.registry import METHODS

    return method not in METHODS or METHODS[method].TRAINING.resumes
