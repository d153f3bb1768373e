"""One request to a server, retried while that may help; never raises."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

from hfjobs_trainer.transient import is_transient, is_transient_status, read_retry_after

T = TypeVar("T")

PAUSES = (0.5, 1.0)
"""Waits before the second and the third attempt, seconds: short, since without a network every plan takes them."""

NEVER = 501
"""What the dataset viewer answers for what it will never show."""
_LATER = {
    "ResponseNotReady",
    "ResponseNotReadyError",
    "UnexpectedError",
    "UnexpectedApiError",
    "JobManagerCrashedError",
}
"""Codes with which the viewer says that it may show it later; with all others, a status of 500 is its last word
(huggingface/dataset-viewer: libs/libcommon/src/libcommon/exceptions.py)."""

logger = logging.getLogger("hfjobs_trainer")


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """What a server said.

    Attributes:
        value: The answer itself.
        refused: HTTP status with which the server refused for good.
        gated: Whether it refused because the repository is gated.
        lacks_revision: Whether the repository is there, but not the revision that was asked for.
        failure: Why there is no answer for now, such as ``"HTTP status 503, asked 3 times"``; ``None`` if there is
            one.
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

    A server that asks to be left alone for a while (``Retry-After``) is, if that ends before the deadline; else it is
    not asked again.

    Args:
        call: Asks once, and raises what the Hub's client raises.
        deadline: Time of ``time.monotonic`` after which nothing is asked again, seconds.
    """
    began = time.monotonic()
    for count, pause in enumerate(PAUSES, start=1):
        answer = _ask_once(call, began)
        if answer.again is None:
            return answer
        wait = max(pause, answer.again)
        if time.monotonic() + wait >= deadline:
            return _counted(answer, count)
        time.sleep(wait)
    return _counted(_ask_once(call, began), len(PAUSES) + 1)


def _counted(answer: Answer[T], count: int) -> Answer[T]:
    """The answer, which says how often it was asked for if there is none."""
    if answer.failure is None or count == 1:
        return answer
    return replace(answer, failure=f"{answer.failure}, asked {'twice' if count == 2 else f'{count} times'}")


def _ask_once(call: Callable[[], T], began: float) -> Answer[T]:
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RevisionNotFoundError

    try:
        return Answer(call())
    except HfHubHTTPError as error:
        status, headers = error.response.status_code, error.response.headers
        if status == 500 and headers.get("X-Error-Code", "ResponseNotReady") not in _LATER:
            return Answer(refused=NEVER)
        if is_transient_status(status) and status != NEVER:
            wait = read_retry_after(headers)
            return Answer(failure=_explain_status(status, wait), again=wait or 0.0)
        lacks = isinstance(error, RevisionNotFoundError)
        return Answer(refused=status, gated=isinstance(error, GatedRepoError), lacks_revision=lacks)
    except Exception as error:
        # No list of exceptions would be complete, and messages could quote what must stay private: the kind alone.
        kind = type(error).__name__
        logger.debug("a fact could not be read: %s", kind)
        why = _explain(error, time.monotonic() - began)
        return Answer(failure=why, again=0.0 if is_transient(error) else None)


def _explain_status(status: int, wait: float | None) -> str:
    if status != 429:
        return f"HTTP status {status}"
    return "too many requests" + (f", to be made again in {wait:g} s" if wait else "")


def _explain(error: Exception, waited: float) -> str:
    """Why there is no answer, in words, and the kind of the error where they alone would say too little."""
    import httpx2

    if isinstance(error, httpx2.TimeoutException):
        return f"no answer within {max(1, round(waited))} s"
    kind = type(error).__name__
    if isinstance(error, httpx2.TransportError | ConnectionError):
        return f"no connection ({kind})"
    return f"an answer that cannot be read ({kind})" if is_transient(error) else kind
