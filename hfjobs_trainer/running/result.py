"""What a run has brought: model, metrics, files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from hfjobs_trainer.display import html_link, html_pairs, html_section, html_table, plural
from hfjobs_trainer.planning.duration.ranges import format_seconds
from hfjobs_trainer.running.backends.base import JobRecord
from hfjobs_trainer.running.backends.hub_checkpoints import address_of
from hfjobs_trainer.running.ending import place_of, read_ending, tell_rescue
from hfjobs_trainer.running.events import Event, is_number

Metrics = dict[str, "float | None"]


@dataclass(frozen=True, slots=True)
class JobResult:
    """The result of a successful run.

    Attributes:
        model: What one would load next: the Hub repository if the model was pushed, the merged one where one was asked
            for, else its folder on this machine; ``None`` if neither is known.
        url: Page of the model; ``None`` if it was not pushed.
        metrics: The last value of each metric, of training and of evaluation; ``None`` stands for NaN and infinity.
        steps: Optimizer steps done.
        seconds: How long the script ran.
        folder: The run folder; ``None`` unless the run was on this machine.
        log: The log file; ``None`` unless the run was on this machine.
        trackio: Where trackio keeps the run's metrics; ``None`` if not on this machine.
        commit: Commit of the model on the Hub; ``None`` if it was not pushed.
        checkpoints: Where the last checkpoint is if it stayed, such as ``"hf://buckets/me/hft-checkpoints/.../"`` or a
            folder; ``None`` if there is none: the script deletes them once the pushed model was audited.
        rescued: Where a model is that could not be pushed, and the command that pushes it; ``None`` if there is none.
        evaluation: The metrics of the evaluations ``"before"`` and ``"after"`` the training, as far as there were any.
        incomplete: Why the log may lack lines, and what is told here something too; ``None`` if it is whole.
    """

    model: str | None = None
    url: str | None = None
    metrics: Metrics = field(default_factory=Metrics)
    steps: int | None = None
    seconds: float | None = None
    folder: Path | None = None
    log: Path | None = None
    trackio: Path | None = None
    commit: str | None = None
    checkpoints: str | None = None
    rescued: str | None = None
    evaluation: dict[str, Metrics] = field(default_factory=dict[str, Metrics])
    incomplete: str | None = None

    def __repr__(self) -> str:
        told = f"model={self.model!r}, steps={self.steps}, {plural(len(self.metrics), 'metric')}"
        return f"JobResult({told}{f', incomplete={self.incomplete!r}' if self.incomplete else ''})"

    def _repr_html_(self) -> str:
        took = None if self.seconds is None else format_seconds(self.seconds)
        places = {"folder": self.folder, "log": self.log, "trackio": self.trackio}
        rows = {"model": self.model, "commit": self.commit, "steps": self.steps, "time": took, **places}
        rows |= {"checkpoints": self.checkpoints, "rescued": self.rescued, "incomplete": self.incomplete}
        before, after = (self.evaluation.get(when, {}).get("eval_loss") for when in ("before", "after"))
        if before is not None and after is not None:
            rows["eval_loss"] = f"{before:.4g} before training, {after:.4g} after"
        metrics = [(name, "-" if value is None else f"{value:.6g}") for name, value in self.metrics.items()]
        link = f"<p>{html_link(self.url, self.url)}</p>" if self.url else ""
        table = html_section(plural(len(metrics), "metric"), html_table(("metric", "last value"), metrics))
        return html_pairs({name: str(value) for name, value in rows.items() if value is not None}) + link + table


def read_result(
    events: Iterable[Event], record: JobRecord, *, keeps_files: bool, incomplete: str | None = None
) -> JobResult:
    """The result of a run that ended well.

    Args:
        events: All that it reported.
        record: Its record.
        keeps_files: Whether its files can be read after its end.
        incomplete: Why some of the events may be missing.
    """
    metrics: Metrics = {}
    evaluation: dict[str, Metrics] = {}
    last: dict[str, Event] = {}
    told = list(events)
    for event in told:
        metrics |= event.metrics
        if event.kind == "evaluated":
            evaluation[str(event.data.get("when"))] = event.metrics
        if event.data.get("branch") != "partial":
            last[event.kind] = event
    nothing = Event("", 0.0)
    end, pushed = last.get("end", nothing), last.get("pushed", nothing)
    rescued, kept = read_ending(told, is_here=False).rescued, last.get("kept")
    here = end.data.get("model") or end.data.get("output_dir")  # the merged model where one was made
    folder = Path(record.folder) if record.folder else None
    home = Path(record.directory) if record.directory else folder
    trackio = home / "trackio" if home else None
    return JobResult(
        model=_text(pushed.data.get("repo")) or (_text(here) if keeps_files else None),
        url=_text(pushed.data.get("url")),
        metrics=metrics,
        steps=end.step,
        seconds=seconds if is_number(seconds := end.data.get("seconds")) else None,
        folder=folder,
        log=folder / "log.txt" if folder else None,
        trackio=trackio if trackio and trackio.is_dir() else None,
        commit=_text(pushed.data.get("commit")),
        checkpoints=None if kept is None or "audited" in last else address_of(place_of(kept), record.id),
        rescued=None if rescued is None else tell_rescue(rescued),
        evaluation=evaluation,
        incomplete=incomplete,
    )


def _text(value: object) -> str | None:
    """A text; ``None`` for anything else: a log holds what anyone has printed."""
    return value if isinstance(value, str) else None
