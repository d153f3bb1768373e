"""Tokens of the rows of a run after truncation, and what padding adds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from hfjobs_trainer.facts import LengthFacts
from hfjobs_trainer.planning.duration.lengths import FEWEST_CHARACTERS, MOST_CHARACTERS, USUAL_CHARACTERS
from hfjobs_trainer.planning.duration.ranges import Range

# Mean length of a row as a share of the longest allowed, if lengths are unknown: published datasets for instruction
# tuning range from a tenth of TRL's default of 1,024 to far above it.
UNKNOWN_SHARE = Range(0.1, 0.5, 1.0)
# Standard errors that the bounds are away from the mean.
ERRORS = 2.0


@dataclass(frozen=True, slots=True)
class RowLengths:
    """Tokens of the rows of a dataset, after truncation.

    Attributes:
        mean: Mean tokens of a row.
        spread: Lengths of equal shares of the rows, shortest first, as multiples of the mean.
        limit: Length at which rows are truncated, tokens; ``None`` if they are not.
        assumed: The assumption; empty if tokens were counted.
    """

    mean: Range
    spread: tuple[float, ...] = (1.0,)
    limit: float | None = None
    assumed: str = ""

    def longest_of(self, rows: int) -> float:
        """Length of the longest of ``rows`` random rows, as a multiple of the mean: their padded length.

        The largest of n draws lies in a bin of the distribution with the probability that all draws lie in it or below
        it, less the probability that all lie below it.
        """
        return 1.0 if rows <= 1 else _expected_longest(self.spread, rows)


@lru_cache(maxsize=1024)
def _expected_longest(spread: tuple[float, ...], rows: int) -> float:
    below, total = 0.0, 0.0
    for index, length in enumerate(spread, start=1):
        upto = (index / len(spread)) ** rows
        total += length * (upto - below)
        below = upto
    return total


def row_lengths(facts: LengthFacts | None, limit: float | None, unbounded: float) -> RowLengths:
    """Lengths of rows that are truncated at ``limit`` tokens.

    Args:
        facts: Lengths of a sample of the rows; ``None`` if unknown.
        limit: ``max_length``, tokens; ``None`` without truncation.
        unbounded: The longest row to expect if lengths are unknown and unbounded, tokens.
    """
    if facts is None:
        most = limit or unbounded
        guess = f"row lengths unknown, assumed {UNKNOWN_SHARE.expected * most:,.0f} tokens"
        # evenly distributed from zero to twice the mean
        return RowLengths(UNKNOWN_SHARE * most, tuple((2 * step + 1) / 20 for step in range(20)), limit, guess)
    # the shortest row is unknown: as far below the first twentieth as that is below the second
    edges = (max(0.0, 2 * facts.quantiles[0] - facts.quantiles[1]), *facts.quantiles)
    middles = [(shorter + longer) / 2 for shorter, longer in zip(edges, facts.quantiles, strict=False)]
    average = sum(middles) / len(middles)
    lengths = [middle * facts.mean / average for middle in middles] if average else [1.0]
    error = ERRORS * _deviation(lengths) / math.sqrt(max(1, facts.sampled))
    if facts.unit == "tokens":
        factors, assumed = (1.0, 1.0, 1.0), ""
    else:
        factors = (1 / MOST_CHARACTERS, 1 / USUAL_CHARACTERS, 1 / FEWEST_CHARACTERS)
        assumed = f"{USUAL_CHARACTERS:.0f} characters per token"
    means = [_truncated_mean(lengths, factor, limit) for factor in factors]
    mean = Range(means[0] * max(0.1, 1 - error), means[1], min(means[2] * (1 + error), limit or math.inf))
    cut = [min(length * factors[1], limit or math.inf) / means[1] for length in lengths]
    return RowLengths(mean, tuple(cut), limit, assumed)


def _truncated_mean(lengths: Sequence[float], factor: float, limit: float | None) -> float:
    return max(1.0, sum(min(length * factor, limit or math.inf) for length in lengths) / len(lengths))


def _deviation(lengths: Sequence[float]) -> float:
    """Standard deviation of lengths as a share of their mean."""
    mean = sum(lengths) / len(lengths)
    return math.sqrt(sum((length - mean) ** 2 for length in lengths) / len(lengths)) / mean if mean else 0.0
