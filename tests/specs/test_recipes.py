"""What recipes that lean on TRL say beside its words is taken, or answered with what to type."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import pytest
import yaml

import hfjobs_trainer as hft
from hfjobs_trainer.specs.notes import LEFT_OUT

MODEL = {"model_name_or_path": "m/m"}
RUN = {**MODEL, "dataset_name": "a/b"}
TODAY: dict[str, Any] = {"model": "m/m", "dataset": "a/b"}
TEMPLATE = "{% for message in messages %}{{ message['role'] + message['content'] }}{% endfor %}"


def write(folder: Path, words: dict[str, Any], method: str = "sft") -> Path:
    file = folder / f"{method}.yaml"
    file.write_text(yaml.safe_dump(words), "utf-8")
    return file


def load(folder: Path, words: dict[str, Any], method: str = "sft", **fields: Any) -> Any:
    return hft.load(write(folder, words, method), **fields)


def mended(folder: Path, words: dict[str, Any], method: str = "sft") -> tuple[dict[str, str], Any]:
    """Reasons by path, and the spec that the fixes make of the file, typed as they are."""
    file = write(folder, words, method)
    with pytest.raises(hft.SpecError) as caught:
        hft.load(file)
    fields: dict[str, Any] = {}
    for problem in caught.value.problems:
        call: Any = ast.parse(f"f({problem.fix})", mode="eval").body
        fields |= {item.arg: ast.literal_eval(item.value) for item in call.keywords}
    return {problem.path: problem.why for problem in caught.value.problems}, hft.load(file, **fields)


def tuned_on_a_job(**more: Any) -> dict[str, Any]:
    """As recipes for one flavor of Jobs are written."""
    return {
        **MODEL,
        "num_processes": 1,
        "num_machines": 1,
        "mixed_precision": "no",
        "dynamo_backend": "no",
        "model_revision": "main",
        "dtype": "bfloat16",
        "attn_implementation": "kernels-community/flash-attn2",
        "dataset_num_proc": 96,
        "bf16": True,
        "do_eval": False,
        "eval_strategy": False,
        "gradient_checkpointing": True,
        "gradient_checkpointing_kwargs": {"use_reentrant": False},
        "hub_strategy": "every_save",
        "lr_scheduler_type": "cosine_with_min_lr",
        "lr_scheduler_kwargs": {"min_lr_rate": 0.1},
        "learning_rate": "2.0e-05",
        "output_dir": "data/m-SFT",
        "overwrite_output_dir": True,
        "packing": True,
        "push_to_hub": True,
        "report_to": "trackio",
        "use_liger_kernel": True,
        "warmup_ratio": 0.03,
        "project": "jobs",
        **more,
    }


@pytest.mark.parametrize("more", [{}, {"use_peft": True}])
def test_recipes_of_jobs_load_once_a_dataset_is_named(more: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "m-a100-large.yaml"
    file.write_text(yaml.safe_dump(tuned_on_a_job(**more)), "utf-8")
    spec = hft.load(file, dataset="a/b", hardware="a100-large")
    assert spec.replace(hardware=None) == hft.load(f"trl sft --config {file} --dataset_name a/b").replace(hardware=None)
    plan = hft.plan(spec, offline=True)
    assert '"kernels==' in plan.script
    assert "warmup_steps=0.03" in plan.script
    assert {note.word for note in spec.notes} == {"output_dir", "overwrite_output_dir", "warmup_ratio", "defaults"}


@pytest.mark.parametrize(
    ("attention", "brought"),
    [
        ({"attn_implementation": "kernels-community/flash-attn"}, True),
        ({"attn_implementation": "flash_attention_2"}, True),
        ({"model_init_kwargs": {"use_kernels": True}}, True),
        ({"attn_implementation": "sdpa"}, False),
        ({"attn_implementation": "flash_attention_2", "extra_dependencies": ["flash-attn==2.8.3"]}, False),
        ({"attn_implementation": "kernels-community/x", "extra_dependencies": ["kernels==0.18.5"]}, False),
    ],
)
def test_an_attention_kernel_brings_its_package(attention: dict[str, Any], brought: bool) -> None:
    plan = hft.plan(hft.SFT(model="m/m", dataset="a/b", timeout="1h", **attention), offline=True)
    from hfjobs_trainer.planning.pins import pins

    assert (f'"{pins().requirement("kernels")}"' in plan.script) is brought


def test_mixtures_of_shares(tmp_path: Path) -> None:
    words = {**MODEL, "dataset_mixer": {"a/b": 1.0, "c/d": 0.5}, "dataset_splits": ["train_sft", "test_sft"]}
    parts = [{"id": "a/b", "split": "train_sft"}, {"id": "c/d", "split": "train_sft[:50%]"}]
    assert load(tmp_path, words) == hft.SFT(model="m/m", dataset=parts)
    tests = [{"id": "a/b", "split": "test_sft"}, {"id": "c/d", "split": "test_sft"}]
    spec = load(tmp_path, {**words, "evaluation_strategy": "epoch"})
    assert spec == hft.SFT(model="m/m", dataset=parts, eval_dataset=tests, eval_strategy="epoch")
    assert {note.word for note in spec.notes} == {"evaluation_strategy", "dataset_mixer", "defaults"}
    configured = {**MODEL, "dataset_mixer": {"a/b": 1.0}, "dataset_splits": ["train"], "dataset_configs": ["tiny"]}
    assert load(tmp_path, configured).dataset == hft.Dataset(id="a/b", config="tiny", split="train")
    found, spec = mended(tmp_path, {**MODEL, "dataset_mixer": {"a/b": 1.0}, "dataset_splits": ["one", "two"]})
    assert "split names" in found["dataset_mixer"]
    assert spec.dataset.id == "trl-lib/Capybara"


def test_mixtures_of_datasets(tmp_path: Path) -> None:
    part: dict[str, Any] = {"id": "a/b", "config": "c", "split": "train_sft", "columns": ["messages"], "weight": 1.0}
    words: dict[str, Any] = {**MODEL, "dataset_mixture": {"datasets": [part, {"id": "c/d", "weight": 0.25}], "seed": 0}}
    first = {"id": "a/b", "config": "c", "split": "train_sft", "keep_columns": ["messages"]}
    parts = [first, {"id": "c/d", "split": "train[:25%]"}]
    spec = load(tmp_path, words)
    assert spec == hft.SFT(model="m/m", dataset=parts)
    assert "first rows" in spec.notes[0].why
    for size in (0.05, 2000):
        words["dataset_mixture"]["test_split_size"] = size
        spec = load(tmp_path, {**words, "eval_strategy": "steps"})
        assert spec == hft.SFT(model="m/m", dataset=parts, eval_fraction=size, eval_strategy="steps")
        assert f"test_size={size}" in hft.plan(spec, offline=True).script
    # another dataset has other rows and splits
    named = load(tmp_path, {**words, "system_prompt": "Be brief."}, dataset="e/f")
    assert named == hft.SFT(model="m/m", dataset="e/f")
    assert [(note.word, note.value) for note in named.notes] == [("system_prompt", LEFT_OUT)]
    command = f"trl sft --config {tmp_path / 'sft.yaml'} --dataset_name e/f"
    assert hft.load(command) == named
    found, _ = mended(tmp_path, {**MODEL, "dataset_mixture": {"datasets": []}})
    assert found == {"dataset_mixture": "it lists no datasets with an id"}


def test_words_for_the_same(tmp_path: Path) -> None:
    words = {
        **MODEL,
        "dataset_id_or_path": "a/b",
        "use_flash_attention_2": True,
        "preprocessing_num_workers": 12,
        "report_to": ["tensorboard", "wandb"],
        "wandb_project": "p",
        "wandb_entity": "e",
        "hub_model_revision": "v1",
        "callbacks": ["push_to_hub_revision"],
        "tokenizer_name_or_path": "m/m",
        "use_liger": True,
        "packing_strategy": "ffd",
    }
    assert load(tmp_path, {name: value for name, value in words.items() if name != "use_liger"}) == hft.SFT(
        model="m/m",
        dataset="a/b",
        attn_implementation="flash_attention_2",
        dataset_num_proc=12,
        tracking={"report_to": "wandb", "tensorboard": True, "project": "p"},
        env={"WANDB_ENTITY": "e"},
        hub_revision="v1",
        packing_strategy="bfd",
    )
    assert load(tmp_path, {**RUN, "use_liger": True}).use_liger_kernel is True
    assert load(tmp_path, {**RUN, "tokenizer_name_or_path": "o/o"}).processing_class == "o/o"
    assert load(tmp_path, {**RUN, "use_flash_attention_2": False, "benchmarks": []}).to_dict().keys() == {
        "method",
        "model",
        "dataset",
    }
    grpo = load(tmp_path, {**RUN, "reward_funcs": ["accuracy"], "preprocessing_num_workers": 4}, "grpo")
    assert (grpo.reward_funcs, {note.word for note in grpo.notes}) == (
        ["accuracy_reward"],
        {"preprocessing_num_workers", "reward_funcs"},
    )


def test_a_chat_template_is_text(tmp_path: Path) -> None:
    spec = load(tmp_path, {**RUN, "chat_template": TEMPLATE}, "dpo")
    assert spec == hft.DPO(model="m/m", dataset="a/b", chat_template=TEMPLATE)
    script = hft.plan(spec.replace(timeout="1h"), offline=True).script
    assert "tokenizer.chat_template = CHAT_TEMPLATE" in script
    assert "processing_class=tokenizer" in script
    found, spec = mended(tmp_path, {**RUN, "chat_template": TEMPLATE, "chat_template_path": "o/o"})
    assert found.keys() == {"chat_template_path"}
    assert spec == hft.SFT(**TODAY, chat_template=TEMPLATE)


@pytest.mark.parametrize(
    ("method", "words", "told"),
    [
        ("sft", {"system_prompt": "Be brief."}, "role system"),
        ("sft", {"benchmarks": ["lcb"]}, "runs no benchmarks"),
        ("sft", {"callbacks": ["mine"]}, "callbacks"),
        ("grpo", {"reward_funcs": ["accuracy_reward"], "dataset_prompt_column": "problem"}, "column prompt"),
        ("grpo", {"reward_funcs": ["accuracy", "format", "length"], "reward_weights": [1.0, 1.0, 1.0]}, "open-r1"),
        ("grpo", {"reward_funcs": ["code"], "code_language": "python", "e2b_router_url": "x"}, "code: a reward of"),
    ],
)
def test_what_cannot_be_taken_is_answered(method: str, words: dict[str, Any], told: str, tmp_path: Path) -> None:
    found, spec = mended(tmp_path, {**RUN, **words}, method)
    assert any(told in why for why in found.values())
    assert spec.model == "m/m"
    if "format" in words.get("reward_funcs", []):
        assert (spec.reward_funcs, spec.reward_weights) == (["accuracy_reward", "think_format_reward"], None)


def test_rewards_of_open_r1_score_the_same(tmp_path: Path) -> None:
    names = ["accuracy", "format", "tag_count", "reasoning_steps"]
    spec = load(tmp_path, {**RUN, "reward_funcs": names, "reward_weights": [1.0, 1.0, 0.5, 1.0]}, "grpo")
    first, *functions = spec.reward_funcs
    assert (first, [note.path for note in spec.notes]) == ("accuracy_reward", ["reward_funcs"])
    whole = "<think>\nFirst, add.\n- 2\n- 3\n</think>\n<answer>\n5\n</answer>"
    answers = [[{"role": "assistant", "content": text}] for text in (whole, whole + " .", "1. Next, 5", "")]
    scores: dict[str, list[float]] = {}
    for function in functions:
        scope: dict[str, Any] = {}
        exec("\n".join([*function.imports, function.source]), scope)  # noqa: S102 - what the package itself wrote
        scores[function.name] = scope[function.name](answers, solution=["5"] * 4)
    assert scores == {
        "format_reward": [1.0, 0.0, 0.0, 0.0],
        "tag_count_reward": [1.0, 1.0, 0.0, 0.0],
        "reasoning_steps_reward": [1.0, 1.0, 2 / 3, 0.0],
    }
    script = hft.plan(spec.replace(timeout="1h"), offline=True).script
    assert all(f"            {name},\n" in script for name in ("accuracy_reward", *scores))


def test_a_misspelt_reward_is_trls(tmp_path: Path) -> None:
    spec = load(tmp_path, {**RUN, "reward_funcs": ["accurcy_reward"]}, "grpo")
    assert [problem.code for problem in hft.check(spec, offline=True).problems if problem.path == "reward_funcs"]


@pytest.mark.parametrize(
    "hardware",
    [
        {"deepspeed": {"zero_optimization": {"stage": 3}}},
        {"fsdp": True},
        {"fsdp": "full_shard auto_wrap", "fsdp_config": {"version": 1}, "strategy": "user"},
    ],
)
def test_written_strategies_do_not_shard_four_bits(hardware: dict[str, Any]) -> None:
    spec = hft.SFT(model="m/m", dataset="a/b", lora={}, quantization="4bit", hardware=hardware)
    (problem,) = [item for item in hft.check(spec, offline=True).problems if item.code == "DIST002"]
    assert problem.path.removeprefix("hardware.") in hardware
    call: Any = ast.parse(f"f({problem.fix})", mode="eval").body
    (hardware_again,) = call.keywords
    mended = spec.replace(hardware=eval(ast.unparse(hardware_again.value), {"hft": hft}))  # noqa: S307 - our own text
    assert "DIST002" not in {item.code for item in hft.check(mended, offline=True).problems}
    whole = hft.Hardware(deepspeed={"zero_optimization": {"stage": 2}})
    told = {item.code for item in hft.check(spec.replace(hardware=whole), offline=True).problems}
    assert "DIST002" not in told


def test_the_storage_of_four_bits_is_kept(tmp_path: Path) -> None:
    words = {**RUN, "use_peft": True, "load_in_4bit": True, "bnb_4bit_quant_storage": "bfloat16"}
    spec = load(tmp_path, words)
    assert spec.quantization == hft.Quantization(bits="4bit", quant_storage="bfloat16")
    assert 'bnb_4bit_quant_storage="bfloat16"' in hft.plan(spec, offline=True).script
    options = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "bnb_4bit_quant_storage": "bfloat16"}
    written = hft.SFT(model="m/m", dataset="a/b", lora={}, model_init_kwargs={"quantization_config": options})
    assert written.quantization is not None
    assert written.quantization.quant_storage == "bfloat16"


def test_false_is_yamls_no(tmp_path: Path) -> None:
    spec = load(tmp_path, {**RUN, "eval_strategy": False, "save_strategy": False, "logging_strategy": False})
    assert (spec.eval_strategy, spec.save_strategy, spec.logging_strategy) == ("no", "no", "no")
    with pytest.raises(hft.SpecError) as caught:
        hft.METHODS["sft"](**TODAY, eval_strategy=False)
    assert caught.value.problems[0].fix == 'eval_strategy="no"'
