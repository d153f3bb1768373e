"""What CUDA does differently from the CPU, as far as memory is concerned.

The simulation runs on tensors that claim to be in the CPU's memory. Where torch, transformers or TRL would take another
path on a GPU, that path's tensors are made here: the same ones saved for the backward pass, the same ones freed.
"""

# torch, transformers, accelerate and peft carry partial types
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateUsage=false, reportUnknownParameterType=false, reportUnknownLambdaType=false

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch.nn import functional as F  # noqa: N812
from torch.overrides import TorchFunctionMode

# Rows to which the flash kernel rounds a sequence in its backward pass, and columns to which it rounds a head (torch:
# aten/src/ATen/native/transformers/cuda/flash_attn/flash_api.cpp, mha_bwd).
FLASH_ROWS, FLASH_COLUMNS = 128, 32
# Widest head that the flash kernel takes (same file).
FLASH_HEAD = 256

# Name under which transformers finds the flash kernel.
_KERNEL = "simulated_kernel"

_HALF = (torch.bfloat16, torch.float16)


@contextmanager
def cuda_paths() -> Generator[None]:
    """Make torch and TRL take the paths that they take on a GPU."""
    from transformers import masking_utils
    from trl.kernels import chunked_logprob
    from trl.trainer import utils

    def on_gpu(device: torch.device) -> bool:
        return True

    with (
        patch.object(chunked_logprob, "_use_triton", on_gpu),
        patch.object(utils, "_use_triton", on_gpu),
        # the kernels work within the tile
        patch.object(chunked_logprob, "_forward_kernel", _Kernel()),
        patch.object(chunked_logprob, "_backward_kernel", _Kernel()),
        patch.object(chunked_logprob, "triton", SimpleNamespace(cdiv=_divide), create=True),
        # torch.addmm(out_dtype=torch.float32, out=sum) adds in place
        patch.object(chunked_logprob, "_addmm_fp32", lambda sum_, a, b: None),
        # decides by the values of the positions whether rows are packed
        patch.object(masking_utils, "find_packed_sequence_indices", lambda position_ids: None),
        patch.object(F, "scaled_dot_product_attention", _attend),
        patch.object(F, "dropout", _drop),
        patch.object(F, "layer_norm", _widening(F.layer_norm)),
        patch.object(F, "softmax", _widening(F.softmax)),
        _Selections(),
    ):
        yield


class _Kernel:
    def __getitem__(self, grid: object) -> Any:
        return lambda *args, **kwargs: None


def _divide(a: int, b: int) -> int:
    return -(-a // b)


class _Selections(TorchFunctionMode):
    """Reads ``tensor[mask]`` as of a mask that is true everywhere: a full batch without padding."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.Tensor.__getitem__ and isinstance(args[1], torch.Tensor) and args[1].dtype == torch.bool:
            return _Select.apply(*args)
        return func(*args, **(kwargs or {}))


def _widening(function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """A function that autocast runs in float32 on CUDA and not on the CPU (torch: autocast_mode.h, AT_FORALL_FP32)."""

    def widened(*args: Any, **kwargs: Any) -> torch.Tensor:
        if torch.is_autocast_enabled("cpu"):
            args = tuple(_widened(arg) for arg in args)
            kwargs = {name: _widened(value) for name, value in kwargs.items()}
        return function(*args, **kwargs)

    return widened


def _widened(value: Any) -> Any:
    return value.float() if isinstance(value, torch.Tensor) and value.dtype in _HALF else value


def _drop(input: torch.Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> torch.Tensor:
    """CUDA's dropout keeps a mask of one byte per value."""
    return torch.native_dropout(input, p, True)[0] if training and p else input


class _Select(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, tensor: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        # the positions, one index per dimension of the mask
        positions = (
            mask.new_empty((mask.numel(),) * 1, dtype=torch.int64),
            mask.new_empty(mask.numel(), dtype=torch.int64),
        )
        ctx.save_for_backward(*positions)
        ctx.shape = tensor.shape
        return tensor.new_empty((mask.numel(), *tensor.shape[mask.dim() :]))

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        return grads[0].new_zeros(ctx.shape), None


def _attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> torch.Tensor:
    """``scaled_dot_product_attention`` by the fused kernel that CUDA would choose."""
    if torch.is_autocast_enabled("cpu"):
        query, key, value = (each.to(torch.get_autocast_dtype("cpu")) for each in (query, key, value))
    half, width = query.dtype in _HALF, query.shape[-1]
    if half and attn_mask is None and width <= FLASH_HEAD and value.shape[-1] == width:
        return _Flash.apply(query, key, value)
    if enable_gqa and key.shape[1] != query.shape[1]:
        # the memory-efficient kernel takes as many keys as queries
        return torch.ops.aten._scaled_dot_product_attention_math(
            query, key, value, attn_mask, dropout_p, is_causal, scale=scale, enable_gqa=True
        )[0]
    return _Efficient.apply(query, key, value, attn_mask)


def _heads_apart(like: torch.Tensor, heads: int | None = None) -> torch.Tensor:
    """An empty tensor of the same sizes, laid out by rows and then heads, as the kernels write it."""
    rows, own, length, width = like.shape
    return like.new_empty((rows, length, heads or own, width)).transpose(1, 2)


def use_flash(config: Any) -> None:
    """Make a model's layers use the flash kernel if transformers has no ``scaled_dot_product_attention`` for it."""
    from transformers.masking_utils import AttentionMaskInterface, flash_attention_mask
    from transformers.modeling_utils import AttentionInterface

    AttentionInterface.register(_KERNEL, _attend_layer)
    AttentionMaskInterface.register(_KERNEL, flash_attention_mask)
    config._attn_implementation = _KERNEL


def _attend_layer(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *args: Any, **kwargs: Any
) -> tuple[torch.Tensor, None]:
    """An attention function with transformers' signature; the kernel handles padding and sinks itself."""
    return _attend(query, key, value).transpose(1, 2).contiguous(), None


class _Flash(torch.autograd.Function):
    """Saves its inputs, its output and one float32 per row of scores."""

    @staticmethod
    def forward(ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        rows, heads, length, _ = query.shape
        out = _heads_apart(query)
        sums = query.new_empty((rows, heads, length), dtype=torch.float32)
        ctx.save_for_backward(query, key, value, out, sums)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        query, key, value, _, _ = ctx.saved_tensors
        rows, heads, length, width = query.shape
        length = _divide(length, FLASH_ROWS) * FLASH_ROWS
        wide = _divide(width, FLASH_COLUMNS) * FLASH_COLUMNS
        found = _heads_apart(query), _heads_apart(key), _heads_apart(value)
        # accumulated in float32; for grouped heads, each query head has a gradient of its key and value before the sum
        working = [
            query.new_empty((rows, heads, length), dtype=torch.float32),
            query.new_empty((rows, heads, length, wide), dtype=torch.float32),
        ]
        if key.shape[1] != heads:
            working += [_heads_apart(key, heads), _heads_apart(value, heads)]
        del working
        return found


class _Efficient(torch.autograd.Function):
    """Like flash, for what it does not support: float32, a mask, wide heads."""

    @staticmethod
    def forward(
        ctx: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        rows, heads, length, _ = query.shape
        out = query.new_empty((rows, length, heads, value.shape[-1])).transpose(1, 2)
        sums = query.new_empty((rows, heads, length), dtype=torch.float32)
        # a boolean mask becomes an additive one
        bias = None
        if mask is not None:
            bias = mask if mask.dtype == query.dtype else mask.new_empty(mask.shape, dtype=query.dtype)
        ctx.save_for_backward(query, key, value, out, sums, bias)
        return out

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, None]:
        query, key, value, _, sums, _ = ctx.saved_tensors
        found = _heads_apart(query), _heads_apart(key), _heads_apart(value)
        delta = torch.empty_like(sums)
        del delta
        return (*found, None)
