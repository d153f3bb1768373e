"""Why the Hub ended a job: its answers say so, and the client's records leave it out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from hfjobs_trainer.running.backends.hub_connection import Connection, Json, read_json
from hfjobs_trainer.running.backends.hub_submission import status_of

if TYPE_CHECKING:
    from huggingface_hub import JobInfo

    from hfjobs_trainer.running.backends.base import JobStatus

_LIMIT = 100
"""Longest reason that is shown, characters."""


class Reasons:
    """What the Hub says of jobs that ended without a message which explains that; asked for once each.

    Args:
        connection: The Hub.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._known: dict[str, str] = {}

    def status_of(self, namespace: str, job: JobInfo) -> JobStatus:
        """The status of a job; where the Hub says no more than that it ended, with its reason, as ``NO_CREDITS``."""
        status = status_of(job)
        if status.stage == "CANCELED" or (status.stage == "ERROR" and not status.message):
            reason = self._find(namespace, job.id)
            if reason and reason not in (status.message or ""):
                message = f"{status.message} ({reason})" if status.message else reason
                return replace(status, message=message)
        return status

    def _find(self, namespace: str, name: str) -> str:
        """The reason; empty where there is none, and as long as the Hub does not answer."""
        if name in self._known:
            return self._known[name]
        seconds = self._connection.patience.notice
        page = self._connection.glance(lambda api: read_json(api, f"/api/jobs/{namespace}/{name}"), seconds).value
        said = (page or {}).get("status")
        if not isinstance(said, dict):
            return ""
        reason = cast(Json, said).get("cancelReason")
        self._known[name] = reason[:_LIMIT] if isinstance(reason, str) else ""
        return self._known[name]
