"""Trains rows as they are with TRL's own trainers, one request after the other: what becomes of them.

Requests come as lines of JSON on stdin, ``{"method", "rows", "model", "arguments"}``; the answer to each says of what
kind the error was, if there was one, how many steps were made, the loss, and what was trained on.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

EXPERIMENTS = {"orpo": "ORPO", "cpo": "CPO", "gkd": "GKD", "online_dpo": "OnlineDPO"}
STABLE = {"sft": "SFT", "dpo": "DPO", "kto": "KTO", "reward": "Reward", "grpo": "GRPO", "rloo": "RLOO"}
REWARDED = ("grpo", "rloo", "online_dpo")


def length(completions: list[Any], **columns: Any) -> list[float]:
    return [float(len(str(item))) for item in completions]


def own_arguments(method: str) -> dict[str, Any]:
    match method:
        case "grpo" | "rloo":
            return {"max_completion_length": 4, "num_generations": 2}
        case "gkd" | "online_dpo":
            return {"max_new_tokens": 4}
        case "kto" | "sft" | "dpo" | "reward" | "orpo" | "cpo":
            return {}
        case _:
            raise ValueError(method)


def build(method: str, rows: list[Mapping[str, Any]], model: str, arguments: Mapping[str, Any]) -> Any:
    folder = tempfile.mkdtemp()
    path = Path(folder) / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    datasets: Any = importlib.import_module("datasets")
    dataset = datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=f"{folder}/cache")
    name = STABLE.get(method) or EXPERIMENTS[method]
    trl: Any = importlib.import_module("trl" if method in STABLE else f"trl.experimental.{method}")
    common = {"max_steps": 1, "per_device_train_batch_size": 2, "report_to": "none", "use_cpu": True, "bf16": False}
    quiet = {"disable_tqdm": True, "save_strategy": "no", "logging_strategy": "no", "gradient_checkpointing": False}
    config = getattr(trl, f"{name}Config")(
        output_dir=folder, **common, **quiet, **own_arguments(method), **dict(arguments)
    )
    extra: dict[str, Any] = {"reward_funcs": length} if method in REWARDED else {}
    if method in EXPERIMENTS:
        tokenizers: Any = importlib.import_module("transformers")
        extra["processing_class"] = tokenizers.AutoTokenizer.from_pretrained(model)
    if method == "gkd":
        extra["teacher_model"] = model
    return getattr(trl, f"{name}Trainer")(model, args=config, train_dataset=dataset, **extra)


def seen(trainer: Any) -> list[str]:
    """What is trained on, as text."""
    decode = trainer.processing_class.decode
    names = ("input_ids", "prompt_ids", "prompt_input_ids", "chosen_ids", "rejected_ids", "completion_ids", "label")
    rows = [{name: row[name] for name in names if name in row} for row in list(trainer.train_dataset)[:4]]
    return [
        " | ".join(decode(value) if isinstance(value, list) else str(value) for value in row.values()) for row in rows
    ]


def train(request: Mapping[str, Any]) -> dict[str, Any]:
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            trainer = build(request["method"], request["rows"], request["model"], request["arguments"])
            # accelerate collects garbage before each run, of which there is none in what was imported
            gc.freeze()
            result = trainer.train()
    except Exception as error:
        return {"error": type(error).__name__}
    return {"error": "", "steps": trainer.state.global_step, "loss": result.training_loss, "seen": seen(trainer)}


def main() -> None:
    os.environ |= {"TRL_EXPERIMENTAL_SILENCE": "1", "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    datasets: Any = importlib.import_module("datasets")
    # else each function is hashed, with its tokenizer, which takes longer than the training
    datasets.disable_caching()
    for line in sys.stdin:
        print(json.dumps(train(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
