"""A run that goes on as another job, on the stand-in of the Hub and on this machine, by real scripts in processes."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hubsim
import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.errors import AuthError, BackendError
from hfjobs_trainer.planning.bucket import BUCKET, MOUNT
from hfjobs_trainer.planning.plan import Volume
from hfjobs_trainer.running.backends.hub import HubBackend
from hfjobs_trainer.running.job import Job
from tests.running.hub_runs import plan, sent
from tests.running.places import LocalPlace, event_line

# Counts to two: stops at its deadline after the first, as a script does, and is done with the second.
SCRIPT = """
import json, os, pathlib, sys
def report(kind, **fields):
    print(json.dumps({"event": f"hft.{kind}", "time": 1.0, **fields}), flush=True)
base = os.environ.get("HFT_CHECKPOINTS")
folder = pathlib.Path(base, os.environ["HFT_RUN_ID"]) if base else pathlib.Path("out").absolute()
found = sorted(folder.glob("checkpoint-*"))
report("start", method="sft", timeout=os.environ.get("HFT_TIMEOUT"), bucket=os.environ.get("HFT_BUCKET"))
if found:
    report("resumed", step=1, path=str(found[-1]), skipped=[])
    report("end", step=2, seconds=1.0, metrics={}, output_dir=str(folder), secret=len(os.environ.get("KEY", "")))
    sys.exit()
place = folder / "checkpoint-1"
place.mkdir(parents=True)
(place / "hft_manifest.json").write_text("{}")
report("saved", step=1, path=str(place))
report("kept", step=1, place=str(place), seconds=0.1, bytes=2)
pathlib.Path(os.environ.get("TRACKIO_DIR", "trackio")).mkdir()
"""
STOPS = SCRIPT + 'report("stopped", step=1, code=76, reason="deadline", checkpoint=1, resumable=True)\nsys.exit(76)\n'
HANGS = SCRIPT + "import time\ntime.sleep(600)\n"
BUCKET_VOLUME = Volume("bucket", BUCKET, MOUNT, read_only=False)
TOLD = "stopped at the deadline at step 1, resumable: job.resume(timeout=...)"


def asked(**changes: Any) -> Any:
    """A plan of a run that keeps its checkpoints in the bucket."""
    env = {"HFT_RUN_ID": "one-run", "HFT_CHECKPOINTS": MOUNT, "HFT_TIMEOUT": "13500"}
    return plan(**{"script": STOPS, "env": env, "volumes": (BUCKET_VOLUME,), **changes})


def start(backend: HubBackend, **changes: Any) -> Job:
    return Job(backend.submit(asked(**changes)), backend)


def done(job: Job) -> Job:
    return job.wait(60).raise_for_status()


def test_a_job_of_the_hub_goes_on_as_another(
    hub: hubsim.Hub, connect: Callable[..., HubBackend], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.late_writes = 0.0
    monkeypatch.setenv("KEY", "old")
    first = start(connect(), secrets=("KEY",), attempts=1, expose=(8000,), ssh=True)
    assert (first.wait(60).status().message, first.status().resumable) == (TOLD, True)
    assert (hub.bucket_dir(f"alice/{BUCKET}") / "one-run" / "checkpoint-1").is_dir()

    monkeypatch.setenv("KEY", "newer")
    again = Job.from_id(first.id, backend=connect())  # in another process, where nothing is known
    second = done(again.resume(timeout="1h"))
    assert [event.kind for event in second.events()] == ["start", "resumed", "end"]
    assert [event.data.get("secret") for event in second.events()][-1] == len("newer")
    assert second.result().steps == 2
    bodies = sent(hub)
    old, new = bodies
    assert old["labels"].pop("submit-id") != new["labels"].pop("submit-id")
    assert new["labels"] == old["labels"] | {"resumes": first.id.split("/")[1]}
    assert old["labels"]["run"] == "one-run"
    assert new["timeoutSeconds"] == 4500
    assert new["environment"] == old["environment"] | {"HFT_TIMEOUT": "4500"}
    assert new["environment"]["HFT_BUCKET"] == f"alice/{BUCKET}"
    changed = ("labels", "timeoutSeconds", "environment", "secrets")
    assert {name: new[name] for name in new if name not in changed} == {
        name: old[name] for name in old if name not in changed
    }
    assert Job.from_id(second.id, backend=connect()).resumes == (first.id,)

    for job in (first, second):
        with pytest.raises(BackendError, match="ended well"):
            Job.from_id(job.id, backend=connect()).resume()
    assert len(hub.jobs) == 2


def test_without_changes_the_new_job_is_like_the_old_one(hub: hubsim.Hub, backend: HubBackend) -> None:
    first = start(backend)
    second = done(first.wait(60).resume(flavor="l4x1"))
    assert second.record.flavor == "l4x1"
    old, new = sent(hub)
    assert (new["timeoutSeconds"], new["environment"]) == (old["timeoutSeconds"], old["environment"])
    with pytest.raises(BackendError, match=r'no flavor \'l4x2\'.*did you mean flavor="l4x1"'):
        backend.resume(first.id, flavor="l4x2")


def test_of_two_who_resume_one_run_only_one_does(hub: hubsim.Hub, connect: Callable[..., HubBackend]) -> None:
    first = start(connect()).wait(60)
    hub.cfg["schedSecs"] = 1.0
    outcomes: list[Job | BackendError] = []

    def resume() -> None:
        try:
            outcomes.append(Job.from_id(first.id, backend=connect()).resume())
        except BackendError as error:
            outcomes.append(error)

    threads = [threading.Thread(target=resume) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (new,) = [outcome for outcome in outcomes if isinstance(outcome, Job)]
    refused = [str(outcome) for outcome in outcomes if isinstance(outcome, BackendError)]
    assert len(refused) == 2
    assert all(f"the run goes on as job {new.id}" in text for text in refused), refused
    with pytest.raises(BackendError, match="goes on"):
        first.resume()
    done(new)
    for job in hub.jobs.values():
        job.join(20)
    assert [job.stage for job in hub.jobs.values()].count("COMPLETED") == 1


def test_a_lost_answer_makes_no_second_resumption(hub: hubsim.Hub, backend: HubBackend) -> None:
    first = start(backend).wait(60)
    hub.fail(method="POST", path="/api/jobs/alice$", reset="after")
    second = done(first.resume())
    assert list(hub.jobs) == [job.id.split("/")[1] for job in (first, second)]


def test_a_secret_that_is_gone_is_told(hub: hubsim.Hub, backend: HubBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "s3cret")
    first = start(backend, secrets=("KEY",)).wait(60)
    monkeypatch.delenv("KEY")
    with pytest.raises(AuthError, match="no value for KEY"):
        first.resume()
    assert len(hub.jobs) == 1


def test_a_killed_job_goes_on_if_a_checkpoint_was_kept(hub: hubsim.Hub, backend: HubBackend) -> None:
    first = start(backend, script=HANGS, timeout_seconds=1)
    hub.cfg["graceSecs"] = 0.2
    assert first.wait(60).status().message == "Job timeout; resumable from step 1: job.resume(timeout=...)"
    assert done(first.resume(timeout=60)).result().steps == 2


def test_what_came_too_late_to_the_bucket_is_gone(hub: hubsim.Hub, backend: HubBackend) -> None:
    hub.late_writes = 60.0
    first = start(backend).wait(60)
    assert not (hub.bucket_dir(f"alice/{BUCKET}") / "one-run").exists()
    with pytest.raises(BackendError, match=r"no whole checkpoint of its run is in hf://buckets/alice/.*/one-run"):
        first.resume()
    # one that is torn is none either
    torn = hub.bucket_dir(f"alice/{BUCKET}") / "one-run" / "checkpoint-1"
    torn.mkdir(parents=True)
    (torn / "model.safetensors").write_text("half")
    with pytest.raises(BackendError, match="no whole checkpoint"):
        first.resume()
    (torn / "hft_manifest.json").write_text("{}")
    hub.late_writes = 0.0
    assert done(first.resume()).result().steps == 2


def test_a_bucket_that_cannot_be_looked_at_hinders_no_resume(hub: hubsim.Hub, backend: HubBackend) -> None:
    first = start(backend).wait(60)
    hub.fail(method="GET", path=f"{BUCKET}/tree", response={"status": 403, "headers": {}, "body": "{}"})
    assert done(first.resume()).result().steps == 2
    assert len(hub.requests(f"{BUCKET}/tree", "GET")) == 1


def test_a_run_by_hand_is_the_run_of_its_own_id(hub: hubsim.Hub, backend: HubBackend) -> None:
    script = STOPS.replace('os.environ["HFT_RUN_ID"]', 'os.environ.get("HFT_RUN_ID", os.environ["JOB_ID"])')
    first = start(backend, script=script, env={"HFT_CHECKPOINTS": MOUNT}).wait(60)
    second = done(first.resume())
    assert sent(hub)[1]["environment"]["HFT_RUN_ID"] == first.id.split("/")[1]
    assert second.result().steps == 2


def test_nodes_go_on_as_nodes(hub: hubsim.Hub, connect: Callable[..., HubBackend]) -> None:
    log = [event_line("kept", step=4, place="x"), event_line("stopped", step=5, code=76, reason="deadline")]
    for rank in "01":
        hub.script(match={"node-rank": rank}, logs=log, exitCode=76)
    first = start(connect(), nodes=2).wait(60)
    # the message of the run, not of one of its nodes
    assert first.status().message == "stopped at the deadline at step 5, resumable from step 4: job.resume(timeout=...)"
    for rank in "01":
        hub.script(match={"node-rank": rank}, logs=["goes on"])
    kept = hub.bucket_dir(f"alice/{BUCKET}") / "one-run" / "checkpoint-4"
    kept.mkdir(parents=True)
    (kept / "hft_manifest-0.json").write_text("{}")
    second = done(Job.from_id(first.record.members[1], backend=connect()).resume())
    assert len(second.record.members) == 2
    bodies = sent(hub)
    groups = [body["network"]["group"] for body in bodies]
    assert groups[0] == groups[1] != groups[2] == groups[3]
    for old, new in zip(bodies[:2], bodies[2:], strict=True):
        group = {"HFT_NODE_GROUP": f"alice/{groups[2]}"}
        assert new["environment"] == old["environment"] | group
        assert new["labels"]["node-rank"] == old["labels"]["node-rank"]
        assert new["labels"]["resumes"] == first.id.split("/")[1]
        assert (new["volumes"], new["command"]) == (old["volumes"], old["command"])


def test_a_node_that_still_saves_is_not_stopped(hub: hubsim.Hub, backend: HubBackend) -> None:
    hub.script(match={"node-rank": "0"}, logs=["saving"], runSecs=1.0, exitCode=76)
    hub.script(match={"node-rank": "1"}, logs=["saved"], runSecs=0.1, exitCode=76)
    job = start(backend, nodes=2).wait(60)
    assert [node.stage for node in job.status().members] == ["ERROR", "ERROR"]
    assert not hub.requests("/cancel$")


def test_a_public_bucket_gets_no_checkpoints(hub: hubsim.Hub, connect: Callable[..., HubBackend]) -> None:
    from huggingface_hub import HfApi

    HfApi(endpoint=hub.endpoint, token="hf_alice_write").create_bucket(f"alice/{BUCKET}", private=False)
    with pytest.raises(BackendError, match=f"everyone could read the checkpoints, .* alice/{BUCKET} is public"):
        start(connect())
    assert hub.jobs == {}


def test_the_bucket_is_asked_for_once(hub: hubsim.Hub, backend: HubBackend) -> None:
    hub.cfg["exec"] = "off"
    for _ in range(2):
        start(backend)
    assert [(entry["method"], entry["status"]) for entry in hub.requests(BUCKET)] == [("POST", 200)]


@pytest.fixture
def place(tmp_path: Path) -> LocalPlace:
    return LocalPlace(tmp_path / "runs")


def test_a_local_run_goes_on_in_its_folder(place: LocalPlace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY", "s3cret")
    first = place.run(STOPS, secrets=("KEY",), timeout_seconds=100, env={"HFT_TIMEOUT": "100"})
    assert (first.wait(60).status().message, first.status().resumable) == (TOLD, True)
    again = Job.from_id(first.id, backend=place.backend)
    second = done(again.resume(timeout=40))
    result = second.result()
    home, folder = place.folder(first), place.folder(second)
    assert (result.steps, result.model, result.trackio) == (2, str(home / "out"), home / "trackio")
    assert (result.folder, result.log) == (folder, folder / "log.txt")
    assert [event.kind for event in second.events()] == ["start", "resumed", "end"]
    assert next(second.events()).data["timeout"] == "50"
    records = [json.loads((path / "record.json").read_text()) for path in (home, folder)]
    assert records[1]["env"] == records[0]["env"] | {"HFT_TIMEOUT": "50"}
    assert records[1]["timeout_seconds"] == 50
    assert "s3cret" not in (folder / "record.json").read_text()
    assert second.resumes == (first.id,)
    with pytest.raises(BackendError, match="ended well as job"):
        first.resume()


def test_a_local_timeout_is_gone_on_from(place: LocalPlace) -> None:
    first = place.run(HANGS, timeout_seconds=2)
    assert first.wait(60).status().message == "Job timeout; resumable from step 1: job.resume(timeout=...)"
    assert done(first.resume()).result().steps == 2


def test_a_local_run_is_resumed_once_at_a_time(place: LocalPlace) -> None:
    first = place.run(HANGS)
    next(event for event in first.events(follow=True) if event.kind == "kept")
    with pytest.raises(BackendError, match="of the run is RUNNING"):
        place.backend.resume(first.id)
    first.cancel()
    assert first.wait(60).status().resumable
    with pytest.raises(BackendError, match="has no flavor"):
        first.resume(flavor="a10g-small")
    done(first.resume())


def test_a_script_whose_supervisor_died_is_not_joined_by_another(place: LocalPlace) -> None:
    first = place.run(f"import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n{HANGS}")
    next(event for event in first.events(follow=True) if event.kind == "kept")
    folder = place.folder(first)
    place.kill_supervisors(first)
    pid = json.loads((folder / "status.json").read_text())["pid"]
    while not first.status().is_terminal:
        time.sleep(0.05)
    with pytest.raises(BackendError, match=f"its script still runs, as process {pid}: wait for its end, or"):
        first.resume()
    first.cancel()
    done(first.resume())


@pytest.mark.parametrize("lacks", ["secrets", "env", "command", "timeout_seconds"])
def test_a_damaged_local_record_is_told(place: LocalPlace, lacks: str) -> None:
    job = place.run(STOPS).wait(60)
    path = place.folder(job) / "record.json"
    record = json.loads(path.read_text())
    del record[lacks]
    path.write_text(json.dumps(record))
    with pytest.raises(BackendError, match="are damaged"):
        job.resume()


def test_what_is_damaged_beside_a_local_run_is_no_hindrance(place: LocalPlace) -> None:
    job = place.run(STOPS).wait(60)
    other = place.root / "other"
    other.mkdir()
    (other / "record.json").write_text("{}")
    done(job.resume())


def test_without_its_log_a_local_run_still_has_a_status(place: LocalPlace) -> None:
    job = place.run(STOPS).wait(60)
    (place.folder(job) / "log.txt").unlink()
    again = Job.from_id(job.id, backend=place.backend)
    assert (again.status().message, again.status().resumable) == ("Job failed with exit code: 76", False)
    with pytest.raises(BackendError, match="are damaged"):
        again.resume()


def test_a_local_checkpoint_that_is_torn_counts_for_nothing(place: LocalPlace) -> None:
    job = place.run(SCRIPT.replace("hft_manifest.json", "model.safetensors") + "sys.exit(1)").wait(60)
    assert not job.status().resumable
    with pytest.raises(BackendError, match="none of the checkpoints that it saved in 1 step outlived"):
        job.resume()


@pytest.mark.parametrize(("most", "schedule"), [(-1, None), (2, "@weekly")])
def test_max_resumes_is_for_one_run(most: int, schedule: str | None) -> None:
    with pytest.raises(ValueError, match="max_resumes"):
        hft.submit(plan(schedule=schedule), backend="hub", dry_run=True, max_resumes=most)


def test_submit_resumes_by_itself(hub: hubsim.Hub, backend: HubBackend) -> None:
    job = hft.Client(backend=backend).submit(asked(), max_resumes=2)
    assert job.watch().succeeded
    assert len(job.resumes) == 1
    assert len(hub.jobs) == 2


@pytest.mark.parametrize(("age", "stage"), [(60, "ERROR"), (100_000, "COMPLETED")])
def test_a_model_that_is_not_on_the_hub_is_no_success(
    hub: hubsim.Hub, backend: HubBackend, age: int, stage: str
) -> None:
    audited = event_line("audited", time.time() - age, repo="alice/m", commit="0" * 40, files={"model.safetensors": ""})
    hub.script(logs=[audited], runSecs=0.1)
    job = start(backend).wait(30)
    assert job.stage == job.status().stage == stage
    looks = hub.requests("/api/models/alice/m")
    assert len(looks) == (stage == "ERROR")
    if looks:
        with pytest.raises(hft.JobFailed, match="the run pushed its model to alice/m at commit 000000000000, but this"):
            job.result()
        assert len(hub.requests("/api/models/alice/m")) == 1
