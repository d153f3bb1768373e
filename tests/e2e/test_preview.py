"""Previews against the trainers themselves: what is shown is what their own collators give, for every method."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from e2e.methods import TRAINED, Inputs, Warm

import hfjobs_trainer as hft
from hfjobs_trainer.trying.preview import preview_settings, read_preview
from hfjobs_trainer.trying.run import mode_files

Sides = list[tuple[list[int], list[bool]]]
COLLATED = Path(__file__).with_name("collated.py")


def lay(folder: Path, plan: Any) -> Path:
    folder.mkdir(parents=True)
    script = folder / "script.py"
    script.write_text(plan.script, "utf-8")
    return script


def previewed(warm: Warm, folder: Path, fields: dict[str, Any], rows: int = 3) -> Any:
    """The preview, from a fork that has imported TRL already."""
    plan = hft.plan(fields, backend="local", offline=True)
    script = lay(folder, plan)
    scratch, modes = folder / "scratch", folder / "modes"
    scratch.mkdir()
    modes.mkdir()
    for name, content in mode_files().items():
        (modes / name).write_bytes(content)
    (modes / "preview.json").write_text(json.dumps(preview_settings(plan, rows)))
    warm.run_file(fields["method"], script, HFT_MODE_FILE=str(modes / "preview.py"), HFT_MODE_SCRATCH=str(scratch))
    return read_preview(json.loads((scratch / "result.json").read_text("utf-8")), plan, 0.0)


def collated(warm: Warm, folder: Path, fields: dict[str, Any]) -> dict[str, Any]:
    """What the trainer of the same script, which has the real model, gives."""
    plan = hft.plan(fields, backend="local", offline=True)
    script = lay(folder, plan)
    method = plan.spec.METHOD
    where = {"HFT_MODE_FILE": str(COLLATED), "HFT_MODE_SCRATCH": str(folder)}
    warm.run_file(fields["method"], script, TRAINER=json.dumps([method.module, method.trainer]), **where)
    return json.loads((folder / "result.json").read_text("utf-8"))


def side(ids: list[int], mask: list[int], trained: list[bool]) -> tuple[list[int], list[bool]]:
    return [i for i, m in zip(ids, mask, strict=True) if m], [t for t, m in zip(trained, mask, strict=True) if m]


def by_labels(batch: dict[str, Any], prefix: str = "") -> Sides:
    ids, labels = batch[f"{prefix}input_ids"][0], batch[f"{prefix}labels"][0]
    mask = batch[f"{prefix}attention_mask"][0] if f"{prefix}attention_mask" in batch else [1] * len(ids)
    return [side(ids, mask, [label != -100 for label in labels])]


def by_completion(batch: dict[str, Any]) -> Sides:
    rows = zip(batch["input_ids"], batch["attention_mask"], batch["completion_mask"], strict=True)
    return [side(ids, mask, [bool(value) for value in trained]) for ids, mask, trained in rows]


def whole(batch: dict[str, Any]) -> Sides:
    rows = zip(batch["input_ids"], batch["attention_mask"], strict=True)
    return [side(ids, mask, [True] * len(ids)) for ids, mask in rows]


def both_labels(batch: dict[str, Any]) -> Sides:
    return [*by_labels(batch, "chosen_"), *by_labels(batch, "rejected_")]


EXPECTED = {
    "sft": by_labels,
    "dpo": by_completion,
    "kto": by_completion,
    "reward": whole,
    "orpo": both_labels,
    "cpo": both_labels,
    "gkd": by_labels,
}


@pytest.mark.parametrize("method", TRAINED)
def test_rows_are_what_the_trainers_own_collator_gives(method: str, inputs: Inputs, warm: Warm, tmp_path: Path) -> None:
    fields = {"method": method, **inputs.fields(method)}
    shown = previewed(warm, tmp_path / "preview", fields)
    real = collated(warm, tmp_path / "real", fields)
    assert len(shown.rows) == 3
    assert shown.totals.rows == shown.totals.source_rows == real["count"]
    tokenizer = tokenizer_of(inputs)
    for row, batch, raw in zip(shown.rows, real["batches"], real["rows"], strict=True):
        expected = EXPECTED[method](batch) if method in EXPECTED else prompt(tokenizer, raw["prompt"])
        assert [(list(part.token_ids), list(part.trained)) for part in row.parts] == expected
        assert list(row.token_ids) == [token for ids, _ in expected for token in ids]
        assert list(row.trained) == [value for _, mask in expected for value in mask]
        assert not row.truncated
        for part in row.parts:
            assert part.text == tokenizer.decode(part.token_ids, clean_up_tokenization_spaces=False)
            assert "".join(part.text[a:b] for a, b in part.spans) == tokenizer.decode(
                [token for token, trained in zip(part.token_ids, part.trained, strict=True) if trained],
                clean_up_tokenization_spaces=False,
            )
    assert shown.generates is (method not in EXPECTED)
    assert (shown.rows[0].chosen is None) is (method not in ("dpo", "reward", "orpo", "cpo"))
    if method == "kto":
        assert [row.label for row in shown.rows] == [bool(batch["label"][0]) for batch in real["batches"]]


def tokenizer_of(inputs: Inputs) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(inputs.model)


def prompt(tokenizer: Any, prompt: Any) -> Sides:
    if isinstance(prompt, str):
        ids = tokenizer(prompt)["input_ids"]
    else:
        ids = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, return_dict=True)["input_ids"]
    return [(ids, [False] * len(ids))]


def rows_of(inputs: Inputs, format: Any, folder: Path, change: Any) -> str:
    rows = [json.loads(line) for line in inputs.data(format).read_text("utf-8").splitlines()]
    for index, row in enumerate(rows):
        change(index, row)
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return str(path)


ALL = {"eval_fraction": None, "eval_strategy": "no"}
LONG = 4  # each fourth row is long


def lengthen(index: int, row: dict[str, Any]) -> None:
    """Make the answer of each fourth row four times as long."""
    if index % LONG == 0:
        for name in ("messages", "chosen", "completion"):
            if name in row:
                row[name][-1]["content"] *= 4


def question(index: int, row: dict[str, Any]) -> None:
    """Make the question of each fourth row so long that it fills what a row may have."""
    if index % LONG == 0:
        (row.get("prompt") or row["messages"])[0]["content"] *= 8


@pytest.mark.parametrize(
    ("method", "format"), [("sft", "messages"), ("dpo", "preference_chat"), ("kto", "unpaired_chat")]
)
def test_a_cut_row_is_marked_and_counted(method: str, format: Any, inputs: Inputs, warm: Warm, tmp_path: Path) -> None:
    data = rows_of(inputs, format, tmp_path, lengthen)
    fields = {"method": method, **inputs.fields(method, dataset=data, max_length=28, **ALL)}
    shown = previewed(warm, tmp_path / "preview", fields, rows=32)
    totals = shown.totals
    assert totals.rows == totals.source_rows == 32
    assert totals.truncated_rows == 8
    assert totals.dropped_rows == totals.untrained_rows == 0
    assert [row.truncated for row in shown.rows].count(True) == 8
    cut = [part for row in shown.rows for part in row.parts if part.truncated]
    assert len(cut) == 8
    assert all(len(part.token_ids) == 28 < part.whole_tokens for part in cut)
    assert totals.cut_tokens == sum(part.whole_tokens - 28 for part in cut)
    assert totals.tokens == sum(len(row.token_ids) for row in shown.rows)
    assert sum(bar.rows for bar in totals.histogram) == totals.rows
    assert totals.trained_tokens == sum(sum(row.trained) for row in shown.rows)
    assert "cut from" in str(shown)


@pytest.mark.parametrize(
    ("method", "format", "more", "untrained"),
    [
        ("sft", "messages", {"assistant_only_loss": True}, 8),
        ("dpo", "preference_chat", {}, 8),
        ("reward", "preference_implicit_chat", {}, 0),
    ],
)
def test_a_row_that_the_trainer_leaves_out_is_counted(
    method: str, format: Any, more: dict[str, Any], untrained: int, inputs: Inputs, warm: Warm, tmp_path: Path
) -> None:
    change = lengthen if method == "reward" else question
    data = rows_of(inputs, format, tmp_path, change)
    fields = {"method": method, **inputs.fields(method, dataset=data, max_length=30, **ALL, **more)}
    shown = previewed(warm, tmp_path / "preview", fields, rows=32)
    totals = shown.totals
    assert len(shown.rows) == totals.rows == 24
    assert totals.source_rows == 32
    assert totals.dropped_rows == 8
    assert totals.untrained_rows == untrained
    assert totals.truncated_rows == 0
    assert totals.cut_tokens > 0
    assert 0 < totals.cut_tokens_share < 1


def test_packed_rows_are_flat_and_the_cut_ones_are_marked(inputs: Inputs, warm: Warm, tmp_path: Path) -> None:
    data = rows_of(inputs, "messages", tmp_path, question)
    fields = {"method": "sft", **inputs.fields("sft", dataset=data, packing=True, max_length=50, **ALL)}
    shown = previewed(warm, tmp_path / "preview", fields, rows=32)
    real = collated(warm, tmp_path / "real", fields)
    assert shown.packed
    assert shown.totals.rows == real["count"]
    assert shown.totals.source_rows == 32
    assert shown.totals.padding == 0
    for row, batch in zip(shown.rows, real["batches"], strict=False):
        assert [(list(part.token_ids), list(part.trained)) for part in row.parts] == by_labels(batch)
    # a cut row fills its pack
    cut = [row for row in shown.rows if row.truncated]
    assert len(cut) == shown.totals.truncated_rows == 8
    assert all(len(row.token_ids) == 50 for row in cut)
    assert shown.totals.rows < 32
    assert shown.totals.packing == pytest.approx(1 - shown.totals.tokens / (50 * shown.totals.rows))


@pytest.mark.parametrize("split", ["train[4:20]", "train[50%:]"])
def test_the_rows_are_those_of_the_split(split: str, inputs: Inputs, warm: Warm, tmp_path: Path) -> None:
    data = hft.Dataset(id=str(inputs.data("messages")), split=split)
    fields = {"method": "sft", **inputs.fields("sft", dataset=data, **ALL)}
    shown = previewed(warm, tmp_path / "preview", fields)
    real = collated(warm, tmp_path / "real", fields)
    assert shown.totals.rows == shown.totals.source_rows == real["count"] == 16
    for row, batch in zip(shown.rows, real["batches"], strict=True):
        assert [(list(part.token_ids), list(part.trained)) for part in row.parts] == by_labels(batch)
