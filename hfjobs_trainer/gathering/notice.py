"""One line about a wait that has become long."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, wait
from typing import Any

from hfjobs_trainer.told import tell


class Notice:
    """Tells, once and after some seconds, for what the Hub has not answered yet.

    Args:
        seconds: When, seconds from now.
    """

    def __init__(self, seconds: float) -> None:
        self._at = time.monotonic() + seconds
        self._expected: list[tuple[str, Future[Any]]] = []
        self._told = threading.Lock()

    def expect(self, about: str, future: Future[Any]) -> None:
        """Something has been asked for."""
        self._expected.append((about, future))

    def wait(self, future: Future[Any], deadline: float) -> None:
        """Wait for an answer until it is time to tell, then tell what is missing; return before the deadline."""
        left = min(self._at, deadline) - time.monotonic()
        if future.done() or wait([future], max(0.0, left)).done or time.monotonic() >= deadline:
            return
        if self._told.acquire(blocking=False):  # for good
            missing = dict.fromkeys(about for about, each in [*self._expected] if not each.done())
            seconds = max(1, round(deadline - time.monotonic()))
            tell(f"the Hub has not answered yet for {', '.join(missing)}; it is given {seconds} s more")
