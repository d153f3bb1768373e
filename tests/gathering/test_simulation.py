"""The client's side of a simulation: one real child process, and children that fail."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from hfjobs_trainer.facts import ModelFacts
from hfjobs_trainer.gathering.simulation import MissingLibrariesError, Simulator, simulate
from hfjobs_trainer.planning.memory.workload import Workload

TINY = ModelFacts(
    model_type="llama",
    hidden_size=64,
    intermediate_size=160,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=1000,
    tie_word_embeddings=False,
)
WORK = Workload(TINY, per_device_train_batch_size=1, sequence_length=32)

SCRIPT = """
import json, os, sys
from dataclasses import asdict, replace
import hfjobs_trainer
from hfjobs_trainer.gathering.simulation import simulate
from gathering.test_simulation import WORK
works = [WORK, replace(WORK, simulated_step=None), replace(WORK, dtype="bfloat16"), WORK]
works += [replace(WORK, strategy="zero2", offload_optimizer=True), replace(WORK, strategy="fsdp2")]
found = simulate([(each, 4) for each in works], num_workers=1)
heavy = [name for name in ("torch", "transformers", "trl", "peft", "accelerate") if name in sys.modules]
print(json.dumps({"found": [asdict(peak) for peak in found], "heavy": heavy}))
"""


def interpreter(folder: Path, script: str) -> str:
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{script}\n", "utf-8")
    path.chmod(0o755)
    return str(path)


@pytest.mark.torch
def test_a_child_answers_and_the_client_imports_no_torch() -> None:
    root = Path(__file__).parents[2]
    path = os.pathsep.join([str(root), str(root / "tests")])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    said = json.loads(done.stdout)
    assert said["heavy"] == []
    first, second, third, again, moved, spread = said["found"]
    assert first == again
    assert first["depths"] == [3]
    assert max(first["peaks"].values()) > sum(first["static"].values())
    assert first["reserved"] >= first["needed"] >= max(first["peaks"].values())
    assert third["static"]["weights"] < first["static"]["weights"]
    assert second["unsupported"] == "the training step of this method is not simulated"
    assert second["peaks"] == {}
    assert "host memory" in moved["unsupported"]
    # a quarter of the model
    assert spread["static"]["weights"] < 0.3 * first["static"]["weights"]


@pytest.mark.torch
def test_what_was_answered_is_not_asked_again(tmp_path: Path) -> None:
    """Nor is a second child started for another question while one is idle."""
    counting = interpreter(tmp_path, f'echo >> {tmp_path}/started; exec {sys.executable} "$@"')
    half = replace(WORK, dtype="bfloat16")
    with Simulator(counting) as simulator:
        simulator.start()
        first = simulator.simulate([(WORK, 1)])
        second = simulator.simulate([(half, 1), (WORK, 1)])
    again = simulate([(WORK, 1), (half, 1)], python=counting)
    assert again == [second[1], second[0]] == [first[0], second[0]]
    assert (tmp_path / "started").read_text("utf-8").count("\n") == 1


@pytest.mark.torch
def test_missing_libraries_are_one_error_that_says_what_to_type(tmp_path: Path) -> None:
    bare = interpreter(tmp_path, f'exec {sys.executable} -S "$@"')
    with pytest.raises(MissingLibrariesError, match=r'torch.*pip install "hfjobs-trainer\[local\]"'):
        simulate([(WORK, 1), (replace(WORK, dtype="bfloat16"), 1)], num_workers=2, python=bare)


def test_a_child_that_dies_is_no_answer(tmp_path: Path) -> None:
    found = simulate([(WORK, 1)], python=interpreter(tmp_path, "exit 3"))
    assert found[0].unsupported == "the simulation died or took too long"
    assert found[0].peak_bytes is None


def test_a_child_sees_no_token_and_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HF_TOKEN", "WANDB_API_KEY", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "secret")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    simulate([(WORK, 1)], python=interpreter(tmp_path, f"env > {tmp_path}/seen"))
    seen = (tmp_path / "seen").read_text("utf-8")
    assert "secret" not in seen
    assert {"CUDA_VISIBLE_DEVICES=", "HF_HUB_OFFLINE=1"} <= set(seen.splitlines())


def test_nothing_to_simulate_starts_no_child(tmp_path: Path) -> None:
    never = interpreter(tmp_path, f"touch {tmp_path}/started")
    assert simulate([], python=never) == []
    assert simulate([(replace(WORK, simulated_step=None), 1)], python=never)[0].unsupported is not None
    assert not (tmp_path / "started").exists()
