"""The documented example specs, and the scripts that they render to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hfjobs_trainer as hft
from hfjobs_trainer.specs.base import TrainSpec

FOLDER = "scripts"


def close_to_fifty_words(completions: list[str], **kwargs: Any) -> list[float]:
    """Reward a summary for being about 50 words long: 1 at 50, 0 at none and at 100."""
    lengths = [len(completion.split()) for completion in completions]
    return [max(0.0, 1 - abs(length - 50) / 50) for length in lengths]


def sft() -> TrainSpec:
    """Teach a base model to chat, on one GPU."""
    return hft.SFT(
        model="Qwen/Qwen2.5-0.5B",
        dataset="trl-lib/Capybara",
        eval_fraction=0.1,
        eval_strategy="steps",
        eval_steps=50,
        num_train_epochs=1,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=4,
        learning_rate=2e-5,
        lr_scheduler_type="cosine",
        warmup_steps=0.05,
        hardware="a10g-large",
        timeout="3h",
        tracking=hft.Tracking(project="capybara", name="qwen-sft", space_id="username/trackio"),
        output=hft.Output(hub_model_id="username/qwen-capybara-sft"),
    )


def dpo() -> TrainSpec:
    """Align a chat model to preferences with a LoRA adapter, as one trial of a group."""
    return hft.DPO(
        model="Qwen/Qwen2.5-0.5B-Instruct",
        dataset="trl-lib/ultrafeedback_binarized",
        eval_fraction=0.1,
        eval_strategy="steps",
        eval_steps=50,
        num_train_epochs=1,
        beta=0.1,
        learning_rate=5e-6,
        lora=hft.LoRA(r=16, lora_alpha=32),
        hardware="a10g-large",
        timeout="3h",
        tracking=hft.Tracking(project="dpo", name="beta-0.1", group="beta", space_id="username/trackio"),
        output=hft.Output(hub_model_id="username/dpo-model"),
    )


def grpo() -> TrainSpec:
    """Improve a model on its own answers with a reward function."""
    return hft.GRPO(
        model="Qwen/Qwen2.5-0.5B-Instruct",
        dataset=hft.Dataset(id="trl-lib/tldr", num_samples=2000),
        reward_funcs=close_to_fifty_words,
        num_generations=8,
        max_completion_length=256,
        per_device_train_batch_size=8,
        gradient_accumulation_steps=4,
        learning_rate=1e-6,
        hardware="a10g-large",
        timeout="4h",
        tracking=hft.Tracking(project="grpo", name="fifty-words", space_id="username/trackio"),
        output=hft.Output(hub_model_id="username/grpo-model"),
    )


def sft_multi_gpu() -> TrainSpec:
    """Fine-tune a larger model on two GPUs: 32 sequences per step, however many GPUs there are."""
    return hft.SFT(
        model="Qwen/Qwen2.5-3B",
        dataset="trl-lib/Capybara",
        lora=hft.LoRA(r=32, lora_alpha=16),
        num_train_epochs=1,
        global_batch_size=32,
        learning_rate=2e-4,
        hardware="a10g-largex2",
        timeout="4h",
        tracking=hft.Tracking(project="capybara", name="qwen-3b-lora", space_id="username/trackio"),
        output=hft.Output(hub_model_id="username/qwen-3b-capybara"),
    )


EXAMPLES: dict[str, Callable[[], TrainSpec]] = {
    "train_sft_example": sft,
    "train_dpo_example": dpo,
    "train_grpo_example": grpo,
    "train_sft_multi_gpu_example": sft_multi_gpu,
}
"""Example spec by the name of its script, without ``.py``."""


def generate() -> dict[str, str]:
    """Return path of each example script -> its text."""
    return {f"{FOLDER}/{name}.py": hft.render(spec(), offline=True) for name, spec in EXAMPLES.items()}
