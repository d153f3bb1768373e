"""A simulated rank of FSDP2: against two real processes, against exact sums, and against itself at another depth."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from simulating.tiny import LAYER, MODEL, PARAMETERS, request

pytestmark = pytest.mark.torch

RANK = Path(__file__).with_name("fsdp2_rank.py")
FSDP2 = {"strategy": "fsdp2", "ranks": 2}
HALF = {"dtype": "bfloat16", "mixed_precision": "bf16"}


def measured(layers: int = 2, **fields: Any) -> Any:
    from hfjobs_trainer.simulating.measure import measure

    return measure(request(**FSDP2 | fields), layers)


def really_trained(fields: dict[str, Any], layers: int, folder: Path) -> dict[str, float]:
    """The peaks of two processes, which meet through a file."""
    tests = Path(__file__).parents[1]
    common = {
        "PYTHONPATH": os.pathsep.join([str(tests.parent), str(tests)]),
        "OMP_NUM_THREADS": "1",
        "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "HF_HUB_OFFLINE": "1",
    }
    started: list[subprocess.Popen[str]] = []
    for rank in ("0", "1"):
        with (folder / f"{rank}.txt").open("w", encoding="utf-8") as errors:
            started.append(
                subprocess.Popen(
                    [sys.executable, str(RANK), json.dumps(fields), str(layers)],
                    env=os.environ | common | {"RANK": rank},
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                )
            )
    said = [process.communicate()[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], (folder / "0.txt").read_text("utf-8")[-3000:]
    first, second = (json.loads(each) for each in said)
    # gloo lets go of its tensors when its threads are done, which may be later: the sooner of two is what is needed
    return {name: min(first[name], second[name]) for name in first}


def free_port() -> int:
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.mark.parametrize("precision", [{"dtype": "float32"}, {**HALF, "gradient_checkpointing": False}, HALF])
def test_two_real_processes_hold_as_much(precision: dict[str, Any], tmp_path: Path) -> None:
    """Attention is computed as written, so that CPU and CUDA go the same way."""
    asked = {**precision, "attention": "eager", "logits": "now", "optim": "adamw_torch"}
    real = really_trained(asked, 4, tmp_path)
    simulated = measured(4, **asked).peaks
    for name in ("forward", "backward", "step"):
        most = max(size for moment, size in simulated.items() if moment.startswith(name))
        assert most == pytest.approx(real[name], rel=0.05), name
        assert most <= 1.002 * real[name], name


def test_each_rank_holds_its_part_in_float32() -> None:
    two, four = measured(6, **HALF).static, measured(6, **HALF, ranks=4).static
    assert two["weights"] == pytest.approx(4 * PARAMETERS / 2, rel=0.02)
    assert two["optimizer_states"] == pytest.approx(8 * PARAMETERS / 2, rel=0.05)
    assert four["weights"] == pytest.approx(two["weights"] / 2, rel=0.04)


def test_frozen_weights_stay_in_half_precision_and_packed_ones_whole() -> None:
    lora = {**HALF, "tuning": "lora", "lora_targets": "all-linear"}
    sharded, packed = measured(2, **lora).static, measured(2, **lora, quantization="4bit")
    assert sharded["weights"] == pytest.approx(2 * (2 * 64_000 + 64 + 2 * LAYER) / 2, rel=0.05)
    from hfjobs_trainer.simulating.measure import measure

    alone = measure(request(**lora, quantization="4bit"), 2).static
    packed_bytes = alone["weights"] - 2 * 2 * 64_000
    # two embeddings are sharded, the matrices of the layers are not; the adapter beside them stays as it is
    assert packed.static["weights"] == pytest.approx(packed_bytes + 2 * 64_000, rel=0.05)
    assert packed.static["adapter"] == pytest.approx(alone["adapter"] / 2, rel=0.1)


@pytest.mark.parametrize(
    "fields",
    [
        {**HALF, "tuning": "lora", "lora_targets": "all-linear", "lora_dropout": 0.1},
        {**HALF, "gradient_accumulation_steps": 4, "optim": "adamw_torch"},
        {**HALF, "gradient_checkpointing": False, "padded": True, "reshards": False},
        {**HALF, "step": "preference", "reference_model": True},
    ],
)
def test_two_depths_tell_the_third(fields: dict[str, Any]) -> None:
    from hfjobs_trainer.simulating.measure import extrapolate

    guessed, full = extrapolate(measured(2, **fields), measured(4, **fields), 7), measured(7, **fields)
    assert guessed.peaks == pytest.approx(full.peaks, rel=0.01)
    assert guessed.static == pytest.approx(full.static, rel=0.001)
    assert guessed.gradients == pytest.approx(full.gradients, rel=0.01)


def test_weights_that_stay_gathered_are_held() -> None:
    short = {**HALF, "model": {"vocab_size": 64}, "sequence_length": 8}
    freed, kept = measured(6, **short), measured(6, **short, reshards=False)
    # all layers instead of the one that computes and the one before it
    more = max(kept.peaks.values()) - max(freed.peaks.values())
    assert more > 2 * 2 * LAYER


def test_gradients_wait_whole_unless_each_batch_is_reduced() -> None:
    waiting = measured(4, **HALF, gradient_accumulation_steps=2)
    synced = measured(4, **HALF, gradient_accumulation_steps=2, sync_each_batch=True)
    assert waiting.gradients["forward"] == pytest.approx(2 * (PARAMETERS - 2 * LAYER), rel=0.03)
    assert synced.gradients["forward"] == pytest.approx(4 * (PARAMETERS - 2 * LAYER) / 2, rel=0.03)


def test_the_reference_is_gathered_as_a_whole() -> None:
    few = {**HALF, "model": {"vocab_size": 64}, "sequence_length": 8, "step": "preference"}
    six, two = (measured(layers, **few, reference_model=True).peaks for layers in (6, 2))
    shards = 4 * LAYER * (4 + 8 + 2) / 2
    grown = six["reference"] - two["reference"]
    # what each layer adds beside its shards: its gathered copy of two bytes a weight
    assert grown - shards > 0.9 * 2 * 4 * LAYER


def test_a_storage_that_is_emptied_in_place_is_no_longer_counted() -> None:
    import torch

    from hfjobs_trainer.simulating.tape import Tape

    tape = Tape()
    with tape:
        tape.mark("all")
        held = torch.empty(1024, dtype=torch.uint8)
        held.untyped_storage().resize_(0)
        tape.resize(held)
        torch.empty(512, dtype=torch.uint8)
        held.untyped_storage().resize_(2048)
        tape.resize(held)
        tape.resize(held)
    del held
    assert [size for _, size in tape.events] == [1024, -1024, 512, -512, 2048, -2048]
    assert tape.peaks()["all"][0] == 2048


def test_fused_kernels_save_their_inputs_alone() -> None:
    from hfjobs_trainer.simulating.measure import measure

    wide = {"tuning": "lora", "gradient_checkpointing": False, "dtype": "bfloat16", "model": {"vocab_size": 64}}
    plain, norms, both = (
        measure(request(**wide, fused_kernels=which), 4).peaks["forward, last layer"]
        for which in ("none", "norms", "all")
    )
    tokens, before = 2 * 48, 3
    # a float32 copy of the input of each norm instead of the input, which the residual stream does not keep
    assert plain - norms > 0.5 * before * 2 * tokens * 64 * 2
    # the activation, which only its product needs
    assert norms - both == pytest.approx(before * tokens * MODEL["intermediate_size"] * 2, rel=0.4)


def test_a_fused_loss_holds_no_logits() -> None:
    from hfjobs_trainer.simulating.measure import measure

    wide = {"dtype": "bfloat16", "tuning": "lora", "model": {"vocab_size": 20000}, "sequence_length": 256}
    full, fused = (measure(request(**wide, logits=logits), 2) for logits in ("now", "liger"))
    assert max(full.peaks.values()) - max(fused.peaks.values()) > 8 * 2 * 256 * 20000


def test_inputs_that_are_kept_stay_until_the_backward_pass_ends() -> None:
    from hfjobs_trainer.simulating.measure import measure

    long = {"tuning": "lora", "dtype": "bfloat16", "logits": "liger", "sequence_length": 512}
    freed, kept = (measure(request(**long, keeps_inputs=keeps), 6).peaks for keeps in (False, True))
    more = kept["backward, first layer"] - freed["backward, first layer"]
    # of the five layers behind the first, their inputs and gradients
    assert more == pytest.approx(5 * 2 * 2 * 512 * 64 * 2, rel=0.2)
