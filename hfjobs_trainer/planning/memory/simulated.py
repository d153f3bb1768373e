"""Memory of one GPU from a simulated step: the request, and what its result says."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from typing import Any, Literal

from hfjobs_trainer.facts import ModelFacts, SimulatedPeak, SimulationFacts
from hfjobs_trainer.planning.arguments.strategies import SHARDS_WEIGHTS
from hfjobs_trainer.planning.memory.closed_form import estimate_memory, holding_of
from hfjobs_trainer.planning.memory.estimate import MemoryEstimate
from hfjobs_trainer.planning.memory.stack import TRL
from hfjobs_trainer.planning.memory.workload import Workload
from hfjobs_trainer.planning.model.adapters import NOT_NARROWED

STEPS = ("next_token", "preference", "unpaired", "scores", "policy_gradient")
"""Training steps that ``simulating`` supports."""

# What the model's facts say beyond the numbers of its config.json.
_NOT_NUMBERS = frozenset(
    {"path", "exists", "private", "gated", "sha", "num_parameters", "dtype", "is_vision", "has_chat_template"}
    | {"max_position_embeddings", "layer_types", "template_digest", "reads_answers"}
)
# How the loss of other stacks treats the logits, by the bytes per logit that it holds.
_LOGITS = {
    (12.0, 2.0): "now",
    (12.0, 4.0): "shifted",
    (14.0, 0.0): "recast",
    (16.0, 2.0): "copied",
    (8.0, 0.0): "half",
    (3.0, 0.0): "parts",
}
# Attention kernels that take rows of different lengths as they are, without a mask.
_UNPADDED = ("flash_attention_2", "flash_attention_3", "kernels-community/flash-attn2")


def why_not(workload: Workload) -> str | None:
    """Why a workload cannot be simulated; ``None`` if it can be tried."""
    w = workload
    reasons = {
        "the training step of this method is not simulated": w.simulated_step not in STEPS,
        "the size of its model is unknown": w.model.hidden_size is None or w.model.num_hidden_layers is None,
        "its model takes images": bool(w.model.is_vision),
        "of an adapter, all layers and r for each of them are simulated": w.lora_narrowed != NOT_NARROWED,
        "8-bit weights are not simulated": w.quantization == "8bit",
        "the quantizer is not bitsandbytes": w.quantization is not None and w.stack.gptq,
        "activations or weights are offloaded to host memory": w.activation_offloading
        or w.offload_weights
        or w.offload_optimizer,
        "selective activation checkpointing is not simulated": w.stack.selective,
        "gradients are freed during the backward pass": w.stack.frees_gradients,
        "holding all logits is simulated for SFT only": w.head == "full" and w.simulated_step != "next_token",
        f"a loss of {w.stack.logit_bytes:g} bytes per logit is not simulated": _logits(w) is None,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def question_of(workload: Workload, num_gpus: int = 1) -> str:
    """The numbers of a workload from which its simulation follows, as one line of JSON.

    Args:
        workload: What is trained, and how.
        num_gpus: GPUs of the run. Only under FSDP2 they change what is asked: one rank of so many is simulated.
    """
    w = _computed(workload, num_gpus)
    model = {
        item.name: getattr(w.model, item.name)
        for item in fields(ModelFacts)
        if item.name not in _NOT_NUMBERS and getattr(w.model, item.name) is not None
    }
    if w.head == "full":
        logits = _logits(w)
    else:
        logits = "liger" if w.stack.casts_head and w.simulated_step == "next_token" else w.head
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
    if w.liger_kernel or w.stack.lean_kernels or w.stack.lean_norms:
        question["fused_kernels"] = "norms" if w.stack.lean_norms else "all"
    if w.stack.keeps_inputs:
        question["keeps_inputs"] = True
    if _is_sharded(w, num_gpus) and w.strategy == "fsdp2":
        question |= {"strategy": "fsdp2", "ranks": num_gpus, "reshards": w.reshards}
        # only gradients of several batches can wait
        question["sync_each_batch"] = w.sync_each_batch or w.gradient_accumulation_steps == 1
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


def _is_sharded(workload: Workload, num_gpus: int) -> bool:
    """Whether a GPU holds a part of the model; DeepSpeed has its own copies and buckets on one GPU too."""
    return workload.strategy != "ddp" and (num_gpus > 1 or workload.strategy.startswith("zero"))


def _by_bytes(workload: Workload, num_gpus: int) -> bool:
    """Whether what is held is counted, and only the step on it simulated: FSDP1 and DeepSpeed."""
    return _is_sharded(workload, num_gpus) and workload.strategy != "fsdp2"


def _computed(workload: Workload, num_gpus: int) -> Workload:
    """The step that is simulated: for what is counted by bytes, the one of a GPU that gathers as it computes.

    FSDP1 and DeepSpeed gather weights in half precision. FSDP1 gathers each matrix of an adapter by itself, after PEFT
    has cast its input to the shard's float32; DeepSpeed turns the whole model into half precision, without autocast
    (accelerate 1.15: ``prepare_model``, ``_prepare_deepspeed``).
    """
    w = workload
    if not _by_bytes(w, num_gpus) or w.mixed_precision is None:
        return replace(w, optim="none") if _by_bytes(w, num_gpus) else w
    half: Literal["float16", "bfloat16"] = "bfloat16" if w.mixed_precision == "bf16" else "float16"
    zero = w.strategy.startswith("zero")
    return replace(
        w,
        dtype=half,
        mixed_precision=None if zero else w.mixed_precision,
        optim="none",
        stack=replace(w.stack, adapter_bytes=2 if zero else 4 if w.stack.upcasts else w.stack.adapter_bytes),
    )


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
        num_gpus: GPUs of the run.
    """
    if facts is None or workload.stack != TRL or why_not(workload) is not None:
        # the reason is not part of the question: another run with the same numbers may have been simulated
        return None
    found = facts.find(question_of(workload, num_gpus))
    closed = estimate_memory(workload, num_gpus)
    if found is None or found.peak_bytes is None or closed is None:
        return None
    held = _worst_moment(spread_peak(found, workload, num_gpus), closed, workload)
    generation = closed if closed.moment == "generation" else None
    if generation is not None and generation.total_bytes > held.total_bytes:
        return generation
    return held


def spread_peak(peak: SimulatedPeak, workload: Workload, num_gpus: int) -> SimulatedPeak:
    """The simulated step as one GPU of the run holds it.

    Under FSDP1 and DeepSpeed, what the step holds throughout, its gradients, and what is gathered and reduced are
    replaced by the closed form's bytes for one of the GPUs: what remains of the simulation are activations, logits and
    temporary tensors.
    """
    held = holding_of(workload, num_gpus) if _by_bytes(workload, num_gpus) else None
    if held is None or not peak.peaks:
        return peak
    static = {
        "weights": held.weights,
        "adapter": held.adapter,
        "optimizer_states": held.optimizer_states,
        "reference_model": held.reference_model - workload.beside_bytes,
    }
    before, most = sum(peak.static.values()), max(1.0, *peak.gradients.values())
    waits = workload.gradient_accumulation_steps > 1
    waiting = (held.gradients if held.unsynced is None else held.unsynced) if waits else 0.0
    gathers = workload.strategy in SHARDS_WEIGHTS
    peaks, gradients = dict[str, float](), dict[str, float]()
    for name, size in peak.peaks.items():
        step, backward = name == "step", name.startswith("backward")
        gradients[name] = held.gradients if step else max(held.gradients * peak.gradients[name] / most, waiting)
        passing = held.stepping if step else held.gathered if backward or gathers else 0.0
        passing += held.reducing if backward else 0.0
        peaks[name] = sum(static.values()) + gradients[name] + passing + size - before - peak.gradients[name]
    more = max(peaks.values()) - max(peak.peaks.values())
    return replace(
        peak,
        static=static,
        peaks=peaks,
        gradients=gradients,
        needed=peak.needed + more,
        reserved=peak.reserved + more,
    )


def _worst_moment(peak: SimulatedPeak, closed: MemoryEstimate, workload: Workload) -> MemoryEstimate:
    """The peak by component."""
    moment, total = peak.moment, peak.peak_bytes or 0.0
    static = sum(peak.static.values())
    gradients = peak.gradients[moment]
    rest = max(0.0, total - static - gradients)
    step, head = moment == "step", moment in ("forward, head", "backward")
    sharded = _is_sharded(workload, closed.num_gpus)
    # DDP's buckets hold the gradients once more
    copies = 0.0 if sharded else max(peak.gradients.values())
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
        buffers=(rest if step else 0.0) + (copies if closed.num_gpus > 1 else 0.0),
        # what the streams of a sharded run keep from each other is not simulated
        fragmentation=max(peak.needed - total, closed.fragmentation if sharded else 0.0),
        cached_bytes=max(0.0, peak.reserved - max(peak.needed, total)),
        moment=f"{moment} (simulated)",
        assumed=workload.assumed,
        basis="simulation",
    )
