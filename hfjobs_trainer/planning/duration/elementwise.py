"""Bytes that the operations between matrix products move: what fused kernels save.

A matrix product is bound by arithmetic. Norms, rotary embeddings, activations, residual sums, casts and what an adapter
adds are bound by the memory's bandwidth: each reads and writes whole tensors. The counts are those of transformers 5.23
and PEFT 0.21.2 in their eager form, which ``tests/planning/test_elementwise.py`` counts as they run, and of fused
kernels such as Liger's, which read their inputs and write their output once.
"""

from __future__ import annotations

from hfjobs_trainer.planning.memory.closed_form import Workload
from hfjobs_trainer.planning.model.shape import BYTES, Shape

_HALF, _FULL = BYTES["bfloat16"], BYTES["float32"]


def elementwise_bytes(workload: Workload, shape: Shape) -> float:
    """Bytes that a forward pass moves per token, outside of matrix products and of attention.

    Args:
        workload: The run.
        shape: The shape of its model.
    """
    lean = workload.liger_kernel or workload.stack.lean_kernels
    lean_norms = lean or workload.stack.lean_norms
    # the residual stream has the dtype of the weights that are not quantized
    stream = BYTES[workload.dtype]
    computed = _HALF if workload.mixed_precision else stream
    norm = stream + computed if lean_norms else _eager_norm(stream)
    ffn = shape.expert_ffn * shape.experts_per_token + shape.shared_ffn if shape.experts else shape.ffn
    # the sum with what the attention and what the MLP give
    each = shape.hidden * (shape.norms * norm + 2 * (2 * stream + computed))
    heads = shape.query + shape.key_value
    if shape.head_norms:
        each += heads * norm
    if shape.rotary:
        # each half times sine or cosine: negated, joined, two products and their sum
        each += heads * computed * (2 if lean_norms else 9)
    each += ffn * computed * (3 if lean else 5)
    if stream != computed:
        each += 2 * shape.hidden * (stream + computed)
    if workload.tuning == "lora":
        each += _adapter_bytes(workload, computed)
    return shape.layers * each + shape.hidden * norm


def _eager_norm(stream: float) -> float:
    """An RMSNorm: to float32, its square, its mean, the product with the root, back, the product with the weight."""
    return (stream + _FULL) + 2 * _FULL + _FULL + 2 * _FULL + (_FULL + stream) + 2 * stream


def _adapter_bytes(workload: Workload, computed: float) -> float:
    """Of a layer's adapters: casts and dropout of the inputs, the scaled output and its sum with the layer's own."""
    weight = float(workload.stack.adapter_bytes or (_FULL if workload.quantization is None else _HALF))
    # PEFT casts the input to the adapter's dtype, and autocast casts it back
    casts = 2 * (computed + weight) if weight != computed else 0.0
    dropout = 2 * computed + 1 if workload.lora_dropout else 0.0  # and its mask
    adapted = workload.adapter.linears.values() if workload.adapter else ()
    inputs, outputs = sum(size for size, _ in adapted), sum(size for _, size in adapted)
    return inputs * (casts + dropout) + outputs * computed * (2 + 3)
