"""What the rules say of mixtures: every dataset of one is looked at."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from rules.case import base
from rules.test_variants import mixture, said

import hfjobs_trainer as hft
from hfjobs_trainer.facts import DatasetFacts, Facts, ModelFacts

HIDDEN = "or does not show it to your token; a folder here is written ./"
CHATS = DatasetFacts(exists=True, columns=("messages",), splits=("train",), num_rows=50_000)


def part(**facts: Any) -> DatasetFacts:
    return replace(CHATS, **facts)


# (code, the first of two datasets, the other, facts about each, path and reason of what is said)
MIXTURES: list[tuple[str, Any, Any, DatasetFacts, DatasetFacts, list[tuple[str, str]]]] = [
    (
        "DATA004",
        "me/d",
        "me/e",
        CHATS,
        part(columns=("foo",)),
        [
            (
                "dataset.mixed_with.0",
                "SFT needs messages, text, prompt and completion, conversations or input_ids; me/e has foo",
            )
        ],
    ),
    (
        "DATA005",
        "me/d",
        {"id": "me/e", "columns": {"conv": "messages"}},
        CHATS,
        CHATS,
        [("dataset.mixed_with.0.columns", "me/e has no column conv; it has messages")],
    ),
    (
        "DATA010",
        "me/d",
        "me/e",
        CHATS,
        part(splits=("test",)),
        [("dataset.mixed_with.0.split", 'me/e has no split "train"; it has test')],
    ),
    (
        "VIS001",
        "me/d",
        "me/e",
        CHATS,
        part(columns=("messages", "image")),
        [("model", "is a text model, and me/d has images")],
    ),
    (
        "HUB001",
        "me/d",
        "./y.jsonl",
        CHATS,
        CHATS,
        [
            (
                "dataset.mixed_with.0.id",
                "./y.jsonl is on this machine, where a job cannot read it: push it, and give its id",
            )
        ],
    ),
    (
        "HUB002",
        "me/d",
        "me/e",
        CHATS,
        DatasetFacts(exists=False),
        [("dataset.mixed_with.0.id", f"the Hub has no dataset me/e, {HIDDEN}me/e")],
    ),
    (
        "HUB002",
        "me/d",
        "me/e",
        DatasetFacts(exists=False),
        CHATS,
        [("dataset.id", f"the Hub has no dataset me/d, {HIDDEN}me/d")],
    ),
    (
        "HUB003",
        "me/d",
        "me e",
        CHATS,
        CHATS,
        [
            (
                "dataset.mixed_with.0.id",
                '"me e" is not a repository id, which is namespace/name; a path here begins with ./',
            )
        ],
    ),
]


@pytest.mark.parametrize(("code", "first", "other", "first_facts", "other_facts", "expected"), MIXTURES)
def test_every_part_of_a_mixture_is_looked_at(
    code: str,
    first: Any,
    other: Any,
    first_facts: DatasetFacts,
    other_facts: DatasetFacts,
    expected: list[tuple[str, str]],
) -> None:
    facts = replace(mixture(first_facts, other_facts), model=ModelFacts(exists=True, is_vision=False))
    report = hft.check(base({"dataset": [first, other]}), facts=facts)
    assert [(problem.path, problem.why) for problem in report.problems if problem.code == code] == expected
    assert code not in [item.code for item in report.unchecked]

    good = replace(mixture(CHATS, CHATS), model=ModelFacts(exists=True, is_vision=False))
    assert not said(code, {"dataset": ["me/d", "me/e"]}, good)


def test_a_part_of_which_nothing_is_known_is_unchecked() -> None:
    facts = Facts(dataset=CHATS, model=ModelFacts(exists=True))
    codes = {item.code: item.needs for item in hft.check(base({"dataset": ["me/d", "me/e"]}), facts=facts).unchecked}
    assert codes["DATA004"] == "the columns of me/e"
    assert codes["HUB002"] == "whether the Hub has me/e"
    assert codes["VIS001"] == "the columns of me/d"


@pytest.mark.parametrize(("rows", "refused"), [(50_000, False), (2, True)])
def test_the_prompts_of_a_mixture_are_counted_together(rows: int, refused: bool) -> None:
    prompts = DatasetFacts(exists=True, columns=("prompt",), splits=("train",), num_rows=3)
    facts = mixture(prompts, replace(prompts, num_rows=rows))
    fields = {
        "method": "grpo",
        "dataset": [{"id": "me/d", "num_samples": 3}, "me/e"],
        "num_generations": 2,
        "per_device_train_batch_size": 16,
        "hardware": "a10g-large",
    }
    assert bool(said("GRPO008", fields, facts)) is refused
