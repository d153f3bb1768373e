"""One script on several processes: started by itself, by torchrun or by accelerate; a model in copies and in parts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.planning.arguments.strategies import strategy_arguments
from hfjobs_trainer.rendering.runtime.sharding import sharding
from tests.e2e.methods import Finished, Inputs, Warm, environment, render_to, run_pinned, run_script

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2")
ACCELERATE = (
    *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes=2", "--num_machines=1"),
    *("--mixed_precision=no", "--dynamo_backend=no", "--main_process_port=0"),
)


def fields(inputs: Inputs, strategy: str, **changes: Any) -> dict[str, Any]:
    hardware = hft.Hardware(strategy=strategy)  # pyright: ignore[reportArgumentType]
    return inputs.fields("sft", hardware=hardware, global_batch_size=8, **changes)


def check(run: Finished) -> None:
    """Two processes trained one model, and one of them spoke, tracked and saved."""
    (start,), (end,) = run.named("start"), run.named("end")
    assert start["world_size"] == 2
    assert [event["step"] for event in run.metrics("loss") if "loss" in event["metrics"]] == [1, 2]
    assert [Path(event["path"]).name for event in run.named("saved")][:2] == ["checkpoint-1", "checkpoint-2"]
    assert end["step"] == 2
    # 24 rows are left for training; two steps of 8 are two thirds of them, however many processes take them
    assert run.metrics("loss")[-1]["epoch"] == pytest.approx(2 / 3)
    metrics, _ = run.tracked("sft")
    assert {"train/loss", "eval/loss"} <= set(metrics)


def replaced(run: Finished, what: str) -> list[tuple[str, str]]:
    return [(event["planned"], event["used"]) for event in run.named("replaced") if event["what"] == what]


@pytest.mark.parametrize("strategy", ["auto", "fsdp2"])
def test_the_script_starts_its_processes(strategy: str, inputs: Inputs, tmp_path: Path) -> None:
    """Without GPUs, a model that was to be spread is copied instead, and that is reported."""
    run = run_script("sft", fields(inputs, strategy), tmp_path / "run", HFT_NUM_PROCESSES="2")
    check(run)
    assert replaced(run, "strategy") == ([("fsdp2", "ddp")] if strategy == "fsdp2" else [])
    assert (run.output / "model.safetensors").is_file()


@pytest.mark.parametrize("launcher", [TORCHRUN, ACCELERATE], ids=["torchrun", "accelerate"])
def test_processes_that_others_started_are_left_alone(
    launcher: tuple[str, ...], inputs: Inputs, tmp_path: Path
) -> None:
    check(run_script("sft", fields(inputs, "ddp"), tmp_path / "run", command=launcher, HFT_NUM_PROCESSES="4"))


@pytest.mark.parametrize(
    ("strategy", "changes"),
    [
        ("zero1", {}),
        ("zero2", {"lora": hft.LoRA(r=4), "output": hft.Output(merge_adapter="both")}),
        ("zero3", {}),
        ("zero3", {"lora": hft.LoRA(r=4), "output": hft.Output(merge_adapter="both")}),
    ],
    ids=["zero1", "zero2-lora", "zero3", "zero3-lora"],
)
def test_deepspeed_trains_a_model_in_parts(
    strategy: str, changes: dict[str, Any], inputs: Inputs, pinned: Path, tmp_path: Path
) -> None:
    """With DeepSpeed of the header's own pin; what is saved is whole."""
    spec = fields(inputs, strategy, dtype="float32", **changes)
    run = run_pinned("sft", spec, tmp_path / "run", pinned / "deepspeed", HFT_NUM_PROCESSES="2")
    check(run)
    assert replaced(run, "strategy") == []
    from safetensors.torch import load_file

    before = load_file(inputs.model / "model.safetensors")
    folder = run.output / "merged" if changes else run.output
    after = load_file(folder / "model.safetensors")
    assert {name: after[name].shape for name in before} == {name: weight.shape for name, weight in before.items()}
    assert any(not after[name].equal(weight) for name, weight in before.items())
    if changes:
        assert all(weight.numel() for weight in load_file(run.output / "adapter_model.safetensors").values())


def test_one_process_has_nothing_to_spread(inputs: Inputs, warm: Warm, tmp_path: Path) -> None:
    run = warm.run("sft", fields(inputs, "zero3"), tmp_path / "run")
    assert replaced(run, "strategy") == [("zero3", "single")]
    assert run.named("end")[0]["step"] == 2


def breaks_in_the_second_process(completions: list[str], **columns: Any) -> list[float]:
    import os

    if os.environ.get("RANK") == "1":
        raise ValueError("broken on purpose")
    return [0.0 for _ in completions]


def test_a_failing_process_ends_the_run_with_its_own_traceback(inputs: Inputs, tmp_path: Path) -> None:
    spec = inputs.fields("grpo", reward_funcs=breaks_in_the_second_process)
    script = render_to(tmp_path, "grpo", spec)
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=environment(tmp_path / "cache", tmp_path / "trackio", HFT_NUM_PROCESSES="2"),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode != 0
    cause, summary = done.stderr.find("ValueError: broken on purpose"), done.stderr.find("ChildFailedError")
    assert 0 < cause < summary, done.stderr[-4000:]
    assert "in breaks_in_the_second_process" in done.stderr[:cause]
    assert not [line for line in done.stdout.splitlines() if '"hft.end"' in line]


@pytest.mark.torch
@pytest.mark.parametrize(("strategy", "version"), [("fsdp1", 1), ("fsdp2", 2)])
@pytest.mark.filterwarnings("ignore:FSDP1:FutureWarning")
def test_accelerate_takes_the_configuration_of_fsdp(
    strategy: str, version: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from accelerate.utils import FullyShardedDataParallelPlugin
    from transformers import TrainingArguments

    monkeypatch.setenv("FSDP_CPU_RAM_EFFICIENT_LOADING", "false")  # so that it is put back after the test
    monkeypatch.setattr("accelerate.utils.dataclasses.is_cuda_available", lambda: True)
    monkeypatch.setattr("torch.cuda.current_device", lambda: 0)
    arguments = TrainingArguments(str(tmp_path), use_cpu=True, **strategy_arguments(strategy))
    plugin = FullyShardedDataParallelPlugin(**(arguments.fsdp_plugin_args or {}))
    assert plugin.fsdp_version == version
    assert plugin.cpu_ram_efficient_loading
    assert plugin.auto_wrap_policy is not None
    assert "FULL_STATE_DICT" in str(plugin.state_dict_type)
    assert os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"].lower() == "true"


@pytest.mark.torch
def test_a_launcher_with_a_strategy_keeps_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert sharding("fsdp2", **strategy_arguments("fsdp2")) == {}
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["used"] == "the launcher's"


@pytest.mark.torch
def test_gpus_get_the_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "false")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    for strategy in ("fsdp1", "fsdp2"):
        monkeypatch.setenv("ACCELERATE_USE_FSDP", "false")
        assert sharding(strategy, **strategy_arguments(strategy)) == strategy_arguments(strategy)
        assert os.environ["ACCELERATE_USE_FSDP"] == "true"
