"""A record of every allocation and release in the order in which they happened."""

# torch, transformers, accelerate and peft carry partial types
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateUsage=false, reportUnknownParameterType=false

from __future__ import annotations

import weakref
from bisect import bisect_right
from collections.abc import Iterable
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# What CUDA's caching allocator rounds every request up to, bytes (torch 2.13:
# c10/core/CachingDeviceAllocator.h, kMinBlockSize).
BLOCK = 512


class Tape(TorchDispatchMode):
    """Records the storages that are allocated and released while it is active.

    Attributes:
        events: Bytes allocated (positive) and released (negative), in order, each with the storage's number.
        marks: Where a named moment begins: the number of events before it, and its name.
    """

    def __init__(self) -> None:
        super().__init__()
        self.events: list[tuple[int, int]] = []
        self.marks: list[tuple[int, str]] = []
        self._alive: dict[int, tuple[int, int, weakref.ref[torch.UntypedStorage]]] = {}
        self._numbers = 0
        self.in_backward = False

    def mark(self, name: str) -> None:
        """Begin a moment."""
        self.marks.append((len(self.events), name))

    def backward(self, loss: torch.Tensor) -> None:
        """Run the backward pass from a loss.

        Not with ``loss.backward()``, which would bypass the active modes for functions of tensors.
        """
        self.in_backward = True
        try:
            torch.autograd.backward(loss)
        finally:
            self.in_backward = False

    def hold(self, tensors: Iterable[object]) -> None:
        """Count tensors that were made before the tape started."""
        for tensor in tensors:
            if isinstance(tensor, torch.Tensor):
                self._hold(tensor)

    def numbers(self, tensors: Iterable[torch.Tensor | None]) -> set[int]:
        """The numbers of the storages behind these tensors."""
        keys = {tensor.untyped_storage()._cdata for tensor in tensors if tensor is not None}
        return {self._alive[key][0] for key in keys if key in self._alive}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        # Without a dispatch mode autograd adds a second gradient of the same tensor to the first in place
        # (torch: csrc/autograd/input_buffer.cpp); with one it would make a third.
        if self.in_backward and func is torch.ops.aten.add.Tensor and not torch.is_grad_enabled():
            first, second = args[:2]
            if isinstance(second, torch.Tensor) and first.shape == second.shape and first.dtype == second.dtype:
                return torch.ops.aten.add_.Tensor(first, second)
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, torch.Tensor):
                self._hold(leaf)
        return result

    def _hold(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._alive:
            return
        size = -(-storage.nbytes() // BLOCK) * BLOCK
        number = self._numbers
        self._numbers += 1

        def release(_: object) -> None:
            if key in self._alive and self._alive[key][0] == number:
                del self._alive[key]
                self.events.append((number, -size))

        self._alive[key] = (number, size, weakref.ref(storage, release))
        self.events.append((number, size))

    def peaks(self) -> dict[str, tuple[int, int]]:
        """The peak within each moment, bytes, and the number of events before it.

        Moments of the same name count as one.
        """
        starts = [start for start, _ in self.marks]
        found: dict[str, tuple[int, int]] = {}
        total = 0
        moment = 0

        def note(name: str, count: int) -> None:
            if name not in found or total > found[name][0]:
                found[name] = (total, count)

        for index, (_, size) in enumerate(self.events):
            while moment < len(starts) and starts[moment] <= index:
                note(self.marks[moment][1], index)
                moment += 1
            total += size
            if moment and size > 0:
                note(self.marks[moment - 1][1], index + 1)
        for _, name in self.marks[bisect_right(starts, len(self.events) - 1) :]:
            note(name, len(self.events))
        return found

    def alive(self, numbers: set[int], count: int) -> int:
        """Bytes of these storages that are held after ``count`` events."""
        return sum(size for number, size in self.events[:count] if number in numbers)
