"""How long rows are in tokens: with a real tokenizer, and without one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import hubsim
import pytest
from gathering.row_lengths import of_dataset, write_lines

from examples import tiny
from hfjobs_trainer.gathering import lengths, tokenizer
from hfjobs_trainer.gathering.lengths import END_TOKENS, MESSAGE_TOKENS


def long_roles(real: Any, messages: Sequence[Mapping[str, str]]) -> int:
    """By how much the roles are longer than one token, as they are in the vocabulary of a real model."""
    return sum(len(real(message["role"])["input_ids"]) - 1 for message in messages)


@pytest.mark.parametrize("format", ["text", "messages", "prompt_completion", "prompt_completion_chat"])
def test_tokens_are_those_that_training_sees(
    tiny_model: Path, tiny_data: Callable[[tiny.Format], Path], format: tiny.Format
) -> None:
    import transformers

    measured = of_dataset(str(tiny_data(format)), model=str(tiny_model))
    real = transformers.AutoTokenizer.from_pretrained(tiny_model)
    counted: list[int] = []
    for row in tiny.dataset_rows(format):
        messages = row.get("messages") or [*row.get("prompt", []), *row.get("completion", [])]
        if format.endswith("_chat") or format == "messages":
            counted.append(len(real.apply_chat_template(messages)["input_ids"]) - long_roles(real, messages))
        else:
            texts = [row[name] for name in ("text", "prompt", "completion") if name in row]
            counted.append(sum(len(real(text)["input_ids"]) for text in texts) + END_TOKENS)
    assert (measured.unit, measured.sampled) == ("tokens", 32)
    assert measured.mean == pytest.approx(sum(counted) / len(counted))
    assert (measured.quantiles[0], measured.maximum) == (sorted(counted)[1], max(counted))


def test_a_message_takes_what_chatml_adds(tiny_model: Path) -> None:
    import transformers

    real = transformers.AutoTokenizer.from_pretrained(tiny_model)
    for role in ("user", "assistant", "system"):
        message = {"role": role, "content": ""}
        added = len(real.apply_chat_template([message])["input_ids"]) - long_roles(real, [message])
        assert added == MESSAGE_TOKENS


def test_without_tokenizers_characters_are_counted(
    tiny_model: Path, tiny_data: Callable[[tiny.Format], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    assert of_dataset(str(tiny_data("text")), model=str(tiny_model)).unit == "characters"


@pytest.mark.parametrize("content", ["", "{", "{}", "null", '{"version": "1.0", "model": {"type": "BPE"}}', "\0" * 99])
def test_a_broken_tokenizer_counts_nothing(
    tmp_path: Path, tiny_data: Callable[[tiny.Format], Path], content: str
) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    assert of_dataset(str(tiny_data("text")), model=str(tmp_path)).unit == "characters"


def test_a_tokenizer_that_is_too_large_is_not_read(
    tiny_model: Path, tiny_data: Callable[[tiny.Format], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizer, "MAX_BYTES", 100)
    assert of_dataset(str(tiny_data("text")), model=str(tiny_model)).unit == "characters"


def test_long_texts_are_counted_in_part(tiny_model: Path, tmp_path: Path) -> None:
    import transformers

    data = write_lines(tmp_path / "data.jsonl", ["sea " * 50_000] * 20)
    measured = of_dataset(data, model=str(tiny_model))
    count = tokenizer.Tokenizer(tiny_model / "tokenizer.json")
    whole = transformers.AutoTokenizer.from_pretrained(tiny_model)("sea " * 50_000)["input_ids"]
    assert count(["sea " * 50_000])[0] == pytest.approx(len(whole), rel=0.01)
    assert measured.sampled == lengths.MAX_CHARACTERS // 200_000
    assert measured.mean == pytest.approx(len(whole) + END_TOKENS, rel=0.01)


def test_the_first_question_of_a_process_gets_the_tokenizer(hub: hubsim.Hub, tmp_path: Path) -> None:
    folder = hub.root / "models" / "acme" / "tiny"
    folder.mkdir(parents=True)
    (folder / "tokenizer.json").write_text("{}")
    code = "from hfjobs_trainer.gathering.tokenizer import download\nprint(download('acme/tiny', None, False, None, 5))"
    env = os.environ | {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path)}
    ended = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert (ended.returncode, Path(ended.stdout.strip()).name) == (0, "tokenizer.json"), ended.stderr
