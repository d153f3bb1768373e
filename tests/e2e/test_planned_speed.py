"""What the planner chooses for speed is what a script really trains with."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hfjobs_trainer as hft
from examples import tiny
from hfjobs_trainer.facts import DatasetFacts, Facts, LengthFacts
from tests.e2e.methods import Warm
from tests.planning.known_models import QWEN_05B

SHORT = LengthFacts("tokens", 100, 30.0, (30.0,) * 20)
FACTS = Facts(model=QWEN_05B, dataset=DatasetFacts(exists=True, columns=("messages",), num_rows=100_000, lengths=SHORT))


def test_packed_rows_train(
    tiny_model: Path, tiny_data: Callable[[tiny.Format], Path], warm: Warm, tmp_path: Path
) -> None:
    spec = hft.SFT(
        model=str(tiny_model),
        dataset=str(tiny_data("messages")),
        max_length=128,
        num_train_epochs=1,
        logging_steps=1,
        hardware="l4x1",
        tracking=hft.Tracking(report_to="none"),
    )
    made = hft.plan(spec, facts=FACTS)
    chosen = {decision.path: decision.value for decision in made.decisions}
    assert chosen["packing"] is True
    assert arguments(made.script)["packing"] is True

    script = tmp_path / "script.py"
    script.write_text(made.script, encoding="utf-8")
    run = warm.run_file("sft", script)
    (end,) = run.named("end")
    # of the 32 rows, four batches of 8 could be made: packed sequences are fewer
    assert 1 <= end["step"] < 4
    assert len(run.metrics("loss")) == end["step"]


def arguments(script: str) -> dict[str, Any]:
    """What the script gives to its SFTConfig, where it is a plain value."""
    (call,) = [
        node
        for node in ast.walk(ast.parse(script))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "SFTConfig"
    ]
    return {word.arg: word.value.value for word in call.keywords if word.arg and isinstance(word.value, ast.Constant)}
