"""Rows as the recognizers of shapes look at them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hfjobs_trainer.gathering.texts import Formats
from hfjobs_trainer.gathering.values import Json, as_json, as_list
from hfjobs_trainer.rendering.runtime.shapes import ROLE_KEYS, TEXT_KEYS

ROLES = ("system", "user", "assistant", "tool", "developer")
"""Roles that chat templates know."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Rows of a sample.

    Attributes:
        rows: The rows, at least one.
        columns: Their columns.
        formats: Sets of columns that the method takes.
    """

    rows: list[Json]
    columns: tuple[str, ...]
    formats: Formats

    @property
    def fits(self) -> bool:
        """Whether the columns are of one of the formats."""
        return any(set(names) <= set(self.columns) for names in self.formats)

    def takes(self, *names: str) -> bool:
        """Whether a format has exactly these columns, or the method takes them beside one."""
        return any(set(names) == set(format) for format in self.formats)

    @property
    def online(self) -> bool:
        """Whether the method takes prompts, and answers are written while it trains."""
        return self.takes("prompt")

    @property
    def pairs(self) -> bool:
        """Whether the method takes a better and a worse answer."""
        return self.takes("chosen", "rejected")

    def has(self, *names: str) -> bool:
        """Whether there are these columns."""
        return set(names) <= set(self.columns)

    def first(self, names: Iterable[str]) -> str | None:
        """The first of these columns that there is."""
        return next((name for name in names if name in self.columns), None)

    def only(self, names: Iterable[str]) -> str | None:
        """The one of these columns that there is; ``None`` if there are none or several."""
        found = [name for name in names if name in self.columns]
        return found[0] if len(found) == 1 else None

    def values(self, name: str) -> list[object]:
        """What a column holds, nulls left out."""
        return [value for row in self.rows if (value := row.get(name)) is not None]

    def is_text(self, name: str) -> bool:
        """Whether a column holds texts."""
        values = self.values(name)
        return bool(values) and all(isinstance(value, str) for value in values)

    def is_text_or_null(self, name: str) -> bool:
        """Whether a column holds nothing but texts."""
        return all(isinstance(value, str) for value in self.values(name))

    def is_number(self, name: str) -> bool:
        """Whether a column holds nothing but numbers."""
        return all(isinstance(value, int | float) for value in self.values(name))

    def is_talk(self, name: str) -> bool:
        """Whether a column holds lists of messages, of whatever keys."""
        values = self.values(name)
        return bool(values) and all(is_talk(value) for value in values)

    def messages(self, name: str) -> list[Json]:
        """All messages in a column."""
        return [as_json(message) for value in self.values(name) for message in as_list(value)]

    def roles(self, name: str) -> list[str]:
        """The roles in a column of conversations, each once."""
        return list(dict.fromkeys(str(role_of(message)) for message in self.messages(name)))

    def is_chat(self, name: str) -> bool:
        """Whether a column holds lists of messages with ``role`` and ``content``."""
        return self.is_talk(name) and all(
            "role" in message and "from" not in message for message in self.messages(name)
        )


def is_talk(value: object) -> bool:
    """Whether a value is a list of messages."""
    return bool(as_list(value)) and all(map(is_message, as_list(value)))


def is_message(value: object) -> bool:
    """Whether a value is a message: who speaks, and what is said."""
    message = as_json(value)
    return role_of(message) is not None and any(key in message for key in (*TEXT_KEYS, "tool_calls"))


def role_of(message: Json) -> str | None:
    """Who speaks in a message, as it is written there."""
    found = next((message[key] for key in ROLE_KEYS if message.get(key) is not None), None)
    return found if isinstance(found, str) else None
