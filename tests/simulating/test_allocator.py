"""The allocator's rules, on sequences whose outcome can be worked out by hand."""

from __future__ import annotations

from hfjobs_trainer.simulating.allocator import Allocator, replay

MIB = 2**20


def test_small_requests_share_a_segment_of_two_mebibytes() -> None:
    allocator = Allocator()
    for number in range(4):
        allocator.take(number, MIB // 2)
    assert allocator.reserved == 2 * MIB
    allocator.take(4, 512)
    assert allocator.reserved == 4 * MIB


def test_large_requests_are_rounded_and_middling_ones_share_twenty() -> None:
    allocator = Allocator()
    allocator.take(1, 11 * MIB)
    assert allocator.reserved == 12 * MIB
    allocator.take(2, 5 * MIB)
    allocator.take(3, 16 * MIB)
    assert allocator.reserved == (12 + 20 + 16) * MIB
    allocator.take(4, 14 * MIB)  # what 5 leaves of 20 has 15
    assert allocator.reserved == 48 * MIB


def test_neighbours_that_are_free_become_one_block() -> None:
    allocator = Allocator()
    for number in (1, 2):
        allocator.take(number, 5 * MIB)
    allocator.give(1)
    allocator.give(2)
    assert allocator.idle == 20 * MIB
    allocator.take(3, 20 * MIB)
    assert (allocator.reserved, allocator.idle) == (20 * MIB, 0)


def test_a_hole_that_is_too_small_is_needed_all_the_same() -> None:
    events = [(0, 5 * MIB), (1, 5 * MIB), (2, 10 * MIB), (1, -5 * MIB), (3, 30 * MIB)]
    reserved, needed = replay(events, [(0, "before"), (4, "after")])
    assert reserved == 50 * MIB
    assert needed == {"before": 20 * MIB, "after": 50 * MIB}
