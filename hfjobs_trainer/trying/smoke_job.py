"""A smoke test as a job: in the run's own image, with its own secrets, on the cheapest machine."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING

from hfjobs_trainer.errors import BackendError
from hfjobs_trainer.planning.hardware.catalogue import find_flavor, snapshot
from hfjobs_trainer.planning.plan import Decision, Plan
from hfjobs_trainer.planning.saving import without_checkpoints
from hfjobs_trainer.running.backends.hub_scripts import MOUNT
from hfjobs_trainer.running.events import read_events
from hfjobs_trainer.running.job import Job
from hfjobs_trainer.trying.run import mode_files
from hfjobs_trainer.trying.smoke import SmokeTest, conclude, processes_of, settings_of

if TYPE_CHECKING:
    from hfjobs_trainer.facts import Facts
    from hfjobs_trainer.running.backends.base import Backend

FLAVOR = "cpu-basic"
LABEL, LABEL_VALUE = "mode", "smoke-test"
"""The label by which a job of a smoke test is known."""
JOB_SECONDS = 900
"""Timeout of the job. Half of it is for the packages, of which torch alone has some gigabytes."""
QUEUE_SECONDS = 600.0
"""How long it may wait for its machine, beyond which it is canceled too."""


def plan_job(plan: Plan, facts: Facts | None = None, *, seconds: int = JOB_SECONDS) -> Plan:
    """The plan of the job that tries a plan: the same script, on ``cpu-basic``, with its own limits and cost.

    Args:
        plan: The plan of the run.
        facts: Facts with today's prices; default: those of the dated snapshot.
        seconds: Timeout of the job.
    """
    hardware = facts.hardware if facts is not None and facts.hardware is not None else snapshot()
    flavor = find_flavor(FLAVOR, hardware) or find_flavor(FLAVOR, snapshot())
    request = without_checkpoints(plan.request)
    files = {name: content.decode() for name, content in mode_files().items()}
    files["smoke.json"] = json.dumps(settings_of(plan, asks=True), sort_keys=True)
    env = {**request.env, "HFT_MODE_FILE": f"{MOUNT}/smoke.py", "HFT_NUM_PROCESSES": str(processes_of(plan))}
    env["CUDA_VISIBLE_DEVICES"] = ""
    # the tracker of the run is not told of it
    tried = replace(
        request,
        name=f"smoke-{request.name}"[:60].rstrip("-"),
        flavor=FLAVOR,
        timeout_seconds=seconds,
        env=env,
        labels={**request.labels, LABEL: LABEL_VALUE},
        files=files,
        nodes=1,
        attempts=1,
        ssh=False,
        expose=(),
        schedule=None,
    )
    most = "" if flavor is None else f", at most ${flavor.usd_per_hour * seconds / 3600:.3f}"
    decisions = (
        Decision("hardware.flavor", FLAVOR, f"a smoke test needs no GPU{most}"),
        Decision("timeout", f"{seconds}s", "after which it is canceled"),
    )
    return replace(
        plan, request=tried, flavor=flavor, choice=None, estimate=None, decisions=decisions, prices=hardware.source
    )


def smoke_test_as_job(plan: Plan, job_plan: Plan, backend: Backend, *, queue: float = QUEUE_SECONDS) -> SmokeTest:
    """Run the smoke test of a plan as a job, and wait for it. An interrupt, or a limit, cancels the job.

    Args:
        plan: The plan of the run.
        job_plan: The plan of the job that tries it.
        backend: Hugging Face Jobs.
        queue: How long it may wait for its machine, seconds.

    Raises:
        BackendError: The job could not be created, or its result could not be read.
    """
    seconds = job_plan.timeout_seconds or JOB_SECONDS
    job = Job(backend.submit(job_plan), backend)
    overdue = False
    try:
        try:
            job.wait(seconds + queue)
        except TimeoutError:
            overdue = True
            job.cancel()
        status = job.status()
    except BaseException:
        with contextlib.suppress(BackendError):
            job.cancel()
        raise
    stopped = overdue or "timeout" in (status.message or "").lower()
    lines = list(job.logs())
    events = [event for event in read_events(lines) if event.kind == "smoke"]
    limit = f"the job took longer than {seconds} s, or had no machine for {queue:.0f} s"
    return conclude(
        plan,
        dict(events[0].data) if events else None,
        log="\n".join(lines),
        why=limit if stopped else f"the job ended before the script came to a result: {status}",
        where=f"job {job.id}",
        seconds=status.seconds or 0.0,
        processes=processes_of(plan),
        usd=job.cost(),
        stopped=stopped and not events,
    )
