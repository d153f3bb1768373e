"""Rows of known shapes: what is recognized, and what TRL will get."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from gathering.repos import make_repo
from gathering.row_lengths import NO_MODEL, found
from gathering.shaped_rows import AS_THEY_ARE, PAIR, SHAPES, SHARE_GPT, TALK, Row, Shaped, assistant, said, user
from gathering.test_local_dataset import lines
from hubsim import Hub

import hfjobs_trainer as hft
from hfjobs_trainer.facts.shape import Misfit
from hfjobs_trainer.gathering.sample import Sampled, filled, sample
from hfjobs_trainer.specs.base import TrainSpec

MORE: dict[str, dict[str, Any]] = {
    "grpo": {"reward_funcs": "think_format_reward"},
    "gkd": {"teacher_model": "acme/teacher"},
}


def spec_of(method: str, dataset: Any) -> TrainSpec:
    return hft.METHODS[method](model=NO_MODEL, dataset=dataset, **MORE.get(method, {}))


def sampled(method: str, rows: list[Row], **fields: Any) -> Sampled:
    spec = spec_of(method, {"id": "me/data", **fields})
    return sample(filled(rows), spec.dataset, spec.dataset_formats())


@pytest.mark.parametrize("shaped", SHAPES.values(), ids=SHAPES)
def test_known_shapes_become_what_the_method_takes(shaped: Shaped) -> None:
    many = sampled(shaped.method, shaped.rows * 3)
    assert many.shape is not None
    assert many.rows == shaped.made * 3
    assert many.shape.misfit is None
    assert all(step.why for step in many.shape.conversions)
    # what is right stays as it is
    assert sampled(shaped.method, shaped.made).shape is None


@pytest.mark.parametrize(("method", "rows"), AS_THEY_ARE.values(), ids=AS_THEY_ARE)
def test_other_rows_stay_as_they_are(method: str, rows: list[Row]) -> None:
    same = sampled(method, rows * 2)
    assert (same.shape, same.rows) == (None, rows * 2)


def test_one_row_that_is_otherwise_leaves_all_as_they_are() -> None:
    rows = [{"prompt": "q", **PAIR}, {"prompt": "another", **PAIR}]
    assert sampled("dpo", rows).shape is None
    assert sampled("sft", [{"messages": json.dumps(TALK)}, {"messages": "[unfinished"}]).shape is None


def test_rows_grow_with_their_answers() -> None:
    answers = [*SHAPES["weights of 0"].rows[0]["messages"][1:2], user("r"), *TALK[1:], *TALK]
    split = sampled("sft", [{"messages": [user("q"), *answers]}])
    assert split.shape is not None
    assert (split.shape.rows_of_one, len(split.rows)) == (2, 2)


@pytest.mark.parametrize("method", ["sft", "grpo", "gkd"])
def test_unknown_roles_are_told(method: str) -> None:
    rows = [{"conversations": [said("narrator", "x"), *SHARE_GPT]}]
    odd = sampled(method, rows)
    assert odd.shape is not None
    assert odd.shape.misfit == Misfit("role", "conversations", ("narrator",))


def test_a_weight_of_nothing_is_told_where_it_cannot_be_kept() -> None:
    odd = sampled("gkd", SHAPES["weights of 0"].rows)
    assert odd.shape is not None
    assert odd.shape.misfit == Misfit("weight", "messages")


def test_what_the_spec_says_comes_first() -> None:
    rows = [{"first": "q", "messages": TALK}]
    assert sampled("sft", rows, columns={"first": "prompt"}).shape is None
    assert sampled("sft", [{"prompt": "q", **PAIR}], keep_columns=["chosen", "rejected"]).shape is None
    (step,) = sampled("dpo", SHAPES["stack-exchange"].rows, columns={"question": "prompt"}).shape.conversions  # pyright: ignore[reportOptionalMemberAccess]
    assert step.renames == {"response_j": "chosen", "response_k": "rejected"}


def test_a_function_of_the_user_is_not_run_here() -> None:
    def to_text(row: Row) -> Row:
        raise RuntimeError

    assert sampled("sft", [{"conversations": SHARE_GPT}], map=to_text) == Sampled([])


# ---------------------------------------------------------------------------------------- where the rows are


def test_lengths_are_those_of_the_rows_that_are_trained_on(tmp_path: Path) -> None:
    path = tmp_path / "alpaca.jsonl"
    path.write_text(lines([{"instruction": "12", "input": "345", "output": "6789"}]))
    facts = found(spec_of("sft", str(path)))
    assert facts.lengths is not None
    assert (facts.lengths.mean, facts.lengths.prompt_mean) == (2 + 2 + 3 + 4, 7)


def test_a_table_holds_what_datasets_reads(tmp_path: Path) -> None:
    path = tmp_path / "alpaca.csv"
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerows([["instruction", "input", "output", "score"], ["do", "", "x", "1"], ["do", "it", "y", "2.5"]])
    path.write_text(text.getvalue())
    facts = found(spec_of("sft", str(path)))
    assert facts.shape is not None
    assert facts.shape.columns_after(facts.columns or ()) == ("completion", "score", "prompt")


def test_a_dataset_on_the_hub_is_converted_too(hub: Hub) -> None:
    make_repo(hub, "datasets", "acme/data", {"train.jsonl": lines([{"conversations": SHARE_GPT}] * 5)})
    facts = found(spec_of("sft", "acme/data"), hub)
    assert facts.shape is not None
    assert facts.shape.columns_after(("conversations",)) == ("messages",)
    assert facts.lengths is not None
    assert facts.lengths.sampled == 5


def test_what_the_viewer_cuts_off_tells_nothing(hub: Hub) -> None:
    long = [said("human", "x" * 30_000), said("gpt", "a")]
    rows = [{"conversations": long, "note": "x"}] * 8 + [{"conversations": SHARE_GPT, "note": "x"}] * 12
    make_repo(hub, "datasets", "acme/data", {"train.jsonl": lines(rows)})
    facts = found(spec_of("sft", "acme/data"), hub)
    assert facts.shape is not None
    assert facts.lengths is not None
    assert 0 < facts.lengths.sampled < 8


def test_other_columns_that_are_cut_off_cost_no_rows(hub: Hub) -> None:
    rows = [{"conversations": SHARE_GPT, "note": "x" * 30_000}] * 20
    make_repo(hub, "datasets", "acme/data", {"train.jsonl": lines(rows)})
    facts = found(spec_of("sft", "acme/data"), hub)
    assert facts.shape is not None
    assert facts.lengths is not None
    assert facts.lengths.sampled >= 10


def test_each_part_of_a_mixture_has_its_shape(tmp_path: Path) -> None:
    for name, row in {"a": {"conversations": SHARE_GPT}, "b": {"messages": TALK}}.items():
        (tmp_path / f"{name}.jsonl").write_text(lines([row] * 4))
    facts = found(spec_of("sft", [str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")]))
    assert facts.shape is not None
    assert facts.mixed_with[0].shape is None


def test_weights_that_leave_nothing_or_mean_nothing() -> None:
    none = sampled("sft", [{"messages": [user("q"), {**assistant("a"), "weight": 0}]}] * 2)
    assert none.shape is not None
    assert (none.rows, len(none.shape.conversions), none.shape.rows_of_one) == ([], 1, 0)
    for weight, told in ((0.5, "0.5"), ("0", '"0"')):
        odd = sampled("sft", [{"messages": [user("q"), {**assistant("a"), "weight": weight}]}] * 2)
        assert odd.shape is not None
        assert odd.shape.misfit == Misfit("weight", "messages", (told,))


def test_text_among_messages_is_read_as_datasets_does() -> None:
    # a column of several types is one of JSON, texts included
    assert sampled("sft", [{"messages": TALK}, {"messages": json.dumps(TALK)}]).rows == [{"messages": TALK}] * 2
