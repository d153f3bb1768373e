"""One job and only one, whatever becomes of the Hub's answers; its script is uploaded once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import hubsim
import pytest

from hfjobs_trainer.errors import BackendError, HubUnavailable, QuotaError
from hfjobs_trainer.running.backends.hub import HubBackend
from hfjobs_trainer.running.backends.hub_connection import THREAD
from hfjobs_trainer.running.job import Job
from tests.running.hub_runs import LIST, POST, QUICK, found_as_told, plan, sent

pytestmark = pytest.mark.usefixtures("temporary")


ANSWERS_LOST: dict[str, dict[str, Any]] = {
    "reset after acceptance": {"reset": "after"},
    "reset within the answer": {"reset": "mid"},
    "server error after acceptance": {"rewrite": lambda _status, _body: (502, b"<html>bad gateway</html>")},
    "an answer that is no JSON": {"rewrite": lambda _status, _body: (200, b"<html>welcome</html>")},
    "an answer that is no object": {"rewrite": lambda _status, _body: (200, [])},
    "an empty answer": {"rewrite": lambda _status, _body: (200, None)},
    "a job without a status": {"rewrite": lambda _status, body: (200, {**body, "status": None})},
    "a job without an owner": {"rewrite": lambda _status, body: (200, {**body, "owner": None})},
    "a job of no date": {"rewrite": lambda _status, body: (200, {**body, "createdAt": "yesterday"})},
    "an answer that leads elsewhere": {"rewrite": lambda _status, _body: (302, b"")},
}
NOT_CREATED: dict[str, dict[str, Any]] = {
    "reset before acceptance": {"reset": "before"},
    "server error": {"response": {"status": 500}},
    "bucket unavailable": {"path": "/api/buckets/alice/jobs-artifacts$", "response": {"status": 503}},
}


@pytest.mark.parametrize("fault", ANSWERS_LOST.values(), ids=ANSWERS_LOST)
def test_a_lost_answer_makes_no_second_job(hub: hubsim.Hub, backend: HubBackend, fault: dict[str, Any]) -> None:
    hub.fail(**POST, **fault)
    record = backend.submit(plan())
    assert [f"alice/{name}" for name in hub.jobs] == [record.id]
    assert len(sent(hub)) == 1


@pytest.mark.parametrize("fault", NOT_CREATED.values(), ids=NOT_CREATED)
def test_a_lost_request_is_sent_again(hub: hubsim.Hub, backend: HubBackend, fault: dict[str, Any]) -> None:
    hub.fail(**{**POST, **fault})
    record = backend.submit(plan())
    assert [f"alice/{name}" for name in hub.jobs] == [record.id]
    assert len({body["labels"]["submit-id"] for body in sent(hub)}) == 1


def test_a_job_that_shows_up_late(hub: hubsim.Hub, connect: Callable[..., HubBackend]) -> None:
    hub.cfg["listLagSecs"] = 0.5
    hub.fail(**POST, reset="after")
    record = connect(patience=replace(QUICK, search=20)).submit(plan())
    assert [f"alice/{name}" for name in hub.jobs] == [record.id]
    assert len(sent(hub)) == 1


def test_of_two_jobs_the_older_stays(hub: hubsim.Hub, connect: Callable[..., HubBackend]) -> None:
    hub.script(runSecs=60, logs=["older"])
    hub.script(runSecs=60, logs=["newer"])
    hub.fail(**POST, reset="after")
    hub.fail(**LIST, response={"status": 200, "body": []})  # the first look, and the only one, finds nothing
    record = connect(patience=replace(QUICK, search=0)).submit(plan())
    older, newer = hub.jobs.values()
    assert record.id == f"alice/{older.id}"
    newer.join(20)
    assert (newer.stage, older.canceled.is_set()) == ("CANCELED", False)


def test_a_second_job_that_cannot_be_canceled_is_told_of(hub: hubsim.Hub, connect: Callable[..., HubBackend]) -> None:
    hub.script(count=2, runSecs=60)
    hub.fail(**POST, reset="after")
    hub.fail(**LIST, response={"status": 200, "body": []})
    hub.fail(path="/cancel$", response={"status": 503}, times=99)
    with pytest.warns(RuntimeWarning, match="second one of the same submission") as told:
        record = connect(patience=replace(QUICK, search=0)).submit(plan())
    older, newer = hub.jobs
    assert record.id == f"alice/{older}"
    assert f'hft.Job.from_id("alice/{newer}").cancel()' in str(told[0].message)


def test_a_hub_that_stays_away(hub: hubsim.Hub, backend: HubBackend) -> None:
    hub.fail(**POST, response={"status": 503}, times=99)
    with pytest.raises(HubUnavailable, match=r"503.*not known: before you submit again") as raised:
        backend.submit(plan())
    assert raised.value.cause.status == 503
    assert len(sent(hub)) == QUICK.attempts


def test_a_script_that_cannot_be_uploaded(hub: hubsim.Hub, backend: HubBackend) -> None:
    hub.fail(path="/api/buckets/alice/jobs-artifacts$", response={"status": 503}, times=99)
    with pytest.raises(HubUnavailable, match=r"503.*No job was created"):
        backend.submit(plan())
    assert sent(hub) == []


def test_a_refusal_after_a_lost_answer_does_not_hide_it(hub: hubsim.Hub, backend: HubBackend) -> None:
    hub.cfg["listLagSecs"] = 60
    hub.fail(**POST, reset="after")
    hub.fail(**POST, response={"status": 402})
    with pytest.raises(QuotaError, match="not known: before you submit again") as raised:
        backend.submit(plan())
    hub.cfg["listLagSecs"] = 0
    assert found_as_told(hub, str(raised.value)) == list(hub.jobs) != []


@pytest.mark.parametrize("look", ["status", "cancel", "wait"])
def test_a_job_that_shows_up_after_the_second_one_is_canceled(hub: hubsim.Hub, backend: HubBackend, look: str) -> None:
    hub.script(runSecs=60)
    hub.script(runSecs=0.1 if look == "wait" else 60)
    hub.cfg["listLagSecs"] = 60
    hub.fail(**POST, reset="after")
    job = Job(backend.submit(plan()), backend)
    late, kept = hub.jobs.values()
    assert job.id == f"alice/{kept.id}"
    job.status()  # nothing is to be seen yet
    assert not late.canceled.is_set()
    hub.cfg["listLagSecs"] = 0
    hub.fail(path="/cancel$", response={"status": 503})  # it is tried again
    job.status()
    with pytest.warns(RuntimeWarning, match=f"job alice/{late.id}, .* was canceled"):
        getattr(job, look)()
    late.join(20)
    assert (late.stage, kept.canceled.is_set()) == ("CANCELED", look == "cancel")


def test_only_a_repeated_creation_is_looked_after(hub: hubsim.Hub, backend: HubBackend) -> None:
    record = backend.submit(plan())
    backend.status(record.id)
    backend.cancel(record.id)
    assert hub.requests(LIST["path"], "GET") == []


def test_the_way_to_look_leads_to_the_organization_that_pays(hub: hubsim.Hub, backend: HubBackend) -> None:
    hub.fail(method="POST", path="/api/jobs/acme$", reset="after")
    hub.fail(method="GET", path="/api/jobs/acme$", response={"status": 403}, times=99)
    with pytest.raises(HubUnavailable, match="not known") as raised:
        backend.submit(plan(namespace="acme"))
    hub.faults.clear()
    assert found_as_told(hub, str(raised.value)) == list(hub.jobs) != []


def test_nothing_is_sent_again_while_the_outcome_is_unknown(hub: hubsim.Hub, backend: HubBackend) -> None:
    hub.fail(**POST, reset="after")
    hub.fail(**LIST, response={"status": 403}, times=99)
    with pytest.raises(HubUnavailable, match="not known: before you submit again") as raised:
        backend.submit(plan())
    hub.faults.clear()
    assert found_as_told(hub, str(raised.value)) == list(hub.jobs) != []


def test_an_answer_that_cannot_be_read_and_a_job_that_does_not_show_up(hub: hubsim.Hub, backend: HubBackend) -> None:
    hub.cfg["listLagSecs"] = 60
    hub.fail(**POST, rewrite=lambda status, body: (status, {**body, "status": None}))
    with pytest.raises(HubUnavailable, match=r"TypeError.*not known: before you submit again"):
        backend.submit(plan())
    assert len(sent(hub)) == len(hub.jobs) == 1


def test_an_answer_that_never_comes(hub: hubsim.Hub, connect: Callable[..., HubBackend]) -> None:
    hub.fail(**POST, hang="after")
    record = connect(patience=replace(QUICK, submission=3)).submit(plan())
    assert [f"alice/{name}" for name in hub.jobs] == [record.id]
    assert len(sent(hub)) == 1


def test_a_request_that_never_arrives_is_not_repeated(hub: hubsim.Hub, connect: Callable[..., HubBackend]) -> None:
    hub.fail(**POST, hang="before")
    with pytest.raises(HubUnavailable, match=r"no answer within 3 s.*not known"):
        connect(patience=replace(QUICK, submission=3)).submit(plan())
    assert len(sent(hub)) == 1


def test_an_upload_that_was_given_up_creates_no_job(hub: hubsim.Hub, connect: Callable[..., HubBackend]) -> None:
    hub.fail(path="/batch$", delay=1)
    with pytest.raises(HubUnavailable, match=r"no answer within 0\.5 s.*No job was created"):
        connect(patience=replace(QUICK, submission=0.5, search=0)).submit(plan())
    for thread in threading.enumerate():
        if thread.name == THREAD:
            thread.join(20)
    assert [entry["status"] for entry in hub.requests("/batch$")] == [200]
    assert hub.jobs == {}


@pytest.mark.parametrize("change", [{"flavor": "a100x8"}, {"labels": {}}])
def test_another_job_than_was_asked_for_is_canceled(
    hub: hubsim.Hub, backend: HubBackend, change: dict[str, Any]
) -> None:
    hub.script(runSecs=60)
    hub.fail(**POST, rewrite=lambda status, body: (status, {**body, **change}))
    with pytest.raises(BackendError, match=f"{next(iter(change)).rstrip('s')}.*canceled"):
        backend.submit(plan())
    (job,) = hub.jobs.values()
    job.join(20)
    assert job.stage == "CANCELED"


GROUP = "66670E5163145ca562cb1988"


@pytest.mark.parametrize(
    ("asked", "dropped", "why"),
    [
        ({"attempts": 3}, ["retry"], "number of attempts is 1, not 3"),
        ({"expose": (8000, 22)}, ["expose"], r"exposed ports is \[\], not \[22, 8000\]"),
        ({"ssh": True}, ["status", "sshUrl"], "access by SSH is False, not True"),
    ],
)
def test_what_the_hub_drops_is_seen(
    hub: hubsim.Hub, backend: HubBackend, asked: dict[str, Any], dropped: list[str], why: str
) -> None:
    def strip(status: int, body: Any) -> tuple[int, Any]:
        *within, name = dropped
        for key in within:
            body[key] = {**body[key]}
        (body[within[0]] if within else body).pop(name)
        return status, body

    hub.script(count=2, runSecs=0.1)
    backend.submit(plan(**asked))
    hub.fail(**POST, rewrite=strip)
    with pytest.raises(BackendError, match=f"different job than requested.*{why}.*canceled"):
        backend.submit(plan(**asked))


def test_a_port_that_was_opened_to_everyone_is_seen(hub: hubsim.Hub, backend: HubBackend) -> None:
    opened = {"ports": [8000], "portsPublic": [8000]}
    hub.fail(**POST, rewrite=lambda status, body: (status, {**body, "expose": opened}))
    with pytest.raises(BackendError, match=r"ports open to everyone is \[8000\]"):
        backend.submit(plan(expose=(8000,)))


def test_another_resource_group_is_seen(hub: hubsim.Hub, backend: HubBackend) -> None:
    backend.submit(plan(resource_group_id=GROUP))
    look = {"method": "GET", "path": "/api/jobs/alice/"}
    hub.fail(**look, response={"status": 403})  # what nobody knows is not wrong
    backend.submit(plan(resource_group_id=GROUP))
    hub.fail(**look, rewrite=lambda status, body: (status, {**body, "resourceGroupId": None}))
    with pytest.raises(BackendError, match=f"resource group is None, not '{GROUP.lower()}'"):
        backend.submit(plan(resource_group_id=GROUP))


def test_another_job_that_cannot_be_canceled_is_told_of(hub: hubsim.Hub, backend: HubBackend) -> None:
    hub.script(runSecs=60)
    hub.fail(**POST, rewrite=lambda status, body: (status, {**body, "flavor": "a100x8"}))
    hub.fail(path="/cancel$", response={"status": 503}, times=99)
    with pytest.raises(BackendError, match=r"flavor.*may be running.*503") as raised:
        backend.submit(plan())
    assert f'hft.Job.from_id("alice/{next(iter(hub.jobs))}").cancel()' in str(raised.value)
