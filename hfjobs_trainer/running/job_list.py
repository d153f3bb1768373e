"""Runs as a list that can be read: what ``hft.jobs()`` returns."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from hfjobs_trainer.display import html_link, html_table, plural, text, text_table
from hfjobs_trainer.errors import BackendError
from hfjobs_trainer.planning.names import slug
from hfjobs_trainer.running.backends.base import Backend, JobRecords
from hfjobs_trainer.running.backends.hub_connection import NoToken
from hfjobs_trainer.running.backends.registry import traits_at
from hfjobs_trainer.running.job import Job

HEADER = ("job", "where", "method", "group", "created")


class JobList(list[Job]):
    """Runs, newest first.

    Args:
        jobs: The runs.
        note: What the list lacks, and why; empty if it is whole.
    """

    def __init__(self, jobs: Iterable[Job] = (), note: str = "") -> None:
        super().__init__(jobs)
        self.note = note

    def __repr__(self) -> str:
        return text_table(HEADER, self._cells(), self._caption) if self else self._caption

    def _repr_html_(self) -> str:
        links = [f"<li>{html_link(job.url, job.id)}</li>" for job in self if job.url]
        table = html_table(HEADER, self._cells(), self._caption) if self else f"<p>{text(self._caption)}</p>"
        return table + (f"<ul>{''.join(links)}</ul>" if links else "")

    @property
    def _caption(self) -> str:
        return plural(len(self), "run") + (f"; {self.note}" if self.note else "")

    def _cells(self) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = []
        for job in self:
            record = job.record
            where = record.flavor or ("this machine" if job.backend.name == "local" else job.backend.name)
            created = "" if record.created_at is None else f"{record.created_at:%Y-%m-%d %H:%M} UTC"
            rows.append((job.id, where, record.labels.get("method", ""), record.labels.get("group", ""), created))
        return rows


def list_jobs(
    places: Sequence[Backend], *, group: str | None, method: str | None, labels: Mapping[str, str] | None
) -> JobList:
    """The runs of this package at these places, newest first; a place that has no token is left out, and said so."""
    wanted = wanted_labels(group, method, labels)
    found: list[Job] = []
    notes: list[str] = []
    for place in places:
        try:
            records = place.list(wanted)
            found += [Job(record, place) for record in records]
            notes += [records.note] if isinstance(records, JobRecords) else []
        except NoToken as error:
            if len(places) == 1:
                raise
            note = f"the Hub was not asked: {error}"
            warnings.warn(note, RuntimeWarning, stacklevel=3)
            notes.append(note)
        except BackendError as error:
            if len(places) == 1 or not traits_at(place).is_here:
                raise
            notes.append(f"those on this machine are left out: {error}")
    never = datetime.min.replace(tzinfo=UTC)
    if len(places) > 1:
        found.sort(key=lambda job: job.record.created_at or never, reverse=True)
    return JobList(found, "; ".join(filter(None, notes)))


def wanted_labels(group: str | None, method: str | None, labels: Mapping[str, str] | None) -> dict[str, str]:
    """The labels of the runs of this package that are looked for."""
    wanted = {"sdk": "hfjobs-trainer", **(labels or {})}
    if group is not None:
        wanted["group"] = slug(group)
    if method is not None:
        wanted["method"] = method
    return wanted
