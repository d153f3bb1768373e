"""Command lines that start a training of TRL are taken for what they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import hfjobs_trainer as hft
from hfjobs_trainer.specs.launchers import is_command_line

RUN = "--model_name_or_path m/m --dataset_name a/b"
ADDRESS = "https://raw.githubusercontent.com/huggingface/trl/main/trl/scripts"


def set_by(source: Any, **options: Any) -> dict[str, Any]:
    """What a command says beside model and dataset."""
    fields = hft.load(source, **options).to_dict()
    assert fields.pop("model") == "m/m"
    assert fields.pop("dataset") == {"id": "a/b"}
    return fields


def why_not(source: Any) -> str:
    with pytest.raises(hft.SpecError) as caught:
        hft.load(source)
    return " ".join(f"{problem.code} {problem.path} {problem.why}" for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("command", "method", "hardware"),
    [
        ("accelerate launch trl/scripts/sft.py", "sft", {}),
        ("accelerate launch --num_processes 4 --mixed_precision bf16 trl/scripts/sft.py", "sft", {"num_gpus": 4}),
        ("accelerate launch --num-processes=2 --multi-gpu dpo.py", "dpo", {"strategy": "ddp", "num_gpus": 2}),
        ("accelerate launch --config_file zero3 -m trl.scripts.dpo", "dpo", {"strategy": "zero3"}),
        (
            "python -m accelerate.commands.launch --use_deepspeed --zero_stage 3 --num_processes 8 scripts/run_sft.py",
            "sft",
            {"strategy": "zero3", "num_gpus": 8},
        ),
        (
            "accelerate launch --use_fsdp --fsdp_version 2 --fsdp_sharding_strategy FULL_SHARD kto.py",
            "kto",
            {"strategy": "fsdp2"},
        ),
        ("accelerate launch --num_processes 16 --num_machines 2 sft.py", "sft", {"num_gpus": 8, "nodes": 2}),
        ("torchrun --nproc_per_node 4 -m trl.scripts.sft", "sft", {"num_gpus": 4}),
        (
            "torchrun --nproc-per-node=8 --nnodes=2 --rdzv_backend c10d --rdzv_endpoint h:1 trl/scripts/kto.py",
            "kto",
            {"num_gpus": 8, "nodes": 2},
        ),
        ("torchrun --standalone --nproc_per_node gpu examples/scripts/cpo.py", "cpo", {}),
        ("python3.12 -m torch.distributed.run --nproc_per_node 2 orpo.py", "orpo", {"num_gpus": 2}),
        ("python -m torch.distributed.launch --nproc_per_node=4 --use_env sft.py", "sft", {"num_gpus": 4}),
        ("accelerate launch --gpu_ids 0,1 sft.py", "sft", {"num_gpus": 2}),
        ("deepspeed --num_gpus 4 --master_port 1234 sft.py", "sft", {"num_gpus": 4}),
        ("deepspeed --include localhost:0,1 sft.py", "sft", {"num_gpus": 2}),
        ("python trl/scripts/dpo.py", "dpo", {}),
        ("python -u -m trl.scripts.sft", "sft", {}),
        ("python -m trl sft", "sft", {}),
        ("python examples/scripts/reward_modeling.py", "reward", {}),
        ("uvx trl sft", "sft", {}),
        ("uvx --from 'trl[peft]' trl sft", "sft", {}),
        ("uv run trl/scripts/sft.py", "sft", {}),
        (f"uv run {ADDRESS}/sft.py", "sft", {}),
        ("CUDA_VISIBLE_DEVICES=0,1 trl sft", "sft", {"num_gpus": 2}),
        ("CUDA_VISIBLE_DEVICES=3 python sft.py", "sft", {"num_gpus": 1}),
        ("CUDA_VISIBLE_DEVICES=0,1,2 accelerate launch --num_processes 2 sft.py", "sft", {"num_gpus": 2}),
        ("nohup sudo -E time trl sft", "sft", {}),
        ("env X=1 accelerate launch sft.py", "sft", {}),
        ("cd trl && pip install -e . && python sft.py", "sft", {}),
        ("bash -c 'pip install trl && trl sft --model_name_or_path m/m --dataset_name a/b'", "sft", {}),
        ("hf jobs run --flavor l4x1 huggingface/trl trl sft", "sft", {"flavor": "l4x1"}),
        ("hf jobs run --flavor a100x8 some/image accelerate launch sft.py", "sft", {"flavor": "a100x8"}),
    ],
)
def test_a_launchers_processes_are_gpus(command: str, method: str, hardware: dict[str, Any]) -> None:
    found = set_by(command if command.startswith("bash") else f"{command} {RUN}")
    assert (found.pop("method"), found.pop("hardware", {})) == (method, hardware)
    assert found.keys() <= {"env"}


def test_a_jobs_options_are_fields() -> None:
    command = (
        f"hf jobs uv run --flavor a100-large --timeout 2h --secrets HF_TOKEN -s WANDB_API_KEY=value -e A=b -l x=y "
        f"--namespace org --with peft --with einops -d --name mine {ADDRESS}/sft.py {RUN} --learning_rate 2e-5"
    )
    assert set_by(command) == {
        "method": "sft",
        "learning_rate": 2e-5,
        "hardware": {"flavor": "a100-large"},
        "timeout": 7200,
        "timeout_padding": 0.0,
        "secrets": ["WANDB_API_KEY"],
        "env": {"A": "b"},
        "labels": {"x": "y"},
        "namespace": "org",
        "extra_dependencies": ["einops"],
    }
    # what the job is sent is the limit that was typed
    plan = hft.plan(hft.load(command), offline=True)
    assert plan.request.timeout_seconds == 7200


def test_a_secret_is_known_by_name_alone() -> None:
    spec = hft.load(f"HF_TOKEN=hf_0123 WANDB_API_KEY=0123 NCCL_DEBUG=INFO trl sft {RUN}")
    assert (spec.secrets, spec.env) == (["WANDB_API_KEY"], {"NCCL_DEBUG": "INFO"})
    assert "0123" not in f"{spec!r} {spec.to_json()} {spec.notes}"
    assert "0123" not in why_not(f"WANDB_API_KEY=0123 trl sft {RUN} --bogus 1")
    assert "hf_0123" not in why_not(f"hf jobs uv run --token hf_0123 sft.py {RUN}")


def test_lines_prompts_and_where_output_goes() -> None:
    text = (
        "$ export NCCL_DEBUG=INFO\n$ accelerate launch \\\n    --num_processes 2 \\\n    trl/scripts/sft.py \\  \n"
        f"    {RUN} \\\n    --lr_scheduler_type cosine  # as before\n    > log.txt 2>&1 &\n"
    )
    text = text.replace("\n    > log", " > log").replace("  # as before", "")
    expected = {"lr_scheduler_type": "cosine", "hardware": {"num_gpus": 2}, "env": {"NCCL_DEBUG": "INFO"}}
    assert set_by(text) == {"method": "sft", **expected}
    assert set_by(text.replace("\n", "\r\n")) == {"method": "sft", **expected}
    assert set_by(f"trl sft {RUN} | tee log.txt") == {"method": "sft"}


def test_files_of_a_launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    zero = {"zero_optimization": {"stage": 3}, "train_batch_size": "auto"}
    (tmp_path / "zero3.json").write_text(json.dumps(zero), "utf-8")
    accelerate = {"distributed_type": "FSDP", "fsdp_config": {"fsdp_version": 2}, "num_processes": 4}
    (tmp_path / "fsdp.yaml").write_text(yaml.safe_dump(accelerate), "utf-8")
    inner = {"deepspeed_config": {"deepspeed_config_file": "~/zero3.json"}, "distributed_type": "DEEPSPEED"}
    (tmp_path / "inner.yaml").write_text(yaml.safe_dump(inner), "utf-8")
    found = set_by(f"accelerate launch --config_file ~/fsdp.yaml sft.py {RUN}")
    assert found["hardware"] == {"strategy": "fsdp2", "num_gpus": 4}
    for command in (
        f"deepspeed sft.py {RUN} --deepspeed ~/zero3.json",
        f"trl sft {RUN} --deepspeed ~/zero3.json",
        f"accelerate launch --use_deepspeed --deepspeed_config_file ~/zero3.json sft.py {RUN}",
        f"accelerate launch --config_file ~/inner.yaml sft.py {RUN}",
    ):
        assert set_by(command)["hardware"] == {"deepspeed": zero}, command
    file = tmp_path / "sft.yaml"
    for text in (
        "model_name_or_path: m/m\ndataset_name: a/b\ndeepspeed: ~/zero3.json\n",
        "model: m/m\ndataset: a/b\ndeepspeed: ~/zero3.json\n",
        "model: m/m\ndataset: a/b\nhardware: {deepspeed: ~/zero3.json}\n",
    ):
        file.write_text(text, "utf-8")
        assert set_by(file)["hardware"] == {"deepspeed": zero}, text
    assert "LOAD001" in why_not(f"trl sft {RUN} --deepspeed ~/none.json")


def test_a_sharded_state_is_noted() -> None:
    command = f"accelerate launch --use_fsdp --fsdp_version 2 --fsdp_state_dict_type SHARDED_STATE_DICT sft.py {RUN}"
    assert [note.word for note in hft.load(command).notes] == ["fsdp_state_dict_type"]
    assert "fsdp_offload_params" in why_not(
        command.replace("state_dict_type SHARDED_STATE_DICT", "offload_params true")
    )


@pytest.mark.parametrize(
    ("command", "word"),
    [
        ("python train.py --lr 1e-5", "hft.Script('train.py', script_args=['--lr', '1e-5'])"),
        ("accelerate launch train.py", "hft.Script('train.py')"),
        ("python examples/scripts/dpo_vlm.py --x 1", "hft.Script('https://raw.githubusercontent.com/huggingface/trl/v"),
        ("python examples/scripts/bco.py --x 1", "hft.DPO(loss_type"),
        ("trl bco --x 1", "hft.DPO(loss_type"),
        ("accelerate config", "accelerate launch"),
        ("hf jobs ps", "hf jobs uv run"),
        ("uv pip install trl", "uv run"),
        ("srun python sft.py --x 1", "`srun python`"),
        ("srun --gres=gpu:8 accelerate launch sft.py --x 1", "from `accelerate launch` on"),
        ("axolotl train config.yaml", "`axolotl train` is not a supported training command"),
        ("trl sft --model_name_or_path $MODEL", "$MODEL is a variable of your shell"),
        ("bash train.sh", "shell script"),
        ("cd trl && export A=1", "starts no training"),
        ("python", "cannot be read"),
        (["python"], "starts no script"),
        ([], "starts no training"),
        (f"torchrun --nnodes 1:4 sft.py {RUN}", "fixed number of machines"),
        (f"torchrun --nnodes=1:4 --nproc_per_node=8 sft.py {RUN}", "fixed number of machines"),
        (f"hf jobs uv run -v hf://datasets/a/b:/data sft.py {RUN}", "mounted by themselves"),
    ],
)
def test_what_is_no_training_is_answered(command: Any, word: str) -> None:
    assert word in why_not(command)


def test_a_path_is_no_command(tmp_path: Path) -> None:
    for path in ("sft.yaml", "runs/sft.yaml", "trl.yaml", "my run.yaml", "python.json"):
        assert not is_command_line(path)
    file = tmp_path / "my sft.yaml"
    file.write_text("model: m/m\ndataset: a/b\n", "utf-8")
    assert set_by(str(file)) == {"method": "sft"}


def test_trl_jobs() -> None:
    command = (
        "trl-jobs sft --model_name m/m --peft --flavor a100-large --timeout 3h -d --dataset_name a/b --max_steps 5"
    )
    found = set_by(command)
    assert found == {
        "method": "sft",
        "lora": {},
        "max_steps": 5,
        "hardware": {"flavor": "a100-large"},
        "timeout": 10800,
        "timeout_padding": 0.0,
    }


def test_what_the_trainer_overrules_is_noted() -> None:
    launch = "accelerate launch --mixed_precision {} --gradient_accumulation_steps 8 sft.py " + RUN
    assert {note.word for note in hft.load(launch.format("fp16")).notes} == {
        "mixed_precision",
        "gradient_accumulation_steps",
    }
    assert {note.word for note in hft.load(launch.format("bf16")).notes} == {"gradient_accumulation_steps"}
    compiled = f"accelerate launch --dynamo_backend inductor sft.py {RUN}"
    assert "torch_compile_backend" in why_not(compiled)
    assert set_by(compiled, torch_compile_backend="inductor")["torch_compile_backend"] == "inductor"


def test_a_cell_of_a_notebook_starts_a_command() -> None:
    assert set_by(f"!trl sft {RUN}") == {"method": "sft"}


def test_variables_that_the_text_sets_have_values() -> None:
    text = 'MODEL=m/m\nARGS="--max_steps 5 --packing"\ntrl sft --model_name_or_path ${MODEL} --dataset_name a/b $ARGS'
    found = set_by(text)
    assert (found["max_steps"], found["packing"]) == (5, True)
    assert "hub_token" in why_not(f"trl sft {RUN} --hub_token $HF_TOKEN")
    command = f"hf jobs uv run --secrets WANDB_API_KEY=$WANDB_API_KEY -e A=$B sft.py {RUN}"
    assert set_by(command)["secrets"] == ["WANDB_API_KEY"]


def test_a_short_option_ends_the_words_before_it() -> None:
    found = set_by("trl-jobs sft --model m/m --dataset a/b --peft --flavor a100-large -d")
    assert (found["hardware"], found["lora"]) == ({"flavor": "a100-large"}, {})


def test_the_launcher_wins_over_the_file_and_the_arguments_over_both(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("model_name_or_path: m/m\ndataset_name: a/b\nnum_processes: 8\nmax_steps: 5\n", "utf-8")
    command = f"accelerate launch --num_processes 2 sft.py --config {file} --max_steps 9"
    assert set_by(command) == {"method": "sft", "hardware": {"num_gpus": 2}, "max_steps": 9}
    assert set_by(command, max_steps=7, hardware=hft.Hardware(flavor="a10g-large"))["max_steps"] == 7
