"""How facts are read: an attempt may fail for any reason without stopping anything."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

logger = logging.getLogger("hfjobs_trainer")


def attempt(read: Callable[[], T]) -> T | None:
    """What ``read`` returns, or ``None`` if it fails: the fact is then unknown.

    Files and answers can be broken in any way, so no list of exceptions would be complete. Only the kind
    of the failure is logged, at level DEBUG: messages could quote what must stay private.
    """
    try:
        return read()
    except Exception as error:
        logger.debug("a fact could not be read: %s", type(error).__name__)
        return None
