"""The text of a row that is trained on, by the columns of the formats that a method takes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hfjobs_trainer.gathering.values import Json, as_json, as_list, as_text

Formats = Sequence[Sequence[str]]

_BESIDE = ("prompt", "tools")

# Of the names of environments: how many are kept, and how many letters of each.
_NAMES, _NAME = 32, 64


@dataclass(frozen=True, slots=True)
class Text:
    """A plain text, or the messages of a conversation.

    Attributes:
        pieces: The text, or what each message says.
        messages: Number of messages; 0 for a plain text.
    """

    pieces: tuple[str, ...]
    messages: int = 0


@dataclass(frozen=True, slots=True)
class RowText:
    """What is trained on of one row.

    Attributes:
        prompt: The prompt, where it stands apart from the answer.
        answers: The answers of which each makes a sequence with the prompt; none where answers are generated.
    """

    prompt: Text | None
    answers: tuple[Text, ...]


def text_columns(formats: Formats) -> frozenset[str]:
    """Every column that may hold text of one of ``formats``."""
    return frozenset(name for names in formats for name in names) | frozenset(_BESIDE)


def read_text(row: Json, formats: Formats) -> RowText | None:
    """The text of ``row``; ``None`` if it has none of ``formats``, or holds something else there.

    Args:
        row: Values by column, renamed as the spec says.
        formats: Sets of columns that the method takes, the usual one first.
    """
    names = next((set(names) for names in formats if set(names) <= row.keys()), set[str]())
    if names >= {"chosen", "rejected"}:
        answers = [_text(row["chosen"]), _text(row["rejected"])]
        prompt = _text(row["prompt"]) if row.get("prompt") else None
    elif "prompt" in names:
        answers = [_text(row["completion"])] if "completion" in names else []
        prompt = _text(row["prompt"])
        if prompt is None:
            return None
    elif len(names) == 1:
        answers, prompt = [_text(row[names.pop()])], None
    else:
        return None
    known = tuple(answer for answer in answers if answer is not None)
    return RowText(_with_tools(prompt, row.get("tools")), known) if len(known) == len(answers) else None


def prompts_are_messages(rows: Iterable[Json]) -> bool | None:
    """Whether the prompts are lists of messages, all of them, or texts, all of them; else ``None``."""
    kinds = {_is_messages(row["prompt"]) for row in rows if row.get("prompt") is not None}
    return kinds.pop() if len(kinds) == 1 else None


def environments_named(rows: Sequence[Json]) -> tuple[str | None, ...] | None:
    """What the rows call their environments, a few values of a few letters; ``None`` where no row has the column."""
    if not any("environment" in row for row in rows):
        return None
    named = dict.fromkeys(row.get("environment") for row in rows if not isinstance(row.get("environment"), list | dict))
    return tuple(None if name is None else str(name)[:_NAME] for name in named)[:_NAMES]


def _is_messages(value: object) -> bool | None:
    if isinstance(value, str):
        return False
    messages = [as_json(message) for message in as_list(value)]
    return True if messages and all({"role", "content"} <= message.keys() for message in messages) else None


def _with_tools(prompt: Text | None, tools: object) -> Text | None:
    # chat templates write out the tools before the first message
    if not tools:
        return prompt
    described = tools if isinstance(tools, str) else json.dumps(tools)
    return Text((described, *prompt.pieces), prompt.messages) if prompt else Text((described,), 1)


def _text(value: object) -> Text | None:
    if isinstance(value, str):
        return Text((value,))
    messages = [as_json(message) for message in as_list(value)]
    if not messages or not all(messages):
        return None
    return Text(tuple(piece for message in messages for piece in _pieces(message)), len(messages))


def _pieces(message: Mapping[str, object]) -> Iterable[str]:
    # {"from", "value"} is how ShareGPT wrote conversations, which TRL takes too
    content = message.get("content", message.get("value"))
    yield as_text(content) or "".join(as_text(as_json(part).get("text")) or "" for part in as_list(content))
    if calls := message.get("tool_calls"):
        yield json.dumps(calls)
