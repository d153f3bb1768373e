"""What a spec asks of a GPU's memory, in numbers."""

from __future__ import annotations

from typing import Literal

from hfjobs_trainer.facts import Facts
from hfjobs_trainer.planning.memory import Workload
from hfjobs_trainer.planning.resolve import Resolved
from hfjobs_trainer.planning.strategies import SHARDED
from hfjobs_trainer.planning.vllm import is_colocated, uses_vllm
from hfjobs_trainer.specs.base import TrainSpec

# Assumed where nothing bounds them: a prompt of an online method, and a row that is not truncated.
PROMPT_TOKENS, UNBOUNDED_TOKENS = 512, 4096


def workload(spec: TrainSpec, facts: Facts, resolved: Resolved) -> Workload:
    """The numbers that the memory estimate takes."""
    arguments = spec.model_dump(include={"max_length", "max_completion_length", "vllm_gpu_memory_utilization"})
    if "max_completion_length" in arguments:
        tokens = PROMPT_TOKENS + (arguments["max_completion_length"] or UNBOUNDED_TOKENS)
    else:
        tokens = resolved.arguments.get("max_length", arguments.get("max_length")) or UNBOUNDED_TOKENS
    lora = spec.lora
    recomputes = (
        spec.activation_checkpointing if spec.activation_checkpointing is not None else spec.gradient_checkpointing
    )
    # where the user leaves it open, the planner gives it what is left; TRL's default is the least that is asked for
    claimed = arguments.get("vllm_gpu_memory_utilization") or 0.0
    return Workload(
        model=facts.model,
        method=type(spec).METHOD.name,
        tuning="lora" if lora else "full",
        lora_r=lora.r if lora else 16,
        lora_targets=lora.target_modules if lora else None,
        lora_dropout=lora.lora_dropout if lora else 0.0,
        modules_to_save=(lora.modules_to_save or ()) if lora else (),
        quantization=_quantization(spec),
        dtype="float32" if resolved.dtype == "auto" else resolved.dtype,
        mixed_precision=None if resolved.precision == "fp32" else resolved.precision,
        optim=spec.optim,
        per_device_train_batch_size=resolved.arguments.get(
            "per_device_train_batch_size", spec.per_device_train_batch_size
        ),
        sequence_length=tokens,
        gradient_accumulation_steps=resolved.arguments.get(
            "gradient_accumulation_steps", spec.gradient_accumulation_steps
        ),
        gradient_checkpointing=recomputes,
        attention=spec.attn_implementation,
        reference_model=True if _keeps_reference(spec) else None,
        # a server of its own generates elsewhere
        generation_batch_size=0 if uses_vllm(spec) else None,
        vllm_gpu_memory_fraction=claimed if is_colocated(spec) else 0.0,
        strategy=resolved.strategy if resolved.strategy in SHARDED else "ddp",
    )


def _quantization(spec: TrainSpec) -> Literal["4bit", "4bit-double", "8bit"] | None:
    if spec.quantization is None:
        return None
    return "4bit-double" if spec.quantization.use_double_quant else spec.quantization.bits


def _keeps_reference(spec: TrainSpec) -> bool:
    """Whether an online method holds a second model: GRPO does if ``beta`` is not 0 and there is no adapter."""
    return type(spec).METHOD.name == "grpo" and bool(spec.model_dump(include={"beta"})["beta"]) and spec.lora is None
