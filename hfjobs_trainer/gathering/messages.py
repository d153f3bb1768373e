"""What is wrong with the messages of a conversation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hfjobs_trainer.facts.values import ValueKind
from hfjobs_trainer.gathering.forms import excerpt, given, is_blank, is_null
from hfjobs_trainer.gathering.roles import OF_SOME, ROLES, role_of
from hfjobs_trainer.gathering.values import Json, as_list

Wrong = tuple[ValueKind, str]
"""A kind, and an excerpt."""

# What an assistant may say in place of a content.
_SAYS = frozenset(("tool_calls", "function_call", "reasoning_content", "thinking", "refusal", "audio"))


def wrong_messages(messages: Sequence[Json]) -> Iterator[Wrong]:
    """What is wrong with each message by itself."""
    for message in messages:
        keys, role = given(message), message.get("role")
        if not isinstance(role, str):
            yield "no role", excerpt(message)
        elif role not in ROLES | OF_SOME:
            # names that only differ in case are no names of templates either
            known = role_of(role) in ROLES
            yield ("other role" if known else "unknown role"), excerpt(role)
        if "content" in keys and not is_null(message["content"]):
            yield from _wrong_content(message["content"])
        elif not keys & _SAYS or role in ("user", "system"):
            # where messages differ in their keys, those that lack one have a null there
            yield ("null content" if "content" in message else "no content"), excerpt(message)


def _wrong_content(content: object) -> Iterator[Wrong]:
    if isinstance(content, str):
        return
    parts = as_list(content)
    yield ("parts" if parts and all(isinstance(part, dict) for part in parts) else "content"), excerpt(parts or content)


def wrong_ends(messages: Sequence[Json]) -> Iterator[Wrong]:
    """What an answer, or a conversation with answers, lacks: the assistant's message, at its end, with a content."""
    roles = [role_of(message.get("role")) for message in messages]
    said = [message for message, role in zip(messages, roles, strict=True) if role == "assistant"]
    if not said:
        yield "no answer", ""
    elif roles[-1] != "assistant":
        yield "no end", roles[-1]
    if any(is_blank(message.get("content")) and not given(message) & _SAYS for message in said):
        yield "empty", ""
