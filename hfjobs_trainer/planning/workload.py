"""What a spec asks of a GPU's memory, in numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, cast

from hfjobs_trainer.facts import Facts, LengthFacts, ModelFacts
from hfjobs_trainer.planning.arguments.decide import Resolved
from hfjobs_trainer.planning.arguments.strategies import SHARDED, Spread, first_strategy, written_spread
from hfjobs_trainer.planning.arguments.vllm import is_colocated, uses_vllm
from hfjobs_trainer.planning.duration.lengths import longest_row, prompt_lengths
from hfjobs_trainer.planning.layout import recomputes
from hfjobs_trainer.planning.memory.closed_form import Workload
from hfjobs_trainer.planning.model.shape import count_parameters
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.inputs import side_models
from hfjobs_trainer.specs.training import Answers

BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}
"""Bytes of one weight by dtype."""

FLOAT32 = BYTES["float32"]

# Assumed where nobody looked and nothing bounds them: a prompt of an online method, and a row that is not truncated.
PROMPT_TOKENS, UNBOUNDED_TOKENS = 512, 4096


def workload(spec: TrainSpec, facts: Facts, resolved: Resolved) -> Workload:
    """The numbers that the memory estimate takes."""
    training, beta = type(spec).TRAINING, getattr(spec, "beta", None)
    arguments = spec.model_dump(include={"vllm_gpu_memory_utilization", "activation_offloading"})
    tokens, assumed = _longest_sequence(spec, facts, resolved)
    lora = spec.lora
    written = written_spread(spec.hardware) if resolved.strategy == "user" else None
    spread = written or Spread(memory_strategy(resolved.strategy))
    per_device = resolved.arguments.get("per_device_train_batch_size", spec.per_device_train_batch_size)
    # where the user leaves it open, the planner gives it what is left; TRL's default is the least that is asked for
    claimed = arguments.get("vllm_gpu_memory_utilization") or 0.0
    return Workload(
        model=facts.model,
        tuning="lora" if lora else "full",
        lora_r=lora.r if lora else 16,
        lora_targets=lora.target_modules if lora else None,
        lora_dropout=lora.lora_dropout if lora else 0.0,
        modules_to_save=(lora.modules_to_save or ()) if lora else (),
        quantization=_quantization(spec),
        dtype="float32" if resolved.dtype == "auto" else resolved.dtype,
        mixed_precision=None if resolved.precision == "fp32" else resolved.precision,
        optim=spec.optim,
        per_device_train_batch_size=per_device,
        sequence_length=tokens,
        gradient_accumulation_steps=resolved.arguments.get(
            "gradient_accumulation_steps", spec.gradient_accumulation_steps
        ),
        gradient_checkpointing=resolved.arguments.get("gradient_checkpointing", recomputes(spec)) and recomputes(spec),
        attention=spec.attn_implementation,
        rows_per_example=training.sequences,
        head=training.head,
        reference_model=training.keeps_reference(adapter=lora is not None, beta=beta),
        generates=training.answers is not None,
        simulated_step=training.simulated_step,
        beside_bytes=_beside(spec, facts, resolved),
        generation_batch_size=generated_at_once(spec, per_device, resolved.world_size),
        vllm_gpu_memory_fraction=claimed if is_colocated(spec) else 0.0,
        lora_dora=bool(lora and lora.use_dora),
        eval_batch_size=resolved.arguments.get("per_device_eval_batch_size", spec.per_device_eval_batch_size)
        if spec.needs_eval_dataset and training.evaluates_loss
        else 0,
        padded=False if resolved.arguments.get("packing") else None,
        sync_each_batch=_syncs_each_batch(resolved.arguments),
        liger_kernel=spec.use_liger_kernel,
        activation_offloading=bool(arguments.get("activation_offloading")),
        strategy=spread.strategy,
        reshards=spread.reshards,
        offload_weights=spread.offloads == "all",
        offload_optimizer=spread.offloads == "optimizer",
        unknown=unknown_memory(spec, facts),
        assumed=assumed,
    )


def unknown_memory(spec: TrainSpec, facts: Facts) -> tuple[str, ...]:
    """What must be known before memory can be told, and is not; empty if ``workload`` tells it."""
    models = {spec.model: facts.model} | {side.id: known for side, known in side_models(spec, facts) if side.id}
    missing = [f"the size of {id}" for id, known in models.items() if not _parameters(known)]
    if first_strategy(spec) == "user" and written_spread(spec.hardware) is None:
        name = "deepspeed" if spec.hardware.deepspeed is not None else "fsdp"
        missing.append(f"how hardware.{name} spreads the model")
    return tuple(missing)


def memory_strategy(strategy: str) -> str:
    """The strategy that memory is estimated for: where nothing is spread, each GPU has a copy."""
    return strategy if strategy in SHARDED else "ddp"


def longest_prompt(lengths: LengthFacts | None) -> int:
    """Tokens of the longest prompt of an online method."""
    prompts = prompt_lengths(lengths)
    return PROMPT_TOKENS if prompts is None else longest_row(prompts)


def _longest_sequence(spec: TrainSpec, facts: Facts, resolved: Resolved) -> tuple[int, tuple[str, ...]]:
    """Tokens of the longest row, with its answer where one is written; and what of it is assumed."""
    lengths, assumed = facts.dataset.lengths, list[str]()
    answers = _answers(spec)
    if answers is not None and not answers.within_max_length:
        if lengths is None:
            assumed.append(f"prompts of {PROMPT_TOKENS:,} tokens")
        if answers.most is None:
            assumed.append(f"answers of {UNBOUNDED_TOKENS:,} tokens")
        return longest_prompt(lengths) + (answers.most or UNBOUNDED_TOKENS), tuple(assumed)
    limit: int | None = resolved.arguments.get("max_length", getattr(spec, "max_length", None))
    if limit is None and lengths is None:
        assumed.append(f"rows of {UNBOUNDED_TOKENS:,} tokens")
    return limit or (UNBOUNDED_TOKENS if lengths is None else longest_row(lengths)), tuple(assumed)


def _syncs_each_batch(arguments: Mapping[str, Any]) -> bool:
    """Whether FSDP spreads gradients after each batch, not once per step."""
    config: dict[str, Any] = arguments.get("accelerator_config") or {}
    accumulation: Any = config.get("gradient_accumulation_kwargs")
    return isinstance(accumulation, dict) and bool(cast("dict[str, Any]", accumulation).get("sync_each_batch"))


def _quantization(spec: TrainSpec) -> Literal["4bit", "4bit-double", "8bit"] | None:
    if spec.quantization is None:
        return None
    return "4bit-double" if spec.quantization.use_double_quant else spec.quantization.bits


def _answers(spec: TrainSpec) -> Answers | None:
    declared = type(spec).TRAINING.answers
    return declared(spec) if declared else None


def generated_at_once(spec: TrainSpec, per_device: int, world_size: int) -> int | None:
    """Answers that training itself generates at once on one GPU; ``None``: those of a whole step.

    Args:
        spec: The spec.
        per_device: Batch of one GPU.
        world_size: GPUs that train, over all machines.
    """
    if uses_vllm(spec):
        return 0
    # TRL 1.16: trainer/grpo_config.py and get_train_dataloader of GRPO and RLOO
    whole: int | None = getattr(spec, "generation_batch_size", None)
    if whole is not None:
        return max(1, whole // world_size)
    answers = _answers(spec)
    if answers is None or answers.batches is None:
        return None
    return answers.batches * answers.per_example * per_device


def _beside(spec: TrainSpec, facts: Facts, resolved: Resolved) -> float:
    """Bytes of the models beside the trained one, and of logits that are kept; one of unknown size counts nothing."""
    total = 0.0
    for side, model in side_models(spec, facts):
        if side.held == "trained":
            # weights, gradients and two moments
            total += 4 * FLOAT32 * _parameters(model)
        else:
            width = resolved.dtype if side.held == "model" else resolved.frozen_dtype
            total += BYTES.get(width, FLOAT32) * _parameters(model)
    return total + _kept_logits(spec, facts)


def _parameters(model: ModelFacts | None) -> int:
    """Parameters of a model; 0 where nobody knows."""
    return (model.num_parameters or count_parameters(model) or 0) if model is not None else 0


def _kept_logits(spec: TrainSpec, facts: Facts) -> float:
    """Bytes of the logits of all answers of a step, where they are kept until the next."""
    answers = _answers(spec)
    if answers is None or not answers.keeps_logits:
        return 0.0
    rows = spec.per_device_train_batch_size * spec.gradient_accumulation_steps
    return float(FLOAT32 * rows * (answers.most or UNBOUNDED_TOKENS) * (facts.model.vocab_size or 0))
