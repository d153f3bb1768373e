"""Rows of real files are looked at value by value, whatever holds them."""

from __future__ import annotations

import csv
import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import pytest
from gathering.repos import TOKEN, make_repo
from gathering.test_local_dataset import lines
from hubsim import Hub

import hfjobs_trainer as hft
from examples import tiny
from hfjobs_trainer.facts import DatasetFacts, Facts
from hfjobs_trainer.facts.values import Finding, ValueFacts
from hfjobs_trainer.gathering import gather
from hfjobs_trainer.gathering.inspect_rows import MAX_DIGESTS, inspect_rows
from hfjobs_trainer.specs.registry import METHODS
from tests.specs.building import required

Row = Mapping[str, Any]
COMPLETIONS = (("prompt", "completion"),)
PAIRS = (("chosen", "rejected"),)
GOOD = {"prompt": "What is red?", "completion": "A rose."}


def spec(method: str = "sft", **fields: Any) -> Any:
    given = {"method": method, **required(method), **fields}
    return METHODS[method](**{name: value for name, value in given.items() if name != "method"})


def values_of(path: Path, **fields: Any) -> ValueFacts:
    facts = gather(spec(dataset=str(path), **fields), offline=True).dataset
    assert facts.values is not None
    return facts.values


def write_jsonl(path: Path, rows: Sequence[Row]) -> Path:
    path = path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def write_csv(path: Path, rows: Sequence[Row]) -> Path:
    path = path / "rows.csv"
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_parquet(path: Path, rows: Sequence[Row]) -> Path:
    path = path / "rows.parquet"
    arrow: Any = importlib.import_module("pyarrow")
    importlib.import_module("pyarrow.parquet").write_table(arrow.Table.from_pylist(list(rows)), str(path))
    return path


def write_saved(path: Path, rows: Sequence[Row]) -> Path:
    datasets: Any = importlib.import_module("datasets")
    datasets.Dataset.from_list(list(rows)).save_to_disk(str(path / "saved"))
    return path / "saved"


@pytest.mark.torch
@pytest.mark.parametrize("write", [write_jsonl, write_csv, write_parquet, write_saved])
def test_the_first_of_them_is_numbered(write: Callable[[Path, Sequence[Row]], Path], tmp_path: Path) -> None:
    rows: list[Row] = [GOOD | {"prompt": f"What is {index}?"} for index in range(1000)]
    for index in (700, 900):
        rows[index] = {**rows[index], "completion": None}
    values = values_of(write(tmp_path, rows))
    assert values.sampled == 1000
    assert values.findings == (Finding("null", ("completion",), 700, 2),)


def test_rows_of_the_hub(hub: Hub) -> None:
    rows = [GOOD] * 30 + [GOOD | {"completion": 3}] * 70
    make_repo(hub, "datasets", "acme/data", {"train.jsonl": lines(rows)})
    facts = gather(spec(dataset="acme/data"), endpoint=hub.endpoint, token=TOKEN)
    assert facts.dataset.values is not None
    assert facts.dataset.values.of("number") == (Finding("number", ("completion",), 30, 70, "3"),)


def test_a_loading_script(hub: Hub) -> None:
    make_repo(hub, "datasets", "acme/data", {"data.py": "import datasets"})
    asked = spec(dataset="acme/data")
    facts = gather(asked, endpoint=hub.endpoint, token=TOKEN)
    assert facts.dataset.loading_script == "data.py"
    (problem,) = [item for item in hft.check(asked, facts=facts).problems if item.code == "DATA029"]
    assert problem.path == "dataset.id"


def test_a_folder_that_is_a_loading_script(tmp_path: Path) -> None:
    folder = tmp_path / "scripted"
    folder.mkdir()
    (folder / "scripted.py").write_text("import datasets")
    (problem,) = hft.check(spec(dataset=str(folder)), offline=True, backend="local").problems
    assert (problem.code, problem.path) == ("DATA029", "dataset.id")


def test_columns_that_are_no_text(tmp_path: Path) -> None:
    row = {"q": "Red?", "talk": [user("Red?")], "answers": {"text": ["A rose."]}}
    rows = [row | {"score": score} for score in (None, 1, None)]
    facts = gather(spec(dataset=str(write_jsonl(tmp_path, rows))), offline=True).dataset
    assert facts.neither_text_nor_talk == ("answers", "score")


def test_pairs_without_a_prompt() -> None:
    rows = [{"chosen": "A rose.", "rejected": "Snow."}, {"chosen": "Red: a rose.", "rejected": "Red: snow."}]
    found = cast(ValueFacts, inspect_rows(rows, PAIRS))
    assert [(item.kind, item.row, item.count) for item in found.findings] == [("no prompt", 0, 1)]
    assert cast(ValueFacts, inspect_rows([{"prompt": "Red?", **rows[0]}], PAIRS)).findings == ()


def test_rows_as_the_spec_renames_and_keeps_them(tmp_path: Path) -> None:
    rows = [{"question": None, "prompt": "old", "completion": "A rose."}]
    path = str(write_jsonl(tmp_path, rows))
    renamed = hft.Dataset(id=path, columns={"question": "prompt", "prompt": "other"})
    assert [item.kind for item in values_of(Path(path)).findings] == []
    facts = gather(spec(dataset=renamed), offline=True).dataset.values
    assert facts is not None
    assert [(item.kind, item.columns) for item in facts.findings] == [("null", ("prompt",))]


def test_nothing_is_known_of_rows_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("{")
    assert gather(spec(dataset=str(tmp_path / "rows.jsonl")), offline=True).dataset.values is None
    assert gather(spec(dataset="me/data"), offline=True).dataset.values is None
    assert inspect_rows([{"x": 1}], COMPLETIONS) is None
    assert inspect_rows([], COMPLETIONS) is None


def test_a_finding_quotes_little_and_no_secret() -> None:
    token = "hf_" + "a" * 34
    rows = [{"prompt": ["x" * 100], "completion": [f"{token} {token}"]}]
    for finding in cast(ValueFacts, inspect_rows(rows, COMPLETIONS)).findings:
        assert len(finding.excerpt) <= 40
        assert "aaaa" not in finding.excerpt


def test_digests_are_bounded() -> None:
    rows = [GOOD | {"prompt": str(index)} for index in range(MAX_DIGESTS + 100)]
    assert len(cast(ValueFacts, inspect_rows(rows, COMPLETIONS)).digests) == MAX_DIGESTS


def test_a_value_that_was_cut_off_is_none_that_is_missing() -> None:
    pair: dict[str, Any] = {"prompt": [user("x")], "chosen": [said("a")], "rejected": [said("b")]}
    rows = [pair | {"messages": [user("x")]}, pair]
    assert cast(ValueFacts, inspect_rows(rows, PAIRS)).of("differing column") == ()


def test_nan_is_no_value() -> None:
    found = inspect_rows([GOOD, GOOD | {"completion": float("nan")}], COMPLETIONS)
    assert cast(ValueFacts, found).of("null") == (Finding("null", ("completion",), 1, 1),)


def test_calls_of_tools_need_no_content() -> None:
    call: dict[str, Any] = {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"function": {"name": "f", "arguments": {}}}],
    }
    talk: list[dict[str, Any]] = [
        {"role": "user", "content": "x"},
        call,
        {"role": "tool", "content": "1"},
        {"role": "assistant", "content": "y"},
    ]
    assert cast(ValueFacts, inspect_rows([{"messages": talk}], (("messages",),))).findings == ()


def shares(count: int, total: int, bad: Row, good: Callable[[int], Row], method: str) -> list[str]:
    rows = [bad if index < count else good(index) for index in range(total)]
    values = inspect_rows(rows, spec(method).dataset_formats())
    facts = Facts(dataset=DatasetFacts(exists=True, columns=tuple(good(0)), values=values))
    report = hft.check(spec(method, dataset="me/data"), facts=facts, backend="local")
    return [item.code for item in report.problems if item.code.startswith("DATA")]


def good_pair(index: int) -> Row:
    return {"prompt": f"What is {index}?", "chosen": f"{index}.", "rejected": f"{index + 1}."}


def good_completion(index: int) -> Row:
    return {"prompt": f"What is {index}?", "completion": f"{index}."}


@pytest.mark.parametrize(
    ("bad", "method", "code", "few", "many"),
    [
        ({"prompt": "x", "chosen": "y", "rejected": "y"}, "dpo", "DATA024", 1, 2),
        ({"prompt": "What?", "chosen": "What? Red", "rejected": "Blue"}, "dpo", "DATA025", 9, 10),
        ({"prompt": "x", "completion": " "}, "sft", "DATA020", 0, 1),
        ({"prompt": "x", "completion": "y"}, "sft", "DATA026", 20, 21),
    ],
)
def test_a_few_such_rows_are_usual(bad: Row, method: str, code: str, few: int, many: int) -> None:
    good = good_pair if method == "dpo" else good_completion
    assert shares(few, 100, bad, good, method) == []
    assert shares(many, 100, bad, good, method) == [code]


def test_prompts_may_come_again() -> None:
    rows = [{"prompt": "What is red?", "answer": "a rose"}] * 64
    facts = Facts(
        dataset=DatasetFacts(exists=True, columns=("prompt", "answer"), values=inspect_rows(rows, (("prompt",),)))
    )
    report = hft.check(spec("grpo", dataset="me/data"), facts=facts, backend="local")
    assert [item.code for item in report.problems if item.code.startswith("DATA")] == []


def test_trained_rows_in_the_evaluation_set(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    rows = [GOOD | {"prompt": f"What is {index}?"} for index in range(40)]
    train, test = write_jsonl(tmp_path, rows), write_jsonl(tmp_path / "other", rows[30:])
    asked = spec(dataset=str(train), eval_dataset=str(test), eval_strategy="steps")
    report = hft.check(asked, offline=True, backend="local")
    (problem,) = [item for item in report.problems if item.code == "DATA027"]
    assert problem.path == "eval_dataset"
    assert problem.why.startswith("10 of its 10 different rows")


FORMATS = {
    "sft": ("text", "messages", "prompt_completion", "prompt_completion_chat"),
    "dpo": ("preference", "preference_chat", "preference_implicit", "preference_implicit_chat"),
    "kto": ("unpaired", "unpaired_chat", "preference_chat"),
    "grpo": ("prompt_only", "prompt_only_chat"),
    "gkd": ("messages",),
}


@pytest.mark.parametrize(
    ("method", "format"), [(name, format) for name, several in FORMATS.items() for format in several]
)
def test_good_rows_are_let_pass(method: str, format: tiny.Format, tmp_path: Path) -> None:
    path = tiny.write_dataset(tmp_path / "rows.jsonl", format)
    report = hft.check(spec(method, dataset=str(path)), offline=True, backend="local")
    assert [item for item in report.problems if item.code.startswith("DATA")] == []
    assert [item for item in report.unchecked if item.code.startswith("DATA0") and "rows of" in item.needs] == []


def user(text: object) -> dict[str, Any]:
    return {"role": "user", "content": text}


def said(text: object, **more: object) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **more}


CALL = {"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}
RESULT = {"role": "tool", "name": "f", "content": "1"}
ROLE = {"role": "admin", "name": "x"}
USUAL: dict[str, tuple[str, Callable[[int], Row]]] = {
    "a call of a tool": (
        "sft",
        lambda i: {"messages": [user(f"{i}?"), said("", tool_calls=[CALL]), RESULT, said("1")], "tools": "[]"},
    ),
    "thoughts": ("sft", lambda i: {"messages": [user(f"{i}?"), said("a", reasoning_content="b")]}),
    "developers": ("sft", lambda i: {"messages": [{"role": "developer", "content": "a"}, user(f"{i}?"), said("b")]}),
    "empty lines": ("sft", lambda i: {"text": f"line {i}" if i % 3 else ""}),
    "a label beside a text": ("sft", lambda i: {"text": f"line {i}", "label": i % 2}),
    "names that rewards get": ("sft", lambda i: {"text": f"line {i}", "completions": "a", "prompts": "b"}),
    "answers in JSON": ("sft", lambda i: {"prompt": f"{i}?", "completion": json.dumps([ROLE])}),
    "tokens": ("sft", lambda i: {"input_ids": [i, 2, 3]}),
    "references that are missing": ("grpo", lambda i: {"prompt": f"{i}?", "solution": None}),
    "examples in the prompt": ("grpo", lambda i: {"prompt": [user("1?"), said("1"), user(f"{i}?")], "truth": i}),
    "the beginning of an answer": ("grpo", lambda i: {"prompt": [user(f"{i}?"), said("<think>")]}),
    "scores": (
        "dpo",
        lambda i: {"chosen": [user(f"{i}?"), said("a")], "rejected": [user(f"{i}?"), said("b")], "score_chosen": 1.0},
    ),
    "several turns": (
        "dpo",
        lambda i: {
            "prompt": [user(f"{i}?")],
            "chosen": [said("a"), user("b"), said("c")],
            "rejected": [said("d"), user("e"), said("f")],
        },
    ),
    "the same conversation beside": (
        "dpo",
        lambda i: {
            "chosen": [user(f"{i}?"), said("a")],
            "rejected": [user(f"{i}?"), said("b")],
            "messages": [user(f"{i}?"), said("a")],
        },
    ),
    "texts of both sides": ("reward", lambda i: {"chosen": f"Human: {i} Bot: a", "rejected": f"Human: {i} Bot: b"}),
    "likes": ("kto", lambda i: {"prompt": [user(f"{i}?")], "completion": [said("a")], "label": i % 3 == 0}),
}


@pytest.mark.parametrize("name", USUAL)
def test_what_is_usual_is_let_pass(name: str) -> None:
    method, row = USUAL[name]
    assert shares(0, 200, {}, row, method) == []


def test_a_slice_is_compared_by_its_own_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"Say {i}.", "completion": f"{i}."}) + "\n" for i in range(40)))

    def told(trained: str, evaluated: str) -> list[str]:
        spec = hft.SFT(
            model="me/model",
            dataset=hft.Dataset(id=str(path), split=trained),
            eval_dataset=hft.Dataset(id=str(path), split=evaluated),
            eval_strategy="epoch",
        )
        report = hft.check(spec, offline=True, backend="local")
        return [problem.code for problem in report.problems if problem.code == "DATA027"]

    assert (
        told("train[:90%]", "train[90%:]") == told("train[:30]", "train[30:]") == told("train[10:]", "train[:10]") == []
    )
    assert told("train[:30]", "train[28:]") == told("train[10:]", "train[:12]") == ["DATA027"]


def test_a_row_outside_the_slice_is_not_told(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    rows = [{"prompt": f"Say {i}.", "completion": None if i == 3 else f"{i}."} for i in range(40)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = {
        split: hft.gather(
            hft.SFT(model="me/model", dataset=hft.Dataset(id=str(path), split=split)), offline=True, backend="local"
        ).dataset.values
        for split in ("train[3:]", "train[4:]")
    }
    assert [(finding.kind, finding.row) for finding in found["train[3:]"].findings] == [("null", 0)]
    assert found["train[4:]"].findings == ()
