"""Norms and gated activations as fused kernels compute them: they save their inputs alone."""

# torch, transformers, accelerate and peft carry partial types
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from torch import nn


def fuse_kernels(model: nn.Module, *, mlps: bool) -> None:
    """Give a model's norms the memory of Liger's kernels (Liger 0.6: ``ops/rms_norm.py``, ``swiglu.py``).

    Unsloth's and compiled ones save as much or less.

    Args:
        model: The model.
        mlps: Whether its gated MLPs have theirs too.
    """
    for module in model.modules():
        owner: Any = module
        if type(module).__name__.endswith("RMSNorm") and isinstance(getattr(module, "weight", None), nn.Parameter):
            owner.forward = MethodType(_normalize, module)
        elif mlps and all(hasattr(module, name) for name in ("gate_proj", "up_proj", "down_proj")):
            owner.forward = MethodType(_gated, module)


def _normalize(module: Any, hidden_states: torch.Tensor) -> torch.Tensor:
    return _Norm.apply(hidden_states, module.weight)


def _gated(module: Any, x: torch.Tensor) -> torch.Tensor:
    return module.down_proj(_Gate.apply(module.gate_proj(x), module.up_proj(x)))


class _Norm(torch.autograd.Function):
    """Saves its input as it is, and one float32 per row; its gradient overwrites the one that it is given."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, weight, x.new_empty(x.shape[:-1], dtype=torch.float32))
        return torch.empty_like(x)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        _, weight, _ = ctx.saved_tensors
        return grads[0].detach(), torch.empty_like(weight)


class _Gate(torch.autograd.Function):
    """Saves both factors; their gradients overwrite them."""

    @staticmethod
    def forward(ctx: Any, gate: torch.Tensor, up: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(gate, up)
        return torch.empty_like(gate)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        gate, up = ctx.saved_tensors
        return gate.detach(), up.detach()


def fused_loss(hidden: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Liger's head and loss in one, some rows at a time (Liger 0.6: ``ops/fused_linear_cross_entropy.py``)."""
    return _HeadLoss.apply(hidden.flatten(0, -2), weight)


class _HeadLoss(torch.autograd.Function):
    """Computes the gradients in the forward pass, as large as the hidden states and, if it is trained, the head."""

    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        rows, width = hidden.shape
        # under autocast both are cast as a whole
        if torch.is_autocast_enabled("cpu"):
            dtype = torch.get_autocast_dtype("cpu")
            hidden, weight = hidden.to(dtype), weight.to(dtype)
        vocab = weight.shape[0]
        size = _power_of_two(-(-rows // -(-vocab // width)))
        found = torch.empty_like(hidden)
        trained = torch.empty_like(weight) if ctx.needs_input_grad[1] else None
        losses = hidden.new_empty(rows, dtype=torch.float32)
        for start in range(0, rows, size):
            part = hidden[start : start + size]
            logits = part @ weight.t()
            gradient = logits @ weight
            del logits, gradient
        ctx.save_for_backward(found, trained)
        return losses.sum()

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        found, trained = ctx.saved_tensors
        return found.detach(), None if trained is None else trained.detach()


def _power_of_two(number: int) -> int:
    return 1 << max(0, number - 1).bit_length()
