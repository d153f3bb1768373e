"""A model of torch's caching allocator: the memory that it takes for a sequence of allocations and releases."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence

# torch 2.13: c10/core/CachingDeviceAllocator.h. Requests up to SMALL come from segments of SMALL_SEGMENT; up to LARGE
# from those of LARGE_SEGMENT; larger ones have their own, in multiples of ROUND. The rest of a block is split off if it
# is at least BLOCK, or more than SMALL among large ones.
BLOCK, SMALL, SMALL_SEGMENT = 512, 2**20, 2 * 2**20
LARGE, LARGE_SEGMENT, ROUND = 10 * 2**20, 20 * 2**20, 2 * 2**20


class _Block:
    __slots__ = ("before", "free", "number", "size", "small", "then")

    def __init__(self, number: int, size: int, small: bool) -> None:
        self.number, self.size, self.small = number, size, small
        self.before: _Block | None = None
        self.then: _Block | None = None
        self.free = False


class Allocator:
    """The blocks of one GPU, by torch's rules: best fit, split, merge with free neighbors, free nothing.

    Attributes:
        reserved: Bytes taken from the GPU.
        idle: Bytes of segments that are entirely free, which are released before a request fails.
    """

    def __init__(self) -> None:
        self.reserved = 0
        self.idle = 0
        self._free: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
        self._blocks: dict[int, _Block] = {}
        self._used: dict[int, _Block] = {}
        self._count = 0

    def take(self, number: int, size: int) -> None:
        """Allocate ``size`` bytes under a number."""
        small = size <= SMALL
        pool = self._free[small]
        index = bisect_left(pool, (size, 0))
        if index < len(pool):
            block = self._blocks[pool.pop(index)[1]]
            if block.before is None and block.then is None:
                self.idle -= block.size
        else:
            segment = SMALL_SEGMENT if small else LARGE_SEGMENT if size < LARGE else -(-size // ROUND) * ROUND
            self.reserved += segment
            block = self._new(segment, small)
        rest = block.size - size
        if rest >= BLOCK if small else rest > SMALL:
            other = self._new(rest, small)
            other.before, other.then = block, block.then
            if block.then is not None:
                block.then.before = other
            block.then, block.size = other, size
            self._put(other)
        block.free = False
        self._used[number] = block

    def give(self, number: int) -> None:
        """Release what was allocated under a number."""
        block = self._used.pop(number)
        for neighbour in (block.before, block.then):
            if neighbour is None or not neighbour.free:
                continue
            pool = self._free[block.small]
            del pool[bisect_left(pool, (neighbour.size, neighbour.number))]
            if neighbour is block.before:
                block.before = neighbour.before
                if neighbour.before is not None:
                    neighbour.before.then = block
            else:
                block.then = neighbour.then
                if neighbour.then is not None:
                    neighbour.then.before = block
            block.size += neighbour.size
            del self._blocks[neighbour.number]
        self._put(block)
        if block.before is None and block.then is None:
            self.idle += block.size

    def _new(self, size: int, small: bool) -> _Block:
        self._count += 1
        block = _Block(self._count, size, small)
        self._blocks[self._count] = block
        return block

    def _put(self, block: _Block) -> None:
        block.free = True
        insort(self._free[block.small], (block.size, block.number))


def replay(events: Iterable[tuple[int, int]], marks: Sequence[tuple[int, str]]) -> tuple[int, dict[str, int]]:
    """Replay a tape on an allocator.

    Args:
        events: Number and bytes of each storage, negative where it is released.
        marks: The number of events before each moment, and its name.

    Returns:
        The most bytes taken from the GPU, and the most within each moment without entirely free segments.
    """
    allocator, needed = Allocator(), dict[str, int]()
    moment, name = 0, ""
    for index, (number, size) in enumerate(events):
        while moment < len(marks) and marks[moment][0] <= index:
            name = marks[moment][1]
            moment += 1
        if size > 0:
            allocator.take(number, size)
            needed[name] = max(needed.get(name, 0), allocator.reserved - allocator.idle)
        elif size < 0:
            allocator.give(number)
    return allocator.reserved, needed
