"""What makes training faster at no loss where the user left it open; whoever sets one of these switches it off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hfjobs_trainer.facts import Facts
from hfjobs_trainer.planning.arguments.vision import sees
from hfjobs_trainer.planning.duration.lengths import tokens_per_row
from hfjobs_trainer.specs.base import TrainSpec

PACKED_TOKENS = 4096
"""Tokens of a packed batch at most where attention is not a flash kernel: TRL lays a packed batch out as one row, and
attention by mask works on all pairs of its tokens, those of other rows included."""

PACKING_GAIN = 1.1
"""How many times cheaper a packed run must be for rows to be packed: it has fewer steps, which is a change."""

LEAST_STEPS = 100
"""Optimizer steps that must be left for rows to be packed: a run of fewer learns too little from each."""

_FUSED = "adamw_torch_fused"
# Models of which packed rows do not see each other, as transformers 5.23 runs them (tests/planning/test_speed.py
# computes it). Elsewhere a state is carried along the sequence, or positions do not tell where a row begins.
KEEPS_ROWS_APART = frozenset(
    {"apertus", "arcee", "cohere", "cohere2", "exaone4", "gemma", "gemma2", "gemma3_text", "glm", "glm4", "gpt2"}
    | {"gpt_neox", "granite", "granitemoe", "helium", "llama", "ministral", "ministral3", "mistral", "mixtral"}
    | {"nemotron", "olmo", "olmo2", "olmo3", "olmoe", "phi", "phi3", "phimoe", "qwen2", "qwen2_moe", "qwen3"}
    | {"qwen3_moe", "seed_oss", "smollm3", "stablelm", "starcoder2"}
)
# Fields that count in batches or steps, and were meant for rows as they are.
_COUNTED = (
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "global_batch_size",
    "max_steps",
    "eval_steps",
    "save_steps",
    "warmup_steps",
)


def speed_arguments(spec: TrainSpec, decide: Callable[[str, Any, str], Any], *, packing: bool) -> dict[str, Any]:
    """Arguments of TRL's config for packing and the optimizer.

    Batches stay without workers of their own: collating tokens takes milliseconds, and a worker that cannot hand its
    tensors over (torch passes them by a socket, whose path may be too long) lets the run wait for ever.

    Args:
        spec: The spec.
        decide: Notes a decision, and returns its value.
        packing: Whether rows are packed.
    """
    arguments: dict[str, Any] = {}
    if packing:
        why = "the run costs less with short rows in one sequence, where none sees another"
        arguments["packing"] = decide("packing", True, why)
    if not spec.is_set("optim") and spec.optim == _FUSED:
        decide("optim", _FUSED, "TRL's default: one kernel updates all parameters")
    return arguments


def may_pack(spec: TrainSpec, facts: Facts) -> bool:
    """Whether the planner may pack rows together: for SFT on text of which the lengths are known to be short.

    Only for models that keep the rows of a sequence apart. Each packed sequence holds several rows, so that a run has
    fewer steps: only where the user has counted nothing in steps or batches, and where enough steps are left.
    """
    given = ("packing", "padding_free", "packing_strategy", *_COUNTED)
    if not type(spec).TRAINING.packs or any(spec.is_set(name) for name in given):
        return False
    if facts.model.model_type not in KEEPS_ROWS_APART:
        return False
    lengths, rows = facts.dataset.lengths, facts.dataset.num_rows
    length = getattr(spec, "max_length", None)
    if lengths is None or not rows or not length or spec.dataset.streaming or sees(spec, facts):
        return False
    tokens = min(tokens_per_row(lengths)[1], length)
    packed = rows * (1 - (spec.eval_fraction or 0.0)) * tokens / length
    steps = packed * spec.num_train_epochs / spec.per_device_train_batch_size
    return tokens <= length / 2 and steps >= LEAST_STEPS


def most_packed(spec: TrainSpec, facts: Facts) -> int:
    """Packed sequences that one GPU computes at once at most; 0 where rows are not packed."""
    if not may_pack(spec, facts):
        return 0
    if "flash" in (spec.attn_implementation or ""):
        return spec.per_device_train_batch_size
    return PACKED_TOKENS // spec.model_dump(include={"max_length"})["max_length"]
