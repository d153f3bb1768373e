"""Tokens of a row, from facts about a sample of rows."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

from hfjobs_trainer.facts.dataset import SHARES, LengthFacts

# Characters of a token: English by a multilingual tokenizer (Cohere/multilingual-22-12: README.md, 4.8); as a rule
# (ai.google.dev/gemini-api/docs/tokens, about 4); Chinese (api-docs.deepseek.com/quick_start/token_usage, 0.6 tokens).
MOST_CHARACTERS, USUAL_CHARACTERS, FEWEST_CHARACTERS = 4.8, 4.0, 1 / 0.6

# Assumed if lengths are unknown and unbounded: a prompt of an online method, and a row that is not truncated.
PROMPT_TOKENS, UNBOUNDED_TOKENS = 512, 4096

LENGTH_STEP = 128
"""A proposed ``max_length`` is a whole multiple of it, tokens."""


def tokens_per_row(lengths: LengthFacts) -> tuple[float, float, float]:
    """Mean tokens of a row, before truncation: at least, as expected, and at most.

    Counted tokens are one number three times; characters are divided by 4.8, by 4 and by 1.67: characters per token of
    easy English, as a rule, and of Chinese. The range covers only the tokenization, not how representative the sample
    is.
    """
    if lengths.unit == "tokens":
        return lengths.mean, lengths.mean, lengths.mean
    return lengths.mean / MOST_CHARACTERS, lengths.mean / USUAL_CHARACTERS, lengths.mean / FEWEST_CHARACTERS


def longest_row(lengths: LengthFacts) -> int:
    """Tokens of the longest row of the sample, before truncation; from characters, the most that they may be."""
    return math.ceil(lengths.maximum / (1.0 if lengths.unit == "tokens" else FEWEST_CHARACTERS))


def prompt_lengths(lengths: LengthFacts | None) -> LengthFacts | None:
    """Lengths of the prompts alone, distributed as those of the rows."""
    if lengths is None or lengths.prompt_mean is None or not lengths.mean:
        return lengths
    share = lengths.prompt_mean / lengths.mean
    return replace(
        lengths,
        mean=lengths.prompt_mean,
        quantiles=tuple(share * each for each in lengths.quantiles),
        counted_p99=share * lengths.p99,
    )


def longest_prompt(lengths: LengthFacts | None) -> int:
    """Tokens of the longest prompt of an online method."""
    prompts = prompt_lengths(lengths)
    return PROMPT_TOKENS if prompts is None else longest_row(prompts)


def share_above(lengths: LengthFacts, limit: float) -> float:
    """Share of the rows that are longer than ``limit``, in the unit of ``lengths``: 0 to 1.

    Between two quantiles the lengths are taken as evenly distributed.
    """
    if lengths.quantiles[0] > limit:
        return 1.0
    points = zip(lengths.quantiles, SHARES, strict=True)
    for (shorter, below), (longer, upto) in pairwise(points):
        if longer > limit:
            return 1 - below - (upto - below) * (limit - shorter) / (longer - shorter)
    return 0.0
