from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from hfjobs_trainer.facts import ModelFacts
from hfjobs_trainer.gathering.config import read_config
from hfjobs_trainer.gathering.local_model import read_model

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 512,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}


def write_config(folder: Path, config: dict[str, Any]) -> str:
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


def test_a_config(tmp_path: Path) -> None:
    assert read_model(write_config(tmp_path, LLAMA)) == ModelFacts(
        path=str(tmp_path),
        exists=True,
        model_type="llama",
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        vocab_size=512,
        tie_word_embeddings=False,
        dtype="bfloat16",
        is_vision=False,
        has_chat_template=False,
        architectures=(),
        auto_classes=(),
        weights="none",
        has_tokenizer=False,
    )


def test_head_dim_is_taken_as_it_stands(tmp_path: Path) -> None:
    assert read_model(write_config(tmp_path, LLAMA | {"head_dim": 32})).head_dim == 32


def test_heads_without_groups_have_keys_of_their_own(tmp_path: Path) -> None:
    config = {key: value for key, value in LLAMA.items() if key != "num_key_value_heads"}
    assert read_model(write_config(tmp_path, config)).num_key_value_heads == 4


def test_the_language_model_of_a_multimodal_one(tmp_path: Path) -> None:
    config = {
        "model_type": "gemma3",
        "dtype": "float32",
        "tie_word_embeddings": True,
        "vision_config": {"hidden_size": 7},
        "text_config": {
            key: value for key, value in LLAMA.items() if key not in {"tie_word_embeddings", "torch_dtype"}
        },
    }
    facts = read_model(write_config(tmp_path, config))
    assert (facts.model_type, facts.hidden_size, facts.tie_word_embeddings, facts.dtype) == (
        "gemma3",
        64,
        True,
        "float32",
    )


def test_old_names(tmp_path: Path) -> None:
    config = {"model_type": "gpt2", "n_embd": 8, "n_layer": 3, "n_head": 2, "n_inner": None, "vocab_size": 50257}
    facts = read_model(write_config(tmp_path, config))
    assert (facts.hidden_size, facts.num_hidden_layers, facts.num_attention_heads) == (8, 3, 2)
    assert (facts.head_dim, facts.intermediate_size, facts.vocab_size) == (4, 32, 50257)


@pytest.mark.torch
def test_parameters_are_counted_in_the_headers(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file as save_torch_file

    save_torch_file(
        {"a": torch.zeros(10, 7, dtype=torch.bfloat16), "b": torch.zeros(3), "c": torch.tensor(1.0)},
        str(tmp_path / "model.safetensors"),
        metadata={"format": "pt"},
    )
    facts = read_model(write_config(tmp_path, LLAMA | {"torch_dtype": "float32"}))
    assert (facts.num_parameters, facts.dtype) == (74, "bfloat16")


def test_shards_are_added_up_and_copies_are_not(tmp_path: Path) -> None:
    names = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    for tensor, name in names.items():
        save_file({tensor: np.zeros((5, 5), dtype=np.float16)}, tmp_path / name)
    save_file({"all": np.zeros(50, dtype=np.float32)}, tmp_path / "consolidated.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    facts = read_model(str(tmp_path))
    assert (facts.num_parameters, facts.dtype) == (50, "float16")


def test_an_adapter_is_no_model(tmp_path: Path) -> None:
    save_file({"a": np.zeros(5)}, tmp_path / "adapter_model.safetensors")
    assert read_model(write_config(tmp_path, LLAMA)).num_parameters is None


def test_a_real_model(tiny_model: Path) -> None:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(tiny_model)
    facts = read_model(str(tiny_model))
    assert facts.num_parameters == model.num_parameters()
    assert (facts.model_type, facts.hidden_size) == (model.config.model_type, model.config.hidden_size)
    assert facts.vocab_size == model.config.vocab_size
    assert facts.dtype == str(model.dtype).removeprefix("torch.")
    assert facts.has_chat_template is True


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("chat_template.jinja", "{{ messages }}", True),
        ("tokenizer_config.json", '{"chat_template": "{{ messages }}"}', True),
        ("tokenizer_config.json", '{"chat_template": [{"name": "default", "template": "x"}]}', True),
        ("tokenizer_config.json", '{"chat_template": null}', False),
        ("tokenizer_config.json", "{", None),
    ],
)
def test_the_chat_template(tmp_path: Path, name: str, content: str, found: bool | None) -> None:
    (tmp_path / name).write_text(content)
    assert read_model(str(tmp_path)).has_chat_template is found


def test_a_missing_folder_does_not_exist(tmp_path: Path) -> None:
    assert read_model(str(tmp_path / "none")) == ModelFacts(path=str(tmp_path / "none"), exists=False)


NO_CONFIGS = [b"", b"{", b"[]", b"\xff\xfe", b'{"hidden_size": "big", "num_attention_heads": 0}', b"[" * 100_000]


@pytest.mark.parametrize("content", NO_CONFIGS)
def test_a_broken_config_is_unknown(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    facts = read_model(str(tmp_path))
    assert (facts.exists, facts.model_type, facts.hidden_size, facts.head_dim) == (True, None, None, None)


def with_length(header: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header


NO_WEIGHTS = [
    b"",
    b"\0" * 8,
    b"\xff" * 64,
    with_length(b"[]"),
    with_length(b'{"a": {"dtype": "F32", "shape": ["x"]}}'),
    with_length(b'{"a": {"dtype": "F32", "shape": [2, 2]}}')[:-5],
]


@pytest.mark.parametrize("content", NO_WEIGHTS)
def test_broken_weights_are_not_counted(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    assert read_model(write_config(tmp_path, LLAMA)).num_parameters is None


def test_a_missing_shard_leaves_the_count_unknown(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model-00001-of-00001.safetensors"}}')
    assert read_model(str(tmp_path)).num_parameters is None


@pytest.mark.parametrize(
    ("config", "sees"),
    [({"model_type": "llava", "vision_config": {"image_size": 336}}, True), ({"model_type": "qwen2"}, False)],
)
def test_a_model_that_takes_images(tmp_path: Path, config: dict[str, Any], sees: bool) -> None:
    assert read_model(write_config(tmp_path, config)).is_vision is sees


def test_without_a_config_nobody_knows_whether_it_takes_images(tmp_path: Path) -> None:
    assert read_model(str(tmp_path)).is_vision is None


@pytest.mark.parametrize(
    ("config", "method"),
    [
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "gptq"),
        ({"quantization_config": {"load_in_4bit": True}}, "bitsandbytes"),
        ({"text_config": {"quantization_config": {"quant_method": "awq"}}}, "awq"),
        ({"quantization_config": None}, None),
        ({}, None),
    ],
    ids=str,
)
def test_a_quantized_checkpoint_is_known_by_its_config(config: dict[str, Any], method: str | None) -> None:
    assert read_config({"model_type": "qwen2", **config}).quantization == method
