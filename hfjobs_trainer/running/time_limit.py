"""How much time is left for what is being done, known to all that it consists of."""

from __future__ import annotations

import math
import time
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar

_UNTIL: ContextVar[float] = ContextVar("until", default=math.inf)
"""When the time is over, on the monotonic clock, seconds."""


@contextmanager
def within(seconds: float) -> Generator[None]:
    """Give all requests that are made in this context, and this thread, so much time together.

    It takes the place of what is left of a time that was given before: to end what was begun has its own.
    """
    before = _UNTIL.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _UNTIL.reset(before)


def time_left() -> float:
    """What is left of the time, seconds; negative once it is over, infinite if there is no limit."""
    return _UNTIL.get() - time.monotonic()
