"""How many tokens the rows of a run have once they are truncated, and what padding adds to them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from hfjobs_trainer.facts import LengthFacts
from hfjobs_trainer.planning.duration.lengths import FEWEST_CHARACTERS, MOST_CHARACTERS, USUAL_CHARACTERS
from hfjobs_trainer.planning.duration.ranges import Range

# Share of the longest length allowed that a row has on average, where nobody looked at the rows: published data sets
# for instruction tuning lie anywhere between a tenth of TRL's default of 1,024 and far above it.
UNKNOWN_SHARE = Range(0.1, 0.5, 1.0)
# Standard errors of the mean within which it is taken to lie.
ERRORS = 2.0


@dataclass(frozen=True, slots=True)
class RowLengths:
    """Tokens of the rows of a dataset, after truncation.

    Attributes:
        mean: Mean tokens of a row.
        spread: Lengths of equally many rows each, shortest first, as multiples of the mean.
        limit: Length at which rows are truncated, tokens; ``None`` if they are not.
        assumed: What is guessed; empty if the rows were counted.
    """

    mean: Range
    spread: tuple[float, ...] = (1.0,)
    limit: float | None = None
    assumed: str = ""

    def longest_of(self, rows: int) -> float:
        """Length of the longest of ``rows`` rows drawn by chance, as a multiple of the mean: what padding makes them.

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
        facts: What a sample of the rows says; ``None`` if nobody looked.
        limit: ``max_length``, tokens; ``None`` without truncation.
        unbounded: The longest row to expect where nothing bounds it and nobody looked, tokens.
    """
    if facts is None:
        most = limit or unbounded
        guess = f"row lengths unknown, assumed {UNKNOWN_SHARE.expected * most:,.0f} tokens"
        # spread evenly from nothing to twice the mean
        return RowLengths(UNKNOWN_SHARE * most, tuple((2 * step + 1) / 20 for step in range(20)), limit, guess)
    # the shortest row is not known: as far below the first twentieth as that is below the second
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
