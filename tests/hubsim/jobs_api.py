"""The routes of the Jobs API."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from hubsim import schema
from hubsim.jobs import TERMINAL, Job
from hubsim.routing import ApiError, route
from hubsim.state import FOLDERS
from hubsim.times import iso

NO_CREDITS = "Pre-paid credit balance is insufficient - add more credits to your account to use Jobs."
STAGES = (*TERMINAL, "RUNNING", "SCHEDULING")
LABEL_FILTER = "[a-zA-Z0-9._-]+=[a-zA-Z0-9._-]*"


def check_spec(h: Any, spec: dict[str, Any], namespace: str) -> None:
    accounts = h.hub.accounts
    if errors := schema.spec_problems(spec, h.hub.cfg["labelDots"]):
        raise ApiError(400, "\n".join(errors))
    for volume in spec.get("volumes") or []:
        kind, source = volume["type"], volume["source"]
        owner = source.split("/")[0]
        exists = (h.hub.root / FOLDERS[kind] / source).is_dir()
        if not exists or (kind == "bucket" and not accounts.allows(h.token, "repo.read", owner)):
            raise ApiError(404, f"Volume source not found: {kind} {source}")
        if kind == "bucket" and not volume.get("readOnly") and not accounts.allows(h.token, "repo.write", owner):
            raise ApiError(403, f"You don't have write access to the bucket {source}")
    if not accounts.can_pay(namespace):
        raise ApiError(402, NO_CREDITS)


def get_job(h: Any, namespace: str, job_id: str, permission: str = "job.read") -> Job:
    h.need(permission, namespace)
    job = h.hub.jobs.get(job_id)
    if job is None or job.namespace != namespace:
        raise ApiError(404, "Job not found")
    return job


@route("GET", "/api/jobs/hardware")
def list_hardware(h: Any) -> None:
    h.send(200, list(schema.HARDWARE.values()))


@route("POST", "/api/jobs/(?P<namespace>[^/]+)")
def create_job(h: Any, namespace: str) -> None:
    h.need("job.write", namespace)
    spec = h.json_body(schema.JOB)
    check_spec(h, spec, namespace)
    user = h.token["user"]
    h.send(200, h.hub.start_job(namespace, user, spec, h.hub.accounts.owner(user)).view())


def choose(h: Any, jobs: list[Job]) -> list[Job]:
    """Apply the filters of the query."""
    stages = []
    for key, value in h.query:
        if key not in ("label", "stage", "cursor"):
            raise ApiError(400, f'✖ Unrecognized key: "{key}"')
        if key == "label":
            if not re.fullmatch(LABEL_FILTER, value):
                raise ApiError(400, f"✖ Invalid string: must match pattern /^{LABEL_FILTER}$/\n  → at label")
            name, wanted = value.split("=", 1)
            jobs = [job for job in jobs if job.labels.get(name) == wanted]
        if key == "stage":
            if value not in STAGES:
                raise ApiError(400, "✖ Invalid option\n  → at stage")
            stages.append(value)
    return [job for job in jobs if job.stage in stages] if stages else jobs


@route("GET", "/api/jobs/(?P<namespace>[^/]+)(?P<count>/count)?")
def list_jobs(h: Any, namespace: str, count: str | None = None) -> None:
    h.need("job.read", namespace)
    listed = time.time() - h.hub.cfg["listLagSecs"]
    jobs = [job for job in h.hub.jobs.values() if job.namespace == namespace and job.created <= listed]
    if not count:
        jobs = [job for job in jobs if job.stage != "DELETED"]
    jobs = choose(h, sorted(jobs, key=lambda job: job.id, reverse=True))
    if count:
        return h.send(200, {"count": len(jobs)})
    cursor, size = dict(h.query).get("cursor"), h.hub.cfg["pageSize"]
    jobs = [job for job in jobs if not cursor or job.id < cursor]
    link = {}
    if len(jobs) > size:
        kept = [(key, value) for key, value in h.query if key != "cursor"]
        query = urlencode([*kept, ("cursor", jobs[size - 1].id)])
        link = {"Link": f'<{h.hub.endpoint}{h.raw_path}?{query}>; rel="next"'}
    return h.send(200, [job.view() for job in jobs[:size]], **link)


@route("GET", "/api/jobs/(?P<namespace>[^/]+)/(?P<job_id>[^/]+)")
def inspect_job(h: Any, namespace: str, job_id: str) -> None:
    h.send(200, get_job(h, namespace, job_id).view())


@route("POST", "/api/jobs/(?P<namespace>[^/]+)/(?P<job_id>[^/]+)/cancel")
def cancel_job(h: Any, namespace: str, job_id: str) -> None:
    job = get_job(h, namespace, job_id, "job.write")
    if job.stage not in TERMINAL:
        job.cancel()
    elif h.hub.cfg["cancelFinished"] != 200:
        raise ApiError(h.hub.cfg["cancelFinished"], "Job is already finished")
    h.send(200, job.view())


@route("POST", "/api/jobs/(?P<namespace>[^/]+)/(?P<job_id>[^/]+)/duplicate")
def duplicate_job(h: Any, namespace: str, job_id: str) -> None:
    job = get_job(h, namespace, job_id, "job.write")
    check_spec(h, job.spec, namespace)
    spec = {**job.spec, "labels": dict(job.labels)}
    copy = h.hub.start_job(namespace, h.token["user"], spec, {"type": "duplicated-job", "id": job_id})
    h.send(200, copy.view())


@route("PUT", "/api/jobs/(?P<namespace>[^/]+)/(?P<job_id>[^/]+)/labels")
def replace_labels(h: Any, namespace: str, job_id: str) -> None:
    job = get_job(h, namespace, job_id, "job.write")
    body = h.json_body(schema.LABELS_BODY)
    if errors := schema.spec_problems({"dockerImage": "x", "command": ["x"], **body}, h.hub.cfg["labelDots"]):
        raise ApiError(400, "\n".join(errors))
    job.labels = body["labels"]
    h.send(200, job.view())


@route("POST", "/api/jobs/(?P<namespace>[^/]+)(?P<job_id>/[^/]+)?/auth-check/(?P<right>read|write)")
def check_rights(h: Any, namespace: str, right: str, job_id: str | None = None) -> None:
    h.need(f"job.{right}", namespace)
    accounts = h.hub.accounts
    h.send(200, {"namespace": accounts.identify(namespace), "user": accounts.identify(h.token["user"])})


def server_sent(data: Any, event: str | None = None) -> bytes:
    name = f"event: {event}\n" if event else ""
    return f"{name}data: {json.dumps(data)}\n\n".encode()


@route("GET", "/api/jobs/(?P<namespace>[^/]+)/(?P<job_id>[^/]+)/logs")
def stream_logs(h: Any, namespace: str, job_id: str) -> None:
    job = get_job(h, namespace, job_id)
    tail, limit = dict(h.query).get("tail"), h.hub.cfg["logReplayLimit"]
    if tail is not None and not tail.isdigit():
        raise ApiError(400, "✖ Invalid input: expected number, received NaN\n  → at tail")
    with job.changed:
        known = job.readable()
        replayed = min(known if tail is None else int(tail), limit or known)
        # the first line of all, "Job started", is sent even so
        skipped = set(range(1 if known and job.events[0]["data"].startswith("===== Job") else 0, known - replayed))
    at = 0

    def next_line(seconds: float) -> bytes | bool | None:
        nonlocal at
        with job.changed:
            while at in skipped:
                at += 1
            if at >= job.readable():
                has_ended = job.logs_done or job.stage in TERMINAL
                if has_ended and not h.hub.cfg["streamsStayOpen"]:
                    return False
                job.changed.wait(seconds)
            if at >= job.readable():
                return None
            at += 1
            return server_sent(job.events[at - 1])

    h.stream(next_line)


@route("GET", "/api/jobs/(?P<namespace>[^/]+)/(?P<job_id>[^/]+)/metrics")
def stream_metrics(h: Any, namespace: str, job_id: str) -> None:
    job = get_job(h, namespace, job_id)
    if job.stage in TERMINAL:
        raise ApiError(406, "Job is not running")
    sample = sampler(job)
    due = 0.0

    def next_sample(seconds: float) -> bytes | None:
        nonlocal due
        now = time.time()
        if job.stage != "RUNNING" or now < due:
            time.sleep(seconds)  # after the job's end the stream stays open and silent, as the real one does
            return None
        due = now + h.hub.cfg["metricSecs"]
        return server_sent(sample(), "metric")

    h.stream(next_sample)


def sampler(job: Job) -> Callable[[], dict[str, Any]]:
    hardware = schema.HARDWARE.get(job.spec["flavor"], schema.HARDWARE["cpu-basic"])
    gpu = hardware["accelerator"]
    count = int(gpu["quantity"]) if gpu else 0
    gpu_bytes = int(gpu["vram"].split()[0]) * 10**9 // count if gpu else 0
    usage = {"utilization": 50, "memory_used_bytes": gpu_bytes // 2, "memory_total_bytes": gpu_bytes}
    taken = 0

    def sample() -> dict[str, Any]:
        nonlocal taken
        taken += 1
        return {
            "cpu_usage_pct": taken % 100,
            "cpu_millicores": int(hardware["cpu"].split()[0]) * 1000,
            "memory_used_bytes": 10**9,
            "memory_total_bytes": int(hardware["ram"].split()[0]) * 1024**3,
            "rx_bps": 0,
            "tx_bps": 0,
            "gpus": {f"{index:08x}": usage for index in range(count)},
            "replica": job.id[-5:],
        }

    return sample


@route("GET", "/api/jobs/(?P<namespace>[^/]+)/(?P<job_id>[^/]+)/events")
def stream_events(h: Any, namespace: str, job_id: str) -> None:
    job = get_job(h, namespace, job_id)
    at = 0

    def next_event(seconds: float) -> bytes | bool | None:
        nonlocal at
        with job.changed:
            if at >= len(job.transitions):
                if job.stage in TERMINAL:
                    return False
                job.changed.wait(seconds)
            if at >= len(job.transitions):
                return None
            at += 1
            when, stage = job.transitions[at - 1]
            return server_sent({"stage": stage, "timestamp": iso(when)}, "status")

    h.stream(next_event)
