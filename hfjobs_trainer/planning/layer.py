"""Bytes that one token takes in one decoder layer.

They were read off the tensors that autograd saves in the decoders of transformers 5.23 with PEFT 0.21.
"""

from __future__ import annotations

from collections.abc import Mapping

from hfjobs_trainer.planning.architecture import Shape
from hfjobs_trainer.planning.demand import Workload


def saved_bytes(
    workload: Workload,
    shape: Shape,
    adapted: Mapping[str, tuple[int, int]],
    *,
    compute: int,
    residual: int,
    adapter: int,
) -> float:
    """Bytes that autograd saves for one token in one layer.

    Args:
        workload: What is trained.
        shape: The model.
        adapted: Inputs and outputs of the matrices that LoRA adapts; empty in full training.
        compute: Bytes of a number in matrix products.
        residual: Bytes of a number in the residual stream.
        adapter: Bytes of an adapter's weight.
    """
    full = workload.tuning == "full"
    # queries, keys, values and the result of the attention, and the log-sum-exp of each head
    attention = compute * (2 * shape.query + 2 * shape.key_value) + 4 * shape.heads
    products = _products(shape, compute, full=full, lean=_lean(workload))
    scores = 6 * shape.heads * workload.sequence_length if workload.attention == "eager" else 0
    saved = attention + products + scores + _norms(workload, shape, compute, residual, full=full)
    if full:
        # autocast copies a float32 input once per matrix; in one precision the matrices share theirs
        apart = workload.mixed_precision is not None and residual == 4
        return saved + ((5 if shape.gated else 4) * 2 if apart else 2 * compute) * shape.hidden
    return saved + _adapters(workload, adapted, residual, adapter, compute)


def working_bytes(shape: Shape, *, compute: int, residual: int) -> float:
    """Bytes of the gradients that flow through one layer for one token."""
    return compute * (2 * shape.active_ffn + shape.query) + residual * 2 * shape.hidden


def kept_products(shape: Shape, compute: int) -> float:
    """Bytes that one token leaves in a layer where every second matrix product is kept, and the attention's result."""
    return compute * (2 * shape.query + shape.key_value + shape.active_ffn + shape.hidden)


def _lean(workload: Workload) -> bool:
    return workload.liger_kernel or workload.stack.lean_kernels


def _norms(workload: Workload, shape: Shape, compute: int, residual: int, *, full: bool) -> float:
    """The inputs of the norms: as float32 in the decoders' own code, as they are in a fused kernel."""
    h, heads = shape.hidden, (shape.query + shape.key_value if shape.head_norms else 0)
    if _lean(workload) or shape.layer_norms:
        return shape.norms * residual * h + compute * heads
    trained = shape.norms * residual * h + compute * heads if full else 0
    return 4 * (shape.norms * h + heads) + trained


def _products(shape: Shape, compute: int, *, full: bool, lean: bool) -> float:
    """What the MLP saves: inputs of the activation, of the product with the gate, of the last matrix."""
    inner = 2 + shape.gated - (1 if lean and shape.gated else 0) + (1 if full else 0)
    saved = compute * inner * shape.active_ffn
    if shape.experts_per_token:
        # each expert gathers its tokens, and its answers are weighted
        saved += 2 * compute * shape.experts_per_token * shape.hidden
    return saved


def _adapters(
    workload: Workload, adapted: Mapping[str, tuple[int, int]], residual: int, adapter: int, compute: int
) -> float:
    """The inputs of the adapters: a copy for each where their dtype is not the layer's, else shared."""
    r, dropout = workload.lora_r, bool(workload.lora_dropout)
    width = compute if workload.mixed_precision is not None else adapter
    shared = adapter == residual == compute and not dropout
    inputs = 0
    if shared:
        seen = {_source(name): size for name, (size, _) in adapted.items()}
        inputs = sum(seen.values())
    else:
        inputs = sum(size for size, _ in adapted.values())
    saved = (width + dropout) * inputs + width * r * len(adapted)
    if workload.lora_dora:
        # the magnitude's gradient needs the results of the layer and of the adapter
        saved += 2 * width * sum(size for _, size in adapted.values())
    return saved


def _source(name: str) -> str:
    """Which tensor a matrix reads."""
    if name in ("q_proj", "k_proj", "v_proj", "qkv_proj"):
        return "attention"
    return "mlp" if name in ("gate_proj", "up_proj", "gate_up_proj") else name
