"""Rewards as people write them."""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from specs.own_code.helpers import count as counted
from specs.own_code.helpers import extract

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nowhere import Thing  # pyright: ignore[reportMissingImports]

try:
    import rapidfuzz
except ImportError:
    rapidfuzz = None

LIMIT = 10  # characters
PATTERN2 = re.compile(
    r"x+",  # several
    re.IGNORECASE,
)
TABLE: dict[str, float] = {"a": 1.0, "b": LIMIT / 4}
LOW, HIGH = 0, math.sqrt(16)
Messages = list[dict[str, str]]
WEIGHTS = np.array([0.5, 0.5])


def clamp(x: float) -> float:
    # keep it in
    return min(max(x, LOW), HIGH)


@lru_cache(maxsize=64)
def score(text: str) -> float:
    """Score "it"."""
    return clamp(len(PATTERN2.findall(text)) + TABLE["a"] + len(extract(text)))


def retry(times):
    def around(function):
        @functools.wraps(function)
        def inner(*args, **kwargs):
            for _ in range(times):
                result = function(*args, **kwargs)
            return result

        return inner

    return around


def plaindeco(function):
    def inner(**kwargs):
        return [v * 2 for v in function(**kwargs)]

    return inner


def reward(completions: Messages, bonus: float = LIMIT, **kwargs: Any) -> list[float]:
    """Reward."""
    return [score(c) + bonus + float(WEIGHTS.sum()) + len(counted(c)) for c in completions]


@retry(
    times=2,
)
def decorated(completions, **kwargs):
    return [score(c) for c in completions]


@plaindeco
def decorated2(completions, **kwargs):
    return [score(c) for c in completions]


def even(n):
    return n == 0 or odd(n - 1)


def odd(n):
    return n != 0 and even(n - 1)


def typed(completions: Sequence[Thing], **kwargs: Thing) -> list[float]:
    return [float(len(c)) for c in completions]


def mutual(completions, **kwargs):
    return [float(even(len(c))) for c in completions]


def make(weight, pattern=None):
    def weighted(completions, **kwargs):
        return [weight * clamp(len(c)) + bool(pattern and pattern.search(c)) for c in completions]

    return weighted


def counter():
    n = 0

    def counting(completions, **kwargs):
        nonlocal n
        n += 1
        text = """
 kept
  as is"""
        return [float(n + len(text)) for _ in completions]

    return counting


half = make(0.5)
strict = partial(reward, bonus=3.0)
brevity = lambda completions, **kwargs: [-float(len(c)) / LIMIT for c in completions]  # noqa: E731


class Base:
    factor = 2.0

    def apply(self, x):
        return self.factor * x


class Scorer(Base):
    """A scorer."""

    def __init__(self, weight, names=()):
        self.weight = weight
        self.names = names

    def __call__(self, completions, answer=None, **kwargs):
        return [self.apply(self.weight * clamp(len(c))) for c in completions]

    def score(self, completions, **kwargs):
        return [self.weight for c in completions]


@dataclass(frozen=True)
class Length:
    target: int = 5
    extra: dict[str, int] = field(default_factory=dict)

    async def __call__(self, completions, **kwargs):
        return [abs(len(c) - self.target) for c in completions]


class Odd:
    def __init__(self, n):
        self.double = 2 * n

    def __call__(self, completions, **kwargs):
        return [self.double for c in completions]


scorer = Scorer(0.25)
fuzzy_default = 0.0


def fuzzy(completions, **kwargs):
    if rapidfuzz is None:
        return [fuzzy_default for c in completions]
    return [rapidfuzz.fuzz.ratio(c, c) for c in completions]


def walrus(completions, **kwargs):
    return [total for c in completions if (total := LIMIT + sum(v for v in TABLE.values()))]


async def slow(completions, **kwargs):
    return [clamp(1.0) for c in completions]
