"""A run that loses its machine, and goes on by itself to its end: the unmodified client, real training."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import hubsim
import pytest

import hfjobs_trainer as hft

pytestmark = pytest.mark.torch


def test_a_run_that_lost_its_machine_goes_on_by_itself_and_leaves_nothing_behind(
    hub_env: hubsim.Hub, tiny_model: Path, tiny_data: Callable[[str], Path]
) -> None:
    hub = hub_env
    shutil.copytree(tiny_model, hub.root / "models/alice/tiny")
    folder = hub.root / "datasets/alice/chats"
    folder.mkdir(parents=True)
    shutil.copy(tiny_data("messages"), folder / "train.jsonl")
    spec = hft.SFT(
        model="alice/tiny",
        dataset="alice/chats",
        max_steps=6,
        save_steps=2,
        logging_steps=1,
        timeout="1h",
        env={"HFT_FLUSH_SECONDS": "0"},
        hardware=hft.Hardware(prefer="cheapest"),
        tracking=hft.Tracking(report_to="none"),
        output=hft.Output(hub_model_id="alice/tiny-sft"),
    )
    client = hft.Client(token="hf_alice_write", endpoint=hub.endpoint)
    job = client.submit(spec, max_resumes=1)
    run = hub.jobs[job.id.split("/")[1]]
    bucket = hub.bucket_dir("alice/hft-checkpoints") / run.spec["environment"]["HFT_RUN_ID"]
    kept = next(event for event in job.events(follow=True) if event.kind == "kept")
    assert run.process is not None
    run.plan["message"] = "The machine was lost"  # of a kill from outside, the stand-in thinks that memory was short
    os.killpg(run.process.pid, signal.SIGKILL)
    assert (kept.step, (bucket / "checkpoint-2" / "hft_manifest.json").is_file()) == (2, True)

    result = job.result(timeout=120)
    assert job.resumes == (f"alice/{run.id}",)
    events = [*job.events()]
    resumed = next(event for event in events if event.kind == "resumed")
    steps = [event.step for event in events if event.kind == "log" and "loss" in event.metrics]
    assert resumed.step in (2, 4)
    assert steps == list(range((resumed.step or 0) + 1, 7))
    assert (result.model, result.steps) == ("alice/tiny-sft", 6)
    assert (hub.root / "models/alice/tiny-sft/model.safetensors").is_file()
    assert not bucket.exists()
