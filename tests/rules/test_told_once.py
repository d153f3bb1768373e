"""One fault is told once: of rows, and of what their chat template makes of them."""

from __future__ import annotations

from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.facts import (
    DatasetFacts,
    Facts,
    ModelFacts,
    RenderedWith,
    RowFinding,
    SequenceTokens,
    TemplateFacts,
)
from hfjobs_trainer.facts.values import Finding, ValueFacts


def told(
    row: Finding | None,
    rendered: RowFinding | None,
    *,
    masks: bool = False,
    vision: bool = False,
    trains: bool = True,
) -> set[str]:
    """Codes of the rules about rows and templates that find something."""
    values = ValueFacts(8, (row,) if row else ())
    facts = Facts(
        model=ModelFacts(exists=True, is_vision=vision),
        dataset=DatasetFacts(exists=True, columns=("messages",), values=values),
        template=TemplateFacts(
            rendered=8,
            made_with=RenderedWith("labels", assistant_only_loss=masks),
            talks=8,
            has_template=True,
            eos_token="<end>",
            pad_token="<pad>",
            can_mask=True,
            findings=(rendered,) if rendered else (),
            sequences=() if trains else (SequenceTokens(0, 9, ()),),
        ),
    )
    fields: dict[str, Any] = {"assistant_only_loss": True} if masks else {}
    spec = hft.SFT(model="me/model", dataset="me/data", **fields)
    codes = {problem.code for problem in hft.check(spec, facts=facts).problems}
    return {code for code in codes if code.startswith(("TMPL", "TOK", "DATA"))}


ROW = ("messages",)


@pytest.mark.parametrize(
    ("row", "rendered", "code"),
    [
        (Finding("other role", ROW, 0, 8, "human"), RowFinding("text", 0, 8, "human"), "DATA017"),
        (Finding("other role", ROW, 0, 8, "human"), RowFinding("raises", 0, 8, "unknown role"), "DATA017"),
        (Finding("parts", ROW, 0, 8), RowFinding("raises", 0, 8, "TypeError: not a str"), "DATA018"),
        (Finding("unknown role", ROW, 3, 2, "narrator"), RowFinding("text", 3, 2, "narrator"), "TMPL003"),
        (Finding("unknown role", ROW, 3, 2, "narrator"), RowFinding("raises", 3, 2, "no such role"), "TMPL001"),
    ],
)
def test_what_a_template_makes_of_a_wrong_row(row: Finding, rendered: RowFinding, code: str) -> None:
    assert told(row, rendered) == {code}
    # either alone is told
    assert told(row, None)
    assert told(None, rendered)


def test_another_fault_is_told_beside_it() -> None:
    unknown = Finding("unknown role", ROW, 3, 2, "narrator")
    assert told(unknown, RowFinding("text", 5, 1, "tool")) == {"DATA021", "TMPL003"}
    assert told(unknown, RowFinding("raises", 5, 1, "no system message")) == {"DATA021", "TMPL001"}
    # templates of vision models take parts: this one raises at something else
    assert told(Finding("parts", ROW, 0, 8), RowFinding("raises", 0, 8, "no"), vision=True) == {"TMPL001"}


def test_rows_without_an_answer() -> None:
    some, every = Finding("no answer", ROW, 5, 3), Finding("no answer", ROW, 0, 8)
    assert told(some, RowFinding("no assistant", 5, 3, "user"), masks=True) == {"TMPL005"}
    assert told(some, None, masks=True) == {"DATA019"}
    # the loss on all messages would not help
    assert told(every, RowFinding("no assistant", 0, 8, "user"), masks=True, trains=False) == {"DATA019"}
    assert told(None, RowFinding("no assistant", 0, 8, "user"), masks=True, trains=False) == {"TMPL005"}
    assert told(None, None, trains=False) == {"TOK006"}


@pytest.mark.parametrize(("columns", "codes"), [(("prompts",), {"DATA004"}), (("prompt", "completions"), {"DATA028"})])
def test_a_column_is_renamed_by_one_rule(columns: tuple[str, ...], codes: set[str]) -> None:
    """One that may be the prompt is not told of as one that is in the way."""
    facts = Facts(dataset=DatasetFacts(exists=True, columns=columns, values=ValueFacts(8)))
    spec = hft.GRPO(model="me/model", dataset="me/data", reward_funcs="think_format_reward")
    found = {problem.code for problem in hft.check(spec, facts=facts, backend="local").problems}
    assert found & {"DATA004", "DATA028"} == codes


@pytest.mark.parametrize(("given", "codes"), [({}, {"MODEL002"}), ({"processing_class": "me/base"}, set[str]())])
def test_a_tokenizer_may_be_anothers(given: dict[str, str], codes: set[str]) -> None:
    facts = Facts(model=ModelFacts(exists=True, weights="transformers", has_tokenizer=False))
    spec = hft.SFT(model="me/model", dataset="me/data", **given)
    found = {problem.code for problem in hft.check(spec, facts=facts, backend="local").problems}
    assert found & {"MODEL002"} == codes
