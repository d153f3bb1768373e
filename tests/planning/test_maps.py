"""Functions that make rows, in specs and plans; what they make is unknown until they run."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.facts import DatasetFacts, Facts
from hfjobs_trainer.facts.shape import Conversion, Shape

Row = dict[str, Any]
ROWS = DatasetFacts(exists=True, columns=("question", "answer"), splits=("train",), num_rows=100)
SHAPE = Shape((Conversion("question becomes prompt", renames={"question": "prompt", "answer": "completion"}),))


def to_text(row: Row) -> Row:
    return {"text": re.sub(r"\s+", " ", row["question"]), "more": row["answer"]}


def report(row: Row) -> Row:
    return {"text": row["question"]}


def dataset(row: Row) -> Row:
    return {"text": row["question"]}


def with_token(row: Row) -> Row:
    return {"text": row["question"], "token": "hf_abcdefghijklmnopqrstuvwxyzABCDEFGH"}


def spec_of(function: Any = to_text, **fields: Any) -> hft.SFT:
    given: dict[str, Any] = {"id": "me/data", "map": function, **fields}
    return hft.SFT(model="me/model", dataset=given, timeout="1h", output=hft.Output(hub_model_id="me/new"))


def codes(spec: hft.SFT, facts: DatasetFacts = ROWS) -> tuple[set[str], set[str]]:
    found = hft.check(spec, facts=Facts(dataset=facts), backend="local")
    return {item.code for item in found.problems}, {item.code for item in found.unchecked}


def test_a_function_is_held_as_its_source(tmp_path: Path) -> None:
    spec = spec_of()
    assert spec.dataset.map is not None
    assert (spec.dataset.map.name, spec.dataset.map.imports) == ("to_text", ["import re", "from typing import Any"])
    given: dict[str, Any] = json.loads(spec.to_json())
    again = hft.SFT(**given)
    assert (again, again.digest) == (spec, spec.digest)
    assert spec_of(report).digest != spec.digest
    for name, text in {"spec.json": spec.to_json(), "spec.py": hft.render(spec, facts=Facts(dataset=ROWS))}.items():
        (tmp_path / name).write_text(text)
        assert hft.load(str(tmp_path / name)) == spec


@pytest.mark.parametrize("streaming", [False, True])
def test_the_script_has_it_once(streaming: bool) -> None:
    both = spec_of(num_samples=10, streaming=streaming, keep_columns=["text"], columns={"text": "body"})
    both = both.replace(eval_dataset=both.dataset, eval_strategy="epoch", dataset_text_field="body", max_steps=5)
    script = hft.render(both, facts=Facts(dataset=ROWS, eval_dataset=ROWS), backend="local")
    assert script.count("\ndef to_text(") == 1
    assert script.index("import re\n") < script.index("\ndef to_text(")
    order = ["load_dataset(", "take(" if streaming else "select(", "map_rows(", "select_columns(", "rename_columns("]
    main = script[script.index("def main") :]
    assert [main.index(piece) for piece in order] == sorted(main.index(piece) for piece in order)


NO_SOURCE: list[Any] = [lambda row: row, "to_text", 3, str.upper]  # pyright: ignore[reportUnknownLambdaType]


@pytest.mark.parametrize("function", NO_SOURCE)
def test_what_has_no_source_is_refused(function: Any) -> None:
    with pytest.raises(hft.SpecError) as error:
        spec_of(function)
    assert [problem.path for problem in error.value.problems] == ["dataset.map"]


def test_what_it_makes_is_not_known() -> None:
    problems, unchecked = codes(spec_of())
    assert not problems
    assert {"DATA004", "SFT004", "VIS001"} <= unchecked
    # the columns of the dataset are none that could be kept or renamed
    problems, unchecked = codes(spec_of(columns={"question": "body"}))
    assert "DATA005" not in problems
    assert "DATA005" in unchecked


def test_what_is_kept_of_it_is_known() -> None:
    problems, unchecked = codes(spec_of(keep_columns=["text"]))
    assert not problems
    assert not {"DATA004", "SFT004", "VIS001"} & unchecked
    assert "DATA004" in codes(spec_of(keep_columns=["body"]))[0]
    assert "DATA004" not in codes(spec_of(keep_columns=["body"], columns={"body": "text"}))[0]


def test_it_wins_over_a_known_shape() -> None:
    shaped = replace(ROWS, shape=SHAPE)
    plain = spec_of(None)
    assert "rename_columns" in hft.render(plain, facts=Facts(dataset=shaped), backend="local")
    for spec in (spec_of(), spec_of(None, columns={"question": "text"})):
        plan = hft.plan(spec, facts=Facts(dataset=shaped), backend="local")
        assert "question becomes prompt" not in str(plan)


def test_names_of_the_script_are_not_taken() -> None:
    found = hft.check(spec_of(report), facts=Facts(dataset=ROWS), backend="local").problems
    assert [(item.code, item.path, item.why) for item in found] == [
        ("GRPO013", "dataset.map", "the script defines report itself: rename it, to report_row for example")
    ]
    assert codes(spec_of(dataset))[0] == {"GRPO013"}
    assert codes(spec_of().replace(eval_dataset={"id": "me/b", "map": to_text}, eval_strategy="epoch"))[0] == set()


def test_secrets_are_found_in_it() -> None:
    found = hft.check(spec_of(with_token), facts=Facts(dataset=ROWS), backend="local").problems
    assert [(item.code, item.path) for item in found] == [("SEC002", "dataset.map.source")]


def test_a_fix_keeps_it() -> None:
    spec = spec_of(split="training", keep_columns=["text"])
    found = hft.check(spec, facts=Facts(dataset=ROWS), backend="local").problems
    (fix,) = [item.fix for item in found if item.code == "DATA010"]
    assert "map=to_text" in fix
    names: dict[str, Any] = {"hft": hft, "to_text": to_text}
    mended = eval(f"dict({fix})", names)  # noqa: S307 - our own fix
    assert spec.replace(**mended).dataset.map == spec.dataset.map
