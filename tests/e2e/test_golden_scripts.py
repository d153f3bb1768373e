"""The example scripts really train: as they were rendered, but for a tiny model, a tiny dataset and nothing pushed."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import hfjobs_trainer as hft
from tests.e2e.methods import Finished, Warm, run_file

SCRIPTS = Path(__file__).parents[2] / "scripts"


def tracked(ran: Finished, project: str) -> tuple[str, dict[str, Any], list[dict[str, Any]]]:
    """Name, config and metrics of the only run of a trackio project."""
    with closing(sqlite3.connect(ran.trackio / f"{project}.db")) as database:
        query = "SELECT run_name, CAST(metrics AS TEXT) FROM metrics ORDER BY id"
        rows = database.execute(query).fetchall()
        ((config,),) = database.execute("SELECT CAST(config AS TEXT) FROM configs").fetchall()
    (name,) = {name for name, _ in rows}
    return name, json.loads(config), [json.loads(metrics) for _, metrics in rows]


def planned(spec: Any, folder: Path) -> tuple[Path, dict[str, str]]:
    """The script for this machine, and the environment that it is to have."""
    plan = hft.plan(spec, backend="local", offline=True)
    assert not plan.problems
    script = folder / "train.py"
    script.write_text(plan.script, encoding="utf-8")
    return script, plan.request.env


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Finished]:
    """Render a spec for this machine and run the script, as anyone would: in a process of its own."""

    def start(spec: Any, **environment: str) -> Finished:
        script, planned_environment = planned(spec, tmp_path)
        return run_file(spec.METHOD.name, script, tmp_path, **planned_environment, **environment)

    return start


@pytest.fixture
def fork(warm: Warm, tmp_path: Path) -> Callable[..., Finished]:
    """Render a spec for this machine and run the script in a fork."""

    def start(spec: Any) -> Finished:
        script, environment = planned(spec, tmp_path)
        return warm.run_file(spec.METHOD.name, script, **environment)

    return start


def golden(name: str, tiny_model: Path, data: Path, **fields: Any) -> Any:
    """An example spec on this machine: nothing else of it is changed than what a tiny run needs."""
    spec = hft.load(SCRIPTS / f"train_{name}_example.py")
    return spec.replace(
        model=str(tiny_model),
        dataset=str(data),
        max_steps=2,
        logging_steps=1,
        tracking=hft.Tracking(
            project=f"golden-{spec.tracking.project}", name=spec.tracking.name, group=spec.tracking.group
        ),
        output=hft.Output(),
        **fields,
    )


def test_sft_trains_evaluates_and_saves_on_its_way(
    run: Callable[..., Finished], tiny_model: Path, tiny_data: Callable[[str], Path]
) -> None:
    spec = golden("sft", tiny_model, tiny_data("messages"), eval_steps=1, save_steps=1, gradient_accumulation_steps=1)
    ran = run(spec)

    (start,), (end,) = ran.named("start"), ran.named("end")
    assert (start["method"], start["device"], start["world_size"]) == ("sft", "cpu", 1)
    assert end["step"] == 2
    assert ran.output == ran.folder / "model-SFT"
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {file.name for file in ran.output.iterdir()}
    assert [event["path"] for event in ran.named("saved")] == [
        str(ran.output / f"checkpoint-{step}") for step in (1, 2)
    ]
    assert (ran.output / "checkpoint-2" / "trainer_state.json").is_file()
    logged = [event["metrics"] for event in ran.named("log")]
    assert sum("eval_loss" in metrics for metrics in logged) == 2
    name, config, metrics = tracked(ran, "golden-capybara")
    assert (name, config["model"]) == ("qwen-sft", str(tiny_model))
    assert any("train/loss" in row for row in metrics)
    assert any("eval/loss" in row for row in metrics)


def test_dpo_trains_an_adapter_in_its_group(
    fork: Callable[..., Finished], tiny_model: Path, tiny_data: Callable[[str], Path]
) -> None:
    ran = fork(golden("dpo", tiny_model, tiny_data("preference_chat"), eval_steps=2, per_device_train_batch_size=2))

    assert ran.named("end")[0]["step"] == 2
    assert {"adapter_config.json", "adapter_model.safetensors"} <= {file.name for file in ran.output.iterdir()}
    adapter = json.loads((ran.output / "adapter_config.json").read_text())
    assert (adapter["r"], adapter["lora_alpha"], adapter["task_type"]) == (16, 32, "CAUSAL_LM")
    assert {"what": "dtype", "planned": "bfloat16", "used": "float32"}.items() <= ran.named("replaced")[1].items()
    name, config, metrics = tracked(ran, "golden-dpo")
    assert (name, config["_Group"], config["beta"]) == ("beta-0.1", "beta", 0.1)
    assert any("train/rewards/margins" in row for row in metrics)


def test_grpo_trains_on_the_function_in_the_script(
    fork: Callable[..., Finished], tiny_model: Path, tiny_data: Callable[[str], Path]
) -> None:
    few = {"num_generations": 2, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 8}
    ran = fork(golden("grpo", tiny_model, tiny_data("prompt_only"), max_completion_length=8, **few))

    assert ran.named("end")[0]["step"] == 2
    assert (ran.output / "model.safetensors").is_file()
    assert all("rewards/close_to_fifty_words/mean" in event["metrics"] for event in ran.named("log")[:2])
    name, _, metrics = tracked(ran, "golden-grpo")
    assert name == "fifty-words"
    assert any("train/reward" in row for row in metrics)


def test_several_processes_keep_the_global_batch(
    run: Callable[..., Finished], tiny_model: Path, tiny_data: Callable[[str], Path]
) -> None:
    spec = golden(
        "sft_multi_gpu", tiny_model, tiny_data("messages"), global_batch_size=8, per_device_train_batch_size=2
    )
    ran = run(spec, HFT_NUM_PROCESSES="2")

    (start,), (end,) = ran.named("start"), ran.named("end")
    assert start["world_size"] == 2
    assert end["step"] == 2
    name, config, _ = tracked(ran, "golden-capybara")
    assert name == "qwen-3b-lora"
    assert (config["per_device_train_batch_size"], config["gradient_accumulation_steps"]) == (2, 2)
    # two steps of eight rows out of 32: the same whatever the number of processes
    assert [event["epoch"] for event in ran.named("log")][:2] == [0.25, 0.5]
    assert (ran.output / "adapter_model.safetensors").is_file()


def test_rows_are_streamed_renamed_and_counted(
    fork: Callable[..., Finished], tiny_model: Path, tiny_data: Callable[[str], Path], tmp_path: Path
) -> None:
    rows = [json.loads(line) for line in tiny_data("prompt_completion").read_text().splitlines()]
    file = tmp_path / "questions.jsonl"
    asked = [{"question": f"{index}. {row['prompt']}", "answer": row["completion"]} for index, row in enumerate(rows)]
    file.write_text("".join(json.dumps(row) + "\n" for row in asked))
    columns = {"question": "prompt", "answer": "completion"}
    spec = hft.SFT(
        model=str(tiny_model),
        dataset=hft.Dataset(id=str(file), streaming=True, num_samples=8, columns=columns),
        eval_dataset=hft.Dataset(id=str(file), split="train[8:12]", columns=columns),
        eval_strategy="steps",
        eval_steps=2,
        per_device_train_batch_size=4,
        max_steps=2,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        dtype="float32",
        bf16=False,
        output_dir="out",
    )
    ran = fork(spec)

    assert ran.named("end")[0]["step"] == 2
    assert ran.named("replaced") == []
    assert any("eval_loss" in event["metrics"] for event in ran.named("log"))
    assert ran.output == tmp_path / "out"
    assert not (tmp_path / "trackio").exists()
