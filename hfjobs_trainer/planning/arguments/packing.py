"""Packing: several short rows in one sequence, if the user left it open."""

from __future__ import annotations

from hfjobs_trainer.facts import LengthFacts
from hfjobs_trainer.planning.duration.lengths import tokens_per_row

PACKED_TOKENS = 4096
"""Most tokens of a packed batch if attention is not a flash kernel: TRL lays a packed batch out as one row, and masked
attention computes all pairs of its tokens, including those of different rows."""

PACKING_GAIN = 1.1
"""How many times cheaper a packed run must be for rows to be packed, since it also has fewer steps."""

LEAST_STEPS = 100
"""Fewest optimizer steps of a packed run: fewer would train too little."""

# Models whose packed rows do not attend to each other in transformers 5.23 (tests/planning/test_speed.py computes it).
# In others a state is carried along the sequence, or positions do not mark where a row begins.
KEEPS_ROWS_APART = frozenset(
    {"apertus", "arcee", "cohere", "cohere2", "exaone4", "gemma", "gemma2", "gemma3_text", "glm", "glm4", "gpt2"}
    | {"gpt_neox", "granite", "granitemoe", "helium", "llama", "ministral", "ministral3", "mistral", "mixtral"}
    | {"nemotron", "olmo", "olmo2", "olmo3", "olmoe", "phi", "phi3", "phimoe", "qwen2", "qwen2_moe", "qwen3"}
    | {"qwen3_moe", "seed_oss", "smollm3", "stablelm", "starcoder2"}
)
COUNTED = (
    "packing",
    "padding_free",
    "packing_strategy",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "global_batch_size",
    "max_steps",
    "eval_steps",
    "save_steps",
    "warmup_steps",
)
"""Fields that switch it off: those that decide how rows are joined, and those that count in batches or steps, which
were set for unpacked rows."""


def most_packed(
    *,
    model_type: str | None,
    lengths: LengthFacts | None,
    rows: float | None,
    max_length: int | None,
    epochs: float,
    per_device: int,
    flash: bool,
) -> int:
    """Most packed sequences per device; 0 if rows should not be packed.

    Rows are packed only if they are known to be short, the model keeps the rows of a sequence apart, and enough steps
    are left.

    Args:
        model_type: As in the model's configuration.
        lengths: Lengths of the rows.
        rows: Training rows.
        max_length: Tokens of a packed sequence.
        epochs: Epochs.
        per_device: Sequences per device as the spec has them.
        flash: Whether attention is a flash kernel.
    """
    if model_type not in KEEPS_ROWS_APART or lengths is None or not rows or not max_length:
        return 0
    tokens = min(tokens_per_row(lengths)[1], max_length)
    steps = rows * tokens / max_length * epochs / per_device
    if tokens > max_length / 2 or steps < LEAST_STEPS:
        return 0
    return per_device if flash else PACKED_TOKENS // max_length
