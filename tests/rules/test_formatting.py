"""What is refused beside ``formatting_func`` is what SFTTrainer fails with, or ignores the function for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.facts import DatasetFacts, Facts

ROW = {"question": "What is 1 + 1?", "answer": "2"}
CHAT = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]


def single(row: dict[str, Any]) -> str:
    return f"Question: {row['question']}"


def batched(rows: dict[str, Any]) -> list[str]:
    return [f"Question: {question}" for question in rows["question"]]


def nothing(row: dict[str, Any]) -> None:
    row["text"] = row["question"]


# (function, arguments, more columns, whether its text is trained on)
CASES: dict[str, tuple[Any, dict[str, Any], dict[str, Any], bool]] = {
    "good": (single, {}, {}, True),
    "a text beside": (single, {}, {"text": "Something else."}, True),
    "completions beside": (single, {}, {"completion": "2"}, True),
    "a list": (batched, {}, {}, False),
    "nothing": (nothing, {}, {}, False),
    "of completions": (single, {"completion_only_loss": True}, {}, False),
    "of the assistant": (single, {"assistant_only_loss": True}, {}, False),
    "another column": (single, {"dataset_text_field": "content"}, {}, False),
    "a prompt beside": (single, {"completion_only_loss": False}, {"prompt": "Hm.", "completion": "2"}, False),
    "messages beside": (single, {}, {"messages": CHAT}, False),
}


@pytest.mark.torch
@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("ignore")
def test_trl_agrees(name: str, tiny_model: Path, tmp_path: Path) -> None:
    from datasets import Dataset
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    function, arguments, more, fits = CASES[name]
    row = ROW | more
    facts = Facts(dataset=DatasetFacts(exists=True, columns=tuple(row)))
    spec = hft.SFT(model="me/model", dataset="me/data", formatting_func=function, **arguments)
    report = hft.check(spec, facts=facts, backend="local")
    assert ("SFT007" not in {problem.code for problem in report.problems}) is fits
    args = SFTConfig(output_dir=str(tmp_path), report_to=[], use_cpu=True, bf16=False, disable_tqdm=True, **arguments)
    rows = Dataset.from_list([row] * 2)
    try:
        trainer = SFTTrainer(model=str(tiny_model), args=args, train_dataset=rows, formatting_func=function)
        tokens = trainer.train_dataset[0]["input_ids"]
    except Exception:
        assert not fits
    else:
        text = AutoTokenizer.from_pretrained(tiny_model).decode(tokens)
        assert text.startswith("Question: What is 1 + 1?") is fits, text
