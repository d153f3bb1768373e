"""A run that is killed goes on as if nothing had happened: on one machine, and on several that share a mount."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.methods import Inputs, Warm

pytestmark = pytest.mark.torch

SCRIPT = Path(__file__).with_name("resumed_run.py")
# What tells of time, or of one process's share of the run.
NOT_COMPARED = {"train_runtime", "train_samples_per_second", "train_steps_per_second", "train_loss"}

Events = list[dict[str, Any]]


class Runs:
    """Runs of one script with one mount."""

    def __init__(self, warm: Warm, inputs: Inputs, folder: Path) -> None:
        self.warm, self.folder, self.mount = warm, folder, folder / "mount"
        self.mount.mkdir()
        self.env = {"MODEL": str(inputs.model), "HFT_CHECKPOINTS": str(self.mount), "HFT_FLUSH_SECONDS": "0"}

    def start(self, run: str, status: int = 0, processes: int = 1, **env: str) -> Events:
        """The events of a run, in its own folder."""
        folder = self.folder / run
        folder.mkdir(exist_ok=True)
        script = Path(shutil.copy(SCRIPT, folder))
        ended = self.warm.start(script, processes=processes, **self.env, HFT_RUN_ID=run, **env)
        assert ended == status, (folder / "err-0.txt").read_text()[-3000:]
        lines = (folder / "out-0.txt").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith('{"event"')]


@pytest.fixture
def runs(warm: Warm, inputs: Inputs, tmp_path: Path) -> Runs:
    return Runs(warm, inputs, tmp_path)


def named(events: Events, name: str) -> Events:
    return [event for event in events if event["event"] == f"hft.{name}"]


def logged(events: Events) -> dict[int, dict[str, Any]]:
    """Metrics by step."""
    logs = [(event["step"], event["metrics"]) for event in named(events, "log") if "loss" in event["metrics"]]
    return {step: {k: v for k, v in metrics.items() if k not in NOT_COMPARED} for step, metrics in logs}


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_a_killed_run_goes_on_to_the_same_weights(method: str, runs: Runs) -> None:
    straight = runs.start("straight", METHOD=method)
    assert not named(straight, "resumed")
    assert sorted(logged(straight)) == [1, 2, 3, 4, 5, 6]
    killed = runs.start("broken", -signal.SIGKILL, METHOD=method, KILL="1")
    assert [event["step"] for event in named(killed, "kept")] == [2, 4]

    shutil.rmtree(runs.folder / "broken")  # another machine: only the mount is left
    resumed = runs.start("broken", METHOD=method)
    (event,) = named(resumed, "resumed")
    assert (event["step"], event["path"], event["skipped"]) == (4, "out/checkpoint-4", [])
    assert {**logged(killed), **logged(resumed)} == logged(straight)
    assert named(resumed, "weights")[0]["digest"] == named(straight, "weights")[0]["digest"]

    # killed when all but the push was done: nothing is trained on
    again = runs.start("broken", METHOD=method)
    assert named(again, "resumed")[0]["step"] == 6
    assert not logged(again)
    assert named(again, "weights")[0]["digest"] == named(straight, "weights")[0]["digest"]
    assert named(again, "end")[0]["step"] == 6


def test_machines_agree_on_what_is_whole_on_each(runs: Runs) -> None:
    killed = runs.start("nodes", -signal.SIGKILL, 2, KILL="1", METHOD="sft", PLAYS_NODES="1")
    kept = runs.mount / "nodes"
    assert sorted(path.name for path in (kept / "checkpoint-4").glob("hft_manifest*")) == [
        "hft_manifest-0.json",
        "hft_manifest-1.json",
    ]
    assert (kept / "checkpoint-4/rng_state_1.pth").is_file()
    os.truncate(kept / "checkpoint-4/rng_state_1.pth", 9)  # a mount that lost its last writes
    shutil.rmtree(runs.folder / "nodes/node-0")  # a machine that was replaced

    resumed = runs.start("nodes", 0, 2, METHOD="sft", PLAYS_NODES="1")
    (event,) = named(resumed, "resumed")
    assert event["step"] == 2
    assert event["skipped"] == ["checkpoint-4: damaged, rng_state_1.pth"]
    steps = logged(killed)
    assert {step: metrics for step, metrics in logged(resumed).items() if step < 5} == {3: steps[3], 4: steps[4]}
    for node in range(2):
        assert (runs.folder / f"nodes/node-{node}/out/checkpoint-2/rng_state_{1 - node}.pth").is_file()

    # on one process, half of each step would be missing
    alone = runs.start("nodes", 1, METHOD="sft")
    assert not named(alone, "resumed")
    assert "HFT_NUM_PROCESSES=2" in (runs.folder / "nodes/err-0.txt").read_text()
