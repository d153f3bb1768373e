"""What servers have answered lately, so that a loop of similar runs does not ask the same again for each."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

KEPT_SECONDS = 300.0
"""How long an answer is used again, seconds: as long as a loop of submissions takes, not as long as a day's work."""

_SALT = secrets.token_bytes(16)


def fingerprint(token: str | None) -> str:
    """A stand-in for a token in keys: the same for the same token, of no use outside this process."""
    return hashlib.blake2b((token or "").encode(), key=_SALT, digest_size=16).hexdigest()


@dataclass(slots=True)
class _Entry:
    until: float
    future: Future[Any] = field(default_factory=Future[Any])


class Answers:
    """Answers of servers, kept in this process for some minutes. Safe to use from several threads.

    What is being asked for at the moment is shared as well. Pickled or copied, it is empty.

    Args:
        seconds: How long an answer is kept, seconds.
    """

    def __init__(self, seconds: float = KEPT_SECONDS) -> None:
        self._seconds = seconds
        self._entries: dict[Hashable, _Entry] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Answers({len(self._entries)})"

    def __reduce__(self) -> tuple[type[Answers], tuple[float]]:
        return Answers, (self._seconds,)

    def join(
        self, key: Hashable, deadline: float, is_usable: Callable[[Any], bool] | None = None
    ) -> tuple[Future[Any], bool]:
        """The answer to a question, or the place for it, and whether the caller has to ask: then ``settle`` it.

        Args:
            key: The question.
            deadline: Time of ``time.monotonic`` until which others wait for the answer of this caller, seconds.
            is_usable: Whether an answer that was kept still holds; by default it does.
        """
        now = time.monotonic()
        with self._lock:
            found = self._entries.get(key)
            if found is not None and found.until > now:
                usable = is_usable is None or not found.future.done() or is_usable(found.future.result())
                if usable:
                    return found.future, False
            self._entries = {name: entry for name, entry in self._entries.items() if entry.until > now}
            entry = self._entries[key] = _Entry(deadline)
            return entry.future, True

    def settle(self, key: Hashable, future: Future[Any], answer: object, *, keep: bool) -> None:
        """Give the answer to all who wait for it, and keep it if it is worth that."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None and entry.future is future:
                if keep:
                    entry.until = time.monotonic() + self._seconds
                else:
                    del self._entries[key]
        future.set_result(answer)

    def find(self, key: Hashable) -> Any:
        """What was kept for this key; ``None`` if there is nothing."""
        with self._lock:
            entry = self._entries.get(key)
            kept = entry is not None and entry.until > time.monotonic() and entry.future.done()
            return entry.future.result() if entry is not None and kept else None

    def keep(self, key: Hashable, value: object) -> None:
        """Keep a value that was asked for elsewhere."""
        future, is_new = self.join(key, time.monotonic() + self._seconds)
        if is_new:
            self.settle(key, future, value, keep=True)

    def clear(self) -> None:
        """Forget all answers; what is being asked for at the moment is not kept either."""
        with self._lock:
            self._entries.clear()
