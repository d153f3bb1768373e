"""Memory of one GPU from a simulated step: the request, and what its result says."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any

from hfjobs_trainer.facts import ModelFacts, SimulatedPeak, SimulationFacts
from hfjobs_trainer.planning.memory.closed_form import estimate_memory
from hfjobs_trainer.planning.memory.estimate import MemoryEstimate
from hfjobs_trainer.planning.memory.stack import TRL
from hfjobs_trainer.planning.memory.workload import Workload
from hfjobs_trainer.planning.model.adapters import NOT_NARROWED

STEPS = ("next_token", "preference", "unpaired", "scores", "policy_gradient")
"""Training steps that ``simulating`` supports."""

# What the model's facts say beyond the numbers of its config.json.
_NOT_NUMBERS = frozenset(
    {"path", "exists", "private", "gated", "sha", "num_parameters", "dtype", "is_vision", "has_chat_template"}
    | {"max_position_embeddings", "layer_types"}
)
# How the loss of other stacks treats the logits, by the bytes per logit that it holds.
_LOGITS = {(12.0, 2.0): "now", (12.0, 4.0): "shifted", (16.0, 2.0): "copied", (8.0, 0.0): "half", (3.0, 0.0): "parts"}
# Attention kernels that take rows of different lengths as they are, without a mask.
_UNPADDED = ("flash_attention_2", "flash_attention_3", "kernels-community/flash-attn2")


def why_not(workload: Workload) -> str | None:
    """Why a workload cannot be simulated; ``None`` if it can be tried."""
    w = workload
    reasons = {
        "the training step of this method is not simulated": w.simulated_step not in STEPS,
        f"{w.strategy} shards the model over several GPUs": w.strategy != "ddp",
        "the size of its model is unknown": w.model.hidden_size is None or w.model.num_hidden_layers is None,
        "its model takes images": bool(w.model.is_vision),
        "of an adapter, all layers and r for each of them are simulated": w.lora_narrowed != NOT_NARROWED,
        "8-bit weights are not simulated": w.quantization == "8bit",
        "the quantizer is not bitsandbytes": w.quantization is not None and w.stack.gptq,
        "fused kernels of Liger, Unsloth or torch.compile are not simulated": w.liger_kernel or w.stack.lean_kernels,
        "activations or weights are offloaded to host memory": w.activation_offloading
        or w.offload_weights
        or w.offload_optimizer,
        "selective activation checkpointing is not simulated": w.stack.selective,
        "gradients are freed during the backward pass": w.stack.frees_gradients,
        f"a loss of {w.stack.logit_bytes:g} bytes per logit is not simulated": _logits(w) is None,
        "holding all logits is simulated for SFT only": w.head == "full" and w.simulated_step != "next_token",
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def question_of(workload: Workload) -> str:
    """The numbers of a workload from which its simulation follows, as one line of JSON."""
    w = workload
    model = {
        item.name: getattr(w.model, item.name)
        for item in fields(ModelFacts)
        if item.name not in _NOT_NUMBERS and getattr(w.model, item.name) is not None
    }
    logits = "fused" if w.head != "full" else _logits(w)
    if w.head == "none":
        logits = "none"
    widths = {None: None, 2: "bfloat16", 4: "float32"}
    question: dict[str, Any] = {
        "model": model,
        "num_parameters": w.model.num_parameters,
        "step": w.simulated_step,
        "tuning": w.tuning,
        "quantization": w.quantization,
        "dtype": w.dtype,
        "mixed_precision": w.mixed_precision,
        "optim": w.optim,
        "per_device_train_batch_size": w.per_device_train_batch_size,
        "sequence_length": w.sequence_length,
        # whether gradients are there when the next ones come is all that the number decides
        "gradient_accumulation_steps": min(2, w.gradient_accumulation_steps),
        "gradient_checkpointing": w.gradient_checkpointing,
        "attention": "eager" if w.attention == "eager" else "flash" if _is_flash(w) else None,
        "padded": _is_padded(w),
        "logits": logits,
        # GRPO and RLOO use theirs while they generate: it is held, and costs no more
        "reference_model": w.reference_model,
    }
    if w.stack.adamw_temporaries > 1:
        question["adamw_temporaries"] = w.stack.adamw_temporaries
    if w.tuning == "lora":
        targets = w.lora_targets
        question |= {
            "lora_r": w.lora_r,
            "lora_targets": targets if isinstance(targets, str) or targets is None else list(targets),
            "lora_dropout": w.lora_dropout,
            "lora_dora": w.lora_dora,
            "modules_to_save": list(w.modules_to_save),
            "adapter_dtype": widths.get(w.stack.adapter_bytes),
        }
    return json.dumps(question, sort_keys=True)


def _logits(workload: Workload) -> str | None:
    return _LOGITS.get((workload.stack.logit_bytes, workload.stack.logit_cached))


def _is_flash(workload: Workload) -> bool:
    """Whether attention is a kernel of FlashAttention; some models have no other one than eager."""
    return workload.attention is not None and "flash" in workload.attention


def _is_padded(workload: Workload) -> bool:
    """Whether a batch has rows of different lengths, so that attention is given a mask.

    Of several rows all but the longest are padded; a kernel that takes a mask keeps it, and as many keys as queries.
    """
    if workload.padded is not None:
        return workload.padded
    rows = workload.per_device_train_batch_size * workload.rows_per_example
    return rows > 1 and workload.attention not in _UNPADDED


def memory_on(workload: Workload, facts: SimulationFacts | None, num_gpus: int) -> MemoryEstimate | None:
    """The memory of one GPU: as simulated if it was, else by the closed form; ``None`` if the size is unknown."""
    return simulated(workload, facts, num_gpus) or estimate_memory(workload, num_gpus)


def simulated(workload: Workload, facts: SimulationFacts | None, num_gpus: int = 1) -> MemoryEstimate | None:
    """The memory of one GPU by its simulation; ``None`` if this workload was not simulated.

    Live tensors at each moment of the step come from the simulation; generation, and what the CUDA context, NCCL and
    the libraries take, from the closed form.

    Args:
        workload: What is trained, and how.
        facts: What was simulated.
        num_gpus: GPUs of the run, each with a copy of the model.
    """
    if facts is None or workload.stack != TRL or why_not(workload) is not None:
        # the reason is not part of the question: another run with the same numbers may have been simulated
        return None
    peak = facts.find(question_of(workload))
    closed = estimate_memory(workload, num_gpus)
    if peak is None or peak.peak_bytes is None or closed is None:
        return None
    held = _worst_moment(peak, closed, workload)
    generation = closed if closed.moment == "generation" else None
    if generation is not None and generation.total_bytes > held.total_bytes:
        return generation
    return held


def _worst_moment(peak: SimulatedPeak, closed: MemoryEstimate, workload: Workload) -> MemoryEstimate:
    """The peak by component."""
    moment, total = peak.moment, peak.peak_bytes or 0.0
    static = sum(peak.static.values())
    gradients = peak.gradients[moment]
    rest = max(0.0, total - static - gradients)
    step, head = moment == "step", moment in ("forward, head", "backward")
    # DDP's buckets hold the gradients once more
    buckets = closed.ddp_bytes if closed.num_gpus == 1 else max(peak.gradients.values())
    return replace(
        closed,
        weights=peak.static["weights"],
        adapter=peak.static["adapter"],
        optimizer_states=peak.static["optimizer_states"],
        reference_model=peak.static["reference_model"] + workload.beside_bytes,
        gradients=gradients,
        activations=0.0 if step or head else rest,
        logits=rest if head else 0.0,
        kv_cache=0.0,
        buffers=(rest if step else 0.0) + (buckets if closed.num_gpus > 1 else 0.0),
        fragmentation=max(0.0, peak.needed - total),
        cached_bytes=max(0.0, peak.reserved - max(peak.needed, total)),
        moment=f"{moment} (simulated)",
        assumed=workload.assumed,
        basis="simulation",
    )
