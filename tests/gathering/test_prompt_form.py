"""The form of the prompts, read from the rows, tells a reward that reads another one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import hfjobs_trainer as hft

TEXT, CHAT = "What is 1 + 1?", [{"role": "user", "content": "What is 1 + 1?"}]


def of_texts(completions: list[Any], **kwargs: Any) -> list[float]:
    return [float(len(completion.strip())) for completion in completions]


def of_messages(completions: list[Any], **kwargs: Any) -> list[float]:
    scores: list[float] = []
    for completion in completions:
        completion = completion[0]["content"]
        scores.append(float(len(completion.strip())))
    return scores


@pytest.mark.parametrize(
    ("prompts", "wrong"),
    [([TEXT, TEXT], of_messages), ([CHAT, CHAT], of_texts), ([TEXT, CHAT], None), ([None], None), ([[]], None)],
)
@pytest.mark.parametrize("column", ["prompt", "question"])
def test_a_reward_for_the_other_form_is_refused(tmp_path: Path, prompts: list[Any], wrong: Any, column: str) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({column: prompt}) + "\n" for prompt in prompts), encoding="utf-8")
    dataset = hft.Dataset(id=str(rows), columns={} if column == "prompt" else {column: "prompt"})
    spec = hft.GRPO(model="org/model", dataset=dataset, reward_funcs=[of_texts, of_messages])
    report = hft.check(spec, offline=True, backend="local")
    found = [problem.why for problem in report.problems if problem.code == "GRPO018"]
    assert [why.split(" ")[0] for why in found] == ([wrong.__name__] if wrong else [])
    if wrong is of_texts:
        assert 'take its text by `[0]["content"]`' in found[0]
    unchecked = [item for item in report.unchecked if item.code == "GRPO018"]
    assert [item.needs for item in unchecked] == ([] if wrong else [f"whether the prompts of {rows} are messages"])
