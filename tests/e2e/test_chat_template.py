"""A chat template as text replaces the tokenizer's own, in what is trained on and in what is saved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import hfjobs_trainer as hft
from tests.e2e.methods import STEPS, Inputs, Warm

TEMPLATE = (
    "{% for message in messages %}{{ message['role'] + ': ' + message['content'] + eos_token + '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant: ' }}{% endif %}"
)


@pytest.mark.parametrize("method", ["sft", "grpo", "orpo"])
def test_a_template_of_ones_own(method: str, warm: Warm, inputs: Inputs, tmp_path: Path) -> None:
    more: dict[str, Any] = {"tracking": hft.Tracking(report_to="none"), "chat_template": TEMPLATE, "eval_fraction": 4}
    run = warm.run(method, inputs.fields(method, **more), tmp_path)
    assert run.named("end")[0]["step"] == STEPS
    assert (run.output / "chat_template.jinja").read_text("utf-8") == TEMPLATE
    assert run.metrics("eval_")
