"""The narrowed types and the limits, each proved on the real trainers: every name trains, every refused value fails."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from examples.tiny import Format
from hfjobs_trainer.codegen import trl_tables
from hfjobs_trainer.specs.args_base import TRLArgs
from hfjobs_trainer.specs.trl_args.dpo import DPOArgs, DPOLoss
from hfjobs_trainer.specs.trl_args.grpo import GRPOArgs
from hfjobs_trainer.specs.trl_args.sft import SFTArgs

pytestmark = pytest.mark.filterwarnings(
    "ignore::FutureWarning"
)  # TRL's own default is one that Transformers deprecates

CPU: dict[str, Any] = {"use_cpu": True, "bf16": False, "report_to": "none", "save_strategy": "no", "max_steps": 1}
CLASSES: dict[str, type[TRLArgs]] = {"dpo": DPOArgs, "grpo": GRPOArgs, "sft": SFTArgs}
Train = Callable[..., int]


def one_point_per_character(completions: list[str], **_columns: Any) -> list[float]:
    return [float(len(completion)) for completion in completions]


@pytest.fixture
def train(tmp_path: Path, tiny_model: Path, tiny_data: Callable[[Format], Path]) -> Train:
    """A function that trains a tiny model for one step and returns the steps done."""

    def run(method: str, **arguments: Any) -> int:
        import trl
        from datasets import load_dataset
        from transformers import AutoModelForCausalLM

        data = {"sft": "text", "dpo": "preference", "grpo": "prompt_only"}[method]
        rows = load_dataset("json", data_files=str(tiny_data(data)), split="train", cache_dir=str(tmp_path / "cache"))  # type: ignore[arg-type]
        defaults: dict[str, Any] = CPU | {"output_dir": str(tmp_path), "per_device_train_batch_size": 2}
        extra: dict[str, Any] = {}
        if method == "grpo":
            defaults |= {"num_generations": 2, "max_completion_length": 4}
            extra = {"reward_funcs": [one_point_per_character, one_point_per_character]}
        config = getattr(trl, f"{method.upper()}Config")(**defaults | arguments)
        model = AutoModelForCausalLM.from_pretrained(tiny_model)
        trainer = getattr(trl, f"{method.upper()}Trainer")(model, args=config, train_dataset=rows, **extra)
        trainer.train()
        return trainer.state.global_step

    return run


# -- names that the trainers compare with only once they train


def test_dpo_trains_with_every_loss_at_once(train: Train) -> None:
    assert train("dpo", loss_type=list(get_args(DPOLoss)), label_smoothing=0.1) == 1


@pytest.mark.parametrize("name", trl_tables.F_DIVERGENCES)
def test_dpo_trains_with_every_divergence(train: Train, name: str) -> None:
    assert train("dpo", f_divergence_type=name) == 1


SCALES = ("group", "batch", "none", True, False)


@pytest.mark.parametrize("index", range(len(trl_tables.GRPO_LOSSES)), ids=trl_tables.GRPO_LOSSES)
def test_grpo_trains_with_every_name(train: Train, index: int) -> None:
    level = ("token", "sequence")[index % 2] if trl_tables.GRPO_LOSSES[index] != "luspo" else "sequence"
    aggregation = ("sum_then_normalize", "normalize_then_sum")[index % 2]
    steps = train(
        "grpo",
        loss_type=trl_tables.GRPO_LOSSES[index],
        importance_sampling_level=level,
        multi_objective_aggregation=aggregation,
        scale_rewards=SCALES[index % len(SCALES)],
    )
    assert steps == 1


@pytest.mark.parametrize("strategy", ["bfd", "bfd_split", "wrapped"])
def test_sft_packs_with_every_strategy(train: Train, strategy: str) -> None:
    assert train("sft", packing=True, packing_strategy=strategy, max_length=32) == 1


@pytest.mark.parametrize("loss", ["nll", "dft", "chunked_nll"])
def test_sft_trains_with_every_loss(train: Train, loss: str) -> None:
    assert train("sft", loss_type=loss) == 1


@pytest.mark.parametrize(
    ("method", "arguments", "why"),
    [
        ("dpo", {"loss_type": ["simpo"]}, "Unknown loss type: simpo"),
        ("dpo", {"loss_type": []}, "no attribute 'backward'"),
        ("dpo", {"f_divergence_type": "chi2"}, "Unknown f_divergence_type: chi2"),
        ("grpo", {"loss_type": "ppo"}, "Unknown loss type: ppo"),
        ("grpo", {"importance_sampling_level": "word"}, "Unknown importance sampling level: word"),
        ("grpo", {"multi_objective_aggregation": "sum"}, "Invalid multi_objective_aggregation: sum"),
        ("grpo", {"scale_rewards": "std"}, "Invalid value for scale_rewards: std"),
        ("grpo", {"num_generations": None}, "'int' and 'NoneType'"),
        ("sft", {"packing": True, "packing_strategy": "ffd"}, "Invalid packing strategy 'ffd'"),
        ("sft", {"pad_to_multiple_of": 0}, "modulo by zero"),
    ],
)
def test_what_the_types_refuse_fails_in_trl_too(train: Train, method: str, arguments: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError):
        CLASSES[method](**arguments)
    with pytest.raises(Exception, match=why):
        train(method, **arguments)


# -- limits


def step_with_adamw(**arguments: Any) -> None:
    import torch

    torch.optim.AdamW([torch.zeros(1)], **arguments)


def warp(kind: str, value: float) -> None:
    from transformers.generation import logits_process

    getattr(logits_process, f"{kind}LogitsWarper")(value)


def penalize(value: float) -> None:
    from transformers.generation.logits_process import RepetitionPenaltyLogitsProcessor

    RepetitionPenaltyLogitsProcessor(value)


def seed_everything(value: int) -> None:
    from transformers import set_seed

    set_seed(value)


BY_TRAINING: list[tuple[str, str, Any, str]] = [
    ("sft", "dataloader_num_workers", -1, "should be non-negative"),
    ("sft", "gradient_accumulation_steps", 0, "modulo by zero"),
    ("sft", "max_length", 0, "num_samples=0"),
    ("sft", "per_device_train_batch_size", 0, "batch_size=0"),
    ("sft", "torch_empty_cache_steps", 0, "must be an integer bigger than 0"),
    ("sft", "warmup_steps", -1, "Expected value warmup_steps >= 0"),
    ("grpo", "generation_batch_size", 0, "batch_size=0"),
    ("grpo", "max_completion_length", 0, "must be greater than 0"),
    ("grpo", "num_generations", 1, "at least 2 generations per prompt"),
    ("grpo", "steps_per_generation", 0, "batch_size=0"),
]
BY_CALL: list[tuple[str, str, Any, Callable[[Any], object]]] = [
    ("sft", "adam_beta1", 1.0, lambda value: step_with_adamw(betas=(value, 0.9))),
    ("sft", "adam_beta2", -0.1, lambda value: step_with_adamw(betas=(0.9, value))),
    ("sft", "adam_epsilon", -1e-8, lambda value: step_with_adamw(eps=value)),
    ("sft", "learning_rate", -1e-5, lambda value: step_with_adamw(lr=value)),
    ("sft", "weight_decay", -0.1, lambda value: step_with_adamw(weight_decay=value)),
    ("sft", "seed", -1, seed_everything),
    ("sft", "seed", 2**32, seed_everything),
    ("grpo", "min_p", 1.5, lambda value: warp("MinP", value)),
    ("grpo", "top_p", 1.5, lambda value: warp("TopP", value)),
    ("grpo", "temperature", 0.0, lambda value: warp("Temperature", value)),
    ("grpo", "repetition_penalty", 0.0, penalize),
]
APART = {"num_iterations", "per_device_eval_batch_size", "ref_model_sync_steps"}


def test_every_limit_is_proved_here() -> None:
    assert trl_tables.LIMITS.keys() == {name for _, name, *_ in (*BY_TRAINING, *BY_CALL)} | APART


@pytest.mark.parametrize(("method", "name", "value", "why"), BY_TRAINING)
def test_a_value_outside_the_limits_ends_training(train: Train, method: str, name: str, value: Any, why: str) -> None:
    with pytest.raises(ValidationError):
        CLASSES[method](**{name: value})
    with pytest.raises(Exception, match=why):
        train(method, **{name: value})


@pytest.mark.torch
@pytest.mark.parametrize(("method", "name", "value", "use"), BY_CALL)
def test_a_value_outside_the_limits_is_refused_by_what_uses_it(
    method: str, name: str, value: Any, use: Callable[[Any], object]
) -> None:
    with pytest.raises(ValidationError):
        CLASSES[method](**{name: value})
    with pytest.raises(ValueError, match=r"Invalid|Seed must|has to be"):
        use(value)


@pytest.mark.torch
def test_evaluation_batches_hold_a_row() -> None:
    import torch

    with pytest.raises(ValidationError):
        SFTArgs(per_device_eval_batch_size=0)
    with pytest.raises(ValueError, match="batch_size"):
        torch.utils.data.DataLoader([1], batch_size=0)


def test_the_reference_model_is_synchronized_every_step_or_more_rarely(train: Train) -> None:
    with pytest.raises(ValidationError):
        DPOArgs(ref_model_sync_steps=0)
    with pytest.raises(ZeroDivisionError):
        train("dpo", sync_ref_model=True, ref_model_sync_steps=0)


def test_without_an_iteration_grpo_trains_nothing(train: Train) -> None:
    with pytest.raises(ValidationError):
        GRPOArgs(num_iterations=0)
    assert train("grpo", num_iterations=0) == 0
