"""Conversations in the shapes that datasets have, as messages with a role and a content."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterable
from typing import cast

from hfjobs_trainer.facts.shape import Conversion, Misfit
from hfjobs_trainer.gathering.attempt import attempt
from hfjobs_trainer.gathering.seen import ROLES, Seen, is_message, is_talk
from hfjobs_trainer.gathering.values import as_json, as_list
from hfjobs_trainer.rendering.runtime import shapes

# What a column of whole conversations is called, the usual first.
_TALKS = ("messages", "conversations", "conversation", "chat", "dialogue", "dialog", "turns")
_ANSWERED = ("prompt", "completion", "chosen", "rejected")
_SYSTEM = ("system", "system_prompt")
_KNOWN = {word: role for role, words in shapes.ROLES.items() for word in words.split()}


def written_out(seen: Seen) -> Conversion | None:
    """Messages that stand in text, as JSON or as Python writes them."""
    columns = [name for name in (*_TALKS, *_ANSWERED, *_OPENAI) if name in seen.columns and seen.is_text(name)]
    found = [name for name in columns if all(_holds_talk(value) for value in seen.values(name))]
    if not found:
        return None
    why = f"the text in {_and(found)} is read as the messages that it holds"
    return Conversion(why, makes=tuple(found), function="parse_columns", options={"columns": found})


def _holds_talk(value: object) -> bool:
    text = cast(str, value).strip()
    if not text.startswith(("[", "{")):
        return False
    read = attempt(lambda: json.loads(text)) or attempt(lambda: ast.literal_eval(text))
    return is_talk(read) or is_message(read) or is_talk(as_json(read).get("messages"))


# OpenAI's preference rows.
_OPENAI = ("input", "preferred_output", "non_preferred_output")


def preference_of_openai(seen: Seen) -> Conversion | None:
    """Rows of OpenAI's preference fine-tuning."""
    if not (seen.pairs and seen.has(*_OPENAI) and seen.is_talk(_OPENAI[1]) and seen.is_talk(_OPENAI[2])):
        return None
    inputs = [as_json(value) for value in seen.values("input")]
    if not all(is_talk(given.get("messages")) for given in inputs):
        return None
    tools = ("tools",) if all(given.get("tools") for given in inputs) else ()
    why = "the messages of input are the prompt, preferred_output is chosen, non_preferred_output is rejected"
    if rest := sorted({key for given in inputs for key, value in given.items() if value} - {"messages", *tools}):
        why += f"; input's {_and(rest)} {'are' if len(rest) > 1 else 'is'} dropped"
    makes = ("prompt", "chosen", "rejected", *tools)
    return Conversion(why, drops=_OPENAI, makes=makes, function="take_preference")


def conversations(seen: Seen) -> Conversion | Misfit | None:
    """Conversations under another name, with other keys, or with other names of roles."""
    columns = {name: name for name in _ANSWERED if name in seen.columns and seen.is_talk(name)} | _whole_talk(seen)
    odd: dict[str, str] = {}
    for name, new in columns.items():
        foreign = [role for role in seen.roles(name) if role not in ROLES]
        unknown = [role for role in foreign if role.strip().lower() not in _KNOWN]
        if unknown and not seen.is_chat(name):
            return Misfit("role", name, tuple(role[:40] for role in unknown[:4]))
        # where the keys are right, a template may have roles of its own
        if not unknown and (foreign or not seen.is_chat(name)):
            odd[name] = new
    moved = {name: new for name, new in columns.items() if name != new}
    if not odd:
        return Conversion(f"{_and(moved)} becomes messages", renames=moved) if moved else None
    roles = dict.fromkeys(role for name in odd for role in seen.roles(name))
    told = [f"{role} becomes {_KNOWN[role.strip().lower()]}" for role in roles if role not in ROLES]
    why = f"{_and(odd)} as messages with role and content" + (f": {', '.join(told)}" if told else "")
    return Conversion(
        why,
        drops=tuple(name for name, new in odd.items() if name != new),
        makes=tuple(odd.values()),
        function="as_messages",
        options={"columns": odd},
    )


def _whole_talk(seen: Seen) -> dict[str, str]:
    """The column of whole conversations, and what it is to be called; none where the method takes something else."""
    talk = next((name for name in _TALKS if name in seen.columns and seen.is_talk(name)), None)
    if talk is None or not (seen.takes("messages") or (seen.online and not seen.has("prompt"))):
        return {}
    if talk == "messages":
        return {talk: talk}
    others = [names for names in seen.formats if set(names) != {"conversations"}]
    fits = any(set(names) <= set(seen.columns) for names in others)
    # TRL takes this one for a conversation whatever else there is
    return (
        {} if seen.has("messages") or (fits and (talk != "conversations" or seen.is_chat(talk))) else {talk: "messages"}
    )


def system_beside(seen: Seen) -> Conversion | None:
    """A system prompt in a column of its own beside the messages."""
    column = "messages" if seen.takes("messages") or seen.online else None
    system = seen.only(_SYSTEM)
    if not (column and system and seen.is_text(system) and seen.has(column) and seen.is_chat(column)):
        return None
    why = f"{system} is the first message of each conversation"
    options = {"system": system, "column": column}
    return Conversion(why, drops=(system,), makes=(column,), function="put_system_first", options=options)


def weights(seen: Seen) -> Conversion | Misfit | None:
    """Messages with OpenAI's weights, 0 for an answer that is not trained on."""
    if not (seen.takes("messages") and seen.has("messages") and seen.is_chat("messages")):
        return None
    given = [message["weight"] for message in seen.messages("messages") if message.get("weight") is not None]
    if odd := [json.dumps(weight)[:40] for weight in given if weight not in (0, 1)]:
        return Misfit("weight", "messages", tuple(dict.fromkeys(odd))[:4])
    if not given:
        return None
    if 0 not in given:
        why = "all answers have weight 1, which is dropped"
        return Conversion(why, makes=("messages",), function="drop_weights")
    if not seen.takes("prompt", "completion"):
        return Misfit("weight", "messages")
    why = "each answer of weight 1 is a completion after what precedes it, so that those of weight 0 are not trained on"
    made = ("prompt", "completion")
    return Conversion(why, drops=("messages",), makes=made, function="split_by_weight", several=True)


def parts_of_text(seen: Seen) -> Conversion | None:
    """Contents that are lists of texts, as templates for images have them."""
    if seen.has("image") or seen.has("images"):
        return None
    columns = [name for name in ("messages", *_ANSWERED) if name in seen.columns and seen.is_chat(name)]
    found: list[str] = []
    for name in columns:
        parts = [part for message in seen.messages(name) for part in as_list(message.get("content"))]
        if parts and all(map(_is_text, parts)):
            found.append(name)
    if not found:
        return None
    why = f"the texts that a message in {_and(found)} consists of are joined"
    return Conversion(why, makes=tuple(found), function="join_parts", options={"columns": found})


def _is_text(part: object) -> bool:
    entry = as_json(part)
    return isinstance(part, str) or (isinstance(entry.get("text"), str) and entry.get("type") in ("text", None))


def prompt_beside(seen: Seen) -> Conversion | None:
    """A prompt beside the conversation that begins with it, where TRL would want its completion."""
    if not seen.takes("messages") or seen.online or seen.has("completion"):
        return None
    if not (seen.has("messages", "prompt") and seen.is_chat("messages") and seen.is_text("prompt")):
        return None
    return Conversion("prompt is dropped, since messages holds the whole conversation", drops=("prompt",))


def _and(names: Iterable[str]) -> str:
    words = list(names)
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


TALKS = (
    written_out,
    preference_of_openai,
    conversations,
    system_beside,
    weights,
    parts_of_text,
    prompt_beside,
)
