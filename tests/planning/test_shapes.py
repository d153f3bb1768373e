"""Known shapes of rows in plans: decisions, columns and numbers of rows."""

from __future__ import annotations

from typing import Any

import hfjobs_trainer as hft
from hfjobs_trainer.facts import DatasetFacts, Facts
from hfjobs_trainer.facts.shape import Conversion, Shape

SPLIT = Conversion(
    "answers of weight 1 are completions",
    drops=("messages",),
    makes=("prompt", "completion"),
    function="split_by_weight",
    several=True,
)
PAIR = Conversion("response_j becomes chosen", renames={"response_j": "chosen", "response_k": "rejected"})
NO_PROMPT = Conversion("prompt is dropped", drops=("prompt",))


def known(*columns: str, conversions: tuple[Conversion, ...], **shape: Any) -> Facts:
    found = Shape(conversions, **shape)
    return Facts(dataset=DatasetFacts(exists=True, columns=columns, splits=("train",), num_rows=100, shape=found))


def plan(method: str, facts: Facts, **fields: Any) -> hft.Plan:
    spec = {"method": method, "model": "me/model", "dataset": "me/data", "report_to": "none", **fields}
    return hft.plan(spec, facts=facts, backend="local")


def test_what_becomes_what_is_a_decision() -> None:
    made = plan("dpo", known("prompt", "response_j", "response_k", conversions=(PAIR, NO_PROMPT)))
    assert [(item.path, item.value, item.why) for item in made.decisions if item.path.startswith("dataset")] == [
        ("dataset.columns", {"response_j": "chosen", "response_k": "rejected"}, PAIR.why),
        ("dataset", "without prompt", NO_PROMPT.why),
    ]
    assert made.script.index("rename_columns(") < made.script.index('remove_columns("prompt")')


def test_rows_that_become_several_are_counted() -> None:
    facts = known("messages", conversions=(SPLIT,), rows_of_one=2.5)
    made = plan("sft", facts)
    assert made.run is not None
    assert made.run.rows.total == 250
    few = plan("sft", facts, dataset={"id": "me/data", "num_samples": 10})
    assert few.run is not None
    assert few.run.rows.total == 25


def test_weights_of_nothing_need_the_loss_of_completions() -> None:
    facts = known("messages", conversions=(SPLIT,))
    spec = hft.SFT(model="me/model", dataset="me/data", completion_only_loss=False)
    (problem,) = hft.check(spec, facts=facts, backend="local").problems
    assert (problem.code, problem.fix) == ("DATA031", "completion_only_loss=None")
    assert hft.check(spec.replace(completion_only_loss=None), facts=facts, backend="local").ok


def test_a_shape_of_other_columns_is_none() -> None:
    facts = known("prompt", "response_j", "response_k", conversions=(PAIR,))
    renamed = {"id": "me/data", "columns": {"response_j": "chosen", "response_k": "rejected"}}
    made = plan("dpo", facts, dataset=renamed)
    assert not [item for item in made.decisions if item.path.startswith("dataset")]
    assert made.script.count("rename_columns(") == 1
