"""Preferences in the shapes that datasets have: a prompt, a chosen and a rejected answer."""

from __future__ import annotations

from hfjobs_trainer.facts.shape import Conversion
from hfjobs_trainer.gathering import roles
from hfjobs_trainer.gathering.seen import Seen, is_message, is_talk, role_of
from hfjobs_trainer.gathering.values import Json, as_json, as_list

_QUESTIONS = ("question", "instruction", "query", "input", "history", "problem", "post")
# What a question is about.
_GIVEN = ("input", "context")
# A conversation without its last answer.
_TALKS = ("conversations", "conversation", "messages", "history")
# The two answers: what the better and the worse one are called together.
_PAIRS = (
    ("response_j", "response_k"),
    ("chosen_response", "rejected_response"),
    ("response_chosen", "response_rejected"),
    ("preferred", "dispreferred"),
    ("accepted", "rejected"),
    ("preferred_output", "non_preferred_output"),
    ("preferred_response", "dispreferred_response"),
    ("answer_chosen", "answer_rejected"),
    ("chosen_answer", "rejected_answer"),
)
# Characters of a text that begins all answers for some reason.
_LEAST = 8
_SYSTEM = ("system", "system_prompt")


def named_pair(seen: Seen) -> Conversion | None:
    """Two answers under other names."""
    if not seen.pairs or seen.fits:
        return None
    found = [pair for pair in _PAIRS if seen.has(*pair)]
    if len(found) != 1 or any(name in seen.columns for name in ("completion", "label")):
        return None
    renames = {name: new for name, new in zip(found[0], ("chosen", "rejected"), strict=True) if name != new}
    question = None if seen.has("prompt") else seen.only(_QUESTIONS)
    if question and seen.values(question):
        renames = {question: "prompt", **renames}
    elif not seen.has("prompt") and not all(map(seen.is_talk, found[0])):
        return None
    return Conversion(_renamed(renames), renames=renames)


def question_of_pair(seen: Seen) -> Conversion | None:
    """A question beside two answers that do not repeat it, which TRL would not look at."""
    if not (seen.pairs and seen.has("chosen", "rejected")) or seen.has("prompt"):
        return None
    asked = [name for name in _QUESTIONS if name in seen.columns]
    asked = [name for name in asked if name not in _GIVEN] or asked
    if len(asked) != 1 or not seen.is_text(asked[0]) or not all(map(_answers_only, seen.rows)):
        return None
    (question,) = asked
    if any(_starts(row, question) for row in seen.rows):
        return None
    given = [name for name in _GIVEN if seen.has(name) and name != question and seen.is_text_or_null(name)]
    if not given:
        return Conversion(_renamed({question: "prompt"}), renames={question: "prompt"})
    if len(given) > 1:
        return None
    parts = [question, *given]
    why = f"{question} and, after an empty line, {given[0]} where there is one become prompt"
    options = {"parts": parts}
    return Conversion(why, drops=tuple(parts), makes=("prompt",), function="join_instruction", options=options)


def talk_of_pair(seen: Seen) -> Conversion | None:
    """A conversation beside two answers to what the user says last in it."""
    if not (seen.pairs and seen.has("chosen", "rejected")) or seen.has("prompt"):
        return None
    talk = seen.only(_TALKS)
    if talk is None or not seen.is_talk(talk) or not all(map(_answers_only, seen.rows)):
        return None
    if any(_speaker(as_list(value)[-1]) not in ("user", "tool") for value in seen.values(talk)):
        return None
    return Conversion(_renamed({talk: "prompt"}), renames={talk: "prompt"})


def _answers_only(row: Json) -> bool:
    """Whether the two answers come without their prompt: texts, or messages of the assistant."""
    for name in ("chosen", "rejected"):
        value = row.get(name)
        if is_talk(value) or is_message(value):
            if _speaker(as_list(value)[0] if is_talk(value) else value) != "assistant":
                return False
        elif not isinstance(value, str) or "Human:" in value:
            return False
    return True


def _speaker(message: object) -> str:
    return roles.role_of(role_of(as_json(message)))


def _starts(row: Json, column: str) -> bool:
    """Whether both answers begin with what another column says."""
    text = row.get(column)
    return isinstance(text, str) and all(
        str(row.get(name)).strip().startswith(text.strip()) for name in ("chosen", "rejected")
    )


def mixed_forms(seen: Seen) -> Conversion | None:
    """A text beside messages, or one message without its list."""
    names = [name for name in ("prompt", "completion", "chosen", "rejected") if name in seen.columns]
    if len(names) < 2 or seen.online or not (seen.fits or seen.pairs):
        return None
    answers = [name for name in names if name != "prompt"]
    values = [value for name in names for value in seen.values(name)]
    lists = any(is_talk(value) or is_message(value) for value in values)
    if not lists or not all(isinstance(value, str) or is_talk(value) or is_message(value) for value in values):
        return None
    if seen.has("prompt") and _begins_with_user(seen, answers):
        return None  # the prompt is told apart in `repeated_prompt`
    odd = [name for name in names if not all(is_talk(value) for value in seen.values(name))]
    if not odd:
        return None
    roles = {name: "user" if name == "prompt" else "assistant" for name in odd}
    told = ", ".join(f"{name} of the {role}" for name, role in roles.items())
    why = f"texts beside messages become messages: {told}"
    return Conversion(why, makes=tuple(odd), function="as_turns", options={"columns": roles})


def _begins_with_user(seen: Seen, answers: list[str]) -> bool:
    first = [as_json(as_list(value)[0]) for name in answers for value in seen.values(name) if is_talk(value)]
    return any(message.get("role") in ("user", "system") for message in first)


def repeated_prompt(seen: Seen) -> Conversion | None:
    """A prompt with which the answers begin anyway."""
    answers = [name for name in ("chosen", "rejected", "completion") if name in seen.columns]
    if not answers or not seen.has("prompt") or not (seen.fits or seen.pairs):
        return None
    if all(_begins(row.get(name), row.get("prompt")) for row in seen.rows for name in answers):
        loses = (
            "loses the prompt with which it begins" if len(answers) == 1 else "lose the prompt with which they begin"
        )
        why = f"{' and '.join(answers)} {loses}"
        options = {"columns": answers}
        return Conversion(why, makes=tuple(answers), function="cut_prompt", options=options)
    if not seen.pairs or not all(_repeats(row) for row in seen.rows):
        return None
    why = "prompt is dropped, since chosen and rejected hold it as a message, and TRL takes it from there"
    return Conversion(why, drops=("prompt",))


def _begins(answer: object, prompt: object) -> bool:
    if isinstance(answer, str) and isinstance(prompt, str):
        # a short one, or one that ends within a word, may begin an answer by chance
        ends = not (prompt[-1:].isalnum() and answer[len(prompt) : len(prompt) + 1].isalnum())
        return len(prompt.strip()) >= _LEAST and answer.startswith(prompt) and ends
    asked, said = as_list(prompt), as_list(answer)
    return is_talk(asked) and is_talk(said) and [*map(_said, said[: len(asked)])] == [*map(_said, asked)]


def _repeats(row: Json) -> bool:
    """Whether a text says what the user says in both answers."""
    prompt, sides = row.get("prompt"), [as_list(row.get(name)) for name in ("chosen", "rejected")]
    if not isinstance(prompt, str) or not all(map(is_talk, sides)):
        return False
    texts = [[str(said) for role, said in map(_said, side) if role == "user"] for side in sides]
    return all(any(prompt.strip() in text or text in prompt for text in side) for side in texts)


def _said(message: object) -> tuple[object, object]:
    entry = as_json(message)
    content = entry.get("content")
    return entry.get("role"), content.strip() if isinstance(content, str) else content


def system_of_pair(seen: Seen) -> Conversion | None:
    """A system prompt in a column of its own beside a prompt and two answers."""
    system = seen.only(_SYSTEM)
    if not (system and seen.pairs and seen.has("prompt", "chosen", "rejected") and seen.is_text_or_null(system)):
        return None
    if seen.is_chat("prompt"):
        why = f"{system} is the first message of each prompt"
        options = {"system": system, "column": "prompt"}
        return Conversion(why, drops=(system,), makes=("prompt",), function="put_system_first", options=options)
    if not all(seen.is_text(name) for name in ("prompt", "chosen", "rejected")) or not any(seen.values(system)):
        return None
    roles = {"prompt": "user", "chosen": "assistant", "rejected": "assistant"}
    why = f"prompt, chosen and rejected become messages, so that {system} can be one"
    return Conversion(why, makes=tuple(roles), function="as_turns", options={"columns": roles})


def talk_beside_pair(seen: Seen) -> Conversion | None:
    """The whole conversation beside the pair, which some trainers would take for a row of another kind."""
    if not (seen.pairs and seen.has("chosen", "rejected", "messages")) or seen.takes("messages"):
        return None
    return Conversion("messages is dropped, since chosen and rejected are trained on", drops=("messages",))


def _renamed(renames: dict[str, str]) -> str:
    return ", ".join(f"{name} becomes {new}" for name, new in renames.items())


PAIRS = (
    named_pair,
    question_of_pair,
    talk_of_pair,
    repeated_prompt,
    mixed_forms,
    system_of_pair,
    talk_beside_pair,
)
