"""One request to a server, retried while that may help; never raises."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from hfjobs_trainer.transient import is_transient, is_transient_status

T = TypeVar("T")

PAUSES = (0.5, 1.0)
"""Waits before the second and the third attempt, seconds: short, since without a network every plan takes them."""

# The dataset viewer answers 501 for what it will never show.
_NEVER = 501

logger = logging.getLogger("hfjobs_trainer")


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What a server said.

    Attributes:
        value: The answer itself.
        refused: HTTP status with which the server refused for good.
        gated: Whether it refused because the repository is gated.
        lacks_revision: Whether the repository is there, but not the revision that was asked for.
        failure: Why there is no answer for now, such as ``"HTTP status 503"``; ``None`` if there is one.
        again: Shortest wait before a retry, seconds; ``None`` if that would not help.
    """

    value: T | None = None
    refused: int | None = None
    gated: bool = False
    lacks_revision: bool = False
    failure: str | None = None
    again: float | None = None


def ask(call: Callable[[], T], deadline: float) -> Answer[T]:
    """The answer to ``call``; after transient failures, that of the last of three attempts.

    Args:
        call: Asks once, and raises what the Hub's client raises.
        deadline: Time of ``time.monotonic`` after which nothing is asked again, seconds.
    """
    for pause in PAUSES:
        answer = _ask_once(call)
        if answer.again is None:
            return answer
        wait = max(pause, answer.again)
        if time.monotonic() + wait >= deadline:
            return answer
        time.sleep(wait)
    return _ask_once(call)


def _ask_once(call: Callable[[], T]) -> Answer[T]:
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RevisionNotFoundError

    try:
        return Answer(call())
    except HfHubHTTPError as error:
        status = error.response.status_code
        if is_transient_status(status) and status != _NEVER:
            wait = error.response.headers.get("Retry-After", "")
            return Answer(failure=f"HTTP status {status}", again=float(wait) if wait.isdecimal() else 0.0)
        lacks = isinstance(error, RevisionNotFoundError)
        return Answer(refused=status, gated=isinstance(error, GatedRepoError), lacks_revision=lacks)
    except Exception as error:
        # No list of exceptions would be complete, and messages could quote what must stay private: the kind alone.
        kind = type(error).__name__
        logger.debug("a fact could not be read: %s", kind)
        return Answer(failure=kind, again=0.0 if is_transient(error) else None)
