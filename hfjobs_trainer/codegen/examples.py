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
        gradient_accumulation_steps=16,
        learning_rate=2e-5,
        lr_scheduler_type="cosine",
        warmup_steps=0.03,
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
    """Improve a model on its own completions with a reward function."""
    return hft.GRPO(
        model="Qwen/Qwen2.5-0.5B-Instruct",
        dataset=hft.Dataset(id="trl-lib/tldr", num_samples=2000),
        reward_funcs=close_to_fifty_words,
        num_train_epochs=1,
        num_generations=8,
        max_completion_length=256,
        per_device_train_batch_size=8,
        gradient_accumulation_steps=16,
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


def kto() -> TrainSpec:
    """Align a chat model to completions that are marked as good or bad."""
    return hft.KTO(
        model="Qwen/Qwen2.5-0.5B-Instruct",
        dataset="trl-lib/kto-mix-14k",
        eval_dataset=hft.Dataset(id="trl-lib/kto-mix-14k", split="test"),
        eval_strategy="steps",
        eval_steps=50,
        num_train_epochs=1,
        global_batch_size=64,
        learning_rate=5e-6,
        lora=hft.LoRA(r=16, lora_alpha=32),
        hardware="a10g-large",
        timeout="3h",
        tracking=hft.Tracking(project="kto", name="qwen-kto", space_id="username/trackio"),
        output=hft.Output(hub_model_id="username/qwen-kto"),
    )


def reward() -> TrainSpec:
    """Train a model that scores completions, for GRPO, RLOO, OnlineDPO or PPO."""
    return hft.Reward(
        model="Qwen/Qwen2.5-0.5B-Instruct",
        dataset="trl-lib/ultrafeedback_binarized",
        eval_dataset=hft.Dataset(id="trl-lib/ultrafeedback_binarized", split="test"),
        eval_strategy="steps",
        eval_steps=100,
        num_train_epochs=1,
        global_batch_size=64,
        learning_rate=1e-5,
        center_rewards_coefficient=0.01,
        hardware="a10g-large",
        timeout="3h",
        tracking=hft.Tracking(project="reward", name="qwen-reward", space_id="username/trackio"),
        output=hft.Output(hub_model_id="username/qwen-reward"),
    )


def rloo() -> TrainSpec:
    """Improve a model on its own completions, against the mean reward of the others for the same prompt."""
    return hft.RLOO(
        model="Qwen/Qwen2.5-0.5B-Instruct",
        dataset=hft.Dataset(id="trl-lib/tldr", num_samples=2000),
        reward_funcs=close_to_fifty_words,
        num_train_epochs=1,
        num_generations=4,
        max_completion_length=256,
        per_device_train_batch_size=8,
        gradient_accumulation_steps=16,
        learning_rate=1e-6,
        hardware="a10g-large",
        timeout="4h",
        tracking=hft.Tracking(project="rloo", name="fifty-words", space_id="username/trackio"),
        output=hft.Output(hub_model_id="username/rloo-model"),
    )


def distillation() -> TrainSpec:
    """Have a larger model of the same family correct a small one's completions."""
    return hft.Distillation(
        model="Qwen/Qwen2.5-0.5B-Instruct",
        teacher_model="Qwen/Qwen2.5-1.5B-Instruct",
        dataset=hft.Dataset(id="trl-lib/ultrafeedback-prompt", num_samples=5000),
        num_train_epochs=1,
        max_completion_length=256,
        per_device_train_batch_size=8,
        gradient_accumulation_steps=8,
        learning_rate=1e-5,
        hardware="a10g-large",
        timeout="4h",
        tracking=hft.Tracking(project="distillation", name="qwen-0.5b", space_id="username/trackio"),
        output=hft.Output(hub_model_id="username/qwen-distilled"),
    )


def orpo() -> TrainSpec:
    """Align a base model to preferences in one stage, without a reference model."""
    return hft.ORPO(
        model="Qwen/Qwen2.5-0.5B",
        dataset="trl-lib/ultrafeedback_binarized",
        num_train_epochs=1,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=32,
        learning_rate=5e-6,
        hardware="a10g-large",
        timeout="3h",
        tracking=hft.Tracking(project="orpo", name="qwen-orpo", space_id="username/trackio"),
        output=hft.Output(hub_model_id="username/qwen-orpo"),
    )


def cpo() -> TrainSpec:
    """Align a chat model with SimPO, which is a loss of CPO."""
    return hft.CPO(
        model="Qwen/Qwen2.5-0.5B-Instruct",
        dataset="trl-lib/ultrafeedback_binarized",
        loss_type="simpo",
        beta=2.0,
        cpo_alpha=0.0,
        simpo_gamma=0.5,
        num_train_epochs=1,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=32,
        learning_rate=1e-6,
        hardware="a10g-large",
        timeout="3h",
        tracking=hft.Tracking(project="simpo", name="qwen-simpo", space_id="username/trackio"),
        output=hft.Output(hub_model_id="username/qwen-simpo"),
    )


def online_dpo() -> TrainSpec:
    """Align a model on pairs of its own completions, which a reward model ranks."""
    return hft.OnlineDPO(
        model="Qwen/Qwen2.5-0.5B-Instruct",
        dataset=hft.Dataset(id="trl-lib/ultrafeedback-prompt", num_samples=5000),
        reward_funcs="trl-lib/Qwen2-0.5B-Reward",
        eval_fraction=0.02,
        eval_strategy="steps",
        eval_steps=100,
        num_train_epochs=1,
        max_new_tokens=128,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=32,
        learning_rate=5e-7,
        hardware="a10g-large",
        timeout="12h",
        tracking=hft.Tracking(project="online-dpo", name="qwen-online", space_id="username/trackio"),
        output=hft.Output(hub_model_id="username/qwen-online-dpo"),
    )


def gkd() -> TrainSpec:
    """Learn from a teacher, half on conversations and half on the model's own completions."""
    return hft.GKD(
        model="Qwen/Qwen2.5-0.5B-Instruct",
        teacher_model="Qwen/Qwen2.5-1.5B-Instruct",
        dataset=hft.Dataset(id="trl-lib/Capybara", num_samples=5000),
        num_train_epochs=1,
        lmbda=0.5,
        max_new_tokens=128,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=32,
        learning_rate=1e-5,
        hardware="a10g-large",
        timeout="4h",
        tracking=hft.Tracking(project="gkd", name="qwen-gkd", space_id="username/trackio"),
        output=hft.Output(hub_model_id="username/qwen-gkd"),
    )


def ppo() -> TrainSpec:
    """Improve a model against a reward model of the same family, with a value model of its own."""
    return hft.PPO(
        model="Qwen/Qwen2.5-0.5B-Instruct",
        reward_model="username/qwen-reward",
        dataset=hft.Dataset(id="trl-lib/ultrafeedback-prompt", num_samples=5000),
        eval_fraction=0.02,
        eval_strategy="steps",
        eval_steps=50,
        total_episodes=10000,
        response_length=128,
        stop_token="eos",
        missing_eos_penalty=1.0,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=8,
        num_mini_batches=4,
        learning_rate=3e-6,
        hardware="a100-large",
        timeout="6h",
        tracking=hft.Tracking(project="ppo", name="qwen-ppo", space_id="username/trackio"),
        output=hft.Output(hub_model_id="username/qwen-ppo"),
    )


EXAMPLES: dict[str, Callable[[], TrainSpec]] = {
    "train_sft_example": sft,
    "train_dpo_example": dpo,
    "train_grpo_example": grpo,
    "train_sft_multi_gpu_example": sft_multi_gpu,
    "train_kto_example": kto,
    "train_reward_example": reward,
    "train_rloo_example": rloo,
    "train_distillation_example": distillation,
    "train_orpo_example": orpo,
    "train_cpo_example": cpo,
    "train_online_dpo_example": online_dpo,
    "train_gkd_example": gkd,
    "train_ppo_example": ppo,
}
"""Example spec by the name of its script, without ``.py``."""


def generate() -> dict[str, str]:
    """Return path of each example script -> its text."""
    return {f"{FOLDER}/{name}.py": hft.render(spec(), offline=True) for name, spec in EXAMPLES.items()}
