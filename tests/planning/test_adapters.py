"""What the plan decides and counts of an adapter, against what PEFT makes of it on a model of each family."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.facts import Facts, ModelFacts
from hfjobs_trainer.gathering.config import read_config
from hfjobs_trainer.planning.arguments.precision import settle_precision
from hfjobs_trainer.planning.arguments.tuning import lora_arguments
from hfjobs_trainer.planning.duration.arithmetic import arithmetic_of
from hfjobs_trainer.planning.layout import given_layout
from hfjobs_trainer.planning.memory.closed_form import estimate_memory
from hfjobs_trainer.planning.memory.workload import Workload, workload_of
from hfjobs_trainer.planning.model.adapters import Adapter, Lora, adapter_on, default_targets
from hfjobs_trainer.planning.model.modules import EXPERT_TYPES, MODEL_TYPES, expert_names
from hfjobs_trainer.planning.plan import Plan
from tests.planning.known_models import GPT_OSS, QWEN_MOE

# PEFT asks a model of transformers 5.23 for a name that it has since changed, and mends how gpt2's matrices lie
pytestmark = [
    pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:fan_in_fan_out:UserWarning"),
    # its own patterns for the ranks of experts
    pytest.mark.filterwarnings("ignore:The following (rank|alpha)_pattern keys:RuntimeWarning"),
]

SIZES = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "vocab_size": 64, "pad_token_id": 0}
# Of those that a family has.
OTHERS: dict[str, Any] = {
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 48,
    "ffn_dim": 48,
    "word_embed_proj_dim": 32,
    "num_experts": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 24,
    "shared_expert_intermediate_size": 40,
    "shared_intermediate_size": 40,
    "eos_token_id": 2,
    "bos_token_id": 1,
    "linear_num_key_heads": 2,
    "linear_num_value_heads": 6,
    "linear_key_head_dim": 5,
    "linear_value_head_dim": 7,
}
# Those that the issue tracker of PEFT names, and a few of each kind.
FAMILIES = (
    *("qwen2", "qwen3", "llama", "gemma3_text", "phi3", "smollm3", "olmo3", "granite", "gpt_oss", "qwen3_moe"),
    *("qwen3_5_text", "qwen3_5_moe_text", "qwen3_next", "qwen2_moe", "mixtral", "olmoe", "granitemoe"),
    *("gpt2", "phi", "opt", "bloom", "gpt_neox", "starcoder2", "nemotron", "apertus", "arcee"),
)


def config_of(model_type: str) -> Any:
    import transformers

    plain = transformers.AutoConfig.for_model(model_type)
    others = {name: value for name, value in OTHERS.items() if hasattr(plain, name)}
    return type(plain)(**SIZES, **others)


def facts_of(model_type: str) -> Facts:
    """What is gathered: the numbers of its config.json, and the count of its weights."""
    count = sum(weight.numel() for weight in build(model_type).parameters())
    return Facts(model=replace(read_config(config_of(model_type).to_dict()), num_parameters=count))


def planned(facts: Facts, lora: hft.LoRA, method: str = "sft", **fields: Any) -> Plan:
    spec = {"method": method, "model": "me/model", "dataset": "me/data", "timeout": "1h", "lora": lora, **fields}
    return hft.plan(spec, facts=facts, offline=True)


def adapted(plan: Plan) -> Adapter:
    """What is counted of a plan."""
    assert plan.run is not None
    workload = workload_of(plan.run, settle_precision(plan.run, None), given_layout(plan.run, 1))
    assert workload.adapter is not None
    costs, memory = arithmetic_of(workload), estimate_memory(workload)
    assert costs is not None
    assert memory is not None
    assert costs.trained == workload.adapter.trained
    width = 4 if plan.run.quantization is None else 2
    assert memory.adapter == width * workload.adapter.parameters + 2 * workload.adapter.whole
    return workload.adapter


def build(model_type: str, auto_class: str = "AutoModelForCausalLM") -> Any:
    import torch
    import transformers

    with torch.device("meta"):
        return getattr(transformers, auto_class).from_config(config_of(model_type))


def peft_of(plan: Plan, model: Any) -> Any:
    """The model with the adapter that the script of a plan makes."""
    from peft import LoraConfig, get_peft_model

    assert plan.run is not None
    arguments = lora_arguments(plan.run.lora, plan.run.method.lora_task)
    assert arguments is not None
    return get_peft_model(model, LoraConfig(**arguments))


def trained_by(model: Any) -> tuple[set[str], int]:
    """The modules that have an adapter, and the number of parameters that are trained."""
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    modules = {
        name.removeprefix("base_model.model.").split(".lora_")[0].replace(".base_layer", "")
        for name in trained
        if ".lora_" in name
    }
    return modules, sum(weight.numel() for weight in trained.values())


@pytest.mark.torch
@pytest.mark.parametrize("model_type", FAMILIES)
def test_every_linear_layer_is_adapted_and_counted(model_type: str) -> None:
    plan = planned(facts_of(model_type), hft.LoRA(r=4))
    assert 'target_modules="all-linear"' in plan.script
    made = {decision.path: decision for decision in plan.decisions}["lora.target_modules"]
    assert made.value == "all-linear"
    assert made.why
    modules, count = trained_by(peft_of(plan, build(model_type)))
    counted = adapted(plan)
    assert set(counted.modules) == modules
    assert counted.trained == count


@pytest.mark.torch
@pytest.mark.parametrize("model_type", FAMILIES)
def test_of_some_layers_every_linear_layer_is_adapted_and_counted(model_type: str) -> None:
    plan = planned(facts_of(model_type), hft.LoRA(r=4, layers_to_transform=[1, 3]))
    modules, count = trained_by(peft_of(plan, build(model_type)))
    counted = adapted(plan)
    assert set(counted.modules) == modules
    assert counted.trained == count
    every = trained_by(peft_of(planned(facts_of(model_type), hft.LoRA(r=4)), build(model_type)))[0]
    # nothing is left out but what PEFT would take for experts, which it adapts in all layers
    left = {path for path in every - modules if ".1." in path or ".3." in path}
    assert all("mlp." in path and expert_names(model_type) for path in left)


OPTIONS: list[dict[str, Any]] = [
    {"target_modules": ["q_proj", "v_proj"]},
    {"target_modules": r".*\.(1|2)\..*\.(q_proj|down_proj)"},
    {"exclude_modules": ["q_proj", "down_proj"]},
    {"exclude_modules": r".*\.0\..*"},
    {"rank_pattern": {"q_proj": 8, r"layers\.2\..*o_proj": 2}},
    {"use_dora": True},
    {"modules_to_save": ["embed_tokens", "lm_head"]},
    {"trainable_token_indices": [1, 5, 7]},
    {"layers_to_transform": 2},
    {"layers_to_transform": [0, 1], "layers_pattern": "layers"},
    {"target_modules": ["o_proj", "layers.1.self_attn.q_proj"], "layers_to_transform": [2, 3]},
]


@pytest.mark.torch
@pytest.mark.parametrize("model_type", ["qwen3", "qwen3_5_text"])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_options_are_counted(options: dict[str, Any], model_type: str) -> None:
    plan = planned(facts_of(model_type), hft.LoRA(r=4, **options))
    modules, count = trained_by(peft_of(plan, build(model_type)))
    assert set(adapted(plan).modules) == modules
    assert adapted(plan).trained == count


EXPERTS: list[tuple[str, dict[str, Any]]] = [
    ("qwen3_moe", {"target_modules": ["q_proj", "down_proj"]}),
    ("qwen3_moe", {"target_modules": ["gate_proj", "up_proj"]}),
    ("qwen3_moe", {"target_modules": ["mlp.experts.down_proj", "gate"]}),
    ("qwen3_moe", {"target_modules": r".*\.(q_proj|gate_proj|up_proj)"}),
    ("qwen3_moe", {"target_parameters": ["mlp.experts.gate_up_proj"]}),
    ("mixtral", {"target_modules": ["w1", "w2", "w3"]}),
    ("mixtral", {"target_parameters": ["mlp.experts.down_proj"]}),
    ("gpt_oss", {"target_parameters": ["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]}),
    ("gpt_oss", {"target_modules": "all-linear", "target_parameters": ["layers.3.mlp.experts.down_proj"]}),
    ("granitemoe", {"target_parameters": ["block_sparse_moe.experts.gate_up_proj"]}),
]


@pytest.mark.torch
@pytest.mark.parametrize(("model_type", "options"), EXPERTS, ids=str)
def test_experts_are_counted(model_type: str, options: dict[str, Any]) -> None:
    plan = planned(facts_of(model_type), hft.LoRA(r=4, **options))
    modules, count = trained_by(peft_of(plan, build(model_type)))
    assert set(adapted(plan).modules) == modules
    assert adapted(plan).trained == count


@pytest.mark.torch
@pytest.mark.parametrize(
    "options", [{}, {"target_modules": ["q_proj"]}, {"modules_to_save": ["embed_tokens"]}], ids=str
)
def test_the_head_of_a_classifier_is_trained_and_counted(options: dict[str, Any]) -> None:
    plan = planned(facts_of("llama"), hft.LoRA(r=4, **options), "reward")
    model = build("llama", "AutoModelForSequenceClassification")
    model.score.out_features = 1
    model.score.weight.data = model.score.weight.data[:1]
    model = peft_of(plan, model)
    assert any("score" in name for name, weight in model.named_parameters() if weight.requires_grad)
    modules, count = trained_by(model)
    assert "score" not in modules
    assert adapted(plan).trained == count


@pytest.mark.torch
def test_the_families_whose_experts_peft_adapts_are_those_that_it_converts() -> None:
    from peft.utils import transformers_weight_conversion as conversion
    from transformers.conversion_mapping import get_checkpoint_conversion_mapping

    patterns: Any = conversion._MODEL_TO_CONVERSION_PATTERN  # pyright: ignore[reportPrivateUsage]
    names: Any = conversion._MOE_TARGET_MODULE_MAPPING  # pyright: ignore[reportPrivateUsage]
    theirs = {
        kind: names[base]
        for kind, base in patterns.items()
        if base in names and get_checkpoint_conversion_mapping(kind) is not None
    }
    ours = {kind: dict(expert_names(kind)) for kind in EXPERT_TYPES}
    assert ours == {kind: theirs[kind] for kind in ours}
    # parts of a model, and a name in tests of transformers
    others = {kind for kind in theirs if kind not in ours}
    assert all(kind.endswith(("TextModel", "_text", "_thinker")) or kind == "beam" for kind in others)
    assert not expert_names("qwen2_moe")


@pytest.mark.torch
def test_the_defaults_are_those_of_peft() -> None:
    from peft.utils.constants import TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING as THEIRS

    for kind in (*MODEL_TYPES, *EXPERT_TYPES, *THEIRS):
        known = default_targets(kind)
        if known is not None or kind in MODEL_TYPES:
            # where it converts the experts, it does so before it looks for a default
            assert list(known or ()) == ([] if kind in EXPERT_TYPES else THEIRS.get(kind, []))


def test_what_is_given_is_left_as_it_is() -> None:
    facts = Facts(model=ModelFacts(model_type="smollm3"))
    for lora in (
        hft.LoRA(adapter="me/sft"),
        hft.LoRA(target_modules=["q_proj"]),
        hft.LoRA(target_parameters=["mlp.up_proj.weight"]),
    ):
        plan = planned(facts, lora)
        assert "lora.target_modules" not in {decision.path for decision in plan.decisions}
        assert "all-linear" not in plan.script
    merged = hft.LoRA(adapter="me/sft", merge_first=True)
    plan = planned(facts, merged, output={"merge_adapter": True})
    assert 'target_modules="all-linear"' in plan.script


def test_the_decision_says_why() -> None:
    def why(kind: str | None, **fields: Any) -> str:
        plan = planned(Facts(model=ModelFacts(model_type=kind, **fields)), hft.LoRA())
        return next(decision.why for decision in plan.decisions if decision.path == "lora.target_modules")

    assert why(None) == "every linear layer but the head"
    assert why("smollm3") == "every linear layer but the head; PEFT has no default for smollm3"
    assert why("qwen2") == "every linear layer but the head; by itself, PEFT would adapt q_proj and v_proj alone"
    assert why("qwen3_5", is_vision=True).endswith("the vision tower too")
    assert why("gpt_oss", num_experts=4).endswith("the experts are parameters, not linear layers, and get no adapter")
    assert why("qwen3_moe", num_experts=4).endswith("it adapts the experts and their router as well")


def test_dropout_is_left_out_where_peft_has_none() -> None:
    for kind, script in (("qwen3_moe", "lora_dropout=0.0"), ("gpt_oss", "lora_dropout=0.05")):
        plan = planned(Facts(model=MOE[kind]), hft.LoRA())
        assert script in plan.script
        assert ("lora.lora_dropout" in {decision.path for decision in plan.decisions}) == (kind == "qwen3_moe")
    attention = planned(Facts(model=MOE["qwen3_moe"]), hft.LoRA(target_modules=["q_proj", "v_proj"]))
    assert "lora_dropout=0.05" in attention.script


MOE = {"qwen3_moe": QWEN_MOE, "gpt_oss": GPT_OSS}


def test_adapters_of_experts_are_trained_and_pass_no_token() -> None:
    every = adapter_on(MOE["qwen3_moe"], Lora(targets="all-linear"))
    attention = adapter_on(MOE["qwen3_moe"], Lora(targets=("q_proj", "k_proj", "v_proj", "o_proj")))
    assert every is not None
    assert attention is not None
    router = 48 * 16 * (2048 + 128)
    assert every.parameters - attention.parameters - router == 48 * 128 * 16 * (3 * 2048 + 5 * 768)
    assert every.per_token == attention.parameters + router
    costs = {}
    for name, targets in (("every", "all-linear"), ("attention", ["q_proj", "k_proj", "v_proj", "o_proj"])):
        costs[name] = arithmetic_of(Workload(MOE["qwen3_moe"], tuning="lora", dtype="bfloat16", lora_targets=targets))
    assert costs["every"].training(1024, recomputes=True) < 1.01 * costs["attention"].training(1024, recomputes=True)
    assert costs["every"].optimizer_bytes > 50 * costs["attention"].optimizer_bytes
    assert costs["every"].cast_bytes > costs["attention"].cast_bytes
