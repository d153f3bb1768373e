"""A client and its backend: one account, one place, whichever way a run is started."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import hubsim
import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.codegen.references import EXAMPLE_FACTS
from hfjobs_trainer.running.backends.base import JobRecord, JobStatus
from hfjobs_trainer.running.job import Job
from hfjobs_trainer.running.planned import planned_env, read_planned

# What is handed to ``submit``, and by which client.
WAYS: dict[str, Callable[[hft.HubBackend, Any], Any]] = {
    "a plan": lambda backend, spec: (client := hft.Client(backend=backend)).submit(client.plan(spec)),
    "a spec": lambda backend, spec: hft.Client(backend=backend).submit(spec),
    "a plan of another's place": lambda backend, spec: hft.submit(
        hft.plan(spec, backend="local", offline=True), backend=backend
    ),
    "a spec, and a backend for it": lambda backend, spec: hft.submit(spec, backend=backend),
    "a spec, and a backend other than the client's": lambda backend, spec: hft.Client(token="hf_alice_write").submit(
        spec, backend=backend
    ),
}


@pytest.fixture
def spec(tmp_path: Path) -> hft.Script:
    file = tmp_path / "hello.py"
    file.write_text("# /// script\n# dependencies = []\n# ///\nprint('hello')\n")
    return hft.Script(str(file), hardware="cpu-basic", timeout="10m")


@pytest.mark.usefixtures("hub_env")
@pytest.mark.parametrize("submit", WAYS.values(), ids=WAYS)
def test_who_plans_is_who_submits(
    hub: hubsim.Hub, spec: hft.Script, submit: Callable[[hft.HubBackend, Any], hft.Job]
) -> None:
    backend = hft.HubBackend(token="hf_bob_write", endpoint=hub.endpoint)  # the environment's is alice's
    job = submit(backend, spec)
    assert job.backend is backend
    assert [one.namespace for one in hub.jobs.values()] == ["bob"]
    senders = {
        {name.lower(): value for name, value in entry["headers"].items()}.get("authorization")
        for entry in hub.requests("^/api/")
    }
    assert senders - {None} == {"Bearer hf_bob_write"}  # what is public is asked by nobody


def test_the_namespace_of_a_backend_is_that_of_its_plans(hub: hubsim.Hub, spec: hft.Script) -> None:
    backend = hft.HubBackend(token="hf_alice_write", namespace="acme", endpoint=hub.endpoint)
    assert hft.Client(backend=backend).plan(spec).request.namespace == "acme"
    assert hft.Client(backend=backend, namespace="alice").plan(spec).request.namespace == "alice"


def test_a_plan_is_submitted_by_the_backend_it_was_made_for(
    tmp_path: Path, spec: hft.Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_alice_write")
    nowhere = hft.InProcessBackend()
    client = hft.Client(backend=nowhere)
    job = client.submit(client.plan(spec, offline=True))
    assert job.backend is nowhere
    here = hft.LocalBackend(root=tmp_path / "runs", python="current")
    client = hft.Client(backend=here)
    job = client.submit(client.plan(spec, offline=True))
    job.cancel()
    assert job.backend is here
    assert job.record.folder is not None
    assert Path(job.record.folder).parent == tmp_path / "runs"


def test_a_token_is_neither_shown_nor_pickled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_environment")
    hub = hft.HubBackend(token="hf_secret_one", namespace="alice")
    clients = (hft.Client(token="hf_secret_one", namespace="alice"), hft.Client(backend=hub))
    job = Job(JobRecord("alice/1"), hub)
    for held in (*clients, hub, job):
        shown = [repr(held), repr(vars(held)), str(pickle.dumps(held)), str(pickle.dumps(copy.deepcopy(held)))]
        assert [text for text in shown if "hf_secret_one" in text] == []
    assert "hf_secret_one" not in str(dataclasses.asdict(clients[0]))
    back = pickle.loads(pickle.dumps(clients[0]))
    assert (back.token, back.namespace) == (None, "alice")
    assert copy.deepcopy(hub).account == ("hf_secret_one", None, "alice")
    assert copy.deepcopy(clients[0]).token == "hf_secret_one"
    again = pickle.loads(pickle.dumps(job))
    assert (again.id, again.backend.account) == ("alice/1", (None, None, "alice"))


def test_a_failure_can_be_pickled_and_copied() -> None:
    failed = hft.JobFailed("alice/1", JobStatus("ERROR", "why"), ["a", "b"])
    for again in (pickle.loads(pickle.dumps(failed)), copy.copy(failed), copy.deepcopy(failed)):
        assert (str(again), again.job_id, again.status, again.log_tail) == (
            str(failed),
            "alice/1",
            failed.status,
            ("a", "b"),
        )


def test_a_job_is_found_again_with_the_token_of_the_client(hub: hubsim.Hub, spec: hft.Script) -> None:
    client = hft.Client(token="hf_bob_write", endpoint=hub.endpoint)
    job = client.submit(spec)
    assert client.job(job.id).record == job.record
    with pytest.raises(hft.JobNotFound):
        client.job("bob/6affffffffffffffffffffff")


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_place_that_is_none_is_told(spec: hft.Script, dry_run: bool) -> None:
    with pytest.raises(ValueError, match=r"""backend='lokal': must be "hub", "local".* or a Backend"""):
        hft.submit(spec, backend=cast("Any", "lokal"), dry_run=dry_run)


def test_a_timeout_that_no_float_holds_is_a_problem() -> None:
    for timeout in (10**400, "9" * 400 + ":00:00", "9" * 400 + "h"):
        report = hft.check({"method": "sft", "model": "a/b", "dataset": "c/d", "timeout": timeout}, offline=True)
        assert "timeout" in [problem.path for problem in report.problems]


def test_a_job_carries_what_its_plan_said_so_that_any_process_knows_it(hub: hubsim.Hub, spec: hft.Script) -> None:
    client = hft.Client(token="hf_alice_write", endpoint=hub.endpoint)
    dear = spec.replace(hardware=hft.Hardware(flavor="cpu-basic", max_usd=2, attempts=2), timeout_padding=0)
    job = client.submit(dear)
    known = hft.Client(token="hf_alice_write", endpoint=hub.endpoint).job(job.id).record.planned
    assert known == job.record.planned
    assert (known.name, known.timeout, known.attempts, known.max_usd) == ("script-hello", 600, 2, 2)


def test_what_is_planned_of_a_training_is_carried_too() -> None:
    dataset = dataclasses.replace(EXAMPLE_FACTS.dataset, num_rows=10_000)
    facts = dataclasses.replace(EXAMPLE_FACTS, dataset=dataset)
    spec = hft.DPO(
        model="Qwen/Qwen2.5-0.5B-Instruct",
        dataset="trl-lib/ultrafeedback_binarized",
        hardware="a10g-large",
        timeout="3h",
        output=hft.Output(hub_model_id="username/dpo"),
    )
    plan = hft.plan(spec, facts=facts)
    planned = read_planned(planned_env(plan))
    assert plan.estimate is not None
    assert plan.estimate.duration is not None
    bounds = plan.estimate.duration.seconds
    assert (planned.low, planned.high) == (round(bounds.low), round(bounds.high))
    assert planned.timeout == plan.timeout_seconds
    assert (planned.model, planned.tracker, planned.project) == ("username/dpo", "trackio", "dpo")
    assert planned.space == "username/trackio"
