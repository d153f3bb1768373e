"""The report on injected faults tries what it says, and counts a promise that does not hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.faults import logs, submitting
from benchmarks.faults.stand_in import TOKEN, sample, stand_in, try_all
from hfjobs_trainer.errors import BackendError


@pytest.fixture(autouse=True)
def secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """The secret of the submissions is forgotten afterwards."""
    monkeypatch.setenv(submitting.SECRET_NAME, submitting.SECRET)


def test_what_holds_is_no_violation() -> None:
    assert submitting.judge(submitting.Cell("the job", "reset after", 1)) == []
    assert logs.judge(logs.Cell("follow", "ended", (31, "reset"))) == []
    assert logs.judge(logs.Cell("result", "ended")) == []


def test_a_log_that_is_short_is_counted_in_processes_of_their_own() -> None:
    cut = logs.Cell("follow", "ended", settings=(("logReplayLimit", 5),))
    assert [(found.kind, found.seen) for found in try_all(logs.judge, [cut], processes=2)] == [
        ("short", "5 of 60 lines")
    ]


def test_what_does_not_end_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "DEADLINE", 0.2)
    assert [found.kind for found in logs.judge(logs.Cell("follow", "running"))] == ["hanging"]


def test_a_broken_submission_is_counted(tmp_path: Path) -> None:
    with stand_in() as hub:
        hub.script(count=9, runSecs=99)
        cell = submitting.Cell("the job", "503", 1)
        attempt = submitting.Attempt(cell, hub.endpoint, tmp_path)
        attempt.join()
        assert [*submitting.find_wrong(cell, hub, attempt, "")] == []
        (first,) = hub.jobs.values()
        other = hub.start_job("alice", "alice", first.spec, first.initiator)
        assert [kind for kind, _ in submitting.find_wrong(cell, hub, attempt, "")] == ["two jobs", "another job"]
        other.cancel()
        attempt.job, attempt.error = None, BackendError("no job was created")
        told = [kind for kind, _ in submitting.find_wrong(cell, hub, attempt, f"{TOKEN} {submitting.SECRET}")]
        assert told == ["gave up", "denied job", "secret shown", "secret shown"]
        attempt.error = ValueError("alas")
        assert [kind for kind, _ in submitting.find_wrong(cell, hub, attempt, "")] == ["raised", "gave up", "lost job"]


def test_a_share_of_the_faults_is_the_same_each_time() -> None:
    cells = logs.cells()
    assert sample(cells, 0.1, 0) == sample(cells, 0.1, 0) != sample(cells, 0.1, 1)
    assert len(sample(cells, 0.1, 0)) == round(len(cells) / 10)
    assert len(sample(cells, 1.0, 0)) == len(set(cells)) == len(cells)
    assert len(set(submitting.cells())) == len(submitting.cells())
