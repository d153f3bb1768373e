"""The table of what is tested of each method: all of it, each by a test of its own."""

from __future__ import annotations

from hfjobs_trainer.codegen.proofs import ASPECTS, collected, proofs
from hfjobs_trainer.specs.registry import METHODS


def test_every_test_that_is_named_exists() -> None:
    assert {aspect.proof(method) for aspect in ASPECTS for method in METHODS} - collected() == set()


def test_every_method_has_a_row_and_every_test_is_told() -> None:
    text = proofs({})
    assert [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")] == list(METHODS)
    for aspect in ASPECTS:
        assert {aspect.test, *aspect.others.values()} <= set(text.split("`"))
        assert aspect.without <= aspect.others.keys() <= set(METHODS)


def test_what_no_test_shows_is_not_promised() -> None:
    assert {aspect.cell("other", collected()) for aspect in ASPECTS} == {"not tested"}
    assert {aspect.cell("sft", collected()) for aspect in ASPECTS} == {"yes"}
