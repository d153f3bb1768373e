"""What every backend keeps to; a backend joins with a fixture in ``PLACES``."""

from __future__ import annotations

import threading
from collections.abc import Generator
from datetime import UTC
from pathlib import Path
from typing import cast

import pytest

from hfjobs_trainer.errors import JobNotFound
from hfjobs_trainer.running.job import Job
from tests.running.places import GOOD_RUN, InProcessPlace, LocalPlace, Place, event_line

PLACES = ("inprocess_place", "local_place")


@pytest.fixture
def inprocess_place() -> InProcessPlace:
    return InProcessPlace()


@pytest.fixture
def local_place(tmp_path: Path) -> LocalPlace:
    return LocalPlace(tmp_path / "runs")


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest) -> Place:
    return request.getfixturevalue(request.param)


def test_a_backend_says_what_a_plan_must_know_of_it(place: Place):
    assert place.backend.traits.name == place.backend.name


def test_a_job_that_ends_well(place: Place):
    job = place.start(GOOD_RUN)
    status = job.wait(60).status()
    assert (status.stage, status.message) == ("COMPLETED", None)
    assert status.succeeded
    assert status.is_terminal
    assert status.created_at is not None
    assert status.finished_at is not None
    assert status.created_at.tzinfo == UTC
    assert status.created_at <= status.finished_at
    assert list(job.logs()) == list(GOOD_RUN)


def test_a_job_that_fails(place: Place):
    job = place.start(["last words"], exit_code=3)
    status = job.wait(60).status()
    assert status.stage == "ERROR"
    assert "exit code: 3" in (status.message or "")
    assert list(job.logs()) == ["last words"]


def test_a_running_job_is_cancelled_once(place: Place):
    job = place.start(["ready"], exit_code=None)
    assert not job.status().is_terminal
    job.cancel()
    assert job.wait(60).status().stage == "CANCELED"
    job.cancel()
    assert job.status().stage == "CANCELED"


def test_cancelling_what_has_ended_changes_nothing(place: Place):
    job = place.start().wait(60)
    job.cancel()
    assert job.status().stage == "COMPLETED"


def test_a_log_is_followed_while_it_grows_and_ends_with_the_job(place: Place):
    job = place.start([event_line("log", step=1, max_steps=2), "second"], exit_code=None)
    lines = job.logs(follow=True)
    assert [next(lines), next(lines)] == [event_line("log", step=1, max_steps=2), "second"]
    canceller = threading.Timer(0.1, job.cancel)
    canceller.start()
    assert list(lines) == []
    canceller.join()
    assert job.status().is_terminal


def test_a_log_that_is_not_followed_ends_where_it_is(place: Place):
    job = place.start(["first"], exit_code=None)
    follower = job.logs(follow=True)
    assert next(follower) == "first"
    assert list(job.logs()) == ["first"]
    job.cancel()


def test_a_log_that_is_followed_can_be_left(place: Place):
    job = place.start(["first"], exit_code=None)
    lines = job.logs(follow=True)
    assert next(lines) == "first"
    cast("Generator[str]", lines).close()
    assert list(lines) == []
    assert not job.is_terminal
    job.cancel()


def test_a_result_is_whole(place: Place):
    result = place.start(GOOD_RUN).result(60)
    assert (result.steps, result.incomplete) == (3, None)


def test_a_job_is_found_again_by_its_id(place: Place):
    job = place.start(["x"], labels={"method": "sft"})
    again = Job.from_id(job.id, backend=place.backend)
    assert again.record == job.record
    assert again.record.labels == {"method": "sft"}
    assert again.wait(60).status().succeeded


@pytest.mark.parametrize("job_id", ["local/none", "inprocess/none", "me/687f911eaea852de79c4a50b"])
def test_an_unknown_id_is_told(place: Place, job_id: str):
    with pytest.raises(JobNotFound, match="no job"):
        Job.from_id(job_id, backend=place.backend)


def test_jobs_are_listed_by_label_newest_first(place: Place):
    first = place.start(labels={"group": "a", "method": "sft"})
    second = place.start(labels={"group": "b"})
    third = place.start(labels={"group": "a"})
    listed = place.backend.list
    assert [record.id for record in listed({"group": "a"})] == [third.id, first.id]
    assert [record.id for record in listed({"group": "a", "method": "sft"})] == [first.id]
    assert {record.id for record in listed({})} == {first.id, second.id, third.id}
    assert listed({"group": "c"}) == []
    for job in (first, second, third):
        job.wait(60)


def test_jobs_started_at_the_same_time_do_not_meet(place: Place):
    jobs: list[Job] = []
    threads = [threading.Thread(target=lambda: jobs.append(place.start(["mine"]))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({job.id for job in jobs}) == 4
    for job in jobs:
        assert list(job.wait(60).logs()) == ["mine"]
