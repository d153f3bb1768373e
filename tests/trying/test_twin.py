"""Tiny twins of the architectures that people train: each computes, learns and is saved."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from examples import tiny
from hfjobs_trainer.trying.modes import twin

MEGABYTES = 110  # in float32

LONGROPE = {"rope_type": "longrope", "rope_theta": 1e4, "original_max_position_embeddings": 4096}
LLAMA3 = {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
HUNYUAN = {"rope_type": "dynamic", "rope_theta": 1e4, "alpha": 1000.0, "factor": 1.0}
DEEPSEEK = {"num_experts_per_tok": 6, "n_routed_experts": 64, "first_k_dense_replace": 1, "n_group": 1, "topk_group": 1}
QWEN_VL = {"vocab_size": 151936, "hidden_size": 2048, "num_attention_heads": 16, "num_key_value_heads": 2}
MROPE = {"rope_type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1e6}

# What sets a real configuration apart from the defaults of its class.
FAMILIES: dict[str, dict[str, Any]] = {
    "qwen2": {"vocab_size": 152064, "tie_word_embeddings": False},
    "qwen3": {"tie_word_embeddings": True},
    "qwen3_moe": {"num_experts": 128, "num_experts_per_tok": 8},
    "qwen3_next": {},
    "llama": {
        "vocab_size": 128256,
        "num_key_value_heads": 8,
        "rope_parameters": {**LLAMA3, "original_max_position_embeddings": 8192},
    },
    "gemma2": {},
    "gemma3_text": {},
    "gemma3n_text": {},
    "gemma4_text": {},
    "phi3": {
        "max_position_embeddings": 131072,
        "rope_parameters": {**LONGROPE, "short_factor": [1.0] * 48, "long_factor": [2.0] * 48},
    },
    "smollm3": {},
    "mistral": {},
    "mixtral": {},
    "gpt_oss": {"num_hidden_layers": 24},
    "olmo3": {},
    "olmoe": {},
    "granite": {},
    "granitemoehybrid": {
        "layer_types": (["mamba"] * 5 + ["attention"] + ["mamba"] * 4) * 4,
        "num_hidden_layers": 40,
        "num_local_experts": 64,
    },
    "falcon_h1": {},
    "bamba": {"attn_layer_indices": [9, 18, 27]},
    "nemotron_h": {},
    "hunyuan_v1_dense": {
        "vocab_size": 128167,
        "head_dim": 128,
        "rope_parameters": {**HUNYUAN, "beta_fast": 32, "beta_slow": 1, "mscale": 1.0, "mscale_all_dim": 0.0},
    },
    "deepseek_v2": DEEPSEEK,
    "deepseek_v3": {"q_lora_rank": 1536},
    "glm4_moe": {},
    "lfm2": {"full_attn_idxs": [2, 5, 8, 10, 12, 14], "num_hidden_layers": 16},
    "ernie4_5_moe": {},
    "gpt2": {},
    "qwen2_5_vl": {
        "text_config": {**QWEN_VL, "num_hidden_layers": 36, "intermediate_size": 11008, "rope_parameters": MROPE}
    },
    "qwen3_vl": {},
    "gemma3": {},
    "smolvlm": {},
}


def lib(name: str) -> Any:
    return import_module(name)


def configuration(family: str, **changes: Any) -> Any:
    config = lib("transformers").CONFIG_MAPPING[family](**{**FAMILIES.get(family, {}), **changes})
    auto = lib("transformers.models.auto.modeling_auto")
    names = {**auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES, **auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES}
    config.architectures = [names[family]]
    return config


@pytest.mark.torch
@pytest.mark.parametrize("family", FAMILIES)
def test_a_twin_of_each_family_learns(family: str) -> None:
    torch: Any = lib("torch")
    config = configuration(family)
    small = twin.shrink(config)
    model = twin.build(small).float().train()
    assert type(model).__name__ == config.architectures[0]
    text, small_text = config.get_text_config(), small.get_text_config()
    assert small_text.vocab_size == text.vocab_size
    kinds, small_kinds = (set(getattr(each, "layer_types", None) or ()) for each in (text, small_text))
    assert kinds == small_kinds
    assert small_text.num_hidden_layers <= twin.KINDS_OF_LAYERS
    assert (
        sum(parameter.numel() * 4 for parameter in model.parameters())
        < (MEGABYTES + 50 * ("hunyuan" in family or "3n" in family)) * 1e6
    )
    ids = torch.randint(3, 1000, (2, 16))
    model(input_ids=ids, labels=ids).loss.backward()


@pytest.mark.torch
def test_the_layers_that_are_kept_differ() -> None:
    small = twin.shrink(configuration("gemma3_text", num_hidden_layers=26))
    assert small.layer_types == ["sliding_attention", "full_attention"]
    small = twin.shrink(configuration("smollm3", num_hidden_layers=36))
    assert sorted(small.no_rope_layers) == [0, 1]
    small = twin.shrink(configuration("deepseek_v3"))
    assert (small.num_hidden_layers, small.first_k_dense_replace) == (2, 1)


@pytest.mark.torch
def test_as_many_layers_as_the_real_one_where_they_are_named_by_number() -> None:
    assert twin.shrink(configuration("qwen3", num_hidden_layers=28), all_layers=True).num_hidden_layers == 28


@pytest.mark.torch
def test_it_is_loaded_by_its_folder_with_the_real_tokenizer(tiny_model: Path, tmp_path: Path) -> None:
    path = tiny_model / "config.json"
    source = tmp_path / "quantized"
    source.mkdir()
    for file in tiny_model.iterdir():
        if not file.name.endswith(".safetensors"):  # no weights are needed
            (source / file.name).write_bytes(file.read_bytes())
    written = json.loads(path.read_text())
    (source / "config.json").write_text(
        json.dumps({**written, "dtype": "bfloat16", "quantization_config": {"quant_method": "fp8"}})
    )
    made = twin.make_twin(str(source), None, tmp_path / "twin")
    assert (made.architecture, made.stands_in) == ("Qwen2ForCausalLM", None)
    model = lib("transformers").AutoModelForCausalLM.from_pretrained(made.folder)
    assert str(model.dtype) == "torch.bfloat16"
    assert not hasattr(model.config, "quantization_config")
    real, copied = (lib("transformers").AutoTokenizer.from_pretrained(folder) for folder in (tiny_model, made.folder))
    assert real.get_vocab() == copied.get_vocab()
    assert real.chat_template == copied.chat_template


@pytest.mark.torch
def test_a_reward_model_keeps_its_head(tiny_reward_model: Path, tmp_path: Path) -> None:
    made = twin.make_twin(str(tiny_reward_model), None, tmp_path)
    assert made.architecture == "Qwen2ForSequenceClassification"
    assert lib("transformers").AutoModelForSequenceClassification.from_pretrained(tmp_path).score.weight.shape[0] == 1


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_an_adapter_fits_its_twin(tiny_model: Path, tmp_path: Path) -> None:
    config = lib("peft").LoraConfig(r=3, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM")
    lib("peft").get_peft_model(
        lib("transformers").AutoModelForCausalLM.from_pretrained(tiny_model), config
    ).save_pretrained(str(tmp_path / "real"))
    made = twin.make_twin(str(tiny_model), None, tmp_path / "twin")
    adapter = twin.make_adapter(str(tmp_path / "real"), {}, made.folder, tmp_path / "adapter")
    loaded: Any = lib("peft").AutoPeftModelForCausalLM.from_pretrained(str(adapter))
    names = [name for name, _ in loaded.named_parameters() if "lora_A" in name]
    assert {name.split(".")[-4] for name in names} == {"q_proj", "down_proj"}


@pytest.mark.torch
def test_a_model_that_sees_is_loaded_with_its_processor(tmp_path: Path) -> None:
    made = twin.make_twin(str(tiny.make_vlm(tmp_path / "real")), None, tmp_path / "twin")
    assert made.stands_in is None
    lib("transformers").AutoModelForImageTextToText.from_pretrained(made.folder)
    assert lib("transformers").AutoProcessor.from_pretrained(made.folder).image_processor is not None


@pytest.mark.torch
def test_another_architecture_stands_in_for_one_that_cannot_be_scaled_down(tiny_model: Path, tmp_path: Path) -> None:
    config = configuration("bart")
    config.save_pretrained(tmp_path / "real")
    made = twin.make_twin(str(tmp_path / "real"), None, tmp_path / "twin")
    assert (made.architecture, made.stands_in) == ("Qwen3ForCausalLM", config.architectures[0])
    assert (
        lib("transformers").AutoModelForCausalLM.from_pretrained(tmp_path / "twin").config.vocab_size
        == config.vocab_size
    )
