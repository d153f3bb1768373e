"""What a training stack keeps in memory by its own choice: which kernels, which copies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Stack:
    """Choices that no argument of TRL's configs speaks of; the defaults are those of TRL 1.16.

    Attributes:
        logit_bytes: Bytes per logit where all of them are held.
        lean_kernels: Whether norms and gated activations are fused kernels that save their inputs alone, as Liger's,
            Unsloth's and compiled ones do.
        adapter_bytes: Bytes of one adapter weight; ``None``: 4, and 2 on quantized weights.
        frees_gradients: Whether each gradient is freed as soon as its weight is updated.
        selective: Whether checkpointing keeps every second matrix product of a layer instead of recomputing it.
        quantizer: Whose 4-bit format it is; decides how large the scales are.
        unit_layers: Decoder layers that one unit of FSDP holds.
    """

    logit_bytes: float = 14.0
    lean_kernels: bool = False
    adapter_bytes: int | None = None
    frees_gradients: bool = False
    selective: bool = False
    quantizer: Literal["bitsandbytes", "gptq"] = "bitsandbytes"
    unit_layers: int = 1


TRL = Stack()
"""TRL 1.16 with transformers 5.23 and PEFT 0.21."""
