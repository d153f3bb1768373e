"""Stand-ins for bitsandbytes' 4-bit layers, with the same saved and temporary tensors."""

# torch, transformers, accelerate and peft carry partial types
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateUsage=false, reportUnknownParameterType=false

from __future__ import annotations

from typing import Any

import torch
from torch import nn

# Weights that share one scale, and scales that share one when they are quantized too (bitsandbytes 0.49: functional.py,
# quantize_4bit with its defaults).
BLOCK, NESTED_BLOCK = 64, 256


class Linear4bit(nn.Linear):
    """A frozen linear layer whose weight is packed, two values in a byte.

    It computes as bitsandbytes' ``Linear4bit`` and ``MatMul4Bit`` do (bitsandbytes 0.49: nn/modules.py,
    autograd/_functions.py): in ``compute_dtype``, with the weight unpacked for each product and once more in the
    backward pass.

    Args:
        layer: The layer that it replaces.
        compute_dtype: ``bnb_4bit_compute_dtype``.
        double: ``bnb_4bit_use_double_quant``.
    """

    scales: torch.Tensor

    def __init__(self, layer: nn.Linear, compute_dtype: torch.dtype, double: bool) -> None:
        super().__init__(0, 0, bias=False, device="meta")
        count = layer.weight.numel()
        scales = -(-count // BLOCK)
        self.in_features, self.out_features = layer.in_features, layer.out_features
        self.unpacked_dtype, self.compute_dtype = layer.weight.dtype, compute_dtype
        self.scales_dtype = torch.uint8 if double else torch.float32
        packed = torch.empty((-(-count // 2), 1), dtype=torch.uint8, device="meta")
        self.weight = nn.Parameter(packed, requires_grad=False)
        self.bias: Any = layer.bias
        self.register_buffer("scales", torch.empty(scales, dtype=self.scales_dtype, device="meta"))
        # the 16 values that 4 bits stand for
        self.register_buffer("code", torch.empty(16, device="meta"))
        if double:
            self.register_buffer("nested_scales", torch.empty(-(-scales // NESTED_BLOCK), device="meta"))
            self.register_buffer("nested_code", torch.empty(256, device="meta"))

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """The product, in the input's dtype."""
        given = input.to(self.compute_dtype)
        bias = None if self.bias is None else self.bias.to(self.compute_dtype)
        product: Any = _Product.apply(given, self, bias)
        return product.to(input.dtype)

    def unpack(self, dtype: torch.dtype) -> torch.Tensor:
        """The weight, unpacked in its original dtype and cast to another."""
        if self.scales_dtype is torch.uint8:
            # the scales are unpacked first
            scales = self.scales.new_empty(self.scales.shape, dtype=torch.float32)
            del scales
        return self.weight.new_empty((self.out_features, self.in_features), dtype=self.unpacked_dtype).to(dtype)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: torch.Tensor, layer: Linear4bit, bias: torch.Tensor | None) -> torch.Tensor:
        ctx.layer, ctx.with_bias = layer, bias is not None
        return torch.nn.functional.linear(input, layer.unpack(input.dtype), bias)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return torch.matmul(grads[0], ctx.layer.unpack(grads[0].dtype)), None, None


def quantize_layers(model: nn.Module, kept: set[nn.Module], compute_dtype: torch.dtype, double: bool) -> None:
    """Replace every linear layer but those to be kept, as transformers does when it loads a model in 4 bits."""
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Linear and child not in kept:
                setattr(module, name, Linear4bit(child, compute_dtype, double))
