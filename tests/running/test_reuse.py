"""Identical runs: warned of, or used in place of a second one."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import hubsim
import pytest

import hfjobs_trainer as hft
from benchmarks.requests import DATASET, make_repos, specs
from hfjobs_trainer.planning.identity import inputs_of
from hfjobs_trainer.planning.plan import Plan
from hfjobs_trainer.running.backends.base import JobRecord, JobStatus
from hfjobs_trainer.running.reuse import find_identical, with_inputs
from tests.running.hub_runs import LIST, QUICK
from tests.running.places import plan_of


@pytest.fixture
def script(tmp_path: Path) -> Path:
    file = tmp_path / "hello.py"
    file.write_text("# /// script\n# dependencies = []\n# ///\nprint('hello')\n")
    return file


@pytest.fixture
def asked(script: Path) -> dict[str, Any]:
    return {"method": "script", "script": str(script), "hardware": "cpu-basic", "timeout": "10m"}


@pytest.fixture
def client(hub: hubsim.Hub) -> hft.Client:
    return hft.Client(backend=hft.HubBackend("hf_alice_write", None, hub.endpoint, QUICK))


def names(hub: hubsim.Hub) -> list[str]:
    return [f"alice/{name}" for name in hub.jobs]


def test_a_cell_that_is_run_twice_pays_once(
    hub: hubsim.Hub, client: hft.Client, asked: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    hub.script(runSecs=0.2)
    job = client.submit(asked, reuse=True)
    assert client.submit(asked, reuse=True).id == job.id
    job.wait()
    assert client.submit(client.plan(asked), reuse=True).id == job.id
    assert hft.submit_script(
        script=asked["script"], hardware="cpu-basic", timeout="10m", backend=client.backend, reuse=True
    ).succeeded
    assert names(hub) == [job.id]
    assert f"hft: nothing new was submitted: job {job.id} is identical and COMPLETED" in capsys.readouterr().err


def test_a_live_one_is_warned_of_before_the_second_is_created(
    hub: hubsim.Hub, client: hft.Client, asked: dict[str, Any]
) -> None:
    hub.script(count=2, runSecs=60)
    first = client.submit(asked)
    before = len(hub.journal)
    with pytest.warns(
        RuntimeWarning, match=rf"job {first.id} is identical and already \w+;.*reuse=True returns that one"
    ):
        second = client.submit(asked)
    assert names(hub) == [first.id, second.id]
    sent = [(entry["method"], entry["path"]) for entry in hub.journal[before:] if "/jobs/" in entry["path"]]
    assert sent[-2:] == [("GET", "/api/jobs/alice"), ("POST", "/api/jobs/alice")]
    assert len(sent) == 2
    assert client.submit(asked, reuse=True).id == first.id  # of two, the older


def test_one_that_failed_or_was_canceled_is_not_used(
    hub: hubsim.Hub, client: hft.Client, asked: dict[str, Any]
) -> None:
    hub.script(runSecs=0.1, exitCode=1)
    hub.script(runSecs=60)
    client.submit(asked).wait()
    canceled = client.submit(asked, reuse=True)
    canceled.cancel()
    canceled.wait()
    assert client.submit(asked, reuse=True).id == names(hub)[2]


def test_what_changes_a_run_makes_it_another(
    hub: hubsim.Hub, client: hft.Client, asked: dict[str, Any], script: Path
) -> None:
    hub.cfg["exec"] = "off"
    client.submit(asked, reuse=True)
    for change in ({"env": {"AB": "1"}}, {"hardware": "t4-small"}, {"script_args": ["--beta", "2"]}):
        client.submit({**asked, **change}, reuse=True)
    script.write_text(script.read_text() + "print('and more')\n")  # the same spec
    client.submit(asked, reuse=True)
    assert len(hub.jobs) == 5


def test_what_the_hub_has_by_now_makes_another_run(hub: hubsim.Hub) -> None:
    make_repos(hub.root)
    hub.cfg["exec"] = "off"
    (spec,) = specs(1)

    def submit() -> hft.Job:
        return hft.Client(token="hf_alice_write", endpoint=hub.endpoint).submit(spec, reuse=True)

    job = submit()
    assert submit().id == job.id
    rows = hub.root / f"datasets/{DATASET}/train.jsonl"
    rows.write_text(rows.read_text() * 2)
    assert submit().id != job.id
    assert len(hub.jobs) == 2


def test_pins_revisions_and_local_data_make_the_label(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"text": "a"}\n')
    spec = hft.SFT(model="acme/tiny", dataset=str(rows))
    here = hft.LocalBackend(root=tmp_path / "runs")
    plan = hft.plan(spec, facts=hft.Facts(), backend="local")
    label = inputs_of(plan)
    assert inputs_of(replace(plan, revisions={"model_revision": "0" * 40})) != label
    older = replace(plan.request, script=plan.script.replace("trl==", "trl==0."))
    assert inputs_of(replace(plan, request=older)) != label
    rewritten = replace(plan.request, script=f"{plan.script}\n# another version of this package wrote it\n")
    assert inputs_of(replace(plan, request=rewritten)) == label

    def label_now() -> str:
        return with_inputs(plan, here).request.labels["inputs"]

    before = label_now()
    assert label_now() == before
    rows.write_text('{"text": "another row"}\n')
    assert label_now() != before


def test_of_a_run_that_was_resumed_the_newest_job_counts() -> None:
    backend = hft.InProcessBackend()
    labels = {"spec": "a" * 12, "inputs": "b" * 12}
    plan = plan_of("", labels=labels)
    first = backend.submit(plan)
    assert find_identical(plan, backend, reuse=True) == first
    backend.finish(first.id, "ERROR", message="Job timeout")
    assert find_identical(plan, backend, reuse=True) is None
    second = backend.resume(first.id)
    assert find_identical(plan, backend, reuse=True) == second
    backend.finish(second.id)
    assert find_identical(plan, backend, reuse=True) == second


def test_several_nodes_are_one_run(hub: hubsim.Hub) -> None:
    backend = hft.HubBackend("hf_alice_write", "alice", hub.endpoint, QUICK)
    hub.script(match={"node-rank": "0"}, count=2, runSecs=60)
    hub.script(match={"node-rank": "1"}, count=2, runSecs=60)
    labels = {"spec": "a" * 12, "inputs": "b" * 12}
    plan = plan_of("print()\n", flavor="cpu-basic", timeout_seconds=600, nodes=2, labels=labels)
    record = backend.submit(plan)
    found = find_identical(plan, backend, reuse=True)
    assert found is not None
    assert (found.id, found.members) == (record.id, record.members)
    hub.jobs[record.members[1].split("/")[1]].cancel()
    hub.jobs[record.members[1].split("/")[1]].join(20)
    assert find_identical(plan, backend, reuse=True) is None  # it ends with its node


def test_of_two_at_the_same_moment_the_earlier_stays(
    hub: hubsim.Hub, client: hft.Client, asked: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    hub.script(count=2, runSecs=60)
    hub.fail(**LIST, response={"status": 200, "body": []}, skip=2, times=1)  # the second one looked too early
    first = client.submit(asked, reuse=True)
    second = client.submit(asked, reuse=True)
    earlier, later = hub.jobs.values()
    later.join(20)
    assert second.id == first.id == f"alice/{earlier.id}"
    assert (earlier.canceled.is_set(), later.stage) == (False, "CANCELED")
    assert f"job alice/{later.id} was canceled" in capsys.readouterr().err


def test_a_later_one_that_cannot_be_canceled_is_told_of(
    hub: hubsim.Hub, client: hft.Client, asked: dict[str, Any]
) -> None:
    hub.script(count=2, runSecs=60)
    hub.fail(**LIST, response={"status": 200, "body": []}, skip=2, times=1)
    first = client.submit(asked, reuse=True)
    hub.fail(path="/cancel$", response={"status": 503}, times=9)
    with pytest.warns(RuntimeWarning, match=r'may be running too: hft\.Job\.from_id\(".*"\)\.cancel\(\) stops it'):
        assert client.submit(asked, reuse=True).id == first.id


@pytest.mark.parametrize(
    ("status", "kind"),
    [(403, hft.AuthError), (429, hft.QuotaError), (400, hft.HubUnavailable)],
)
def test_what_the_hub_does_not_say(
    hub: hubsim.Hub, script: Path, asked: dict[str, Any], status: int, kind: type[Exception]
) -> None:
    hub.cfg["exec"] = "off"
    planner = hft.Client(token="hf_alice_write", endpoint=hub.endpoint)
    patience = replace(QUICK, quota=0.1, answer=0.5, search=0.5)
    client = hft.Client(backend=hft.HubBackend("hf_alice_write", None, hub.endpoint, patience))
    plan = planner.plan(asked)
    hub.fail(**LIST, response={"status": status, "headers": {"Retry-After": "0"}}, times=99)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        client.submit(plan)  # without reuse, the look is for a warning only
    with pytest.raises(
        kind, match=r"nothing was submitted: reuse=True could not find out whether an identical job exists"
    ):
        client.submit(plan, reuse=True)
    assert len(hub.jobs) == 1


def test_a_schedule_is_no_run_to_use(client: hft.Client, hub: hubsim.Hub, asked: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="leave it out with a schedule"):
        cast("Any", client.submit)(asked, schedule="@weekly", reuse=True)
    weekly = client.submit(asked, schedule="@weekly")
    hub.script(count=2, runSecs=60)
    hub.trigger(weekly.id.split("/")[1])
    client.submit(asked, reuse=True)
    assert len(hub.jobs) == 2


def test_neither_a_dry_run_nor_a_refused_plan_looks(hub: hubsim.Hub, client: hft.Client, asked: dict[str, Any]) -> None:
    assert isinstance(client.submit(asked, reuse=True, dry_run=True), Plan)
    with pytest.raises(hft.SpecError):
        client.submit({**asked, "hardware": "a100-mega"}, reuse=True)
    assert hub.requests(LIST["path"]) == []


def test_what_is_used_may_be_resumed_by_itself_too(hub: hubsim.Hub, client: hft.Client, asked: dict[str, Any]) -> None:
    hub.script(runSecs=60)
    first = client.submit(asked)
    again = client.submit(asked, reuse=True, max_resumes=2)
    assert again.id == first.id
    assert again._resuming is not None  # pyright: ignore[reportPrivateUsage]


@pytest.mark.torch
def test_on_this_machine(tmp_path: Path, asked: dict[str, Any], script: Path) -> None:
    script.write_text(script.read_text() + "import time; time.sleep(60)\n")
    client = hft.Client(backend=hft.LocalBackend(root=tmp_path / "runs", python="current", grace_seconds=1))
    plan = client.plan(asked, offline=True)
    job = client.submit(plan)
    try:
        with pytest.warns(RuntimeWarning, match=f"job {job.id} is identical"):
            client.submit(plan).cancel()
        assert client.submit(plan, reuse=True).id == job.id
    finally:
        job.cancel()
    job.wait()
    assert client.submit(plan, reuse=True, dry_run=True) is plan


class Nameless(hft.InProcessBackend):
    """A backend of one's own that keeps no labels."""

    def submit(self, plan: Plan) -> JobRecord:
        return replace(super().submit(plan), labels={})

    def list(self, labels: dict[str, str]) -> list[JobRecord]:
        return [JobRecord("nameless/1")]

    def status(self, job_id: str) -> JobStatus:
        return JobStatus("RUNNING")


def test_a_backend_without_labels_finds_nothing(asked: dict[str, Any]) -> None:
    client = hft.Client(backend=Nameless())
    plan = client.plan(asked, offline=True)
    assert client.submit(plan).id != client.submit(plan, reuse=True).id
