"""The control plane of a simulator in another process: ``/_sim/...``, never in the journal."""

from __future__ import annotations

import os
from typing import Any


def answer(h: Any) -> None:
    what, _, name = h.raw_path.removeprefix("/_sim/").partition("/")
    function = CONTROLS.get(what)
    if function is None:
        return h.send(404, {"error": f"no control endpoint {what}, known are {sorted(CONTROLS)}"})
    try:
        return h.send(200, function(h, h.json_body() if h.body else {}, name))
    except (KeyError, ValueError) as error:
        return h.send(400, {"error": str(error)})


def journal(h: Any, body: dict[str, Any], name: str) -> Any:
    if h.command == "DELETE":
        h.hub.journal.clear()
    query = dict(h.query)
    return h.hub.requests(query.get("path", ""), query.get("method"))


def faults(h: Any, body: dict[str, Any], name: str) -> Any:
    if h.command == "DELETE":
        h.hub.faults.clear()
    elif h.command == "POST":
        h.hub.fail(**body)
    return h.hub.faults


def plans(h: Any, body: dict[str, Any], name: str) -> Any:
    if h.command == "DELETE":
        h.hub.plans.clear()
    elif h.command == "POST":
        h.hub.script(**body)
    return h.hub.plans


def settings(h: Any, body: dict[str, Any], name: str) -> Any:
    if unknown := set(body) - set(h.hub.cfg):
        raise ValueError(f"unknown settings {sorted(unknown)}, known are {sorted(h.hub.cfg)}")
    h.hub.cfg.update(body)
    return h.hub.cfg


def jobs(h: Any, body: dict[str, Any], name: str) -> Any:
    if h.command == "POST":
        job = h.hub.jobs[name]
        job.cancel_reason = body.get("cancelReason", job.cancel_reason)
        if body.get("stage") == "DELETED":
            job.stage = "DELETED"
        elif body.get("stage"):
            job.move(body["stage"], body.get("message"))
            job.cancel()
    return [show(job) for job in h.hub.jobs.values() if name in ("", job.id)]


def schedules(h: Any, body: dict[str, Any], name: str) -> Any:
    if h.command == "POST":
        return show(h.hub.trigger(name))
    return [each.view() for each in h.hub.schedules.values()]


def show(job: Any) -> dict[str, Any]:
    """A job with what the API hides: values of secrets, command, environment, mounts."""
    return {
        "id": job.id,
        "namespace": job.namespace,
        "stage": job.stage,
        "message": job.message,
        "labels": job.labels,
        "spec": job.spec,
        "exitCode": job.exit_code,
        "execution": job.execution,
        "logs": job.lines,
        "transitions": [stage for _, stage in job.transitions],
    }


def ping(h: Any, body: dict[str, Any], name: str) -> Any:
    return {"ok": True, "overlay": h.hub.overlay, "root": str(h.hub.root), "pid": os.getpid()}


CONTROLS = {
    "journal": journal,
    "faults": faults,
    "plans": plans,
    "config": settings,
    "jobs": jobs,
    "schedules": schedules,
    "ping": ping,
}
