"""The tiny models and datasets are what they claim to be: everything else that trains stands on them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from examples import tiny


@pytest.mark.torch
@pytest.mark.parametrize("arch", ["qwen2", "llama"])
def test_a_tiny_model_loads_as_its_architecture_and_speaks_chat(tmp_path: Path, arch: str) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = tiny.make_model(tmp_path / "model", arch=arch)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(path), AutoTokenizer.from_pretrained(path)

    assert model.config.model_type == arch
    assert len(tokenizer) == model.config.vocab_size
    assert tokenizer.pad_token != tokenizer.eos_token
    row = tiny.dataset_rows("messages", 1)[0]["messages"]
    chat = tokenizer.apply_chat_template(row, return_dict=True, return_assistant_tokens_mask=True)
    said = [token for token, own in zip(chat["input_ids"], chat["assistant_masks"], strict=True) if own]
    assert tokenizer.decode(said) == "The rose is red.<|im_end|>"


@pytest.mark.torch
def test_equal_seeds_give_equal_weights(tmp_path: Path) -> None:
    weights = [
        (tiny.make_model(tmp_path / name, seed=seed) / "model.safetensors").read_bytes()
        for name, seed in (("first", 0), ("again", 0), ("other", 1))
    ]
    assert weights[0] == weights[1] != weights[2]


@pytest.mark.torch
def test_a_base_model_has_no_chat_template(tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    assert AutoTokenizer.from_pretrained(tiny.make_model(tmp_path, chat_template=False)).chat_template is None


def test_a_reward_model_gives_one_score(tiny_reward_model: Path) -> None:
    from transformers import AutoModelForSequenceClassification

    assert AutoModelForSequenceClassification.from_pretrained(tiny_reward_model).num_labels == 1


@pytest.mark.parametrize("format", tiny.FORMATS)
def test_every_format_is_written_as_json_lines(tiny_data: Callable[[tiny.Format], Path], format: tiny.Format) -> None:
    lines = tiny_data(format).read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == tiny.dataset_rows(format, 32)


@pytest.mark.torch
@pytest.mark.parametrize("format", tiny.FORMATS)
def test_trl_takes_the_chat_formats_for_conversations(format: tiny.Format) -> None:
    from trl import is_conversational

    assert is_conversational(tiny.dataset_rows(format, 1)[0]) == (format == "messages" or format.endswith("_chat"))
