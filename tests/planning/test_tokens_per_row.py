"""Lengths in tokens, from lengths in characters; how many rows are too long."""

from __future__ import annotations

import pytest

from hfjobs_trainer.facts import LengthFacts
from hfjobs_trainer.facts.dataset import SHARES
from hfjobs_trainer.planning.duration.lengths import share_above, tokens_per_row

EVEN = LengthFacts("characters", 20, 1050.0, tuple(100.0 * step for step in range(1, 21)))


def test_tokens_are_what_they_are() -> None:
    assert tokens_per_row(LengthFacts("tokens", 20, 480.0, (480.0,) * 20)) == (480.0, 480.0, 480.0)


def test_characters_become_a_range_of_tokens() -> None:
    lengths = LengthFacts("characters", 20, 480.0, (480.0,) * 20)
    assert tokens_per_row(lengths) == pytest.approx((100.0, 120.0, 288.0))


def test_names_of_quantiles() -> None:
    assert len(SHARES) == 20
    assert (SHARES[9], SHARES[18], SHARES[19]) == (0.5, 0.95, 1.0)
    assert (EVEN.p50, EVEN.p95, EVEN.maximum) == (1000.0, 1900.0, 2000.0)


@pytest.mark.parametrize(
    ("limit", "share"),
    [(0, 1), (99, 1), (100, 0.95), (150, 0.925), (1000, 0.5), (1999, 0.0005), (2000, 0), (9e9, 0)],
)
def test_the_share_of_longer_rows(limit: float, share: float) -> None:
    assert share_above(EVEN, limit) == pytest.approx(share)


def test_rows_of_one_length() -> None:
    same = LengthFacts("tokens", 20, 7.0, (7.0,) * 20)
    assert (share_above(same, 6.9), share_above(same, 7)) == (1.0, 0.0)
