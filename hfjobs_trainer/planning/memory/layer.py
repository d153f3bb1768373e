"""Bytes per token in one decoder layer.

From the tensors that autograd saves in the decoders of transformers 5.23 with PEFT 0.21.
"""

from __future__ import annotations

from collections.abc import Mapping

from hfjobs_trainer.planning.memory.workload import Workload
from hfjobs_trainer.planning.model.shape import Shape


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
        workload: The workload.
        shape: The model.
        adapted: Inputs and outputs of the matrices that LoRA adapts; empty in full training.
        compute: Bytes of a number in matrix products.
        residual: Bytes of a number in the residual stream.
        adapter: Bytes of an adapter's weight.
    """
    full = workload.tuning == "full"
    # queries, keys, values and the result of the attention, and the log-sum-exp of each head
    attention = compute * (2 * shape.query + 2 * shape.key_value) + 4 * shape.heads
    if shape.fused_qkv and shape.rotary:
        # queries and keys are turned into new tensors, while the values are a view of the whole product
        attention += compute * (shape.query + shape.key_value)
    # autocast does not affect the products of experts: they are in the precision of their inputs
    width = residual if shape.experts else compute
    products = _products(shape, width, full=full, lean=_lean(workload))
    saved = attention + products + _scores(workload, shape) + _norms(workload, shape, compute, residual, full=full)
    if full:
        # autocast copies a float32 input once per matrix; in one precision the matrices share theirs
        apart = workload.mixed_precision is not None and residual == 4
        readers = (1 if shape.fused_qkv else 3) + (2 if shape.gated and not shape.fused_gate else 1)
        return saved + (readers * 2 if apart else 2 * compute) * shape.hidden
    return saved + _adapters(workload, adapted, residual, adapter, compute)


def working_bytes(shape: Shape, *, compute: int, residual: int) -> float:
    """Bytes of the gradients that flow through one layer for one token."""
    return compute * (2 * shape.active_ffn + shape.query) + residual * 2 * shape.hidden


def kept_products(shape: Shape, compute: int) -> float:
    """Bytes that one token leaves in a layer if every second matrix product and the attention's result are kept."""
    return compute * (2 * shape.query + shape.key_value + shape.active_ffn + shape.hidden)


def _lean(workload: Workload) -> bool:
    return workload.liger_kernel or workload.stack.lean_kernels


def _scores(workload: Workload, shape: Shape) -> int:
    """The matrix of scores, if it is held."""
    eager = workload.attention == "eager" or (workload.attention is None and shape.eager_only)
    if not eager:
        return 0
    return shape.score_bytes * shape.heads * workload.sequence_length


def _norms(workload: Workload, shape: Shape, compute: int, residual: int, *, full: bool) -> float:
    """The inputs of the norms: as float32 in the decoders' own code, as they are in a fused kernel."""
    h, heads = shape.hidden, (shape.query + shape.key_value if shape.head_norms else 0)
    if _lean(workload) or workload.stack.lean_norms or shape.layer_norms:
        return shape.norms * residual * h + compute * heads
    # what the norm's own weight multiplies: half precision again, but in Gemma
    width, head_width = (4, 4) if shape.float32_norms else (residual, compute)
    trained = shape.norms * width * h + head_width * heads if full else 0
    return 4 * (shape.norms * h + heads) + trained


def _products(shape: Shape, compute: int, *, full: bool, lean: bool) -> float:
    """What the MLP saves: inputs of the activation, of the product with the gate, of the last matrix."""
    inner = (2 if lean else 3) if shape.gated else 1
    inner += (1 if full else 0) + (3 if shape.written_gelu else 0)
    saved = compute * inner * shape.active_ffn
    if shape.experts_per_token:
        # each expert gathers its tokens, and its outputs are weighted
        saved += 2 * compute * shape.experts_per_token * shape.hidden
    return saved


def _adapters(
    workload: Workload, adapted: Mapping[str, tuple[int, int]], residual: int, adapter: int, compute: int
) -> float:
    """The inputs of the adapters: a copy for each if their dtype is not the layer's, else shared."""
    r, dropout = workload.lora_r, bool(workload.lora_dropout)
    width = compute if workload.mixed_precision is not None else adapter
    shared = adapter == residual == compute and not dropout
    # the attention's result is saved already, if the adapter takes it as it is
    own = {name: size for name, (size, _) in adapted.items() if name != "o_proj" or adapter != compute or dropout}
    inputs = sum({_source(name): size for name, size in own.items()}.values()) if shared else sum(own.values())
    saved = (width + dropout) * inputs + width * r * len(adapted)
    if workload.lora_dora:
        # the magnitude's gradient needs the results of the layer and of the adapter
        saved += 2 * width * sum(size for _, size in adapted.values())
    return saved


def _source(name: str) -> str:
    """The tensor that a matrix reads."""
    if name in ("q_proj", "gated_q_proj", "k_proj", "v_proj", "qkv_proj") or name.startswith("in_proj"):
        return "attention"
    return "mlp" if name in ("gate_proj", "up_proj", "gate_up_proj") else name
