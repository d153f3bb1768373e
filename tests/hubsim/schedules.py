"""Scheduled jobs: their routes, and when they run next. None starts by itself: ``Hub.trigger`` starts a run."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from hubsim import schema
from hubsim.jobs import TERMINAL, Job, view_spec
from hubsim.jobs_api import LABEL_FILTER, check_spec
from hubsim.routing import ApiError, route
from hubsim.times import iso

if TYPE_CHECKING:
    from hubsim.state import Hub

NAMED = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
HORIZON = 366 * 5


class Schedule:
    """One scheduled job.

    Attributes:
        spec: What each run is asked for.
        runs: The runs so far, oldest first.
    """

    def __init__(self, hub: Hub, name: str, namespace: str, user: str, body: dict[str, Any]) -> None:
        self.hub = hub
        self.id = name
        self.namespace = namespace
        self.user = user
        self.spec: dict[str, Any] = body["jobSpec"]
        self.schedule: str = body["schedule"]
        self.suspended: bool = body.get("suspend", False)
        self.concurrency: bool = body.get("concurrency", False)
        self.created = time.time()
        self.runs: list[Job] = []

    @property
    def labels(self) -> dict[str, str]:
        return self.spec.get("labels") or {}

    @property
    def is_running(self) -> bool:
        return any(job.stage not in TERMINAL for job in self.runs)

    def start(self) -> Job:
        """Start a run, as the clock would."""
        job = self.hub.start_job(self.namespace, self.user, self.spec, {"type": "scheduled-job", "id": self.id})
        self.runs.append(job)
        return job

    def view(self) -> dict[str, Any]:
        """The scheduled job as the API shows it."""
        last = self.runs[-1] if self.runs else None
        owner = self.hub.accounts.owner(self.namespace)
        spec = {**view_spec(self.spec), **({"expose": self.spec["expose"]} if self.spec.get("expose") else {})}
        return {
            "type": "scheduled-job",
            "id": self.id,
            "createdAt": iso(self.created),
            "schedule": self.schedule,
            "suspend": self.suspended,
            "concurrency": self.concurrency,
            "owner": owner,
            "initiator": self.hub.accounts.owner(self.user),
            "status": {
                "lastJob": last and {"id": last.id, "at": iso(last.created)},
                "nextJobRunAt": iso(next_run(self.schedule, datetime.now(UTC)).timestamp()),
            },
            "jobSpec": spec,
        }


def matches(field: str, value: int) -> bool:
    """Whether a value is one of a field of a cron line."""
    start, _, step = field.partition("/")
    if start == "*":
        return value % int(step or 1) == 0
    if "-" in start:
        low, high = map(int, start.split("-"))
        return low <= value <= high
    if step:
        return value >= int(start) and (value - int(start)) % int(step) == 0
    return value in map(int, start.split(","))


def next_run(schedule: str, after: datetime) -> datetime:
    """The first minute after a time that a cron line names."""
    minute, hour, day, month, weekday = NAMED.get(schedule, schedule).split()[-5:]
    start = after.replace(second=0, microsecond=0) + timedelta(minutes=1)
    for days in range(HORIZON):
        date = (start + timedelta(days=days)).date()
        on_day, on_weekday = matches(day, date.day), any(matches(weekday, each) for each in weekdays(date.isoweekday()))
        # where both are limited, either will do
        either = on_day or on_weekday if "*" not in (day, weekday) else on_day and on_weekday
        if not (matches(month, date.month) and either):
            continue
        for moment in range(24 * 60):
            found = datetime(date.year, date.month, date.day, *divmod(moment, 60), tzinfo=UTC)
            if found >= start and matches(hour, found.hour) and matches(minute, found.minute):
                return found
    raise ApiError(400, "✖ The schedule never runs\n  → at schedule")


def weekdays(iso_day: int) -> tuple[int, ...]:
    return (0, 7) if iso_day == 7 else (iso_day,)


def get_schedule(h: Any, namespace: str, name: str, permission: str = "job.write") -> Schedule:
    h.need(permission, namespace)
    found = h.hub.schedules.get(name)
    if found is None or found.namespace != namespace:
        raise ApiError(404, "Scheduled job not found")
    return found


@route("POST", "/api/scheduled-jobs/(?P<namespace>[^/]+)")
def create(h: Any, namespace: str) -> None:
    h.need("job.write", namespace)
    body = h.json_body(schema.SCHEDULED_JOB)
    check_spec(h, body["jobSpec"], namespace)
    next_run(body["schedule"], datetime.now(UTC))
    h.send(200, h.hub.add_schedule(namespace, h.token["user"], body).view())


@route("GET", "/api/scheduled-jobs/(?P<namespace>[^/]+)")
def list_all(h: Any, namespace: str) -> None:
    h.need("job.read", namespace)
    listed = time.time() - h.hub.cfg["listLagSecs"]
    found = [each for each in h.hub.schedules.values() if each.namespace == namespace and each.created <= listed]
    if len(h.query) > 1 or any(key != "label" for key, _ in h.query):
        raise ApiError(400, "✖ Invalid query: one label is the only filter")
    for _, value in h.query:
        if not re.fullmatch(LABEL_FILTER, value):
            raise ApiError(400, f"✖ Invalid string: must match pattern /^{LABEL_FILTER}$/\n  → at label")
        name, wanted = value.split("=", 1)
        found = [each for each in found if each.labels.get(name) == wanted]
    h.send(200, [each.view() for each in found])


@route("GET", "/api/scheduled-jobs/(?P<namespace>[^/]+)/(?P<name>[^/]+)")
def inspect(h: Any, namespace: str, name: str) -> None:
    h.send(200, get_schedule(h, namespace, name, "job.read").view())


@route("DELETE", "/api/scheduled-jobs/(?P<namespace>[^/]+)/(?P<name>[^/]+)")
def delete(h: Any, namespace: str, name: str) -> None:
    del h.hub.schedules[get_schedule(h, namespace, name).id]
    h.send(204)


@route("POST", "/api/scheduled-jobs/(?P<namespace>[^/]+)/(?P<name>[^/]+)/(?P<what>suspend|resume)")
def suspend(h: Any, namespace: str, name: str, what: str) -> None:
    get_schedule(h, namespace, name).suspended = what == "suspend"
    h.send(204)


@route("POST", "/api/scheduled-jobs/(?P<namespace>[^/]+)/(?P<name>[^/]+)/run")
def run(h: Any, namespace: str, name: str) -> None:
    found = get_schedule(h, namespace, name)
    if found.is_running and not found.concurrency:
        raise ApiError(409, "Another instance of this scheduled job is already running")
    check_spec(h, found.spec, namespace)
    h.send(200, found.start().view())


@route("POST", "/api/scheduled-jobs/(?P<namespace>[^/]+)/(?P<name>[^/]+)/schedule")
def change(h: Any, namespace: str, name: str) -> None:
    found = get_schedule(h, namespace, name)
    found.schedule = h.json_body(schema.SCHEDULE_BODY)["schedule"]
    h.send(200, found.view())


@route("PUT", "/api/scheduled-jobs/(?P<namespace>[^/]+)/(?P<name>[^/]+)/labels")
def replace_labels(h: Any, namespace: str, name: str) -> None:
    found = get_schedule(h, namespace, name)
    found.spec["labels"] = h.json_body(schema.LABELS_BODY)["labels"]
    h.send(200, found.view())
