"""Names of modules: against the models that transformers builds, and against what PEFT finds in them."""

from __future__ import annotations

from typing import Any

import pytest

from hfjobs_trainer.facts import ModelFacts
from hfjobs_trainer.planning.model.modules import MODEL_TYPES, linear_names, unmatched, weight_modules

LAYERS = 4  # one of four in hybrid models has attention
SMALL = {"hidden_size": 32, "num_hidden_layers": LAYERS, "num_attention_heads": 4, "vocab_size": 64}
TOKENS = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
# Of those that a family has: sizes that go with the others.
OTHERS = {"num_key_value_heads": 2, "head_dim": 8, "intermediate_size": 64, "ffn_dim": 64, "word_embed_proj_dim": 32}


def build(model_type: str, loader: str = "AutoModelForCausalLM") -> Any:
    """A tiny model without weights."""
    import torch
    import transformers

    has = transformers.AutoConfig.for_model(model_type)
    config = transformers.AutoConfig.for_model(
        model_type, **SMALL, **TOKENS, **{name: value for name, value in OTHERS.items() if hasattr(has, name)}
    )
    with torch.device("meta"):
        return getattr(transformers, loader).from_config(config)


def weights_of(model: Any) -> set[str]:
    return {name for name, module in model.named_modules() if list(module.parameters(recurse=False))}


@pytest.mark.torch
@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_names_are_those_of_transformers(model_type: str) -> None:
    known = weight_modules(ModelFacts(model_type=model_type, num_hidden_layers=LAYERS))
    assert known is not None
    found = {name for name in weights_of(build(model_type)) if "norm" not in name and "ln_" not in name}
    assert found | {"score"} == set(known)


@pytest.mark.torch
def test_a_reward_model_has_a_score() -> None:
    assert "score" in weights_of(build("qwen2", "AutoModelForSequenceClassification"))


def test_names_of_other_models_are_not_known() -> None:
    assert weight_modules(ModelFacts(model_type="mamba", num_hidden_layers=LAYERS)) is None
    assert weight_modules(ModelFacts(num_hidden_layers=LAYERS)) is None
    assert weight_modules(ModelFacts(model_type="qwen2")) is None
    # a vision tower has modules of its own
    assert weight_modules(ModelFacts(model_type="gemma3", num_hidden_layers=LAYERS)) is None


def found_by_peft(model: Any, targets: list[str] | str) -> bool:
    """Whether PEFT finds one of them; a module that is no matrix it refuses in other words."""
    from peft import LoraConfig, get_peft_model

    try:
        get_peft_model(model, LoraConfig(target_modules=targets, task_type="CAUSAL_LM"))
    except ValueError as error:
        return "not found in the base model" not in str(error)
    return True


TARGETS: list[list[str] | str] = [
    ["q_proj"],
    ["c_attn", "wo"],
    ["query_key_value"],
    ["qkv_proj"],
    ["roj"],
    ["self_attn.q_proj"],
    ["layers.1.self_attn.v_proj"],
    ["layers.7.self_attn.v_proj"],
    ["mlp"],
    r".*\.1\..*(q_proj|c_attn|query_key_value|qkv_proj)",
    r".*\.7\..*q_proj",
    "q_proj",
]


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:fan_in_fan_out:UserWarning")  # gpt2's matrices lie the other way, which PEFT mends
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # PEFT asks transformers so
@pytest.mark.parametrize("model_type", ["llama", "gpt2", "gpt_neox", "phi3"])
@pytest.mark.parametrize("targets", TARGETS, ids=str)
def test_peft_finds_none_where_none_is_told(model_type: str, targets: list[str] | str) -> None:
    known = weight_modules(ModelFacts(model_type=model_type, num_hidden_layers=LAYERS))
    assert known is not None
    none_left = len(unmatched(targets, known)) == (1 if isinstance(targets, str) else len(targets))
    assert found_by_peft(build(model_type), targets) != none_left


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_what_is_advised_is_there(model_type: str) -> None:
    known = weight_modules(ModelFacts(model_type=model_type, num_hidden_layers=LAYERS))
    assert known is not None
    assert unmatched(linear_names(model_type) or ["?"], known) == []
