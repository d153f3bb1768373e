"""vLLM beside training or on GPUs of its own has room for the model and for whole sequences."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.facts import DatasetFacts, Facts, LengthFacts, ModelFacts
from hfjobs_trainer.planning.memory.vllm import WORKING_GIB, VllmNeed, least_share, vllm_need
from hfjobs_trainer.planning.plan import Plan
from hfjobs_trainer.planning.run import Vllm
from hfjobs_trainer.planning.understand import understand
from tests.planning.known_models import LLAMA_70B, QWEN_7B, QWEN_14B

QLORA: dict[str, Any] = {"lora": {}, "quantization": "4bit"}


def spec(method: str = "grpo", **fields: Any) -> Any:
    common = {"model": "me/model", "dataset": "me/prompts", "reward_funcs": "think_format_reward", "timeout": "1h"}
    return hft.METHODS[method](**common | {"use_vllm": True, "namespace": "me"} | fields)


def need_of(asked: Any, model: ModelFacts, gpus: int) -> VllmNeed | None:
    return vllm_need(understand(asked, Facts(model=model)), gpus)


def vllm_of(asked: Any, lengths: LengthFacts | None = None) -> Vllm:
    vllm = understand(asked, Facts(dataset=DatasetFacts(lengths=lengths))).vllm
    assert vllm is not None
    return vllm


def share_of(asked: Any, facts: Facts) -> float | None:
    run = understand(asked, facts)
    assert run.vllm is not None
    return least_share(run, run.vllm, 1, 80.0)


def planned(model: ModelFacts, method: str = "grpo", **fields: Any) -> Plan:
    return hft.plan(spec(method, **fields), facts=Facts(model=model))


def decided(plan: Plan) -> dict[str, Any]:
    return {decision.path: decision.value for decision in plan.decisions}


def test_weights_and_keys_of_a_known_model() -> None:
    """By hand: 7.6 billion weights of 2 bytes; 28 layers of 2 x 4 heads of 128 numbers of 2 bytes a token."""
    need = need_of(spec(), QWEN_7B, 1)
    assert need is not None
    assert need.weights_gib == pytest.approx(2 * 7_615_616_512 / 2**30)
    assert need.token_gib == pytest.approx(28 * 2 * 4 * 128 * 2 / 2**30)
    assert need.tokens_within(need.total_gib(1000)) == pytest.approx(1000, abs=1)
    assert need.total_gib(0) == pytest.approx(need.weights_gib + WORKING_GIB)
    assert need.tokens_within(1.0) == 0


def test_gpus_share_weights_and_whole_heads_of_keys() -> None:
    one, four, eight = (need_of(spec(), QWEN_7B, gpus) for gpus in (1, 4, 8))
    assert one is not None
    assert four is not None
    assert eight is not None
    assert eight.weights_gib == pytest.approx(one.weights_gib / 8)
    # four heads of keys: eight GPUs have a copy of each on two of them
    assert eight.token_gib == four.token_gib == pytest.approx(one.token_gib / 4)


def test_what_is_quantized_for_training_is_so_in_the_same_processes_only() -> None:
    whole, packed = need_of(spec(), QWEN_7B, 1), need_of(spec(**QLORA), QWEN_7B, 1)
    served = need_of(spec(**QLORA, vllm_mode="server"), QWEN_7B, 1)
    assert whole is not None
    assert packed is not None
    assert packed.weights_gib < 0.5 * whole.weights_gib
    assert served == whole


def test_what_nobody_knows_is_not_made_up() -> None:
    assert need_of(spec(), ModelFacts(), 1) is None
    assert share_of(spec(), Facts()) is None
    latent = need_of(spec(), replace(QWEN_7B, model_type="deepseek_v3"), 1)
    assert latent is not None
    assert latent.tokens_within(80.0) is None


@pytest.mark.parametrize(
    ("method", "fields", "tokens"),
    [
        ("grpo", {"max_completion_length": 2048}, 512 + 2048),
        ("grpo", {"vllm_max_model_length": 3000}, 3000),
        ("rloo", {"max_completion_length": 100}, 612),
        ("online_dpo", {"max_length": 700, "max_new_tokens": 300}, 1000),
    ],
)
def test_sequences_that_have_to_fit(method: str, fields: dict[str, Any], tokens: int) -> None:
    assert vllm_of(spec(method, **fields)).tokens == tokens


def test_vllm_holds_the_longest_prompt() -> None:
    prompts = LengthFacts("tokens", 100, 500.0, tuple(100.0 * step for step in range(1, 21)), 250.0)
    asked = spec("grpo", max_completion_length=64)
    assert vllm_of(asked, prompts).tokens == 1000 + 64
    long = LengthFacts("tokens", 100, 100_000.0, (200_000.0,) * 20)
    shares = [share_of(asked, Facts(QWEN_7B, DatasetFacts(lengths=each))) for each in (None, long)]
    # 14.2 GiB of weights, 2 to work in, and 0 or 10.7 of keys and values of 56 KiB a token
    assert shares == [0.25, 0.35]


@pytest.mark.parametrize("method", ["grpo", "rloo", "online_dpo"])
@pytest.mark.parametrize("tuning", [{}, {"lora": {}}, QLORA])
@pytest.mark.parametrize("model", [QWEN_7B, QWEN_14B, LLAMA_70B])
def test_auto_takes_a_machine_on_which_both_have_room(method: str, tuning: dict[str, Any], model: ModelFacts) -> None:
    plan = planned(model, method, **tuning)
    if plan.flavor is None:
        # a full copy of 70 billion weights and its optimizer beside vLLM fits nowhere
        assert (model, tuning) == (LLAMA_70B, {})
        return
    made = decided(plan)
    usable = plan.flavor.usable_gpu_memory_gib
    assert usable is not None
    size, share = made.get("vllm_tensor_parallel_size", 1), made["vllm_gpu_memory_utilization"]
    need = need_of(plan.spec, model, size)
    assert need is not None
    assert need.total_gib(vllm_of(plan.spec).tokens) <= share * usable
    assert plan.estimate is not None
    assert plan.estimate.memory is not None
    assert plan.estimate.memory.gpu_fraction == share
    assert plan.estimate.verdict == "fits"
    assert f"vllm_gpu_memory_utilization={share}," in plan.script


def test_gpus_share_a_copy_where_none_holds_one() -> None:
    """131 GiB of weights beside FSDP's part of as many, on two H200s of 140 GiB."""
    plan = planned(LLAMA_70B, hardware="h200x2", lora={})
    made = decided(plan)
    assert made["vllm_tensor_parallel_size"] == 2
    assert "vllm_tensor_parallel_size=2," in plan.script
    assert made["vllm_gpu_memory_utilization"] * 139.7 > 65.7
    # what the user says is left
    told = planned(LLAMA_70B, hardware="h200x2", lora={}, vllm_tensor_parallel_size=1)
    assert "MEM001" in {problem.code for problem in told.problems}
    # a model that a GPU holds beside training is not cut
    alone = planned(QWEN_7B, hardware="h200x2", lora={})
    assert "vllm_tensor_parallel_size" not in decided(alone)


LONG = replace(QWEN_7B, max_position_embeddings=131_072)


def test_a_context_that_does_not_fit_is_cut_to_what_does() -> None:
    """131,072 tokens of 56 KiB are 7 GiB, which a GPU of 44 GiB does not have beside two copies of the model."""
    plan = planned(LONG, hardware="l40sx1", lora={})
    made = decided(plan)
    length, share = made["vllm_max_model_length"], made["vllm_gpu_memory_utilization"]
    need = need_of(plan.spec, LONG, 1)
    assert need is not None
    room = share * 44.4
    assert need.total_gib(length) <= room < need.total_gib(131_072)
    assert length % 256 == 0
    assert length > vllm_of(plan.spec).tokens
    assert f"vllm_max_model_length={length}," in plan.script


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        (LONG, {"hardware": "h200"}),
        (QWEN_7B, {"hardware": "l40sx1"}),
        (LONG, {"hardware": "l40sx1", "vllm_max_model_length": 4096}),
        (LONG, {"hardware": "l40sx1", "vllm_mode": "server", "vllm_server_host": "gpu7"}),
        (LONG, {"hardware": "l40sx1", "method": "online_dpo"}),
    ],
)
def test_a_context_is_left_where_it_fits_or_is_not_ours(model: ModelFacts, fields: dict[str, Any]) -> None:
    method = fields.pop("method", "grpo")
    assert "vllm_max_model_length" not in decided(planned(model, method, lora={}, **fields))


def test_the_server_is_told_the_same_context() -> None:
    plan = planned(LONG, hardware="a10g-largex4", lora={}, vllm_mode="server")
    length = decided(plan)["vllm_max_model_length"]
    assert f"        max_model_len={length},\n" in plan.script


def test_a_share_that_is_too_small_for_the_weights_is_refused() -> None:
    report = hft.check(
        spec(hardware="a100-large", lora={}, vllm_gpu_memory_utilization=0.1), facts=Facts(model=QWEN_7B)
    )
    (told,) = [problem for problem in report.problems if problem.code == "VLLM007"]
    assert told.path == "vllm_gpu_memory_utilization"
    assert told.why == "14.2 GiB of weights would go on a GPU of a100-large, but vLLM may use only 7.9 GiB of it"
    enough = spec(hardware="a100-large", lora={}, vllm_gpu_memory_utilization=0.3)
    assert "VLLM007" not in {problem.code for problem in hft.check(enough, facts=Facts(model=QWEN_7B)).problems}
