"""What is said of a run that did not end well, and whether it can go on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from hfjobs_trainer.errors import BackendError, HubUnavailable, JobFailed
from hfjobs_trainer.running.backends.base import JobStatus, Stage
from hfjobs_trainer.running.backends.inprocess import InProcessBackend
from hfjobs_trainer.running.ending import may_pass, read_ending
from hfjobs_trainer.running.events import Event, read_events
from hfjobs_trainer.running.job import Job
from hfjobs_trainer.running.resuming import Resuming
from tests.running.places import InProcessPlace, LocalPlace, event_line, plan_of

START = event_line("start", method="sft")
STEP = event_line("log", step=7, max_steps=9, metrics={"loss": 1.0})
SAVED = event_line("saved", step=5, path="out/checkpoint-5")
KEPT = event_line("kept", step=5, place="/hft/checkpoints/r/checkpoint-5", seconds=1.0, bytes=10)
AUDITED = event_line("audited", repo="me/m", commit="c0", files={})
END = event_line("end", step=9)
PUSH = "hf upload me/m model ."


def stopped(code: int, reason: str, **more: Any) -> str:
    fields = {"step": 6, "code": code, "reason": reason, "message": "why", "checkpoint": 6, "resumable": True} | more
    return event_line("stopped", **fields)


def exit_with(code: int, reason: str = "Error") -> str:
    return f"Job failed with exit code: {code}. Reason: {reason}"


ENDINGS: dict[str, tuple[Stage, str | None, Sequence[str], str | None, bool]] = {
    "deadline": (
        "ERROR",
        exit_with(76),
        [START, KEPT, stopped(76, "deadline")],
        "stopped at the deadline at step 6, resumable: job.resume(timeout=...)",
        True,
    ),
    "deadline, the last step was not kept": (
        "ERROR",
        exit_with(76),
        [START, KEPT, stopped(76, "deadline", checkpoint=5)],
        "stopped at the deadline at step 6, resumable from step 5: job.resume(timeout=...)",
        True,
    ),
    "deadline, while the copy ended": (
        "ERROR",
        exit_with(76),
        [START, KEPT, stopped(76, "deadline", checkpoint=None, resumable=False)],
        "stopped at the deadline at step 6, resumable from step 5: job.resume(timeout=...)",
        True,
    ),
    "deadline before a checkpoint": (
        "ERROR",
        exit_with(76),
        [START, stopped(76, "deadline", checkpoint=None, resumable=False)],
        "stopped at the deadline at step 6, not resumable: no checkpoint was kept",
        False,
    ),
    "ruin": ("ERROR", exit_with(77), [START, KEPT, stopped(77, "ruin")], "stopped at step 6: why", False),
    "over": (
        "ERROR",
        exit_with(77),
        [START, KEPT, stopped(77, "over")],
        "stopped at step 6: why, resumable: job.resume(timeout=...)",
        True,
    ),
    "signal at the timeout": (
        "ERROR",
        "Job timeout",
        [START, stopped(76, "signal")],
        "stopped at the timeout at step 6, resumable: job.resume(timeout=...)",
        True,
    ),
    "signal of a cancel": (
        "CANCELED",
        None,
        [START, stopped(76, "signal")],
        "canceled at step 6, resumable: job.resume()",
        True,
    ),
    "timeout": (
        "ERROR",
        "Job timeout",
        [START, KEPT, STEP],
        "Job timeout; resumable from step 5: job.resume(timeout=...)",
        True,
    ),
    "timeout, nothing kept": ("ERROR", "Job timeout", [START, SAVED, STEP], "Job timeout", False),
    "killed": (
        "ERROR",
        exit_with(137),
        [START, KEPT],
        f"{exit_with(137)}; resumable from step 5: job.resume()",
        True,
    ),
    "an error of the script": ("ERROR", exit_with(1), [START, KEPT], exit_with(1), True),
    "an earlier attempt was stopped": (
        "ERROR",
        exit_with(1),
        [START, KEPT, stopped(76, "deadline"), START],
        exit_with(1),
        True,
    ),
    "killed once all was pushed": (
        "ERROR",
        exit_with(137),
        [START, KEPT, AUDITED, END],
        exit_with(137),
        False,
    ),
    "what was pushed cannot be loaded": (
        "ERROR",
        exit_with(1),
        [START, KEPT, AUDITED, event_line("reloaded", loaded=False, why="x"), END],
        exit_with(1),
        True,
    ),
    "no events": ("ERROR", exit_with(76), [], exit_with(76), False),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_the_status_says_how_it_ended_and_whether_it_can_go_on(name: str):
    stage, message, log, told, resumable = ENDINGS[name]
    place = InProcessPlace()
    job = place.start(exit_code=None)
    place.backend.finish(job.id, stage, log, message)
    status = job.wait().status()
    assert (status.stage, status.message, status.resumable) == (stage, told, resumable)
    with pytest.raises(JobFailed) as caught:
        job.raise_for_status()
    assert (told or stage) in str(caught.value)
    assert resumable == ("job.resume(" in str(caught.value))


REFUSED: dict[str, tuple[Stage, str | None, Sequence[str], dict[str, str], str]] = {
    "ended well": ("COMPLETED", None, [START, KEPT], {}, "it ended well, so nothing is left to do"),
    "ruin": (
        "ERROR",
        exit_with(77),
        [START, KEPT, stopped(77, "ruin")],
        {},
        r"resuming would repeat what stopped it \(why\): change the spec",
    ),
    "never saved": ("ERROR", exit_with(1), [START, STEP], {}, "it saved no checkpoint in 7 steps: submit it again"),
    "never kept": (
        "ERROR",
        exit_with(1),
        [START, SAVED, STEP],
        {},
        "none of the checkpoints that it saved in 7 steps outlived its machine",
    ),
    "PPO": (
        "ERROR",
        "Job timeout",
        [START, STEP],
        {"method": "ppo"},
        "the trainer of PPO has a loop of its own, which cannot go on from a checkpoint: submit it again",
    ),
    "all was pushed": (
        "ERROR",
        exit_with(137),
        [START, KEPT, AUDITED, END],
        {},
        "its model was trained and pushed before it ended, so nothing is left to do",
    ),
    "one step": (
        "ERROR",
        exit_with(1),
        [START, event_line("log", step=1, metrics={})],
        {},
        "it saved no checkpoint in 1 step: submit it again",
    ),
    "before the first step": ("CANCELED", None, [START], {}, "it saved no checkpoint before its first step"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_resumed_says_why(name: str):
    stage, message, log, labels, why = REFUSED[name]
    place = InProcessPlace()
    job = place.start(exit_code=None, labels=labels)
    place.backend.finish(job.id, stage, log, message)
    with pytest.raises(BackendError, match=f"job {job.id} cannot be resumed: .*{why}"):
        job.resume()
    assert len(place.backend.plans) == 1


def test_what_goes_on_is_not_resumed():
    job = InProcessPlace().start([KEPT], exit_code=None)
    with pytest.raises(BackendError, match=r"it is RUNNING: wait for its end, or stop it with job\.cancel\(\)"):
        job.resume()


class Priced(InProcessBackend):
    """A backend whose machines cost a dollar a minute."""

    def usd_per_hour(self, flavor: str | None) -> float:
        return 60.0


def test_a_resumed_job_is_one_of_its_own():
    backend = Priced()
    first = Job(backend.submit(plan_of("", timeout_seconds=100, flavor="t4-small")), backend)
    backend.finish(first.id, "ERROR", [START, KEPT, stopped(76, "deadline")], exit_with(76))
    second = first.resume(timeout="2h", flavor="l4x1")
    assert second.id != first.id
    assert second.resumes == (first.id,)
    assert not second.status().is_terminal
    request = backend.plans[1].request
    assert (request.timeout_seconds, request.flavor) == (9000, "l4x1")
    with pytest.raises(BackendError, match=f"job {second.id} goes on"):
        first.resume()
    with pytest.raises(ValueError, match="duration"):
        second.resume(timeout="soon")
    # it was lost before it said anything, but what it goes on from is there
    backend.finish(second.id, "ERROR", [], exit_with(143))
    assert second.status().resumable
    third = Job.from_id(second.resume().id, backend=backend)
    assert third.resumes == (first.id, second.id)
    assert third.cost() == pytest.approx(3.0)  # a started minute each


End = tuple[Stage, str | None, Sequence[str]]


class Scripted(InProcessBackend):
    """A backend whose jobs end as soon as they are looked at, one way after the other."""

    def __init__(self, *ends: End) -> None:
        super().__init__()
        self.ends = list(ends)

    def status(self, job_id: str) -> JobStatus:
        status = super().status(job_id)
        if status.is_terminal:
            return status
        stage, message, log = self.ends.pop(0)
        self.finish(job_id, stage, log, message)
        return super().status(job_id)

    def usd_per_hour(self, flavor: str | None) -> float | None:
        return 6.0


STOP: End = ("ERROR", exit_with(76), [START, KEPT, stopped(76, "deadline")])
GOOD: End = ("COMPLETED", None, [START, event_line("resumed", step=6), event_line("end", step=9)])


def submitted(backend: InProcessBackend, policy: Resuming | None) -> Job:
    return Job(backend.submit(plan_of("", timeout_seconds=600)), backend, policy)


def test_a_run_is_resumed_by_itself_while_it_is_waited_for():
    backend = Scripted(STOP, ("ERROR", exit_with(143), [START, KEPT]), GOOD)
    job = submitted(backend, Resuming(3))
    first = job.id
    assert job.wait().succeeded
    assert job.id != first
    assert len(job.resumes) == 2
    assert job.resumes[0] == first
    assert job.result().steps == 9
    assert job.cost() == pytest.approx(0.3)


def test_a_failure_says_why_it_was_not_resumed_by_itself():
    job = submitted(Scripted(STOP, STOP), Resuming(1))
    with pytest.raises(JobFailed, match="is not resumed by itself: it was resumed 1 of 1 times"):
        job.result()
    with pytest.raises(JobFailed) as caught:
        submitted(Scripted(STOP), None).result()
    assert "by itself" not in str(caught.value)


def test_watch_says_that_it_was_resumed(capsys: pytest.CaptureFixture[str]):
    job = submitted(Scripted(STOP, STOP, STOP), Resuming(1))
    first = job.id
    assert job.watch().status().resumable
    (second,) = {job.id} - {first}
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("job ") and len(line.split()) > 2]
    deadline = "stopped at the deadline at step 6, resumable: job.resume(timeout=...)"
    assert told[0] == f"job {first}: {deadline}; resumed as job {second} (1 of 1)"
    assert told[1].startswith(f"job {second}: ERROR after 0s ({deadline})")
    assert told[2] == f"job {second} is not resumed by itself: it was resumed 1 of 1 times"


@pytest.mark.parametrize(
    ("end", "policy"),
    [
        (("ERROR", exit_with(1), [START, KEPT]), Resuming(3)),
        (("ERROR", exit_with(137, "OOMKilled"), [START, KEPT]), Resuming(3)),
        (("ERROR", exit_with(77), [START, KEPT, stopped(77, "over")]), Resuming(3)),
        (("ERROR", exit_with(77), [START, KEPT, stopped(77, "ruin")]), Resuming(3)),
        (("CANCELED", None, [START, KEPT]), Resuming(3)),
        # the first minute cost 0.10, and the next job may cost 1.00
        (STOP, Resuming(3, max_usd=1.05, seconds=600)),
        (STOP, Resuming(3, max_usd=1.05)),
    ],
)
def test_what_would_end_again_or_cost_too_much_is_left(end: End, policy: Resuming):
    backend = Scripted(end)
    job = submitted(backend, policy)
    job.wait()
    assert len(backend.plans) == 1
    assert job.resumes == ()


def test_what_it_may_cost_is_used():
    backend = Scripted(STOP, GOOD)
    assert submitted(backend, Resuming(3, max_usd=1.15, seconds=600)).wait().succeeded


def test_a_lost_node_is_no_error_of_the_script():
    nothing = read_ending([], is_here=False)
    assert may_pass(JobStatus("ERROR", exit_with(75)), nothing)
    assert may_pass(JobStatus("ERROR", "node 1 of 2: the machine was lost"), nothing)
    assert not may_pass(JobStatus("ERROR", exit_with(2)), nothing)


def test_the_result_names_what_is_left():
    place = InProcessPlace()
    before, after = ({"eval_loss": value} for value in (3.0, 2.0))
    log = [
        START,
        event_line("evaluated", when="before", metrics=before),
        KEPT,
        event_line("pushed", repo="me/m", url="https://hub.test/me/m", commit="c0", branch=None),
        event_line("pushed", repo="me/m-merged", url="https://hub.test/me/m-merged", commit="c1", branch=None),
        event_line("evaluated", when="after", metrics=after),
        event_line("end", step=9, metrics={"eval_loss": 2.0}),
    ]
    result = place.start(log).result()
    assert (result.model, result.commit) == ("me/m-merged", "c1")
    assert result.evaluation == {"before": before, "after": after}
    assert "3 before training, 2 after" in result._repr_html_()  # pyright: ignore[reportPrivateUsage]
    assert result.checkpoints == "hf://buckets/inprocess/hft-checkpoints/r/checkpoint-5"
    audited = event_line("audited", repo="me/m", commit="c0", files={})
    assert place.start([*log, audited]).result().checkpoints is None


class Distrustful(InProcessBackend):
    """A backend that looks for what was pushed, and says what it finds."""

    def __init__(self, *found: str | BackendError | None) -> None:
        super().__init__()
        self.found = list(found)

    def verify(self, events: Iterable[Event]) -> str | None:
        assert [event.kind for event in events] == ["start", "end"]
        found = self.found.pop(0)
        if isinstance(found, BackendError):
            raise found
        return found


def ended_well(*found: str | BackendError | None) -> Job:
    backend = Distrustful(*found)
    job = Job(backend.submit(plan_of("")), backend)
    backend.finish(job.id, logs=[START, event_line("end", step=9)])
    return job


def test_a_model_that_is_not_where_it_was_pushed_is_no_success():
    job = ended_well("me/m at c0 lacks model.safetensors")
    status = job.wait().status()
    assert (status.stage, status.message) == ("ERROR", "me/m at c0 lacks model.safetensors")
    with pytest.raises(JobFailed, match=r"me/m at c0 lacks model\.safetensors"):
        job.result()


def test_a_model_that_could_not_be_looked_at_is_believed_and_looked_at_again():
    job = ended_well(HubUnavailable("the Hub is away"), None)
    with pytest.warns(RuntimeWarning, match="what job .* pushed was not checked: the Hub is away"):
        assert job.wait().succeeded
    assert job.wait().result().steps == 9  # looked at once more, and then no more


def test_a_failure_says_where_the_model_is():
    place = InProcessPlace()
    rescued = event_line("rescued", place="hf://buckets/me/hft-checkpoints/r/model", command=PUSH, why="403")
    job = place.start([START, rescued, "The model was not pushed"], exit_code=1)
    with pytest.raises(JobFailed) as caught:
        job.result()
    assert f"the model is in hf://buckets/me/hft-checkpoints/r/model; to push it: {PUSH}" in str(caught.value)


def test_a_model_that_a_later_attempt_pushed_is_where_it_belongs():
    rescued = event_line("rescued", place="hf://buckets/me/hft-checkpoints/r/model", command=PUSH, why="403")
    log = [START, rescued, event_line("end", step=9), START, AUDITED, event_line("end", step=9)]
    assert InProcessPlace().start(log).result().rescued is None
    # of one attempt, the one model may be pushed and the other not
    assert InProcessPlace().start([START, rescued, AUDITED, END]).result().rescued is not None


def test_of_a_run_here_the_merged_model_is_the_result(tmp_path: Path):
    place = LocalPlace(tmp_path)
    end = event_line("end", step=9, model="/runs/out-merged", output_dir="/runs/out")
    assert place.start([START, end]).result().model == "/runs/out-merged"


def test_labels_that_lead_in_a_ring_end_somewhere():
    backend = InProcessBackend()
    names = [backend.submit(plan_of("", labels={"resumes": f"sft-tiny-{other}"})).id for other in (2, 1)]
    assert Job.from_id(names[0], backend=backend).resumes == (names[1],)


class Deaf(InProcessBackend):
    """A backend whose first log cannot be read."""

    asked = 0

    def logs(self, job_id: str, *, follow: bool) -> Iterator[str]:
        self.asked += 1
        if self.asked == 1:
            raise HubUnavailable("the Hub is away")
        return super().logs(job_id, follow=follow)


def test_a_log_that_could_not_be_read_is_read_later():
    backend = Deaf()
    job = Job(backend.submit(plan_of("")), backend)
    backend.finish(job.id, "ERROR", [START, KEPT], "Job timeout")
    assert [job.status().resumable for _ in range(3)] == [False, True, True]
    assert backend.asked == 2


def test_here_only_a_checkpoint_that_is_there_counts(tmp_path: Path):
    lines: list[str] = []
    for step in (1, 2, 3):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        lines.append(event_line("saved", step=step, path=str(folder)))
    (tmp_path / "checkpoint-2" / "hft_manifest.json").write_text(json.dumps({}))
    kept = read_ending(read_events(lines), is_here=True).kept
    assert kept is not None
    assert kept.step == 2
