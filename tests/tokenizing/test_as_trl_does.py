"""Rows become the very tokens, with the very labels, that TRL's trainers make of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from examples import tiny
from hfjobs_trainer.tokenizing.sequences import WAYS, Way

pytestmark = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore:.*os.fork.*"),
]

CPU = {"use_cpu": True, "bf16": False, "report_to": "none", "per_device_train_batch_size": 2}
TRAINERS = {
    "sft": ("trl", "SFT"),
    "dpo": ("trl", "DPO"),
    "kto": ("trl", "KTO"),
    "reward": ("trl", "Reward"),
    "orpo": ("trl.experimental.orpo", "ORPO"),
    "cpo": ("trl.experimental.cpo", "CPO"),
}
TOOLS = [
    {
        "type": "function",
        "function": {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}},
    }
]


def way(tokenizer: Any, **changes: Any) -> Way:
    given: dict[str, Any] = {"completion_only": True, "assistant_template": None, "kwargs": {}, "vision": False}
    return Way(tokenizer, text_field="text", **given | changes)


def trainer_of(method: str, model: Path, rows: list[dict[str, Any]], out: Path, **arguments: Any) -> Any:
    import importlib

    import datasets

    package, name = TRAINERS[method]
    module = importlib.import_module(package)
    args = getattr(module, f"{name}Config")(**CPU, output_dir=str(out), **arguments)
    given: dict[str, Any] = {}
    if "experimental" in package:
        import transformers

        given["processing_class"] = transformers.AutoTokenizer.from_pretrained(model)
    return getattr(module, f"{name}Trainer")(
        str(model), args=args, train_dataset=datasets.Dataset.from_list(rows), **given
    )


def labelled(row: dict[str, Any]) -> list[tuple[list[int], list[bool]]]:
    """Tokens and what is trained of them, of a row of any trainer."""
    if "labels" in row and "input_ids" in row:
        return [(row["input_ids"], [label != -100 for label in row["labels"]])]
    if "chosen_labels" in row:
        return [
            (row[f"{name}_input_ids"], [label != -100 for label in row[f"{name}_labels"]])
            for name in ("chosen", "rejected")
        ]
    prompt = row.get("prompt_ids", [])
    names = [name for name in ("completion_ids", "chosen_ids", "rejected_ids") if name in row]
    trained = "prompt_ids" in row
    return [(prompt + row[name], [not trained] * len(prompt) + [True] * len(row[name])) for name in names]


@pytest.mark.parametrize(
    ("method", "renders", "format"),
    [
        *(("sft", "labels", name) for name in ("text", "messages", "prompt_completion", "prompt_completion_chat")),
        *(("dpo", "pairs", name) for name in tiny.FORMATS[4:8]),
        *(("reward", "scores", name) for name in tiny.FORMATS[4:8]),
        *(("kto", "unpaired", name) for name in ("unpaired", "unpaired_chat")),
        *(("orpo", "ended_pairs", name) for name in ("preference", "preference_chat", "preference_implicit_chat")),
        ("cpo", "ended_pairs", "preference_chat"),
    ],
)
def test_tokens_and_labels(method: str, renders: str, format: tiny.Format, tiny_model: Path, tmp_path: Path) -> None:
    rows = tiny.dataset_rows(format, 4)
    arguments = {"loss_type": "apo_zero_unpaired"} if method == "kto" else {}
    trainer = trainer_of(method, tiny_model, rows, tmp_path, **arguments)
    mine = way(trainer.processing_class, completion_only="prompt" in rows[0])
    for row, made in zip(rows, trainer.train_dataset, strict=True):
        expected = labelled(made)
        found = [
            (tokens.ids, [True] * len(tokens.ids) if tokens.mask is None else tokens.mask)
            for tokens in WAYS[renders](dict(row), mine)
        ]
        assert found == expected


def test_the_assistants_tokens(tiny_model: Path, tmp_path: Path) -> None:
    rows = [{**row, "tools": TOOLS} for row in tiny.dataset_rows("messages", 3)]
    trainer = trainer_of("sft", tiny_model, rows, tmp_path, assistant_only_loss=True)
    mine = way(trainer.processing_class, assistant_template=trainer.processing_class.chat_template)
    for row, made in zip(rows, trainer.train_dataset, strict=True):
        assert [(tokens.ids, tokens.mask) for tokens in WAYS["labels"](dict(row), mine)] == labelled(made)


def test_prompts(tiny_model: Path, tmp_path: Path) -> None:
    import datasets
    import trl

    rows = tiny.dataset_rows("prompt_only_chat", 4)
    args = trl.GRPOConfig(**CPU | {"per_device_train_batch_size": 8}, output_dir=str(tmp_path))
    reward: Callable[..., list[float]] = lambda completions, **_: [0.0] * len(completions)  # noqa: E731
    trainer = trl.GRPOTrainer(
        str(tiny_model), reward_funcs=reward, args=args, train_dataset=datasets.Dataset.from_list(rows)
    )
    expected = trainer._tokenize_prompts([row["prompt"] for row in rows])[0]
    assert [next(WAYS["prompts"](row, way(trainer.processing_class))).ids for row in rows] == expected


def test_the_last_answer(tiny_model: Path) -> None:
    import transformers
    from trl.experimental.utils import DataCollatorForChatML

    tokenizer = transformers.AutoTokenizer.from_pretrained(tiny_model)
    rows = tiny.dataset_rows("messages", 3)
    collate = DataCollatorForChatML(tokenizer, max_length=512)
    for row in rows:
        made = collate([row])
        expected = [(made["input_ids"][0].tolist(), [label != -100 for label in made["labels"][0].tolist()])]
        assert [(one.ids, one.mask) for one in WAYS["last_answer"](row, way(tokenizer))] == expected
