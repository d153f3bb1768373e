from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from hfjobs_trainer.errors import BackendError, JobFailed, JobNotFound
from hfjobs_trainer.running.backends.base import JobRecord, Stage
from hfjobs_trainer.running.interrupted import tell_how_to_return
from hfjobs_trainer.running.job import Job
from hfjobs_trainer.running.observed import TAIL_LINES
from hfjobs_trainer.running.resuming import Resuming
from tests.running.places import GOOD_RUN, InProcessPlace, LocalPlace, event_line


@pytest.fixture
def place() -> InProcessPlace:
    return InProcessPlace()


def test_wait_returns_the_job_so_that_calls_chain(place: InProcessPlace):
    job = place.start()
    assert job.wait().raise_for_status() is job


def test_wait_ends_with_its_timeout_and_the_job_goes_on(place: InProcessPlace):
    job = place.start(exit_code=None)
    with pytest.raises(TimeoutError, match=r"still in RUNNING after 0\.2 s.*job\.cancel\(\)"):
        job.wait(timeout=0.2)
    assert job.status().stage == "RUNNING"
    with pytest.raises(TimeoutError):
        job.wait(timeout=0)
    with pytest.raises(TimeoutError):
        job.result(timeout=0)


def test_a_running_job_has_not_failed(place: InProcessPlace):
    job = place.start(exit_code=None)
    assert job.raise_for_status() is job


@pytest.mark.parametrize("stage", ["ERROR", "CANCELED", "DELETED"])
def test_any_other_end_than_success_is_raised(place: InProcessPlace, stage: Stage):
    job = place.start(exit_code=None)
    place.backend.finish(job.id, stage, message="why")
    with pytest.raises(JobFailed, match=f"ended in {stage}: why"):
        job.raise_for_status()
    with pytest.raises(JobFailed):
        job.result()


def test_a_failure_comes_with_the_end_of_the_log_without_its_events(place: InProcessPlace):
    said = [f"line {number}" for number in range(TAIL_LINES + 5)]
    log = [event_line("start"), *said, "", event_line("log", step=1), "   "]
    job = place.start(log, exit_code=1)
    with pytest.raises(JobFailed) as caught:
        job.raise_for_status()
    assert caught.value.log_tail == tuple(said[-TAIL_LINES:])
    assert caught.value.job_id == job.id
    assert caught.value.status.stage == "ERROR"


def test_a_result_is_told_by_the_events(place: InProcessPlace):
    result = place.start(GOOD_RUN).result()
    assert (result.model, result.url) == ("me/model", "https://hub.test/me/model")
    assert (result.steps, result.seconds) == (3, 5.0)
    assert result.metrics == {"loss": 1.0, "grad_norm": None, "eval_loss": 2.5, "train_loss": 2.0}
    assert (result.folder, result.log, result.trackio) == (None, None, None)


def test_a_model_that_was_not_pushed_lies_on_this_machine(tmp_path: Path):
    place = LocalPlace(tmp_path)
    end = event_line("end", step=1, seconds=1.0, metrics={}, output_dir="/runs/out")
    script = f"import os\nos.makedirs(os.environ['TRACKIO_DIR'])\nprint({end!r})\n"
    job = place.run(script)
    result = job.result(60)
    folder = place.folder(job)
    assert (result.model, result.url) == ("/runs/out", None)
    assert (result.folder, result.log, result.trackio) == (folder, folder / "log.txt", folder / "trackio")


def test_what_one_would_load_next_here_is_the_merged_model(tmp_path: Path):
    end = event_line("end", step=1, seconds=1.0, metrics={}, output_dir="/runs/out", model="/runs/out/merged")
    assert LocalPlace(tmp_path).start([end]).result(60).model == "/runs/out/merged"


def test_a_model_that_a_later_attempt_pushed_is_in_no_other_place(place: InProcessPlace):
    rescued = event_line("rescued", place="hf://buckets/me/hft-checkpoints/r/model", command="hf upload", why="403")
    assert place.start([*GOOD_RUN, rescued]).result().rescued is not None
    audited = event_line("audited", repo="me/model", commit="c" * 40, files={})
    assert place.start([GOOD_RUN[0], rescued, *GOOD_RUN, audited]).result().rescued is None


def test_a_job_without_events_has_an_empty_result(place: InProcessPlace):
    result = place.start(["nothing to say"]).result()
    assert (result.model, result.metrics, result.steps) == (None, {}, None)


def test_watch_shows_progress_and_says_how_it_ended(place: InProcessPlace, capsys: pytest.CaptureFixture[str]):
    warning = event_line("warning", 11.5, message="the Space is asleep")
    job = place.start([*GOOD_RUN[:3], warning, *GOOD_RUN[3:]])
    assert job.watch() is job
    assert job.succeeded
    out, err = capsys.readouterr()
    lines = [line.split(" ", 1)[-1] if line[2:3] == ":" else line for line in out.splitlines()]
    assert lines == [
        f"job {job.id}",
        "loading on cpu",
        "step 1/3, loss 3, grad_norm not finite",
        "warning: the Space is asleep",
        "step 3/3, loss 1, eval_loss 2.5, grad_norm not finite",
        "saving the model",
        "model pushed",
        f"job {job.id}: COMPLETED after 0s; its model: https://hub.test/me/model",
    ]
    assert err == ""


def test_watch_tells_what_is_left_by_the_clock_of_the_script(place: InProcessPlace, capsys: pytest.CaptureFixture[str]):
    # Continued at step 100: what was done before says nothing of the pace.
    steps = [event_line("log", 60.0 * n, step=100 + n, max_steps=200, metrics={}) for n in range(3)]
    place.start(steps).watch()
    assert "102/200, eta 1h 38m" in capsys.readouterr().out


def test_watch_of_a_failure_says_where_to_look(place: InProcessPlace, capsys: pytest.CaptureFixture[str]):
    job = place.start(["Traceback"], exit_code=1)
    assert job.watch().stage == "ERROR"
    told = capsys.readouterr().out
    assert "ERROR after 0s (Job failed with exit code: 1); job.raise_for_status()" in told


@pytest.mark.parametrize("job_id", ["", "687f911eaea852de79c4a50a", "local/", "inprocess/x-1"])
def test_an_id_that_does_not_say_where_is_refused(job_id: str):
    with pytest.raises(BackendError, match="does not tell where the job runs"):
        Job.from_id(job_id)


def test_the_name_of_a_backend_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HFT_HOME", str(tmp_path))
    job = LocalPlace(tmp_path / "runs").start()
    assert Job.from_id(job.id, backend="local").record == job.record
    assert Job.from_id(job.id.removeprefix("local/"), backend="local").record == job.record
    with pytest.raises(ValueError, match=r'must be "hub", "local".* or a Backend'):
        Job.from_id(job.id, backend=cast("Any", "lokal"))
    job.wait(20)


def test_a_local_id_leads_to_the_local_backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HFT_HOME", str(tmp_path))
    job = LocalPlace(tmp_path / "runs").start()
    again = Job.from_id(job.id)
    assert again.backend.name == "local"
    assert again.wait(60).status().succeeded


def test_a_job_shows_its_id_and_no_more(place: InProcessPlace):
    job = place.start(labels={"x": "y"})
    assert repr(job) == f"Job('{job.id}')"
    assert job.url is None
    assert job.backend is place.backend


def test_the_in_process_backend_keeps_the_plans_and_refuses_what_cannot_be(place: InProcessPlace):
    job = place.start()
    assert len(place.backend.plans) == 1
    with pytest.raises(BackendError, match="has ended already, in COMPLETED"):
        place.backend.finish(job.id)
    with pytest.raises(BackendError, match="RUNNING does not end a job"):
        place.backend.finish(job.id, "RUNNING")


def test_what_goes_wrong_while_watching_is_raised(place: InProcessPlace, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(JobNotFound):
        Job(JobRecord("inprocess/gone"), place.backend).watch()
    assert "its status is not known" in capsys.readouterr().out


def test_who_interrupts_a_job_is_told_that_nothing_resumes_it_now(place: InProcessPlace):
    record = place.start(exit_code=None).record
    back = f'hft.Job.from_id("{record.id}").watch() comes back to it, job.cancel() stops it'
    assert tell_how_to_return(Job(record, place.backend)) == f"job goes on: {back}"
    resumed = Job(record, place.backend, Resuming(3))
    told = f"job goes on ($1.50 an hour): {back}; nothing resumes it by itself now"
    assert tell_how_to_return(resumed, 1.5) == told
