"""Scheduled jobs: created once, run as jobs of their own, suspended, resumed and deleted."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import hubsim
import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.errors import AuthError, BackendError, HubUnavailable, JobNotFound, QuotaError
from hfjobs_trainer.running.backends.hub import HubBackend
from hfjobs_trainer.running.backends.hub_scripts import folder_of
from tests.running.hub_runs import QUICK, SCRIPT, SECRET, finish, plan, tell_all
from tests.running.places import GOOD_RUN

pytestmark = pytest.mark.usefixtures("temporary")

POST = {"method": "POST", "path": "/api/scheduled-jobs/alice$"}
LIST = {"method": "GET", "path": "/api/scheduled-jobs/alice$"}
GROUP = "66670e5163145ca562cb1988"


def weekly(**changes: Any) -> Any:
    return plan(schedule="@weekly", **changes)


def sent(hub: hubsim.Hub) -> list[dict[str, Any]]:
    return [json.loads(entry["body"]) for entry in hub.requests("^/api/scheduled-jobs/[^/]+$", "POST")]


def open_one(backend: HubBackend, **changes: Any) -> hft.ScheduledJob:
    return hft.ScheduledJob(backend.schedules.submit(weekly(**changes)), backend)


# -- the way of a user


@pytest.fixture
def script(tmp_path: Path) -> hft.Script:
    path = tmp_path / "train.py"
    path.write_text("# /// script\n# dependencies = []\n# ///\nimport os\nprint('run', os.environ.get('HFT_RUN_ID'))\n")
    return hft.Script(str(path), hardware="cpu-basic", timeout="20m", tracking=hft.Tracking(report_to="none"))


@pytest.fixture
def client(hub: hubsim.Hub) -> hft.Client:
    return hft.Client(token="hf_alice_write", endpoint=hub.endpoint)


def test_a_run_is_scheduled_and_each_time_begins_anew(hub: hubsim.Hub, client: hft.Client, script: hft.Script) -> None:
    scheduled = client.submit(script, schedule="@weekly")
    assert isinstance(scheduled, hft.ScheduledJob)
    assert hub.jobs == {}
    (one,) = hub.schedules.values()
    assert (scheduled.id, scheduled.schedule, scheduled.url) == (f"alice/{one.id}", "@weekly", None)
    assert repr(scheduled) == f"ScheduledJob('{scheduled.id}', schedule='@weekly')"
    assert scheduled.next_run is not None
    assert datetime.now(UTC) < scheduled.next_run <= datetime.now(UTC) + timedelta(days=7)
    assert scheduled.jobs() == []
    hub.script(count=3, logs=GOOD_RUN[-1:], runSecs=0.1)
    for _ in range(2):
        finish(hub, scheduled.trigger().record)
    first, second = reversed(scheduled.jobs())
    assert [job.spec["environment"].get("HFT_RUN_ID") for job in hub.jobs.values()] == [None, None]
    assert first.wait().status().succeeded
    assert {job.initiator["type"] for job in hub.jobs.values()} == {"scheduled-job"}
    assert scheduled.refresh().url == second.url
    assert scheduled.record.last_run == second.id
    assert f"href='{second.url}'" in scheduled._repr_html_()
    hub.trigger(one.id)  # by the clock
    assert len(scheduled.jobs()) == 3


def test_it_is_suspended_resumed_and_deleted(hub: hubsim.Hub, client: hft.Client, script: hft.Script) -> None:
    scheduled = client.submit(script, schedule="0 3 * * 1")
    assert isinstance(scheduled, hft.ScheduledJob)
    assert scheduled.next_run is not None
    assert (scheduled.next_run.hour, scheduled.next_run.isoweekday()) == (3, 1)
    scheduled.suspend()
    assert (scheduled.suspended, scheduled.next_run) == (True, None)
    scheduled.resume()
    assert not scheduled.suspended
    scheduled.delete()
    scheduled.delete()
    assert hub.schedules == {}
    with pytest.raises(JobNotFound, match=r"hft\.scheduled_jobs\(\)"):
        scheduled.refresh()


def test_it_is_found_again(hub: hubsim.Hub, client: hft.Client, script: hft.Script) -> None:
    first = client.submit(script.replace(labels={"team": "a"}), schedule="@daily")
    second = client.submit(script.replace(labels={"team": "b"}), schedule="@hourly")
    assert [each.id for each in client.scheduled_jobs()] == [second.id, first.id]
    assert [each.schedule for each in client.scheduled_jobs(labels={"team": "a"}, method="script")] == ["@daily"]
    backend = hft.HubBackend(token="hf_alice_write", endpoint=hub.endpoint)
    again = hft.ScheduledJob.from_id(first.id, backend=backend)
    assert again.record == first.record
    with pytest.raises(JobNotFound):
        hft.ScheduledJob.from_id("alice/5cffffffffffffffffffffff", backend=backend)


def test_a_dry_run_shows_the_schedule_and_sends_nothing(
    hub: hubsim.Hub, client: hft.Client, script: hft.Script
) -> None:
    planned = client.submit(script, schedule="@weekly", dry_run=True)
    assert isinstance(planned, hft.Plan)
    assert planned.request.schedule == "@weekly"
    assert "@weekly (UTC)" in str(planned)
    assert isinstance(client.submit(planned, schedule="@daily"), hft.ScheduledJob)
    assert isinstance(client.submit(planned), hft.ScheduledJob)
    assert [body["schedule"] for body in sent(hub)] == ["@daily", "@weekly"]
    wrong = client.submit(script, schedule="often", dry_run=True)
    assert [problem.code for problem in wrong.problems] == ["SCHED001"]
    assert isinstance(client.submit(wrong, schedule="@hourly"), hft.ScheduledJob)


@pytest.mark.parametrize(
    ("changes", "schedule", "code"),
    [
        ({}, "61 * * * *", "SCHED001"),
        ({}, "@often", "SCHED001"),
        ({}, cast("str", 5), "SCHED001"),
        ({"hardware": hft.Hardware(flavor="cpu-basic", ssh=True)}, "@weekly", "SCHED002"),
        ({"env": {"HFT_RUN_ID": "mine"}}, "@weekly", "SCHED002"),
    ],
)
def test_what_cannot_be_scheduled_is_not(
    hub: hubsim.Hub, client: hft.Client, script: hft.Script, changes: dict[str, Any], schedule: str, code: str
) -> None:
    with pytest.raises(hft.SpecError, match=code):
        client.submit(script.replace(**changes), schedule=schedule)
    assert sent(hub) == []


@pytest.mark.parametrize("backend", ["local", hft.InProcessBackend()], ids=["local", "inprocess"])
def test_other_backends_have_no_schedules(script: hft.Script, backend: Any) -> None:
    with pytest.raises(hft.SpecError, match="SCHED002 schedule: only Jobs have schedules"):
        hft.Client(backend=backend).submit(hft.plan(script, offline=True, backend="local"), schedule="@weekly")
    with pytest.raises(BackendError, match="runs nothing on a schedule"):
        hft.Client(backend=backend).scheduled_jobs()


def test_every_method_takes_a_schedule(hub: hubsim.Hub, script: hft.Script, backend: HubBackend) -> None:
    asked: Any = {"script": script.script, "hardware": "cpu-basic", "timeout": "20m", "schedule": "@weekly"}
    planned = hft.submit_script(**asked, backend=backend, dry_run=True)
    assert planned.request.schedule == "@weekly"
    assert isinstance(hft.submit_script(**asked, backend=backend), hft.ScheduledJob)
    asked = {"model": "acme/none", "dataset": "acme/none", "timeout": "1h", "schedule": "often"}
    with pytest.raises(hft.SpecError, match="SCHED001"):
        hft.submit_sft(**asked, backend=backend, hub_model_id="alice/m")


# -- what is sent, and what came back


def test_what_is_sent(hub: hubsim.Hub, backend: HubBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    record = backend.schedules.submit(
        weekly(secrets=("WANDB_API_KEY",), attempts=2, expose=(8000,), resource_group_id=GROUP)
    )
    (body,) = sent(hub)
    spec = body["jobSpec"]
    assert (body["schedule"], body["concurrency"]) == ("@weekly", False)
    assert spec["command"] == ["uv", "run", "/data/script.py"]
    assert (spec["attempts"], spec["expose"]["ports"], spec["resourceGroupId"]) == (2, [8000], GROUP)
    assert spec["volumes"][0]["path"] == folder_of(SCRIPT)
    assert spec["secrets"] == {"WANDB_API_KEY": SECRET}
    assert SECRET not in repr(record)
    assert record.flavor == "t4-small"


def test_runs_of_a_schedule_really_run(hub: hubsim.Hub, backend: HubBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    scheduled = open_one(backend, secrets=("WANDB_API_KEY",))
    job = hft.Job(backend.schedules.trigger(scheduled.id), backend)
    assert list(job.logs(follow=True)) == ["color blue", f"secret arrived {len(SECRET)}"]


def test_a_run_that_goes_on_is_not_joined(hub: hubsim.Hub, backend: HubBackend) -> None:
    scheduled = open_one(backend)
    hub.script(runSecs=60)
    scheduled.trigger()
    with pytest.raises(BackendError, match="409"):
        scheduled.trigger()
    assert len(hub.jobs) == 1


@pytest.mark.parametrize(
    ("changes", "dropped", "why"),
    [
        ({"attempts": 3}, "retry", "number of attempts is 1, not 3"),
        ({"expose": (8000,)}, "expose", r"exposed ports is \[\], not \[8000\]"),
        ({}, "timeout", "timeout is None, not 13500"),
        ({}, "labels", "label submit-id is None"),
        ({"flavor": "a10g-large"}, "flavor", "flavor is None, not 'a10g-large'"),
    ],
)
def test_a_field_that_the_hub_drops_is_seen(
    hub: hubsim.Hub, backend: HubBackend, changes: dict[str, Any], dropped: str, why: str
) -> None:
    def strip(status: int, body: Any) -> tuple[int, Any]:
        return status, {**body, "jobSpec": {k: v for k, v in body["jobSpec"].items() if k != dropped}}

    hub.fail(**POST, rewrite=strip)
    with pytest.raises(BackendError, match=f"a different scheduled job than requested.*{why}.* It was deleted"):
        backend.schedules.submit(weekly(**changes))
    assert hub.schedules == {}


def test_a_resource_group_that_the_hub_drops_is_seen(hub: hubsim.Hub, backend: HubBackend) -> None:
    def strip(status: int, body: Any) -> tuple[int, Any]:
        del body["jobSpec"]["resourceGroupId"]
        return status, body

    hub.fail(method="GET", path="/api/scheduled-jobs/alice/", rewrite=strip)
    with pytest.raises(BackendError, match=f"resource group is None, not '{GROUP}'"):
        backend.schedules.submit(weekly(resource_group_id=GROUP))
    assert hub.schedules == {}


# -- lost answers


@pytest.mark.parametrize(
    "fault",
    [
        {"reset": "after"},
        {"reset": "mid"},
        {"rewrite": lambda _status, _body: (502, b"<html>bad gateway</html>")},
        {"rewrite": lambda _status, _body: (200, None)},
    ],
    ids=["reset", "reset within", "bad gateway", "empty"],
)
def test_a_lost_answer_makes_no_second_schedule(hub: hubsim.Hub, backend: HubBackend, fault: dict[str, Any]) -> None:
    hub.fail(**POST, **fault)
    record = backend.schedules.submit(weekly())
    assert [f"alice/{name}" for name in hub.schedules] == [record.id]
    assert len(sent(hub)) == 1


@pytest.mark.parametrize("fault", [{"reset": "before"}, {"response": {"status": 500}}])
def test_a_lost_request_is_sent_again(hub: hubsim.Hub, backend: HubBackend, fault: dict[str, Any]) -> None:
    hub.fail(**POST, **fault)
    record = backend.schedules.submit(weekly())
    assert [f"alice/{name}" for name in hub.schedules] == [record.id]


def test_of_two_schedules_the_older_stays(hub: hubsim.Hub, connect: Callable[..., HubBackend]) -> None:
    hub.fail(**POST, reset="after")
    hub.fail(**LIST, response={"status": 200, "body": []})
    record = connect(patience=replace(QUICK, search=0)).schedules.submit(weekly())
    assert [f"alice/{name}" for name in hub.schedules] == [record.id]
    assert len(sent(hub)) == 2


def test_a_second_schedule_that_shows_up_late_is_deleted(hub: hubsim.Hub, backend: HubBackend) -> None:
    hub.cfg["listLagSecs"] = 60
    hub.fail(**POST, reset="after")
    scheduled = open_one(backend)
    late, kept = hub.schedules
    assert scheduled.id == f"alice/{kept}"
    hub.cfg["listLagSecs"] = 0
    with pytest.warns(RuntimeWarning, match=f"scheduled job alice/{late}, .* was deleted"):
        scheduled.refresh()
    assert list(hub.schedules) == [kept]


def test_a_hub_that_stays_away_leaves_a_way_to_look(hub: hubsim.Hub, backend: HubBackend) -> None:
    hub.fail(**POST, reset="after")
    hub.fail(**LIST, response={"status": 403}, times=99)
    with pytest.raises(HubUnavailable, match=r"scheduled job was created is not known.*\.scheduled_jobs\(") as raised:
        backend.schedules.submit(weekly())
    hub.faults.clear()
    labels = json.loads(str(raised.value).split("labels=")[1].split(")")[0])
    (found,) = hft.Client(token="hf_alice_write", endpoint=hub.endpoint).scheduled_jobs(labels=labels)
    assert found.id == f"alice/{next(iter(hub.schedules))}"


def test_a_run_that_may_have_been_started_is_told(hub: hubsim.Hub, backend: HubBackend) -> None:
    scheduled = open_one(backend)
    hub.fail(path="/run$", reset="after")
    with pytest.raises(HubUnavailable, match="Whether a run was started is not known"):
        scheduled.trigger()
    assert len(hub.jobs) == len(scheduled.jobs()) == 1


def test_a_lost_answer_to_a_deletion_is_none(hub: hubsim.Hub, backend: HubBackend) -> None:
    scheduled = open_one(backend)
    hub.fail(method="DELETE", path="/api/scheduled-jobs", reset="after")
    scheduled.delete()
    assert hub.schedules == {}


@pytest.mark.parametrize(
    ("token", "kind"), [("hf_alice_nojobs", AuthError), ("hf_carol_write", QuotaError), ("hf_wrong", AuthError)]
)
def test_refusals_are_those_of_jobs(
    hub: hubsim.Hub, connect: Callable[..., HubBackend], token: str, kind: type[Exception], monkeypatch: Any
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    namespace = "carol" if "carol" in token else "alice"
    with pytest.raises(kind) as raised:
        connect(token, namespace).schedules.submit(weekly(secrets=("WANDB_API_KEY",)))
    told = tell_all(raised.value)
    assert os.environ["WANDB_API_KEY"] not in told
    assert token not in told
    assert hub.schedules == {}
