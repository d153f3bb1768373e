"""What a simulation's record makes of an estimate."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from planning.known_models import QWEN_05B

from hfjobs_trainer.facts import SimulatedPeak, SimulationFacts
from hfjobs_trainer.planning.memory.closed_form import estimate_memory, holding_of
from hfjobs_trainer.planning.memory.estimate import GIB
from hfjobs_trainer.planning.memory.simulated import question_of, simulated, why_not
from hfjobs_trainer.planning.memory.workload import Workload
from hfjobs_trainer.specs.registry import METHODS

WORK = Workload(QWEN_05B)
RECORD = SimulatedPeak(
    question_of(WORK),
    static={"weights": 2.0 * GIB, "adapter": 0.0, "optimizer_states": 4.0 * GIB, "reference_model": 0.0},
    peaks={"forward, head": 7.0 * GIB, "backward, first layer": 9.0 * GIB, "step": 8.0 * GIB},
    gradients={"forward, head": 0.0, "backward, first layer": 2.0 * GIB, "step": 2.0 * GIB},
    needed=9.25 * GIB,
    reserved=10.0 * GIB,
    depths=(2, 4),
    parameters=494_032_768,
)
FACTS = SimulationFacts((RECORD,))


def test_the_peak_is_the_simulations() -> None:
    found, closed = simulated(WORK, FACTS), estimate_memory(WORK)
    assert found is not None
    assert closed is not None
    assert found.allocated_gib == pytest.approx(9.0)
    assert found.reserved_gib == pytest.approx(10.0)
    assert found.overhead == closed.overhead
    assert (found.weights, found.gradients, found.activations) == (2.0 * GIB, 2.0 * GIB, 1.0 * GIB)
    assert found.moment == "backward, first layer (simulated)"
    assert found.basis == "simulation"
    assert found.margin_gib == pytest.approx(0.2 * found.total_gib + 0.5)


def test_several_gpus_hold_the_gradients_once_more() -> None:
    one, two = simulated(WORK, FACTS), simulated(WORK, FACTS, num_gpus=2)
    assert one is not None
    assert two is not None
    assert two.allocated_gib - one.allocated_gib == pytest.approx(2.0)


def test_only_exactly_this_run_is_meant() -> None:
    assert simulated(replace(WORK, sequence_length=1025), FACTS) is None
    assert simulated(WORK, None) is None
    # on one of several GPUs lies a part of the model alone
    spread = replace(WORK, strategy="fsdp2")
    assert simulated(spread, FACTS, num_gpus=2) is None
    assert len({question_of(spread, gpus) for gpus in (2, 4, 8)}) == 3
    # with one, nothing is sharded
    assert question_of(spread, 1) == question_of(WORK)
    assert simulated(WORK, SimulationFacts((SimulatedPeak(question_of(WORK), unsupported="no"),))) is None
    # how many gradients are summed changes nothing once there are two
    four, eight = (replace(WORK, gradient_accumulation_steps=steps) for steps in (4, 8))
    assert question_of(four) == question_of(eight)


def test_generation_stays_the_closed_forms() -> None:
    work = Workload.of(METHODS["grpo"].TRAINING, model=QWEN_05B, generation_batch_size=512, sequence_length=4096)
    record = replace(RECORD, question=question_of(work))
    found = simulated(work, SimulationFacts((record,)))
    assert found is not None
    assert found.moment == "generation"


def test_a_question_is_plain_numbers() -> None:
    asked = json.loads(question_of(Workload(QWEN_05B, tuning="lora", lora_targets=("q_proj",))))
    assert asked["model"]["hidden_size"] == 896
    assert asked["lora_targets"] == ["q_proj"]
    assert asked["padded"] is True
    assert json.loads(question_of(Workload(QWEN_05B, attention="flash_attention_2")))["padded"] is False
    assert json.loads(question_of(Workload(QWEN_05B, attention="flash_attention_2")))["attention"] == "flash"


def test_a_rank_of_fsdp2_is_asked_for_as_such() -> None:
    asked = json.loads(question_of(replace(WORK, strategy="fsdp2", reshards=False), 4))
    assert (asked["strategy"], asked["ranks"], asked["reshards"]) == ("fsdp2", 4, False)
    # with one batch in a step there is nothing that could wait
    assert asked["sync_each_batch"] is True
    assert json.loads(question_of(replace(WORK, liger_kernel=True)))["fused_kernels"] == "all"


@pytest.mark.parametrize("strategy", ["fsdp1", "zero1", "zero2", "zero3"])
def test_other_strategies_are_counted_on_one_step_of_half_precision(strategy: str) -> None:
    work = replace(WORK, strategy=strategy, optim="adamw_torch")
    asked = question_of(work, 4)
    assert asked == question_of(work, 8)
    said = json.loads(asked)
    assert (said["dtype"], said["optim"]) == ("bfloat16", "none")
    # DeepSpeed computes without autocast
    assert said["mixed_precision"] == ("bf16" if strategy == "fsdp1" else None)


@pytest.mark.parametrize("strategy", ["fsdp1", "zero1", "zero2", "zero3"])
def test_what_is_held_is_the_closed_forms_and_what_passes_the_simulations(strategy: str) -> None:
    work = replace(WORK, strategy=strategy)
    record = replace(RECORD, question=question_of(work, 4))
    found, held = simulated(work, SimulationFacts((record,)), num_gpus=4), holding_of(work, 4)
    assert found is not None
    assert held is not None
    assert (found.weights, found.optimizer_states) == (held.weights, held.optimizer_states)
    at = {
        "forward, head": 1.0 * GIB + (held.gathered if strategy in ("fsdp1", "zero3") else 0.0),
        "backward, first layer": 1.0 * GIB + held.gradients + held.gathered + held.reducing,
        "step": held.gradients + held.stepping,
    }
    throughout = held.weights + held.optimizer_states
    assert found.allocated_gib * GIB == pytest.approx(throughout + max(at.values()), rel=1e-6)
    assert found.fragmentation >= record.needed - 9.0 * GIB
    # the gradients are sharded, not copied once more
    assert found.buffers <= held.stepping + 1.0


@pytest.mark.parametrize(
    ("work", "reason"),
    [
        (replace(WORK, simulated_step=None), "training step"),
        (replace(WORK, offload_weights=True, strategy="zero3"), "host"),
        (replace(WORK, quantization="8bit"), "8-bit"),
        (replace(WORK, activation_offloading=True), "host"),
        (replace(WORK, model=replace(QWEN_05B, is_vision=True)), "images"),
        (replace(WORK, model=replace(QWEN_05B, hidden_size=None)), "unknown"),
    ],
)
def test_what_is_not_simulated_says_why(work: Workload, reason: str) -> None:
    assert reason in (why_not(work) or "")
    assert why_not(WORK) is None
