"""What the closed form says that a GPU holds under each strategy, against what accelerate's own ``prepare`` makes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hfjobs_trainer.facts import ModelFacts
from hfjobs_trainer.planning.memory.closed_form import Workload, estimate_memory
from hfjobs_trainer.planning.memory.estimate import MemoryEstimate
from hfjobs_trainer.planning.memory.layer import saved_bytes
from hfjobs_trainer.planning.model.shape import shape_of
from tests.planning.sharded_step import CASES, LORA_R, RANKS, SIZES, TOKENS

pytestmark = pytest.mark.torch

WORKER = Path(__file__).with_name("sharded_step.py")
MODEL = ModelFacts(
    model_type="llama", num_hidden_layers=2, tie_word_embeddings=False, head_dim=SIZES["hidden_size"] // 4, **SIZES
)


@pytest.fixture(scope="module")
def observed() -> dict[tuple[str, str, str], dict[str, Any]]:
    """Each case of ``CASES``, run in two processes."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, str(WORKER)], capture_output=True, text=True, env=environment)
    assert not done.returncode, done.stderr[-4000:]
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {(each["strategy"], each["tuning"], each["dtype"]): each for each in found}


def workload_of(strategy: str, tuning: str, dtype: str, **changes: Any) -> Workload:
    fields: dict[str, Any] = {
        "model": MODEL,
        "strategy": strategy,
        "tuning": tuning,
        "dtype": dtype,
        "lora_r": LORA_R,
        "lora_targets": "all-linear",
        "optim": "adamw_torch",
        "per_device_train_batch_size": 1,
        # so few tokens that the peak is where all gradients are there
        "sequence_length": 1,
    }
    return Workload(**fields | changes)


def estimate_of(case: tuple[str, str, str], num_gpus: int = RANKS, **changes: Any) -> MemoryEstimate:
    found = estimate_memory(workload_of(*case, **changes), num_gpus)
    assert found is not None
    return found


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_shards_are_of_the_size_that_is_estimated(case: tuple[str, str, str], observed: Any) -> None:
    real, guess = observed[case], estimate_of(case)
    assert guess.weights + guess.adapter == pytest.approx(real["weights"], rel=0.005)
    assert guess.optimizer_states == pytest.approx(real["states"], rel=0.005)
    if case[1] == "full":
        assert guess.moment in ("the end of the backward pass", "the optimizer's step")
        assert guess.gradients == pytest.approx(real["gradients"], rel=0.005)


@pytest.mark.parametrize("case", CASES, ids="-".join)
def test_a_layer_saves_what_is_estimated(case: tuple[str, str, str], observed: Any) -> None:
    strategy, _, _ = case
    shape = shape_of(MODEL)
    assert shape is not None
    workload = workload_of(*case, sequence_length=TOKENS, gradient_checkpointing=False)
    adapted = workload.adapter.linears if workload.adapter else {}
    # the dtype in which a layer's forward pass sees its adapters
    adapter = 2 if strategy == "fsdp2" else 4
    guess = saved_bytes(workload, shape, adapted, compute=2, residual=2, adapter=adapter)
    assert guess == pytest.approx(observed[case]["saved_per_token"], rel=0.005)


def test_trained_shards_are_float32_and_the_residual_stream_is_not(observed: Any) -> None:
    for (strategy, tuning, dtype), real in observed.items():
        held = ["torch.bfloat16" if (strategy, tuning, dtype) == ("ddp", "full", "bfloat16") else "torch.float32"]
        assert real["trained_dtype"] == real["gradient_dtype"] == real["state_dtype"] == held
        assert real["residual_dtype"] == ["torch.bfloat16"]
        # accelerate turns the outputs into float32, but for FSDP2, whose units say in which dtype they leave
        assert real["logits_dtype"] == ("torch.bfloat16" if strategy == "fsdp2" else "torch.float32")


def test_fsdp_upcasts_under_mixed_precision_alone() -> None:
    half = estimate_of(("fsdp2", "full", "bfloat16"))
    assert half.weights == estimate_of(("fsdp2", "full", "float32")).weights
    pure = estimate_of(("fsdp2", "full", "bfloat16"), mixed_precision=None)
    assert pure.weights == half.weights / 2


def test_fsdp2_leaves_a_model_with_four_bit_weights_as_it_is() -> None:
    adapters = {
        (strategy, bits): estimate_of((strategy, "lora", "bfloat16"), quantization=bits).adapter
        for strategy in ("fsdp1", "fsdp2")
        for bits in ("4bit", "8bit")
    }
    assert adapters["fsdp2", "4bit"] * 2 == adapters["fsdp2", "8bit"] == adapters["fsdp1", "4bit"]


def test_a_frozen_reference_is_not_upcast() -> None:
    found = estimate_of(("fsdp2", "full", "bfloat16"), reference_model=True)
    assert found.reference_model == found.weights / 2
