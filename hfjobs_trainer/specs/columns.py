"""Which column of a dataset may be meant by a name that TRL knows."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence

# What people call the columns that TRL knows, the usual first.
_CALLED: Mapping[str, tuple[str, ...]] = {
    "prompt": ("question", "instruction", "query", "input", "problem", "user", "context"),
    "completion": ("answer", "response", "output", "solution", "assistant", "target", "answers"),
    "messages": ("conversation", "chat", "dialogue", "dialog", "turns"),
    "text": ("content", "document", "sentence", "story"),
    "chosen": ("accepted", "preferred", "positive", "winner", "better", "good"),
    "solution": ("answer", "final_answer", "label", "target", "ground_truth", "reference"),
    "rejected": ("refused", "dispreferred", "negative", "loser", "worse", "bad"),
}


_SIMILAR = 0.75


def mapping_for(wanted: Sequence[str], columns: Sequence[str]) -> dict[str, str] | None:
    """A ``columns=`` mapping that gives ``columns`` the ``wanted`` names; ``None`` if one of them resembles nothing."""
    free = [name for name in columns if name not in wanted]
    mapping: dict[str, str] = {}
    for name in (name for name in wanted if name not in columns):
        found = closest_column(name, free)
        if found is None:
            return None
        free.remove(found)
        mapping[found] = name
    return mapping


def closest_column(name: str, columns: Sequence[str]) -> str | None:
    """The column that may be meant by ``name``: what people call it, or what is spelt like it."""
    plain = {column.lower().strip("_ "): column for column in columns}
    for called in (name, *_CALLED.get(name, ())):
        if called in plain:
            return plain[called]
    close = difflib.get_close_matches(name, list(plain), 1, _SIMILAR)
    words = {name, *_CALLED.get(name, ())}
    close = close or [column for column in plain if name in column.split("_") or column.split("_")[-1] in words]
    return plain[close[0]] if close else None
