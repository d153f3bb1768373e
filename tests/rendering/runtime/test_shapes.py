"""Rows of known shapes, converted by the very lines of rendered scripts."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from gathering.shaped_rows import SHAPES, SHARE_GPT, TALK, Row, Shaped, assistant, said, user
from gathering.test_shapes import MORE

import hfjobs_trainer as hft
from hfjobs_trainer.rendering.runtime.map_rows import map_rows
from hfjobs_trainer.rendering.runtime.shapes import as_messages, drop_weights


def library() -> Any:
    import datasets

    return datasets


def loaded(script: str) -> list[Row]:
    """The training rows, as the script has them when it makes the trainer."""
    names: dict[str, Any] = {"__name__": "script"}
    exec(compile(script, "script.py", "exec"), names)  # noqa: S102
    names |= {"load_dataset": library().load_dataset}
    (main,) = [node for node in ast.parse(script).body if isinstance(node, ast.FunctionDef) and node.name == "main"]
    for line in filter(None, map(ast.unparse, main.body)):
        if line.startswith(("dataset = load_dataset(", "dataset = dataset.", "dataset = map_rows(")):
            exec(line, names)  # noqa: S102
    return [_plain(row) for row in names["dataset"]]


def _plain(value: Any) -> Any:
    """A value without what ``datasets`` fills in."""
    if isinstance(value, dict):
        named = cast("dict[str, Any]", value)
        return {name: _plain(item) for name, item in named.items() if item is not None}
    return [_plain(item) for item in cast("list[Any]", value)] if isinstance(value, list) else value


def render(folder: Path, shaped: Shaped, **fields: Any) -> str:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in shaped.rows))
    spec = {"method": shaped.method, "model": "me/model", "tracking": {"report_to": "none"}}
    dataset = {"id": str(path), **fields}
    return hft.render(spec | MORE.get(shaped.method, {}) | {"dataset": dataset}, offline=True, backend="local")


@pytest.mark.parametrize("shaped", SHAPES.values(), ids=SHAPES)
def test_the_script_makes_what_was_planned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shaped: Shaped, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    script = render(tmp_path, shaped)
    assert loaded(script) == _plain(shaped.made)
    # rows that become others are counted
    assert ("hft.mapped" in capsys.readouterr().out) == ("map_rows" in script)


@pytest.mark.torch
def test_a_stream_is_converted_as_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "cache"))
    for name in ("ShareGPT", "weights of 0", "alpaca", "a prompt beside messages"):
        shaped = SHAPES[name]
        path = tmp_path / "rows.jsonl"
        script = render(tmp_path, shaped)
        streamed = script.replace('split="train")', 'split="train", streaming=True)')
        assert str(path) in streamed
        assert loaded(streamed) == _plain(shaped.made)


def test_a_role_that_no_row_had_before_ends_the_run() -> None:
    with pytest.raises(ValueError, match="unknown role 'narrator'"):
        as_messages({"conversations": [*SHARE_GPT, said("narrator", "x")]}, {"conversations": "messages"})


def test_a_weight_that_no_row_had_before_ends_the_run() -> None:
    with pytest.raises(ValueError, match="weight 0"):
        drop_weights({"messages": [user("q"), assistant("a", weight=0)]})


# ---------------------------------------------------------------------------------------- any function


def numbers(count: int) -> Any:
    return library().Dataset.from_dict({"number": list(range(count)), "name": [str(index) for index in range(count)]})


def halve(row: Row) -> Row | list[Row] | None:
    """Odd numbers are dropped, and the hundreds are there twice."""
    half = {"half": row["number"] // 2}
    return None if row["number"] % 2 else [half, half] if row["number"] % 100 == 0 else half


@pytest.mark.torch
@pytest.mark.parametrize("streaming", [False, True])
def test_the_row_at_which_a_function_fails_is_told(streaming: bool) -> None:
    def late(row: dict[str, Any]) -> Any:
        return {"half": 1 // (1200 - row["number"])}

    rows = numbers(2500)
    with pytest.raises(ZeroDivisionError) as error:
        list(map_rows(rows.to_iterable_dataset() if streaming else rows, late))
    assert error.value.__notes__ == ["late was called with row 1200: {'number': 1200, 'name': '1200'}"]


def test_what_is_no_row_and_what_leaves_none_end_the_run() -> None:
    with pytest.raises(SystemExit, match=r"<lambda> returned a int, not a row, .* for row 0: \{'number': 0, "):
        map_rows(numbers(3), lambda row: row["number"])
    with pytest.raises(SystemExit, match="<lambda> dropped all 3 rows"):
        map_rows(numbers(3), lambda row: None)


def test_rows_are_replaced_in_order(capsys: pytest.CaptureFixture[str]) -> None:
    mapped = map_rows(numbers(2500), halve)
    expected = [half for half in range(1250) for _ in range(2 if half % 50 == 0 else 1)]
    assert mapped.column_names == ["half"]
    assert mapped["half"][:] == expected
    event = json.loads(capsys.readouterr().out)
    assert (
        event.items()
        >= {
            "event": "hft.mapped",
            "function": "halve",
            "before": 2500,
            "rows": 1275,
            "dropped": 1250,
            "added": 25,
        }.items()
    )


@pytest.mark.torch
def test_a_stream_is_replaced_in_order() -> None:
    mapped = map_rows(numbers(2500).to_iterable_dataset(), halve)
    assert [row["half"] for row in mapped][:4] == [0, 0, 1, 2]


@pytest.mark.torch
def test_a_whole_batch_may_be_dropped() -> None:
    def late(row: Row) -> Iterator[Row] | Row | None:
        return None if row["number"] < 1500 else {"text": row["name"], "messages": TALK}

    for dataset in (numbers(2500), numbers(2500).to_iterable_dataset()):
        rows = list(map_rows(dataset, late))
        assert len(rows) == 1000
        assert rows[0] == {"text": "1500", "messages": TALK}


def test_columns_may_come_and_go() -> None:
    def odd(row: Row) -> Row:
        return {"text": row["name"]} | ({"more": 1} if row["number"] % 2 else {})

    assert list(map_rows(numbers(2), odd)) == [{"text": "0", "more": None}, {"text": "1", "more": 1}]
