"""What the rules refuse, TRL refuses too, and what they let through it trains with: one step on the CPU each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version
from rules.case import base, case

from examples.tiny import Format
from hfjobs_trainer.planning.rules.tune import ATTENTION, KERNELS
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.registry import METHODS

pytestmark = [
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore:.*os.fork.*"),
]

CPU: dict[str, Any] = {"use_cpu": True, "bf16": False, "report_to": "none", "logging_steps": 1}
DATA: dict[str, Format] = {"sft": "text", "dpo": "preference", "grpo": "prompt_only", "kto": "unpaired"}
Train = Callable[[dict[str, Any]], int]


def one_point_per_character(completions: list[str], **_columns: Any) -> list[float]:
    return [float(len(completion)) for completion in completions]


@pytest.fixture
def train(tmp_path: Path, tiny_model: Path, tiny_data: Callable[[Format], Path]) -> Train:
    """A function that trains with the TRL arguments of a case's spec, and returns the steps done."""

    def run(fields: dict[str, Any]) -> int:
        import trl
        from datasets import load_dataset
        from peft import LoraConfig

        spec = _spec(fields)
        method = type(spec).METHOD
        data: Any = load_dataset(
            "json",
            data_files=str(tiny_data(DATA[method.name])),
            split="train",
            streaming=spec.dataset.streaming,
            cache_dir=str(tmp_path / "cache"),
        )
        sizes: dict[str, Any] = {"per_device_train_batch_size": 2}
        if not spec.load_best_model_at_end:
            sizes["save_strategy"] = "no"
        if not (spec.dataset.streaming and spec.max_steps < 0):
            sizes["max_steps"] = 1
        if spec.attn_implementation:
            sizes["model_init_kwargs"] = {"attn_implementation": spec.attn_implementation}
        sizes |= {"num_generations": 2, "max_completion_length": 4} if method.name == "grpo" else {}
        arguments = CPU | sizes | {"output_dir": str(tmp_path / "out")} | spec.trl_arguments()
        extra: dict[str, Any] = {}
        if method.name == "grpo":
            extra["reward_funcs"] = [one_point_per_character] * len(spec.model_dump()["reward_funcs"])
        if spec.lora is not None:
            targets = {} if spec.lora.target_modules is None else {"target_modules": spec.lora.target_modules}
            extra["peft_config"] = LoraConfig(task_type="CAUSAL_LM", **targets)
        trainer = getattr(trl, method.trainer)(
            str(tiny_model),
            args=getattr(trl, method.config)(**arguments),
            train_dataset=data,
            eval_dataset=data if spec.evaluates else None,
            **extra,
        )
        trainer.train()
        return trainer.state.global_step

    return run


def _spec(fields: dict[str, Any]) -> TrainSpec:
    given = base(fields)
    return METHODS[given.pop("method")](**given)


# code -> the error that TRL raises, and words of it
REFUSED: dict[str, tuple[type[Exception], str]] = {
    "DATA001": (ValueError, "didn't pass an `eval_dataset`"),
    "DATA007": (ValueError, "max_steps has to be specified"),
    "PREC001": (ValueError, "At most one of fp16 and bf16"),
    "LORA001": (ValueError, "adapter to `lm_head` is not supported"),
    "TRAIN001": (ValueError, "round multiple of the evaluation steps"),
    "TRAIN002": (ValueError, "metric_for_best_model` must be provided"),
    "TRAIN003": (ValueError, "One of min_lr or min_lr_rate should be set"),
    "TRAIN004": (ValueError, "dataloader_prefetch_factor can only be set"),
    "TRAIN005": (ValueError, "requires non-zero --logging_steps"),
    "TRAIN006": (ImportError, "schedulefree"),
    "TUNE005": (ValueError, "flash_attention2"),
    "SFT001": (ValueError, "`max_length` is not enforced"),
    "SFT002": (ValueError, "`max_length` can't be `None`"),
    "DPO001": (ValueError, "Label smoothing must be greater than 0.0"),
    "DPO002": (ValueError, "same length as `loss_type`"),
    "DPO003": (ValueError, "only supported for the following loss types"),
    "DPO004": (ValueError, "not supported with IterableDataset"),
    "DPO005": (ValueError, "together with `precompute_ref_log_probs=True`"),
    "DPO006": (NotImplementedError, "not implemented for 'aot'"),
    "GRPO001": (ValueError, "must be divisible by num_generations"),
    "GRPO002": (ValueError, "must be divisible by the number of generations used for evaluation"),
    "GRPO003": (ValueError, "auto_find_batch_size is not supported by GRPO"),
    "GRPO004": (ValueError, "while `beta=0.0`"),
    "SFT006": (ValueError, "requires `gradient_checkpointing=True`"),
    "GRPO007": (ValueError, "Number of reward weights"),
}
# Those whose good spec needs a GPU or a package that is not here.
GOOD_ELSEWHERE = {"PREC001", "TRAIN006"}


@pytest.mark.parametrize("code", REFUSED)
def test_trl_refuses_the_bad(code: str, train: Train) -> None:
    error, words = REFUSED[code]
    with pytest.raises(error, match=words):
        train(case(code).bad)


@pytest.mark.parametrize("code", [code for code in REFUSED if code not in GOOD_ELSEWHERE])
def test_trl_trains_with_the_good(code: str, train: Train) -> None:
    assert train(case(code).good) == 1


# What the rules refuse beside the first thing of their cases: (arguments, error, words of it).
MORE: list[tuple[dict[str, Any], type[Exception], str]] = [
    (
        {"eval_fraction": 0.5, "load_best_model_at_end": True, "eval_strategy": "epoch", "save_strategy": "steps"},
        ValueError,
        "requires the save and eval strategy to match",
    ),
    (
        {
            "eval_fraction": 0.5,
            "load_best_model_at_end": True,
            "eval_strategy": "steps",
            "eval_steps": 0.2,
            "save_strategy": "steps",
            "save_steps": 10,
        },
        ValueError,
        "mixing ratio and absolute steps",
    ),
    ({"bf16_full_eval": True, "fp16_full_eval": True}, ValueError, "can be True for full eval"),
    ({"lr_scheduler_type": "reduce_lr_on_plateau"}, ValueError, "requires an eval strategy"),
    ({"lr_scheduler_type": "greedy"}, ValueError, "requires an eval strategy"),
    ({"lr_scheduler_type": "warmup_stable_decay"}, TypeError, "num_decay_steps"),
    (
        {"lr_scheduler_type": "cosine_with_min_lr", "lr_scheduler_kwargs": {"min_lr": 1e-6, "min_lr_rate": 0.1}},
        ValueError,
        "Only one of min_lr or min_lr_rate",
    ),
    ({"dataloader_persistent_workers": True}, ValueError, "persistent_workers option needs num_workers > 0"),
    ({"save_strategy": "steps", "save_steps": 2.5}, ValueError, "must be an integer if bigger than 1"),
    ({"eval_fraction": 0.5, "eval_strategy": "steps", "eval_steps": 2.5}, ValueError, "must be an integer"),
    ({"method": "dpo", "sync_ref_model": True, "lora": {}}, NotImplementedError, "PEFT"),
    ({"method": "grpo", "log_completions_hub_repo": "me/completions"}, ValueError, "log_completions"),
    (
        {"method": "grpo", "vllm_importance_sampling_clip_min": 3.0, "vllm_importance_sampling_clip_max": 2.0},
        ValueError,
        "must be less than",
    ),
    (
        {
            "method": "grpo",
            "vllm_importance_sampling_clip_max": None,
            "vllm_importance_sampling_mode": "token_truncate",
        },
        ValueError,
        "At least one of",
    ),
    ({"lora": {"target_modules": []}}, ValueError, "No `target_modules` passed"),
    ({"method": "kto", "sync_ref_model": True, "lora": {}}, NotImplementedError, "PEFT"),
    (
        {"method": "kto", "sync_ref_model": True, "precompute_ref_log_probs": True},
        ValueError,
        "together with `precompute_ref_log_probs=True`",
    ),
    (
        {
            "method": "kto",
            "precompute_ref_log_probs": True,
            "dataset": {"id": "me/data", "streaming": True},
            "max_steps": 1,
        },
        ValueError,
        "not supported with IterableDataset",
    ),
    ({"method": "grpo", "sync_ref_model": True, "beta": 0.1, "lora": {}}, NotImplementedError, "PEFT"),
    (
        {"method": "grpo", "generation_batch_size": 8, "steps_per_generation": 1},
        ValueError,
        "can not be both configured",
    ),
    (
        {"method": "grpo", "generation_batch_size": 3},
        ValueError,
        "must be divisible by the global batch size",
    ),
    (
        {"method": "grpo", "generation_batch_size": 4, "num_generations": 8},
        ValueError,
        "must be divisible by num_generations",
    ),
]


@pytest.mark.parametrize(("fields", "error", "words"), MORE)
def test_trl_refuses_more(fields: dict[str, Any], error: type[Exception], words: str, train: Train) -> None:
    import hfjobs_trainer as hft

    codes = {problem.code for problem in hft.check(base(fields | {"hardware": "a10g-large"}), facts=hft.Facts())}
    assert codes - {"HUB005", "JOB001", "TRACK001"}
    with pytest.raises(error, match=words):
        train(fields)


def test_a_prompt_without_a_completion_is_refused(
    tmp_path: Path, tiny_model: Path, tiny_data: Callable[[Format], Path]
) -> None:
    import trl
    from datasets import load_dataset

    rows: Any = load_dataset(
        "json", data_files=str(tiny_data("text")), split="train", cache_dir=str(tmp_path / "cache")
    )
    rows = rows.add_column("prompt", ["What?"] * len(rows))
    args = trl.SFTConfig(**CPU, max_steps=1, output_dir=str(tmp_path / "out"))
    with pytest.raises(KeyError, match="completion"):
        trl.SFTTrainer(str(tiny_model), args=args, train_dataset=rows)


@pytest.mark.torch
def test_attention_is_transformers() -> None:
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
    from transformers.utils import import_utils

    # a simulation in the same process leaves its own behind
    assert set(ATTENTION) == {"eager", *ALL_ATTENTION_FUNCTIONS.valid_keys()} - {"simulated_kernel"}
    low, high = (Version(getattr(import_utils, f"KERNELS_{end}_VERSION")) for end in ("MIN", "MAX"))
    assert (low, high) == tuple(map(Version, KERNELS))
