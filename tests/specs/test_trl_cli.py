"""TRL's command line and its YAML files give specs: all of the documentation's, and what else TRL's parser takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import hfjobs_trainer as hft
from hfjobs_trainer.specs.trl_cli import annotation_of

MODEL = "Qwen/Qwen2.5-0.5B"

# The examples of TRL's page "Command Line Interfaces": method, dataset, further arguments, datasets of the mixture.
DOCUMENTED = {
    "sft": ("stanfordnlp/imdb", {}, ["stanfordnlp/imdb", "roneneldan/TinyStories"]),
    "dpo": ("anthropic/hh-rlhf", {}, ["BAAI/Infinity-Preference", "argilla/Capybara-Preferences"]),
    "reward": (
        "trl-lib/ultrafeedback_binarized",
        {},
        ["trl-lib/tldr-preference", "trl-lib/lm-human-preferences-sentiment"],
    ),
    "grpo": (
        "HuggingFaceH4/Polaris-Dataset-53K",
        {"reward_funcs": ["accuracy_reward"]},
        ["HuggingFaceH4/Polaris-Dataset-53K", "trl-lib/DeepMath-103K"],
    ),
    "rloo": (
        "HuggingFaceH4/Polaris-Dataset-53K",
        {"reward_funcs": ["accuracy_reward"]},
        ["HuggingFaceH4/Polaris-Dataset-53K", "trl-lib/DeepMath-103K"],
    ),
    "kto": (
        "trl-lib/kto-mix-14k",
        {},
        ["trl-lib/kto-mix-14k", "argilla/ultrafeedback-binarized-preferences-cleaned"],
    ),
}
SCALED = {"": {}, "--num_processes 4": {"num_gpus": 4}}
STRATEGIES = ("single_gpu", "multi_gpu", "fsdp1", "fsdp2", "zero1", "zero2", "zero3")


def yaml_lines(fields: dict[str, Any]) -> str:
    lines: list[str] = []
    for name, value in fields.items():
        if isinstance(value, list):
            lines += [f"{name}:", *(f"  - {item}" for item in value)]
        else:
            lines.append(f"{name}: {value}")
    return "\n".join(lines) + "\n"


def load_yaml(folder: Path, text: str, name: str = "sft_config.yaml", **options: Any) -> Any:
    file = folder / name
    file.write_text(text, "utf-8")
    return hft.load(file, **options)


def problems_of(source: Any, **options: Any) -> dict[str, str]:
    with pytest.raises(hft.SpecError) as caught:
        hft.load(source, **options)
    return {problem.path: f"{problem.code} {problem.why}; {problem.fix}" for problem in caught.value.problems}


@pytest.mark.parametrize("method", DOCUMENTED)
@pytest.mark.parametrize("extra", SCALED)
def test_documented_command_lines(method: str, extra: str) -> None:
    dataset, more, _ = DOCUMENTED[method]
    flags = "".join(f"  --{name} {' '.join(value)} \\\n" for name, value in more.items())
    spec = hft.load(f"trl {method} \\\n  --model_name_or_path {MODEL} \\\n{flags}  --dataset_name {dataset} {extra}\n")
    expected = hft.METHODS[method](
        model=MODEL, dataset=dataset, **more, **({"hardware": SCALED[extra]} if SCALED[extra] else {})
    )
    assert spec == expected


@pytest.mark.parametrize("method", DOCUMENTED)
@pytest.mark.parametrize("processes", [None, 4])
def test_documented_files(method: str, processes: int | None, tmp_path: Path) -> None:
    dataset, more, _ = DOCUMENTED[method]
    fields = {"model_name_or_path": MODEL, "dataset_name": dataset, **more}
    file = tmp_path / f"{method}_config.yaml"
    file.write_text(yaml_lines(fields | ({"num_processes": processes} if processes else {})), "utf-8")
    hardware = {"hardware": {"num_gpus": processes}} if processes else {}
    expected = hft.METHODS[method](model=MODEL, dataset=dataset, **more, **hardware)
    assert hft.load(file) == expected
    assert hft.load(file, method=method) == expected
    assert hft.load(f"trl {method} --config {file}") == expected
    assert hft.load(["trl", method, "--config", str(file)]) == expected


@pytest.mark.parametrize("method", DOCUMENTED)
def test_documented_mixtures(method: str, tmp_path: Path) -> None:
    _, more, parts = DOCUMENTED[method]
    fields = {"model_name_or_path": MODEL, "datasets": [f"path: {part}" for part in parts], **more}
    spec = load_yaml(tmp_path, yaml_lines(fields), f"{method}_config.yaml")
    assert spec == hft.METHODS[method](model=MODEL, dataset=parts, **more)


@pytest.mark.parametrize("name", STRATEGIES)
def test_profiles_of_accelerate_are_strategies(name: str) -> None:
    strategy = {"single_gpu": "single", "multi_gpu": "ddp"}.get(name, name)
    command = f"trl sft --model_name_or_path {MODEL} --dataset_name a/b --accelerate_config {name}  # or path/to/x.yaml"
    assert hft.load(command) == hft.SFT(model=MODEL, dataset="a/b", hardware={"strategy": strategy})


@pytest.mark.parametrize("name", STRATEGIES)
def test_trls_own_accelerate_files_are_their_profiles(name: str) -> None:
    from importlib.resources import files

    import yaml

    from hfjobs_trainer.specs.accelerate_config import PROFILES, read_accelerate_config

    config = yaml.safe_load(files("trl.accelerate_configs").joinpath(f"{name}.yaml").read_text("utf-8"))
    found, lost = read_accelerate_config(config)
    assert found == {"strategy": PROFILES[name], "num_gpus": 8, "nodes": 1}
    assert lost == []


def test_a_custom_accelerate_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("distributed_type: MULTI_GPU\nnum_processes: 2\nmixed_precision: bf16\n", "utf-8")
    command = f"trl sft --model_name_or_path m/m --dataset_name a/b --accelerate_config {file}"
    assert hft.load(command).hardware == hft.Hardware(strategy="ddp", num_gpus=2)
    assert hft.load(f"{command} --num_processes 4").hardware.num_gpus == 4
    file.write_text("distributed_type: FSDP\nfsdp_config: {fsdp_version: 2, fsdp_offload_params: true}\n", "utf-8")
    assert "fsdp_offload_params" in problems_of(command)["accelerate_config"]
    missing = command.replace(str(file), "zero9")
    assert "neither a file nor one of single_gpu" in problems_of(missing)["accelerate_config"]


def test_the_command_line_wins_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("model_name_or_path: m/m\ndataset_name: a/b\nlearning_rate: 1e-4\nmax_steps: 5\n", "utf-8")
    spec = hft.load(f"trl dpo --config {file} --learning_rate=5e-7 --beta 0.3")
    assert spec == hft.DPO(model="m/m", dataset="a/b", learning_rate=5e-7, max_steps=5, beta=0.3)


def test_flags_of_every_kind() -> None:
    spec: Any = hft.load(
        "$ trl grpo --model-name-or-path m/m --dataset_name a/b --dataset_config main --dataset_train_split train[:10%]"
        " --reward_funcs accuracy_reward think_format_reward --reward_model_name_or_path r/m --dtype bfloat16"
        " --no_remove_unused_columns --gradient_checkpointing false --bf16 --max_steps -1 --max_completion_length none"
        " --model_init_kwargs '{\"use_cache\": false}' --output_dir 'my model' --report_to none --push_to_hub"
        " --attn_implementation sdpa --lr_scheduler_type cosine --warmup_steps 0.1 --timeout 3h --hardware a10g-large"
    )
    assert spec == hft.GRPO(
        model="m/m",
        dataset=hft.Dataset(id="a/b", config="main", split="train[:10%]"),
        reward_funcs=["r/m", "accuracy_reward", "think_format_reward"],
        dtype="bfloat16",
        remove_unused_columns=False,
        gradient_checkpointing=False,
        bf16=True,
        max_steps=-1,
        max_completion_length=None,
        model_init_kwargs={"use_cache": False},
        output_dir="my model",
        report_to="none",
        push_to_hub=True,
        attn_implementation="sdpa",
        lr_scheduler_type="cosine",
        warmup_steps=0.1,
        timeout="3h",
        hardware="a10g-large",
    )


def test_evaluation_takes_the_test_split_of_the_same_dataset() -> None:
    command = "trl sft --model_name_or_path m/m --dataset_name a/b --dataset_config c --dataset_streaming --max_steps 5"
    assert hft.load(f"{command} --dataset_test_split held_out").eval_dataset is None
    spec = hft.load(f"{command} --eval_strategy steps --eval_steps 50 --dataset_test_split held_out")
    assert spec.eval_dataset == hft.Dataset(id="a/b", config="c", split="held_out", streaming=True)
    spec = hft.load(f"{command} --eval_strategy epoch")
    assert spec.eval_dataset == hft.Dataset(id="a/b", config="c", split="test", streaming=True)
    assert spec.dataset == hft.Dataset(id="a/b", config="c", streaming=True)


def test_lora() -> None:
    command = "trl dpo --model_name_or_path m/m --dataset_name a/b"
    given = "--lora_r 32 --lora_alpha 16 --lora_dropout 0.1 --use_rslora --lora_target_modules"
    assert hft.load(f"{command} --use_peft").lora == hft.LoRA()
    assert hft.load(f"{command} --use_peft {given} all-linear").lora == hft.LoRA(
        r=32, lora_alpha=16, lora_dropout=0.1, use_rslora=True, target_modules="all-linear"
    )
    assert hft.load(f"{command} --use_peft {given} q_proj v_proj").lora.target_modules == ["q_proj", "v_proj"]
    assert "lora_r" in problems_of(f"{command} --lora_r 32")["lora"]
    assert hft.load(f"{command} --use_peft false --lora_r 32").lora is None


def test_task_types_of_adapters() -> None:
    reward = "trl reward --model_name_or_path m/m --dataset_name a/b --use_peft"
    assert hft.load(f"{reward} --lora_task_type SEQ_CLS") == hft.load(reward)
    sft = "trl sft --model_name_or_path m/m --dataset_name a/b --use_peft"
    assert hft.load(f"{sft} --lora_task_type CAUSAL_LM") == hft.load(sft)
    assert "lora_task_type" in problems_of(f"{sft} --lora_task_type SEQ_CLS")


def test_quantization() -> None:
    command = "trl sft --model_name_or_path m/m --dataset_name a/b --use_peft"
    sft: dict[str, Any] = {"model": "m/m", "dataset": "a/b", "lora": {}}
    assert hft.load(f"{command} --load_in_8bit") == hft.SFT(**sft, quantization="8bit")
    assert hft.load(f"{command} --load_in_4bit") == hft.SFT(**sft, quantization="4bit")
    assert hft.load(f"{command} --load_in_4bit --bnb_4bit_quant_type fp4 --use_bnb_nested_quant") == hft.SFT(
        **sft, quantization={"bits": "4bit", "quant_type": "fp4", "use_double_quant": True}
    )
    assert "load_in_4bit" in problems_of(f"{command} --load_in_4bit --load_in_8bit")


def test_a_mixture_with_everything(tmp_path: Path) -> None:
    spec = load_yaml(
        tmp_path,
        """\
model_name_or_path: m/m
dataset_name: ignored/by-trl-too
datasets:
  - {path: a/b, name: c, split: "train[:50]", columns: [messages], fraction: 3, data_dir: d}
  - {path: e/f, data_files: {train: "x/*.parquet"}, fraction: 1, name: null}
test_split_size: 0.1
eval_strategy: epoch
""",
    )
    first = hft.Dataset(id="a/b", config="c", split="train[:50]", keep_columns=["messages"], fraction=3, data_dir="d")
    second = hft.Dataset(id="e/f", data_files={"train": "x/*.parquet"}, fraction=1)
    assert spec == hft.SFT(model="m/m", dataset=[first, second], eval_fraction=0.1, eval_strategy="epoch")
    streamed = load_yaml(
        tmp_path, "model_name_or_path: m/m\ndatasets: [{path: a/b}, {path: c/d}]\nstreaming: true\nmax_steps: 5\n"
    )
    assert [part.streaming for part in streamed.dataset.parts] == [True, True]


def test_environment_of_a_file(tmp_path: Path) -> None:
    spec = load_yaml(tmp_path, "model_name_or_path: m/m\ndataset_name: a/b\nenv: {NCCL_DEBUG: INFO, WORKERS: 2}\n")
    assert spec.env == {"NCCL_DEBUG": "INFO", "WORKERS": "2"}


REWARDS = """\
import re

def brevity(completions, **kwargs):
    return [float(len(re.findall(" ", text))) for text in completions]
"""


def test_a_reward_by_its_dotted_path_is_captured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_rewards_of_test.py").write_text(REWARDS, "utf-8")
    monkeypatch.chdir(tmp_path)
    command = "trl grpo --model_name_or_path m/m --dataset_name a/b --reward_funcs my_rewards_of_test."
    spec: Any = hft.load(f"{command}brevity accuracy_reward")
    captured, builtin = spec.reward_funcs
    assert (captured.name, captured.imports, builtin) == ("brevity", ["import re"], "accuracy_reward")
    assert "brev1ty" in problems_of(f"{command}brev1ty")["reward_funcs"]


@pytest.mark.parametrize(
    ("words", "idle"),
    [
        ("--use_peft false --lora_r 16 --lora_alpha 32", {"lora_r", "lora_alpha"}),
        ("--streaming", {"streaming"}),
        ("--streaming false", set[str]()),
        ("--test_split_size 0.1", {"test_split_size"}),
        ("--bnb_4bit_quant_type nf4", {"bnb_4bit_quant_type"}),
        ("--load_in_4bit --bnb_4bit_quant_type nf4", set[str]()),
    ],
)
def test_what_counts_only_with_another_argument_is_noted(words: str, idle: set[str]) -> None:
    command = f"trl sft --model_name_or_path m/m --dataset_name a/b {words}"
    assert {note.word for note in hft.load(command).notes} == idle
    if idle:
        with pytest.raises(hft.SpecError):
            hft.load(command, strict=True)


def test_machines_and_processes() -> None:
    command = "trl sft --model_name_or_path m/m --dataset_name a/b --num_machines 2 --num_processes"
    assert hft.load(f"{command} 8").to_dict()["hardware"] == {"num_gpus": 4, "nodes": 2}
    assert "num_processes" in problems_of(f"{command} 5")
    assert "machine_rank" in problems_of(f"{command} 8 --machine_rank 1")


def test_machines_in_a_file_of_accelerate(tmp_path: Path) -> None:
    """As ``accelerate config`` writes it for the second of two machines: all find their place by themselves."""
    config = {
        "distributed_type": "MULTI_GPU",
        "num_machines": 2,
        "num_processes": 16,
        "machine_rank": 1,
        "main_process_ip": "10.0.0.1",
        "main_process_port": 29500,
        "rdzv_backend": "static",
        "same_network": True,
    }
    file = tmp_path / "two.yaml"
    file.write_text(yaml.safe_dump(config), "utf-8")
    command = f"trl sft --model_name_or_path m/m --dataset_name a/b --accelerate_config {file}"
    assert hft.load(command).to_dict()["hardware"] == {"strategy": "ddp", "num_gpus": 8, "nodes": 2}
    ours = tmp_path / "sft.yaml"
    ours.write_text("method: sft\nmodel: m/m\ndataset: a/b\nhardware: {flavor: a100x8, nodes: '2'}\n", "utf-8")
    assert hft.load(ours).hardware == hft.Hardware(flavor="a100x8", nodes=2)


def test_all_problems_come_at_once_and_show_no_token() -> None:
    command = "trl sft --model_name_or_path m/m --bogus 1 --hub_token hf_secret --judge j --load_in_4bit stray"
    found = problems_of(command)
    assert {"dataset", "bogus", "hub_token", "judge"} <= found.keys()
    assert "hf_secret" not in str(found)


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ("trl env", "LOAD003"),
        ("trl vllm-serve --model m/m", "LOAD003"),
        ("trl", "LOAD003"),
        (["accelerate", "launch", "x.py"], "LOAD003"),
        ("trl sft stray", "LOAD003"),
        ("trl sft --model_name_or_path 'open", "LOAD003"),
        ("trl sft --config no/such.yaml", "LOAD001"),
        ("no/such.yaml", "LOAD001"),
    ],
)
def test_what_is_no_training_command(source: Any, code: str) -> None:
    assert any(text.startswith(code) for text in problems_of(source).values())


def test_a_file_whose_method_nobody_knows(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("model_name_or_path: m/m\ndataset_name: a/b\n", "utf-8")
    assert "LOAD004" in problems_of(tmp_path / "config.yaml")[""]
    assert isinstance(hft.load(tmp_path / "config.yaml", method="dpo"), hft.DPO)
    (tmp_path / "ours.yaml").write_text("method: dpo\nmodel: m/m\ndataset: a/b\n", "utf-8")
    assert "LOAD004" in problems_of(tmp_path / "ours.yaml", method="sft")[""]


def test_ours_is_read_as_before(tmp_path: Path) -> None:
    text = "method: sft\nmodel: m/m\ndataset: a/b\nmax_length: null\nlearning_rate: 2e-5\nlora: {alpha: 8}\n"
    spec = load_yaml(tmp_path, text, "ours.yaml")
    assert spec == hft.SFT(model="m/m", dataset="a/b", max_length=None, learning_rate=2e-5, lora={"lora_alpha": 8})
    listed = load_yaml(tmp_path, "method: sft\nmodel: m/m\ndataset: [a/b, {id: c/d}]\n", "ours.yaml")
    assert listed == hft.SFT(model="m/m", dataset=["a/b", "c/d"])


@pytest.mark.torch
@pytest.mark.parametrize("method", ["sft", "dpo", "kto", "reward", "grpo", "rloo", "distillation"])
def test_every_argument_of_trls_parser_is_known(method: str) -> None:
    """Each is a field, has an owner, or is answered in words: none is called unknown."""
    from importlib import import_module

    from hfjobs_trainer.specs import names, trl_cli

    parser = import_module(f"trl.scripts.{method}").make_parser(prog="trl")
    known = {action.dest for action in parser._actions} - {"help"}
    spec = hft.METHODS[method]
    handled = {
        *trl_cli.TYPES,
        *trl_cli.LORA,
        *trl_cli._WITHOUT_EFFECT,
        *names.FOLDED_TYPES,
        *names.FOLDED_FIELDS,
        *names.REFUSED,
    }
    handled |= {"model_name_or_path", "datasets", "dataset_name", "dataset_config", "dataset_train_split"}
    handled |= {
        "dataset_test_split",
        "lora_task_type",
        "bnb_4bit_quant_type",
        "bnb_4bit_quant_storage",
        "reward_model_name_or_path",
    }
    unknown = {
        name for name in known - handled - spec.model_fields.keys() if names.renamed(spec.FORMER_NAMES, name) is None
    }
    assert unknown == set()
    assert annotation_of(spec, "no_such_argument") is None
