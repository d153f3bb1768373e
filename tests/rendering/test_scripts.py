"""The script of each decision: the lines that are meant, nothing that was left open, clean by ruff."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from rendering.ruffed import format_changes, lint_findings

import hfjobs_trainer as hft
from hfjobs_trainer.codegen.examples import EXAMPLES
from hfjobs_trainer.contents import Content, Part
from hfjobs_trainer.facts import DatasetFacts, ModelFacts

SCRIPTS = Path(__file__).parents[2] / "scripts"
SFT: dict[str, Any] = {"method": "sft", "model": "org/model", "dataset": "org/dataset", "max_steps": 10}
GRPO = {**SFT, "method": "grpo", "reward_funcs": "think_format_reward"}
A10G, TWO, T4 = {"hardware": "a10g-large"}, {"hardware": "a10g-largex2"}, {"hardware": "t4-small"}


def rendered(fields: dict[str, Any], backend: str = "hub") -> str:
    return hft.render(fields, facts=hft.Facts(), backend=backend)


def call(script: str, name: str) -> dict[str, str]:
    """Keyword arguments of the first call of ``name``, as source."""
    found = [
        node for node in ast.walk(ast.parse(script)) if isinstance(node, ast.Call) and ast.unparse(node.func) == name
    ]
    return {item.arg or "**": ast.unparse(item.value) for item in found[0].keywords}


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_what_its_spec_renders_to(name: str) -> None:
    file = SCRIPTS / f"{name}.py"
    assert hft.render(EXAMPLES[name](), offline=True) == file.read_text(encoding="utf-8")
    loaded = hft.load(file)
    assert loaded == EXAMPLES[name]()
    assert hft.render(loaded, offline=True) == file.read_text(encoding="utf-8")


def test_examples_are_clean(tmp_path: Path) -> None:
    texts = {file.stem: file.read_text(encoding="utf-8") for file in SCRIPTS.glob("*.py")}
    assert set(texts) == set(EXAMPLES)
    assert format_changes(tmp_path, texts) == lint_findings(tmp_path, texts) == ""


def content(name: str, *parts: str) -> Content:
    return Content(name, "ab" * 32, tuple(Part(part, 1, "cd" * 32) for part in parts or (name,)), bool(parts))


PIN = f"@sha256:{'ab' * 32}"
LOCAL = hft.Facts(
    model=ModelFacts(path="/home/me/model", exists=True, content=content("model", "config.json")),
    adapter=ModelFacts(path="/home/me/adapter", exists=True, content=content("adapter", "adapter_config.json")),
    dataset=DatasetFacts(
        path="/home/me/a.tsv",
        exists=True,
        content=content("a.tsv"),
        mixed_with=(
            DatasetFacts(path="/home/me/b", exists=True, saved=True, content=content("b", "state.json")),
            DatasetFacts(path="/home/me/c", exists=True, saved=False, content=content("c", "c.jsonl")),
        ),
    ),
    eval_dataset=DatasetFacts(path="/home/me/c", exists=True, saved=False, content=content("c", "c.jsonl")),
)
ON_DISK: dict[str, Any] = {
    **SFT,
    "model": "/home/me/model",
    "dataset": ["/home/me/a.tsv", "./b", "./c"],
    "eval_dataset": "~/c",
    "lora": {"adapter": "./adapter"},
}


def test_local_data_are_named_by_their_content_and_looked_for(tmp_path: Path) -> None:
    script = hft.render(ON_DISK, facts=LOCAL)
    for piece in (
        f'MODEL = "model{PIN}"\n',
        f'DATASET = (\n    "a.tsv{PIN}"\n)\n',
        f'EVAL_DATASET = (\n    "c{PIN}"\n)\n',
        f'ADAPTER = (\n    "./adapter{PIN}"\n)\n',
        'load_dataset(\n        "csv", data_files=find_data(DATASET), sep="\\t", split="train"\n    )',
        f'load_from_disk(\n        find_data(\n            "./b{PIN}",\n        )\n    )',
        f'load_dataset(\n        find_data(\n            "./c{PIN}",\n        ),\n        split="train",\n    )',
        'load_dataset(find_data(EVAL_DATASET), split="train")',
        "find_data(MODEL),",
        "find_data(ADAPTER),",
    ):
        assert piece in script
    assert "/home/me" not in script
    assert format_changes(tmp_path, {"hub": script}) == lint_findings(tmp_path, {"hub": script}) == ""
    here = hft.render(ON_DISK, facts=LOCAL, backend="local")
    assert 'load_dataset("/home/me/c", split="train")' in here
    assert "find_data" not in here


@pytest.mark.parametrize(
    "fields",
    [
        {"method": "ppo", "max_steps": -1, "reward_model": "./model"},
        {"method": "gkd", "teacher_model": "./model"},
        {"method": "distillation", "teacher_model": "./model"},
        {"method": "grpo", "reward_funcs": ["./model"]},
        {"method": "reward"},
        {"lora": {"r": 8}, "output": {"merge_adapter": True}},
        {"method": "grpo", "use_vllm": True, "vllm_mode": "server", **TWO, "reward_funcs": "accuracy_reward"},
    ],
)
def test_every_model_of_this_machine_is_looked_for(tmp_path: Path, fields: dict[str, Any]) -> None:
    known = ModelFacts(path="/home/me/model", exists=True, content=content("model", "config.json"))
    facts = hft.Facts(model=known, teacher=known, reward_model=known, reward_models=(known,))
    script = hft.render({**SFT, "model": "./model", **fields}, facts=facts)
    program = script.partition("def main() -> None:")[2].partition("# /// hfjobs-trainer")[0]
    for name in ("MODEL", "TEACHER", "REWARD_MODEL", "VALUE_MODEL"):
        used = [line for line in program.splitlines() if re.search(rf"\b{name}\b", line) and "report(" not in line]
        assert [line for line in used if f"find_data({name})" not in line and '"model": MODEL' not in line] == []
    assert "/home/me" not in script
    assert format_changes(tmp_path, {"hub": script}) == lint_findings(tmp_path, {"hub": script}) == ""


# Name: the spec, the backend, pieces that the script must have, pieces that it must not have.
DECISIONS: dict[str, tuple[dict[str, Any], str, list[str], list[str]]] = {
    "one GPU": (
        {**SFT, **A10G},
        "hub",
        ["planned=1)", "relaunch(gpus=0)\n", 'settle_precision(machine, "bf16")'],
        ["use_cpu=True", "def download(", "models="],
    ),
    "two GPUs": (
        {**SFT, **TWO},
        "hub",
        ["planned=2)", "relaunch(gpus=0, models={MODEL: None})\n", "def download("],
        ["join="],
    ),
    "one of two GPUs": (
        {**SFT, "hardware": {"flavor": "a10g-largex2", "strategy": "single"}},
        "hub",
        ["planned=1)", "relaunch(gpus=1)"],
        ["relaunch(gpus=0"],
    ),
    "this machine": (SFT, "local", [], ['space_id="', "require_gpus", "def download("]),
    "old GPU": ({**SFT, **T4}, "hub", ['settle_precision(machine, "fp16")', 'settle_dtype(machine, "float32")'], []),
    "hold-out": (
        {**SFT, "eval_fraction": 0.1, "seed": 7},
        "hub",
        [
            "    split = dataset.train_test_split(test_size=0.1, seed=7)\n",
            'train_dataset=split["train"],\n        eval_dataset=split["test"],',
        ],
        ["train_dataset=dataset"],
    ),
    "another dataset": (
        {**SFT, "eval_dataset": {"id": "org/other", "split": "test[:50%]"}, "eval_strategy": "steps", "eval_steps": 5},
        "hub",
        [
            'EVAL_DATASET = "org/other"',
            '    eval_dataset = load_dataset(EVAL_DATASET, split="test[:50%]")\n',
            "train_dataset=dataset,\n        eval_dataset=eval_dataset,",
            'eval_strategy="steps",',
        ],
        ["train_test_split"],
    ),
    "the whole of a dataset": (
        {
            **SFT,
            "dataset": {
                "id": "org/d",
                "config": "en",
                "revision": "v1",
                "split": "train[:10%]",
                "num_samples": 100,
                "columns": {"question": "prompt", "answer": "completion"},
            },
        },
        "hub",
        [
            'load_dataset(DATASET, name="en", split="train[:10%]", revision="v1")\n',
            "    rows = range(min(100, len(dataset)))\n    dataset = dataset.select(rows)\n",
            '    dataset = dataset.rename_columns({"question": "prompt", "answer": "completion"})\n',
        ],
        ["streaming"],
    ),
    "streaming": (
        {**SFT, "dataset": {"id": "org/d", "streaming": True, "num_samples": 100}},
        "hub",
        ["streaming=True)\n    dataset = dataset.take(100)\n"],
        ["select(rows)"],
    ),
    **{
        f"{name}": (
            {**SFT, "dataset": {"id": f"./data/train.{name}"}},
            "local",
            [
                f'    dataset = load_dataset("{builder}", data_files=DATASET, split="train")\n',
            ],
            ["load_from_disk", '"datasets" = ['],
        )
        for name, builder in {
            "jsonl": "json",
            "json": "json",
            "json.gz": "json",
            "csv": "csv",
            "parquet": "parquet",
        }.items()
    },
    "saved dataset": (
        {**SFT, "dataset": "./saved", "eval_dataset": {"id": "./saved", "split": "test"}, "eval_strategy": "epoch"},
        "local",
        [
            "    from datasets import DatasetDict, load_from_disk\n",
            "    dataset = load_from_disk(DATASET)\n    if isinstance(dataset, DatasetDict):\n",
            '        dataset = dataset["train"]\n',
            '        eval_dataset = eval_dataset["test"]\n',
        ],
        ["load_dataset"],
    ),
    "adapter": (
        {**SFT, **A10G, "lora": {"r": 8, "target_modules": ["q_proj", "v_proj"], "use_rslora": True}},
        "hub",
        [
            "    from peft import LoraConfig\n",
            'settle_dtype(machine, "bfloat16", frozen=True)',
            "peft_config=LoraConfig(\n            r=8,\n            lora_alpha=32,\n            lora_dropout=0.05,\n",
            '            target_modules=["q_proj", "v_proj"],\n',
            "            use_rslora=True,\n",
            '            task_type="CAUSAL_LM",\n        ),\n',
            '"peft==',
        ],
        [],
    ),
    "dtype": (
        {**SFT, "dtype": "bfloat16", "attn_implementation": "sdpa", "model_revision": "main"},
        "hub",
        [
            '        model_init_kwargs={\n            "dtype": "bfloat16",\n            "revision": "main",\n',
            '"sdpa",\n        },\n',
        ],
        ["dtype = settle_dtype"],
    ),
    "bf16 off": (
        {**SFT, "bf16": False},
        "hub",
        ['use_cpu=machine.device == "cpu",\n', "bf16=False,"],
        ["fp16=True", "**precision"],
    ),
    "fp16": ({**SFT, "fp16": True, "bf16": False}, "hub", ["fp16=True,"], ["**precision"]),
    "CPU": (
        {**SFT, "use_cpu": True, "bf16": False},
        "local",
        ["find_machine(use_cpu=True)", "relaunch(gpus=1)"],
        ["        use_cpu=True,\n", "require_gpus"],
    ),
    "global batch": (
        {**SFT, **TWO, "global_batch_size": 64, "per_device_train_batch_size": 4},
        "hub",
        [
            "        per_device_train_batch_size=4,\n",
            "        gradient_accumulation_steps=accumulation_steps(\n"
            "            global_batch_size=64, per_device_batch_size=4\n        ),\n",
            "def accumulation_steps(",
        ],
        ["gradient_accumulation_steps=8"],
    ),
    "batch as given": (
        {**SFT, **TWO, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 8},
        "hub",
        ["        per_device_train_batch_size=4,\n", "        gradient_accumulation_steps=8,\n"],
        ["accumulation_steps("],
    ),
    "from a checkpoint": (
        {**SFT, "resume_from_checkpoint": "./out/checkpoint-5"},
        "local",
        ['    train(trainer, stop, resume_from_checkpoint="./out/checkpoint-5")\n'],
        ["    trainer.train()\n"],
    ),
    "fsdp": (
        {**SFT, **TWO, "fsdp": "full_shard auto_wrap", "fsdp_config": {"version": 2, "reshard_after_forward": True}},
        "hub",
        [
            '        fsdp="full_shard auto_wrap",\n',
            '        fsdp_config={"version": 2, "reshard_after_forward": True},\n',
        ],
        ["deepspeed="],
    ),
    "deepspeed": (
        {**SFT, **TWO, "deepspeed": {"zero_optimization": {"stage": 2}}, "accelerator_config": {"split_batches": True}},
        "hub",
        [
            '        deepspeed={"zero_optimization": {"stage": 2}},\n',
            '        accelerator_config={"split_batches": True},\n',
            '"deepspeed==',
        ],
        [],
    ),
    "push": (
        {**SFT, "hub_model_id": "me/model", "hub_strategy": "end"},
        "hub",
        [
            "        push_to_hub=True,\n",
            '        hub_model_id="me/model",\n',
            "        hub_private_repo=True,\n",
            '        hub_strategy="end",\n',
            "    push(trainer)\n",
            "def push(trainer: Any",
        ],
        ["trainer.save_model()\n    conclude"],
    ),
    "no push": (
        SFT,
        "hub",
        ["    trainer.save_model()\n    reload(trainer)\n    end_tracking()\n    conclude(trainer, started)\n"],
        ["    push(trainer", "def push("],
    ),
    "no tracking": (
        {**SFT, "report_to": "none"},
        "hub",
        ['report_to="none"'],
        ["track(", "trackio"],
    ),
    "rewards": (
        {**GRPO, "reward_funcs": ["org/rm", "get_soft_overlong_punishment", "think_format_reward", "org/other-rm"]},
        "hub",
        [
            "    from transformers import AutoModelForSequenceClassification\n",
            'reward_model_1 = AutoModelForSequenceClassification.from_pretrained(\n        "org/rm", num_labels=1, ',
            'reward_model_2 = AutoModelForSequenceClassification.from_pretrained(\n        "org/other-rm", num_labe',
            "            reward_model_1,\n            get_soft_overlong_punishment(\n",
            "            think_format_reward,\n            reward_model_2,\n        ],\n",
        ],
        [],
    ),
}


@pytest.mark.parametrize("name", DECISIONS)
def test_a_decision_is_in_the_script(name: str) -> None:
    fields, backend, present, absent = DECISIONS[name]
    script = rendered(fields, backend)
    for piece in present:
        assert piece in script
    for piece in absent:
        assert piece not in script


def test_every_decision_is_clean(tmp_path: Path) -> None:
    texts = {f"script_{index}": rendered(*decision[:2]) for index, decision in enumerate(DECISIONS.values())}
    assert format_changes(tmp_path, texts) == lint_findings(tmp_path, texts) == ""


@pytest.mark.parametrize("method", ["sft", "dpo", "grpo"])
@pytest.mark.parametrize("backend", ["hub", "local"])
def test_what_is_left_open_is_not_written(method: str, backend: str) -> None:
    fields: dict[str, Any] = {"method": method, "model": "org/model", "dataset": "org/dataset"}
    if method == "grpo":
        fields["reward_funcs"] = "think_format_reward"
    config = call(rendered(fields, backend), f"{method.upper()}Config")
    assert list(config) == [
        "output_dir",
        "report_to",
        "project",
        "trackio_static_space_id",
        "disable_tqdm",
        "model_init_kwargs",
        "use_cpu",
        "**",
    ]
    assert config["model_init_kwargs"] == "{'dtype': dtype}"
    trainer = call(rendered(fields, backend), f"{method.upper()}Trainer")
    rewards = ["reward_funcs"] if method == "grpo" else []
    assert list(trainer) == ["model", *rewards, "args", "train_dataset", "callbacks"]


def test_what_is_given_is_written_even_if_it_is_the_default() -> None:
    script = rendered(
        {**SFT, "num_train_epochs": 3, "packing": False, "lr_scheduler_type": "linear", "weight_decay": 0}
    )
    config = call(script, "SFTConfig")
    assert [config[name] for name in ("num_train_epochs", "packing", "lr_scheduler_type", "weight_decay")] == [
        "3.0",
        "False",
        "'linear'",
        "0.0",
    ]


def test_the_header_of_a_small_spec() -> None:
    script = rendered(
        {**SFT, **A10G, "timeout": "1h", "report_to": "none", "env": {"LEVEL": "é"}, "labels": {"a": "b"}}
    )
    start = script[: script.index('"""')]
    digest = script.split('digest = "')[1]
    own = '"HFT_TIMEOUT" = "4500", "HFT_CHECKPOINTS" = "/hft/checkpoints"'
    assert start == dedent(f"""\
        # /// script
        # requires-python = ">=3.11"
        # dependencies = [
        #     "accelerate==1.15.0",
        #     "datasets==5.2.0",
        #     "torch==2.13.0",
        #     "transformers==5.23.0",
        #     "trl==1.16.0",
        # ]
        #
        # [tool.uv]
        # exclude-newer = "2026-11-21T00:00:00Z"
        # exclude-newer-package = {{ {exempt()} }}
        #
        # [tool.hf-jobs]
        # flavor = "a10g-large"
        # timeout = "4500s"
        # name = "sft-model"
        # env = {{ "PYTHONUNBUFFERED" = "1", "UV_TORCH_BACKEND" = "auto", "LEVEL" = "\\u00e9", {own} }}
        # labels = {{ "sdk" = "hfjobs-trainer", "method" = "sft", "spec" = "{digest[:12]}", "a" = "b" }}
        # ///
        """)


def exempt() -> str:
    from hfjobs_trainer.planning.pins import pins

    return ", ".join(f'"{name}" = false' for name in pins().unbounded)


def test_a_script_says_first_what_happens_and_then_how() -> None:
    tree = ast.parse(rendered({**SFT, "hub_model_id": "me/x"}))
    kinds = [type(node).__name__ for node in tree.body]
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert kinds[0] == "Expr"
    assert kinds[-1] == "If"
    assert functions[0] == "main"
    assert functions[1:4] == ["tell_failure", "stop_again", "relaunch"]
    assert {"push", "track", "report", "conclude", "find_machine"} <= set(functions)
    main = next(node for node in tree.body if isinstance(node, ast.FunctionDef))
    assert main.end_lineno is not None
    assert main.end_lineno - main.lineno < 70


@pytest.mark.parametrize(
    ("fields", "package"),
    [
        ({"optim": "paged_adamw_8bit"}, "bitsandbytes"),
        ({"optim": "lion_8bit"}, "bitsandbytes"),
        ({"optim": "adamw_torch_8bit"}, "torchao"),
        ({"use_liger_kernel": True}, "liger-kernel"),
        ({"deepspeed": {"zero_optimization": {"stage": 2}}}, "deepspeed"),
    ],
)
def test_what_needs_a_package_brings_it_pinned(fields: dict[str, Any], package: str) -> None:
    script = hft.render(hft.SFT(model="me/model", dataset="me/data", **fields), offline=True)
    plain = hft.render(hft.SFT(model="me/model", dataset="me/data"), offline=True)

    assert f'#     "{package}==' in script
    assert f"{package}==" not in plain
