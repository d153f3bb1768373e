"""What the closed form says one token leaves in a layer, against the tensors that autograd really saves on the CPU."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest

from hfjobs_trainer.facts import ModelFacts
from hfjobs_trainer.planning.memory.closed_form import Workload
from hfjobs_trainer.planning.memory.layer import saved_bytes
from hfjobs_trainer.planning.model.shape import count_parameters, shape_of

if TYPE_CHECKING:
    import torch
    from peft import LoraConfig

pytestmark = pytest.mark.torch

SIZES: dict[str, int] = {
    "hidden_size": 256,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 640,
    "vocab_size": 512,
    "head_dim": 64,
}
TOKENS = 200  # no dimension of any weight, so that a saved weight is told from a saved activation
QWEN_EXPERTS = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 128}
MIXTRAL_EXPERTS = {"num_local_experts": 4, "num_experts_per_tok": 2}


def build(model_type: str, layers: int, dtype: torch.dtype, more: dict[str, int]) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(
        model_type, **SIZES, **more, num_hidden_layers=layers, pad_token_id=0, bos_token_id=1, eos_token_id=2
    )
    attention = "eager" if model_type == "gemma2" else "sdpa"
    return AutoModelForCausalLM.from_config(config, attn_implementation=attention, dtype=dtype)


def saved_of(model: Any, *, autocast: bool) -> int:
    """Bytes of all tensors that the decoder's forward pass saves, weights and their copies aside."""
    import torch

    shapes = {tuple(item.shape) for item in model.parameters()}
    shapes |= {shape[::-1] for shape in shapes}
    weights = {item.untyped_storage().data_ptr() for item in [*model.parameters(), *model.buffers()]}
    kept: dict[int, torch.Tensor] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        place = tensor.untyped_storage().data_ptr()
        if place not in weights:
            kept[place] = tensor
        return tensor

    decoder = model.base_model.model.model if hasattr(model, "peft_config") else model.model
    ids = torch.randint(0, SIZES["vocab_size"], (1, TOKENS))
    hooks = torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor)
    with hooks, torch.autocast("cpu", dtype=torch.bfloat16, enabled=autocast):
        decoder(input_ids=ids, use_cache=False)
    return sum(item.untyped_storage().nbytes() for item in kept.values() if tuple(item.shape) not in shapes)


def measure(model_type: str, *, dtype: torch.dtype, autocast: bool, lora: LoraConfig | None, more: Any) -> float:
    """Bytes that one token leaves in one layer: the difference of two depths."""
    from peft import get_peft_model

    found: list[int] = []
    for layers in (2, 4):
        model = build(model_type, layers, dtype, more)
        if lora is not None:
            # PEFT writes the names that it found into the configuration
            model = get_peft_model(model, copy.deepcopy(lora))
            model.enable_input_require_grads()
        model.train()
        found.append(saved_of(model, autocast=autocast))
    return (found[1] - found[0]) / 2 / TOKENS


def facts_of(model_type: str, more: dict[str, int]) -> ModelFacts:
    from transformers import AutoConfig

    experts = dict(more)
    if "num_local_experts" in experts:
        experts["num_experts"] = experts.pop("num_local_experts")
        experts["moe_intermediate_size"] = SIZES["intermediate_size"]
    tied = bool(AutoConfig.for_model(model_type).tie_word_embeddings)
    return ModelFacts(model_type=model_type, num_hidden_layers=4, tie_word_embeddings=tied, **SIZES, **experts)


def predict(facts: ModelFacts, *, dtype: str, autocast: bool, lora: LoraConfig | None) -> float:
    workload = Workload(
        facts,
        tuning="lora" if lora else "full",
        lora_r=lora.r if lora else 16,
        lora_targets=lora.target_modules if lora else None,  # type: ignore[arg-type]
        lora_dora=bool(lora and lora.use_dora),
        dtype=dtype,  # type: ignore[arg-type]
        mixed_precision="bf16" if autocast else None,
        sequence_length=TOKENS,
        per_device_train_batch_size=1,
    )
    shape = shape_of(facts)
    assert shape is not None
    width = 4 if dtype == "float32" else 2
    adapted = workload.adapter.linears if workload.adapter else {}
    return saved_bytes(workload, shape, adapted, compute=2 if autocast else width, residual=width, adapter=4)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize(
    ("model_type", "more", "tolerance"),
    [
        ("llama", {}, 0.005),
        ("qwen2", {}, 0.005),
        ("qwen3", {}, 0.005),
        ("mistral", {}, 0.005),
        ("smollm3", {}, 0.005),
        ("starcoder2", {}, 0.005),
        ("olmo2", {}, 0.005),
        ("gemma3_text", {}, 0.005),
        ("gemma2", {}, 0.03),
        ("phi3", {}, 0.05),
        ("phi", {}, 0.05),
        ("qwen3_moe", QWEN_EXPERTS, 0.03),
        ("mixtral", MIXTRAL_EXPERTS, 0.02),
    ],
)
def test_full_training_saves_what_is_predicted(
    model_type: str, more: dict[str, int], tolerance: float, dtype: str
) -> None:
    import torch

    real = measure(model_type, dtype=getattr(torch, dtype), autocast=True, lora=None, more=more)
    guess = predict(facts_of(model_type, more), dtype=dtype, autocast=True, lora=None)
    assert guess == pytest.approx(real, rel=tolerance)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize(
    ("model_type", "targets", "fields", "autocast"),
    [
        ("llama", "all-linear", {}, True),
        ("llama", "all-linear", {}, False),
        ("llama", ["q_proj", "v_proj"], {}, True),
        ("llama", ["q_proj", "v_proj"], {"use_dora": True}, True),
        ("qwen3", "all-linear", {}, True),
        ("gemma3_text", "all-linear", {}, True),
        ("phi3", "all-linear", {}, True),
    ],
)
def test_lora_saves_what_is_predicted(model_type: str, targets: Any, fields: dict[str, Any], autocast: bool) -> None:
    import torch
    from peft import LoraConfig

    lora = LoraConfig(r=8, target_modules=targets, task_type="CAUSAL_LM", **fields)
    real = measure(model_type, dtype=torch.bfloat16, autocast=autocast, lora=lora, more={})
    guess = predict(facts_of(model_type, {}), dtype="bfloat16", autocast=autocast, lora=lora)
    assert guess == pytest.approx(real, rel=0.005)


@pytest.mark.parametrize(
    ("model_type", "more"),
    [
        ("llama", {}),
        ("qwen2", {}),
        ("qwen3", {}),
        ("gemma2", {}),
        ("gemma3_text", {}),
        ("olmo2", {}),
        ("phi3", {}),
        ("qwen3_moe", QWEN_EXPERTS),
        ("mixtral", MIXTRAL_EXPERTS),
    ],
)
def test_parameters_are_counted_as_the_model_has_them(model_type: str, more: dict[str, int]) -> None:
    import torch

    real = sum(item.numel() for item in build(model_type, 4, torch.bfloat16, more).parameters())
    assert count_parameters(facts_of(model_type, more)) == real
