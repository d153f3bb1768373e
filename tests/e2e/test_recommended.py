"""What is recommended trains: the filled-in spec of a tiny model, with real TRL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import hfjobs_trainer as hft
from tests.e2e.methods import Inputs, Warm

# PEFT asks a model of transformers 5.23 for a name that it has since changed
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")


@pytest.mark.parametrize("method", ["reward", "grpo"])
def test_a_recommended_adapter_trains(method: str, inputs: Inputs, warm: Warm, tmp_path: Path) -> None:
    left_open = ("learning_rate", "eval_strategy", "eval_fraction", "eval_steps", "save_steps", "num_generations")
    fields: dict[str, Any] = inputs.fields(method) | {"lora": hft.LoRA(), "report_to": "none"}
    given = {name: value for name, value in fields.items() if name not in (*left_open, "tracking")}
    spec = hft.METHODS[method](**given)
    found = hft.recommend(spec, offline=True, backend="local")
    filled = {row.field for row in found.rows if row.filled}
    assert {"learning_rate", "global_batch_size", "lora.target_modules", "lr_scheduler_type"} <= filled
    assert not [problem for problem in hft.check(found.spec, offline=True, backend="local") if "RECIPE" in problem.code]
    done = warm.run(method, {name: value for name, value in found.spec.to_dict().items() if name != "method"}, tmp_path)
    assert (done.output / "adapter_model.safetensors").is_file()
    assert done.metrics("loss") or done.metrics("train_loss")
