"""What was read otherwise than it was written: a spec that was loaded carries it, and its plan shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

LEFT_OUT: Final = "left out"
"""In place of a value: what was written has no effect."""


DEFAULTS: Final = "defaults"
"""In place of a field: what was left open, and what had another default when it was written."""


@dataclass(frozen=True, slots=True)
class Note:
    """One word of a file or a command line, and what it was taken for.

    Attributes:
        path: The field that it sets, such as ``"warmup_steps"``; the word itself where it sets none.
        value: What the field is set to, or ``"left out"``.
        why: What was written, and why it means that; one clause.
        word: As it was written, such as ``"warmup_ratio"``.
    """

    path: str
    value: Any
    why: str
    word: str
