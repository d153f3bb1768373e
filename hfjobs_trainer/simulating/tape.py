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


def local(tensor: torch.Tensor) -> torch.Tensor:
    """What this rank holds of a sharded tensor; any other tensor as it is."""
    return getattr(tensor, "_local_tensor", tensor)


class _Held:
    """A storage that is alive: the number under which its bytes stand in the events, 0 bytes while it is emptied."""

    __slots__ = ("number", "size", "watch")

    def __init__(self) -> None:
        self.number = self.size = 0
        self.watch: weakref.ref[torch.UntypedStorage] | None = None


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
        self._alive: dict[int, _Held] = {}
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

    def resize(self, tensor: torch.Tensor) -> None:
        """Take note that a tensor's storage was emptied or filled in place, if the tape is active or knows it."""
        held = self._alive.get(tensor.untyped_storage()._cdata)
        if held is not None:
            self._set(held, tensor.untyped_storage().nbytes())

    def numbers(self, tensors: Iterable[torch.Tensor | None]) -> set[int]:
        """The numbers of the storages behind these tensors."""
        keys = {local(tensor).untyped_storage()._cdata for tensor in tensors if tensor is not None}
        return {self._alive[key].number for key in keys if key in self._alive}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if any(kind.__name__ == "DTensor" for kind in types):
            # it computes on its local tensors, which come here in turn
            return NotImplemented
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
        storage = local(tensor).untyped_storage()
        key = storage._cdata
        if key in self._alive:
            return
        held = _Held()

        def release(_: object) -> None:
            if self._alive.get(key) is held:
                del self._alive[key]
                self._set(held, 0)

        held.watch = weakref.ref(storage, release)
        self._alive[key] = held
        self._set(held, storage.nbytes())

    def _set(self, held: _Held, size: int) -> None:
        size = -(-size // BLOCK) * BLOCK
        if size == held.size:
            return
        if held.size:
            self.events.append((held.number, -held.size))
        if size:
            held.number = self._numbers
            self._numbers += 1
            self.events.append((held.number, size))
        held.size = size

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
