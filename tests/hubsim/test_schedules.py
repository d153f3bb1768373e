"""Scheduled jobs of the simulator, through the real, unmodified client."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from datetime import UTC, datetime
from typing import Any

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import BadRequestError, HfHubHTTPError

import hubsim
from hubsim.schedules import next_run

JOB: dict[str, Any] = {"image": "python:3.12", "command": ["python", "-c", "print(1)"], "flavor": "cpu-basic"}
LATE = datetime(2026, 11, 29, 23, 59, 30, tzinfo=UTC)  # a Sunday


@pytest.fixture
def api(hub: hubsim.Hub) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token="hf_alice_write")


@pytest.mark.parametrize(
    ("schedule", "when"),
    [
        ("@hourly", "2026-11-30T00:00"),
        ("@weekly", "2026-12-06T00:00"),
        ("@monthly", "2026-12-01T00:00"),
        ("@yearly", "2027-01-01T00:00"),
        ("0 3 * * 1", "2026-11-30T03:00"),
        ("*/20 9-17 * * *", "2026-11-30T09:00"),
        ("5/10 * * * *", "2026-11-30T00:05"),
        ("0 0 29 2 *", "2028-02-29T00:00"),
        ("0 12 1 * 3", "2026-12-01T12:00"),  # the first, or a Wednesday
        ("0 0 * * 7", "2026-12-06T00:00"),
    ],
)
def test_when_it_runs_next(schedule: str, when: str) -> None:
    assert next_run(schedule, LATE) == datetime.fromisoformat(f"{when}:00+00:00")


@pytest.mark.parametrize("schedule", ["@often", "0 0 * *", "0 0 * * MON", "", "0 0 30 2 *"])
def test_schedules_are_such_as_the_hub_takes(api: HfApi, schedule: str) -> None:
    with pytest.raises(BadRequestError, match="schedule"):
        api.create_scheduled_job(**JOB, schedule=schedule)


def test_the_limits_of_a_job_are_those_of_a_scheduled_one(api: HfApi) -> None:
    for change in ({"expose": [0]}, {"attempts": 0}, {"resource_group_id": "x"}, {"labels": {"a": "b.c"}}):
        with pytest.raises(BadRequestError):
            api.create_scheduled_job(**JOB, schedule="@daily", **change)


def test_a_scheduled_job_is_in_no_network(hub: hubsim.Hub) -> None:
    spec = {"dockerImage": "x", "command": ["x"], "flavor": "cpu-basic", "network": {"group": "a"}}
    body = json.dumps({"jobSpec": spec, "schedule": "@daily"}).encode()
    headers = {"Authorization": "Bearer hf_alice_write", "Content-Type": "application/json"}
    request = urllib.request.Request(f"{hub.endpoint}/api/scheduled-jobs/alice", body, headers)
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(request, timeout=10)
    assert "network" in raised.value.read().decode()


def test_its_life(hub: hubsim.Hub, api: HfApi) -> None:
    made = api.create_scheduled_job(**JOB, schedule="@daily", labels={"team": "ml"}, attempts=2, expose=[8000])
    assert (made.schedule, made.suspend, made.concurrency) == ("@daily", False, False)
    assert (made.job_spec.retry, made.job_spec.expose, made.status.last_job) == (1, [8000], None)
    name = {"scheduled_job_id": made.id}
    assert [each.id for each in api.list_scheduled_jobs(labels={"team": "ml"})] == [made.id]
    assert api.list_scheduled_jobs(labels={"team": "other"}) == []
    hub.script(runSecs=60)
    run = api.trigger_scheduled_job(**name)
    assert run.initiator is not None
    assert (run.initiator.type, run.initiator.id, run.labels["team"]) == ("scheduled-job", made.id, "ml")
    with pytest.raises(HfHubHTTPError, match="409"):
        api.trigger_scheduled_job(**name)
    last = api.inspect_scheduled_job(**name).status.last_job
    assert last is not None
    assert last.id == run.id
    api.suspend_scheduled_job(**name)
    assert api.inspect_scheduled_job(**name).suspend
    with pytest.raises(ValueError, match="suspended"):
        hub.trigger(made.id)
    api.resume_scheduled_job(**name)
    assert api.update_scheduled_job_schedule(**name, schedule="0 3 * * 1").schedule == "0 3 * * 1"
    api.delete_scheduled_job(**name)
    with pytest.raises(HfHubHTTPError, match="404"):
        api.inspect_scheduled_job(**name)


def test_the_clock_of_another_process(hub: hubsim.Hub, api: HfApi) -> None:
    made = api.create_scheduled_job(**JOB, schedule="@daily")
    with urllib.request.urlopen(f"{hub.endpoint}/_sim/schedules/{made.id}", b"{}", timeout=10) as answer:
        run = json.load(answer)
    assert [job.id for job in api.list_jobs(namespace="alice")] == [run["id"]]
    with urllib.request.urlopen(f"{hub.endpoint}/_sim/schedules", timeout=10) as answer:
        assert [each["status"]["lastJob"]["id"] for each in json.load(answer)] == [run["id"]]
