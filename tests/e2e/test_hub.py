"""From a spec to a model on the Hub: the unmodified client, a job that really trains, its log, its repository."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import hubsim
import pytest
from huggingface_hub import HfApi, ModelCard

import hfjobs_trainer as hft


@pytest.fixture
def client(hub_env: hubsim.Hub, tiny_model: Path, tiny_data: Callable[[str], Path]) -> hft.Client:
    """A client of a Hub that has a model, which is private, and datasets."""
    shutil.copytree(tiny_model, hub_env.root / "models/alice/tiny")
    (hub_env.root / "models/alice/tiny/.hubsim.json").write_text(json.dumps({"private": True}))
    for name, rows in (("chats", "messages"), ("pairs", "preference_chat")):
        folder = hub_env.root / "datasets/alice" / name
        folder.mkdir(parents=True)
        shutil.copy(tiny_data(rows), folder / "train.jsonl")
    return hft.Client(token="hf_alice_write", endpoint=hub_env.endpoint)


def test_a_submitted_run_trains_reports_and_leaves_its_model_on_the_hub(
    client: hft.Client, hub_env: hubsim.Hub
) -> None:
    spec = hft.SFT(
        model="alice/tiny",
        dataset="alice/chats",
        eval_fraction=0.25,
        eval_strategy="steps",
        eval_steps=2,
        max_steps=4,
        logging_steps=1,
        timeout="20m",
        hardware=hft.Hardware(prefer="cheapest"),
        tracking=hft.Tracking(name="first", group="e2e/0.1", report_to="none"),
        output=hft.Output(hub_model_id="alice/tiny-sft"),
    )

    plan = client.plan(spec)
    job = client.submit(plan)
    assert isinstance(plan, hft.Plan)
    assert isinstance(job, hft.Job)
    lines = list(job.logs(follow=True))
    result = job.wait(timeout=60).raise_for_status().result()

    assert plan.prices == "live"
    assert plan.flavor is not None
    assert (plan.flavor.name, plan.timeout_seconds) == ("l4x1", 1500)
    assert any("hft.start" in line for line in lines)
    steps = [event.step for event in job.events() if event.kind == "log" and "loss" in event.metrics]
    assert steps == [1, 2, 3, 4]
    assert (result.model, result.steps) == ("alice/tiny-sft", 4)
    assert result.metrics["eval_loss"] is not None

    api = HfApi(endpoint=hub_env.endpoint, token="hf_alice_write")
    info = api.model_info("alice/tiny-sft")
    assert info.private
    pushed = {file.rfilename for file in info.siblings or ()}
    assert {"model.safetensors", "config.json", "tokenizer.json", "README.md"} <= pushed
    assert {"hft_spec.json", "loss.svg"} <= pushed
    card = ModelCard((hub_env.root / "models/alice/tiny-sft/README.md").read_text(encoding="utf-8"))
    assert card.data.to_dict()["datasets"] == ["alice/chats"]

    # the card says what was read, what it cost, and what it changed; the spec lies beside the model
    commits = plan.revisions
    assert set(commits) == {"model_revision", "dataset.revision"}
    assert all(plan.script.count(f'"{commit}"') for commit in commits.values())
    assert f"alice/tiny/tree/{commits['model_revision']}" in card.text
    assert f"alice/chats/tree/{commits['dataset.revision']}" in card.text
    assert f"https://huggingface.co/jobs/{job.id}" in card.text
    assert "US dollars at 0.80 an hour" in card.text
    evaluated = [event for event in job.events() if event.kind == "evaluated"]
    assert [event.data["when"] for event in evaluated] == ["before", "after"]
    before, after = (event.data["metrics"]["eval_loss"] for event in evaluated)
    assert f"eval_loss {before:.4g} -> {after:.4g}" in card.text
    assert client.load("alice/tiny-sft") == spec
    assert client.load("https://huggingface.co/alice/tiny-sft") == spec

    # what was sent is what the plan said, in the header too, and nothing of it is secret
    (sent,) = [json.loads(entry["body"]) for entry in hub_env.requests("/api/jobs/alice$", "POST")]
    assert (sent["flavor"], sent["timeoutSeconds"]) == ("l4x1", 1500)
    labels = {"sdk": "hfjobs-trainer", "method": "sft", "group": "e2e-0-1", "spec": spec.digest[:12]}
    assert sent["labels"].items() >= labels.items()
    assert list(sent["secrets"]) == ["HF_TOKEN"]
    assert "hf_alice_write" not in "\n".join([plan.script, str(plan), repr(job), *lines])
    assert [found.id for found in client.jobs(group="e2e/0.1")] == [job.id]


def gives_up(completions: list[object], **columns: object) -> list[float]:
    raise ValueError(f"no reward for {len(completions)} answers")


def test_a_run_that_fails_tells_its_last_words(client: hft.Client, hub_env: hubsim.Hub) -> None:
    spec = hft.GRPO(
        model="alice/tiny",
        dataset="alice/pairs",
        reward_funcs=gives_up,
        timeout="20m",
        tracking=hft.Tracking(report_to="none"),
        output=hft.Output(hub_model_id="alice/tiny-grpo"),
    )
    plan = client.plan(spec)
    job = client.submit(plan)
    assert isinstance(job, hft.Job)

    watched = job.watch()
    with pytest.raises(hft.JobFailed, match="no reward for 8 answers") as caught:
        job.raise_for_status()

    assert watched.stage == "ERROR"
    assert caught.value.status.message == "Job failed with exit code: 1. Reason: Error"
    assert "hf_alice_write" not in str(caught.value)
    assert hft.Job.from_id(job.id, backend=job.backend).status() == watched.status()
