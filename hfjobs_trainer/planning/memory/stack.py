"""What a training stack decides about memory: its kernels and copies."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stack:
    """Properties of a stack that are not arguments of TRL's configs; the defaults are those of TRL 1.16.

    Attributes:
        logit_bytes: Bytes per logit that are alive at once if all logits are held: torch's cross entropy holds the
            float32 log-probabilities, their gradient and that of the logits (4 each).
        logit_cached: Bytes per logit that the allocator keeps in addition: the freed half-precision logits, in blocks
            too small for any float32 one.
        lean_kernels: Whether norms and gated activations are fused kernels that save their inputs alone, as Liger's,
            Unsloth's and compiled ones do.
        lean_norms: Whether norms alone are such kernels.
        adapter_bytes: Bytes of one adapter weight; ``None``: 4, and 2 on quantized weights.
        upcasts: Whether FSDP holds trained half-precision weights in float32 under mixed precision, as accelerate does
            (1.15: ``accelerator.py``, ``prepare_model``; ``utils/fsdp_utils.py``, ``fsdp2_prepare_model``).
        keeps_inputs: Whether layers' inputs and their gradients stay until the backward pass ends: FSDP1 of torch 2.4
            watches both where a layer is frozen and recomputed by a reentrant checkpoint
            (``fsdp/_runtime_utils.py``, ``_register_post_backward_reshard_only_hook``); torch 2.13 frees them.
        adamw_temporaries: Values per trained parameter that unfused AdamW holds during its step.
        frees_gradients: Whether each gradient is freed as soon as its weight is updated.
        selective: Whether checkpointing keeps every second matrix product of a layer instead of recomputing it.
        casts_head: Whether a fused head casts a float32 head to half precision as a whole, as Liger's does.
        quantizes_experts: Whether experts are separate matrices, so that they are quantized as well.
        loads_whole: Whether each GPU of FSDP holds the whole model once in addition to its shard, to load it.
        gptq: Whether 4-bit weights are GPTQ's instead of bitsandbytes'.
        unpack_bytes: Bytes moved to unpack one quantized weight; ``None``: it is read packed, and written once.
    """

    logit_bytes: float = 12.0
    logit_cached: float = 2.0
    lean_kernels: bool = False
    lean_norms: bool = False
    adapter_bytes: int | None = None
    upcasts: bool = True
    keeps_inputs: bool = False
    adamw_temporaries: int = 1
    frees_gradients: bool = False
    selective: bool = False
    casts_head: bool = False
    quantizes_experts: bool = False
    loads_whole: bool = False
    gptq: bool = False
    unpack_bytes: float | None = None


TRL = Stack()
"""TRL 1.16 with transformers 5.23 and PEFT 0.21."""
