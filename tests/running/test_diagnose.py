"""What a job says of why it failed."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from pathlib import Path

import hubsim
import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.running.backends.base import JobStatus, Stage
from hfjobs_trainer.running.backends.hub import HubBackend
from hfjobs_trainer.running.backends.inprocess import InProcessBackend
from hfjobs_trainer.running.job import Job
from tests.running.hub_runs import finish, play
from tests.running.places import GOOD_RUN, InProcessPlace, event_line, plan_of

LOGS = Path(__file__).parents[1] / "diagnosing" / "logs"
START, KEPT = event_line("start", method="sft"), event_line("kept", step=5, place="/hft/checkpoints/r/checkpoint-5")


def recorded(name: str) -> list[str]:
    return (LOGS / f"{name}.txt").read_text(encoding="utf-8").splitlines()


def ended(stage: Stage, message: str | None, lines: Sequence[str] = (START,), flavor: str | None = None) -> Job:
    backend = InProcessBackend()
    job = Job(backend.submit(plan_of("", flavor=flavor)), backend)
    backend.finish(job.id, stage, lines, message)
    return job


def test_a_failed_job_says_why_and_what_to_type() -> None:
    job = ended("ERROR", "Job failed with exit code: 1. Reason: Error", recorded("RUN701.no_module"))
    (found,) = job.diagnose()
    assert (found.code, found.fix) == ("RUN701", '`extra_dependencies=["opencv-python-headless"]`')
    with pytest.raises(hft.JobFailed, match="RUN701: The script imports cv2") as raised:
        job.raise_for_status()
    assert raised.value.diagnosis == (found,)
    assert raised.value.log_tail[-1] == "ModuleNotFoundError: No module named 'cv2'"
    again = pickle.loads(pickle.dumps(raised.value))
    assert (again.diagnosis, str(again)) == (raised.value.diagnosis, str(raised.value))


def test_a_job_that_runs_or_ended_well_has_nothing_to_explain() -> None:
    place = InProcessPlace()
    assert place.start(recorded("RUN105.killed"), exit_code=None).diagnose() == ()
    assert place.start([*recorded("RUN105.killed"), *GOOD_RUN]).diagnose() == ()
    assert ended("CANCELED", None, recorded("RUN008.signal")).diagnose() == ()


@pytest.mark.parametrize(
    ("stage", "message", "code"),
    [
        ("ERROR", "Job timeout", "RUN004"),
        ("ERROR", "Job failed with exit code: 137. Reason: OOMKilled", "RUN105"),
        ("ERROR", "Job failed with exit code: 139. Reason: Error", "RUN108"),
        ("CANCELED", "NO_CREDITS", "RUN006"),
        ("CANCELED", "RESOURCE_GROUP_LIMIT", "RUN007"),
    ],
)
def test_what_the_platform_says_is_explained(stage: Stage, message: str, code: str) -> None:
    assert [found.code for found in ended(stage, message).diagnose()] == [code]


def test_of_several_nodes_the_one_that_failed_first_counts() -> None:
    from hfjobs_trainer.running.diagnose import diagnose_end

    members = tuple(JobStatus("ERROR", f"Job failed with exit code: {code}. Reason: Error") for code in (75, 137))
    status = JobStatus("ERROR", "node 1 of 2: Job failed with exit code: 137. Reason: Error", members=members)
    assert [found.code for found in diagnose_end("", status, flavor=None, resumable=False)] == ["RUN105"]


@pytest.mark.parametrize(("flavor", "larger"), [("t4-small", "l4x1"), ("a100-large", "rtx-pro-6000")])
def test_the_next_larger_gpu_is_that_of_the_flavor(flavor: str, larger: str) -> None:
    job = ended("ERROR", "Job failed with exit code: 1", recorded("RUN101.training"), flavor)
    assert f'`hardware="{larger}"`' in job.diagnose()[0].fix


def test_a_machine_with_more_room_is_named() -> None:
    killed = ended("ERROR", "Job failed with exit code: 137. Reason: OOMKilled", flavor="a10g-small").diagnose()[0]
    assert '`hardware="a10g-large"`, which has more RAM' in killed.fix
    full = ended("ERROR", "Job failed with exit code: 1", recorded("RUN106.xet"), "t4-small").diagnose()[0]
    assert "which has a larger disk" in full.fix
    assert "`hft.hardware_table()`" in hft.diagnose("\n".join(recorded("RUN106.xet")))[0].fix


def test_a_run_that_can_go_on_is_told_how() -> None:
    log = [START, KEPT, event_line("log", step=7, max_steps=9, metrics={"loss": 1.0}), *recorded("RUN206.gateway")]
    assert "`job.resume()`" in ended("ERROR", "Job failed with exit code: 1", log).diagnose()[0].fix
    assert "`hft.submit(spec)`" in ended("ERROR", "Job failed with exit code: 1", log[3:]).diagnose()[0].fix


def test_a_job_on_the_hub_is_explained_by_its_whole_log_also_without_it(hub: hubsim.Hub, backend: HubBackend) -> None:
    filling = [f"loading shard {number}" for number in range(100)]
    record = play(hub, backend, [*filling, *recorded("RUN803.no_weights")], exitCode=1)
    finish(hub, record)
    assert [found.code for found in Job.from_id(record.id, backend=backend).diagnose()] == ["RUN803"]
    hub.fail(path="/logs", times=100, response={"status": 404, "headers": {}, "body": {"error": "gone"}})
    assert Job.from_id(record.id, backend=backend).diagnose() == ()
    with pytest.raises(hft.JobFailed) as raised:
        Job.from_id(record.id, backend=backend).raise_for_status()
    assert raised.value.diagnosis == ()
