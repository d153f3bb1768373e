"""Smoke tests as jobs: on the stand-in of the Hub, whose jobs really run."""

from __future__ import annotations

import json
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hubsim
import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.running.backends.hub import HubBackend
from hfjobs_trainer.trying.smoke_job import plan_job, smoke_test_as_job

pytestmark = pytest.mark.torch


@pytest.fixture
def client(hub_env: hubsim.Hub, tiny_model: Path, tiny_data: Callable[[str], Path]) -> hft.Client:
    """A client of a Hub that has a model, which is private, and a dataset."""
    shutil.copytree(tiny_model, hub_env.root / "models/alice/tiny")
    (hub_env.root / "models/alice/tiny/.hubsim.json").write_text(json.dumps({"private": True}))
    folder = hub_env.root / "datasets/alice/chats"
    folder.mkdir(parents=True)
    shutil.copy(tiny_data("messages"), folder / "train.jsonl")
    return hft.Client(token="hf_alice_write", endpoint=hub_env.endpoint)


def spec(**changes: Any) -> dict[str, Any]:
    fields = {
        "method": "sft",
        "model": "alice/tiny",
        "dataset": "alice/chats",
        "eval_fraction": 0.25,
        "eval_strategy": "steps",
        "eval_steps": 500,
        "save_steps": 500,
        "max_steps": 100_000,
        "timeout": "10h",
        "hardware": "a10g-large",
        "tracking": {"space_id": "alice/board"},
        "output": {"hub_model_id": "alice/colors"},
    }
    return fields | changes


def bodies(hub: hubsim.Hub) -> list[dict[str, Any]]:
    return [json.loads(entry["body"]) for entry in hub.requests("/api/jobs/[a-z]+$", "POST")]


def stages(client: hft.Client) -> list[str]:
    return [job.stage for job in client.jobs(labels={"mode": "smoke-test"})]


def test_its_plan_says_what_it_costs_and_how_long_it_may_take(client: hft.Client) -> None:
    run = client.plan(spec())
    plan = client.smoke_test(run, backend="hub", dry_run=True)
    assert isinstance(plan, hft.Plan)
    assert (plan.request.flavor, plan.timeout_seconds) == ("cpu-basic", 900)
    assert plan.script == run.script
    told = str(plan)
    assert "900s" in told, told
    assert "at most $0.003" in told, told
    assert plan.request.labels["mode"] == "smoke-test"


def test_a_job_tries_the_script_with_its_own_token(client: hft.Client, hub_env: hubsim.Hub) -> None:
    job = client.submit(spec(), smoke_test="hub", dry_run=False)
    job.cancel()
    tried, real = bodies(hub_env)
    assert (tried["flavor"], tried["timeoutSeconds"], real["flavor"]) == ("cpu-basic", 900, "a10g-large")
    assert tried["environment"]["HFT_MODE_FILE"] == "/data/smoke.py"
    assert "HFT_MODE_FILE" not in real["environment"]
    assert list(tried["secrets"]) == ["HF_TOKEN"]
    # the very script lies in both volumes
    mounted = [next(each for each in body["volumes"] if each["mountPath"] == "/data") for body in (tried, real)]
    folders = [hub_env.root / "buckets" / volume["source"] / volume["path"] for volume in mounted]
    assert (folders[0] / "script.py").read_bytes() == (folders[1] / "script.py").read_bytes()
    assert [path.name for path in folders[1].iterdir()] == ["script.py"]
    assert stages(client) == ["COMPLETED"]
    # nothing was left on the Hub
    assert not (hub_env.root / "models/alice/colors").exists()
    assert not (hub_env.root / "spaces/alice/board").exists()


def test_what_only_a_job_can_see(client: hft.Client, hub_env: hubsim.Hub) -> None:
    folder = hub_env.root / "models/acme/colors"
    folder.mkdir(parents=True)
    (folder / "README.md").write_text("theirs")
    plan = client.plan(spec(output={"hub_model_id": "acme/colors"}, namespace="alice"))
    # the token of the job may do everything in alice's namespace, and nothing in that of acme
    found = smoke_test_as_job(plan, plan_job(plan), HubBackend(token="hf_alice_useronly", endpoint=hub_env.endpoint))
    (told,) = [item for item in found.problems if item.severity == "error"]
    assert (told.code, told.path, found.stages[-1].name) == ("HUB009", "output.hub_model_id", "push")
    assert "may not write to acme/colors" in told.why
    assert found.where.startswith("job alice/")
    assert found.usd is not None
    assert 0 < found.usd < 0.02


def gives_up(completions: list[object], **columns: object) -> list[float]:
    raise ValueError(f"no reward for {len(completions)} answers")


def test_a_job_that_fails_tells_why_and_nothing_is_submitted(client: hft.Client, hub_env: hubsim.Hub) -> None:
    changes = {"method": "grpo", "reward_funcs": gives_up, "num_generations": 2, "per_device_train_batch_size": 2}
    changes |= {
        "max_steps": 50,
        "eval_steps": None,
        "eval_fraction": None,
        "eval_strategy": "no",
        "dataset": [{"prompt": f"Say {n}."} for n in range(70)],
    }
    with pytest.raises(hft.SpecError, match=r"gives_up at .* raises ValueError: no reward for") as raised:
        client.submit(spec(**changes), smoke_test="hub")
    assert [item.code for item in raised.value.problems if item.severity == "error"] == ["SMOKE002"]
    assert len(bodies(hub_env)) == 1
    assert stages(client) == ["ERROR"]


def test_a_job_is_stopped_at_its_limit(client: hft.Client) -> None:
    found = client.smoke_test(spec(), backend="hub", seconds=2)
    assert not found.ok
    assert [item.code for item in found.problems if item.severity == "error"] == ["SMOKE005"]
    assert stages(client) == ["ERROR"]


def test_a_job_that_gets_no_machine_is_canceled(client: hft.Client, hub_env: hubsim.Hub) -> None:
    hub_env.cfg["schedSecs"] = 3600
    plan = client.plan(spec())
    backend = HubBackend(token="hf_alice_write", endpoint=hub_env.endpoint)
    found = smoke_test_as_job(plan, plan_job(plan, seconds=1), backend, queue=1.0)
    assert "had no machine for 1 s" in str(found)
    assert stages(client) == ["CANCELED"]


def test_an_interrupt_cancels_the_job(client: hft.Client) -> None:
    def interrupt() -> None:
        while not stages(client):
            time.sleep(0.1)
        signal.raise_signal(signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        client.smoke_test(spec(), backend="hub")
    assert stages(client) == ["CANCELED"]
