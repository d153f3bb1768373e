"""Runs on a simulated Hub: what is submitted, and what the Hub was sent."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import hubsim

import hfjobs_trainer as hft
from hfjobs_trainer.planning.plan import JobRequest, Plan
from hfjobs_trainer.running.backends.base import JobRecord
from hfjobs_trainer.running.backends.hub import HubBackend
from hfjobs_trainer.running.backends.hub_connection import Patience

SECRET = "s3cret 'with' \"quotes\", \\ and ü\nin two lines"
SCRIPT = """\
# /// script
# dependencies = []
# ///
import os
print("color", os.environ["COLOR"], flush=True)
print("secret arrived", len(os.environ["WANDB_API_KEY"]), flush=True)
"""
SPEC = hft.Script("train.py", hardware="t4-small", timeout="3h")
REQUEST = JobRequest(
    script=SCRIPT,
    name="dpo-qwen",
    flavor="t4-small",
    timeout_seconds=13500,
    env={"COLOR": "blue"},
    labels={"sdk": "hfjobs-trainer", "method": "dpo"},
)
QUICK = Patience(
    attempts=3,
    pause=0.02,
    longest_pause=0.1,
    answer=10,
    submission=20,
    search=0.3,
    reconnects=5,
    quota=2,
    farewell=0.5,
    refused=0.2,
    look=0.1,
    quiet=0.2,
    settle=0.1,
    late=1.0,
)
POST = {"method": "POST", "path": "/api/jobs/alice$"}
LIST = {"method": "GET", "path": "/api/jobs/alice$"}


def plan(**changes: Any) -> Plan:
    return Plan(spec=SPEC, backend="hub", request=replace(REQUEST, **changes))


def play(hub: hubsim.Hub, backend: HubBackend, lines: Sequence[str], seconds: float = 0.1, **more: Any) -> JobRecord:
    hub.script(logs=list(lines), runSecs=seconds, **more)
    return backend.submit(plan())


def finish(hub: hubsim.Hub, record: JobRecord) -> hubsim.state.Job:
    job = hub.jobs[record.id.split("/")[1]]
    job.join(20)
    return job


def sent(hub: hubsim.Hub) -> list[dict[str, Any]]:
    """Bodies of the requests that create a job."""
    return [json.loads(entry["body"]) for entry in hub.requests("^/api/jobs/[^/]+$", "POST")]


def found_as_told(hub: hubsim.Hub, text: str) -> list[str]:
    """Ids, without namespace, of the jobs that the call in a message finds."""
    ((namespace, labels),) = re.findall(r'hft\.Client\(namespace="(.*)"\)\.jobs\(labels=(\{.*?\})\)', text)
    client = hft.Client(token="hf_alice_write", namespace=namespace, endpoint=hub.endpoint)
    return [job.id.split("/")[1] for job in client.jobs(labels=json.loads(labels))]


def tell_all(error: BaseException | None) -> str:
    """All that an exception gives away: words, attributes, what it was raised from, local variables of its frames."""
    if error is None:
        return ""
    told = [str(error), repr(error), repr(error.args), repr(vars(error)), repr(pickle.dumps(error))]
    step = error.__traceback__
    while step is not None:
        if Path(step.tb_frame.f_code.co_filename).parent != Path(__file__).parent:
            told.append(repr(step.tb_frame.f_locals))
        step = step.tb_next
    linked = (error.__cause__, error.__context__, getattr(error, "cause", None))
    return "\n".join([*told, *map(tell_all, linked)])
