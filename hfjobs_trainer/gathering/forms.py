"""The form of a value: text, messages, or one of the things that are taken for these."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, cast

from hfjobs_trainer.gathering.attempt import attempt
from hfjobs_trainer.gathering.roles import ROLES, role_of
from hfjobs_trainer.gathering.values import Json, as_json
from hfjobs_trainer.tokens import masked

Form = Literal[
    "null", "text", "messages", "empty list", "json", "message", "texts", "lists", "from and value", "number", "unknown"
]
"""What a value is; the names are those of ``facts.values``."""

MAX_EXCERPT = 40
"""Most characters of a value that are quoted."""

_MESSAGE_KEYS = frozenset(("role", "content", "from", "value"))


def form_of(value: object) -> Form:
    """What a value is."""
    if is_null(value):
        return "null"
    if isinstance(value, str):
        return "json" if _is_json(value) else "text"
    if isinstance(value, bool | int | float):
        return "number"
    if isinstance(value, Mapping):
        return "message" if _MESSAGE_KEYS & cast(Json, value).keys() else "unknown"
    if isinstance(value, list | tuple):
        return _form_of_list(cast("Sequence[object]", value))
    return "unknown"


def _form_of_list(items: Sequence[object]) -> Form:
    if not items:
        return "empty list"
    first = items[0]
    if isinstance(first, Mapping):
        # what ShareGPT wrote has both, and neither of the others
        if all(isinstance(item, Mapping) and {"from", "value"} <= given(cast(Json, item)) for item in items):
            return "from and value"
        return "messages" if all(isinstance(item, Mapping) for item in items) else "unknown"
    if isinstance(first, str):
        return "texts"
    return "lists" if isinstance(first, list) else "unknown"


def is_null(value: object) -> bool:
    """Whether there is no value: none at all, or the NaN that pandas writes in its place."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def given(message: Json) -> set[str]:
    """The keys of a message that have a value: where messages differ in their keys, the others are null."""
    return {name for name, value in message.items() if value is not None}


def messages_of(value: object) -> Iterator[Json]:
    """The messages of a conversation; none of anything else."""
    if form_of(value) == "messages":
        yield from cast("Sequence[Json]", value)


def is_blank(value: object) -> bool:
    """Whether a content or a text says nothing."""
    if isinstance(value, str):
        return not value.strip()
    parts = cast("Sequence[object]", value) if isinstance(value, list) else ()
    return bool(parts) and all(
        isinstance(part, Mapping) and cast(Json, part).get("type") == "text" and is_blank(cast(Json, part).get("text"))
        for part in parts
    )


def excerpt(value: object) -> str:
    """The beginning of a value, on one line."""
    text = value if isinstance(value, str) else attempt(lambda: json.dumps(value, ensure_ascii=False)) or ""
    # masked before it is cut: half a token would not be known as one
    text = " ".join(masked(text[: 10 * MAX_EXCERPT]).split())
    return text if len(text) <= MAX_EXCERPT else f"{text[: MAX_EXCERPT - 3]}..."


def _is_json(text: str) -> bool:
    """Whether a text is messages written as JSON."""
    start = text.lstrip()
    if not start.startswith(("[", "{")) or not any(f'"{key}"' in start for key in ("role", "from", "content")):
        return False
    read = attempt(lambda: json.loads(start))
    items = cast("list[object]", read) if isinstance(read, list) else [read]
    return bool(items) and all(_is_message(item) for item in items)


def _is_message(value: object) -> bool:
    """Whether a JSON value is a message, rather than an object that has some role: an answer may be such a one."""
    item = as_json(value)
    speaks = role_of(item.get("role") or item.get("from")) in ROLES
    return speaks and bool({"content", "value", "tool_calls"} & item.keys())
