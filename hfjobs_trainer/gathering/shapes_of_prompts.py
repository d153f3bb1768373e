"""Prompts and completions in the shapes that datasets have: instructions, questions, conversations to be continued."""

from __future__ import annotations

from hfjobs_trainer.facts.shape import Conversion
from hfjobs_trainer.gathering.seen import Seen
from hfjobs_trainer.gathering.values import as_json, as_list

_QUESTIONS = ("prompt", "question", "instruction", "query", "problem", "user", "human", "inputs")
_ANSWERS = ("completion", "answer", "response", "output", "solution", "assistant", "targets")
_GIVEN = ("input", "context")
_LABELED = ("prompt", "completion", "label")
_SYSTEM = ("system", "system_prompt")
_HISTORY = "history"
# Columns that say something about a row and nothing in it.
_ABOUT = (
    "id idx index uid uuid qid source category subset split dataset type level topic language lang url title difficulty"
    " domain subject date metadata score rating tags tag model task name prompt_id question_id row_id"
)


def instruction(seen: Seen) -> Conversion | None:
    """An instruction, what it is about, and its answer."""
    labeled = seen.takes(*_LABELED) and seen.has("label")
    if seen.fits or not (labeled or seen.takes("prompt", "completion")):
        return None
    asked, answer = _asked(seen), seen.only(_ANSWERS)
    if asked is None or answer is None or not (seen.is_text(asked) and seen.is_text(answer)):
        return None
    given = _given(seen, asked)
    system = seen.only(_SYSTEM)
    known = {asked, answer, *given, system, _HISTORY, "label" if labeled else None}
    others = [name for name in seen.columns if name not in known and name.lower() not in _ABOUT.split()]
    if any(not seen.is_number(name) for name in others) or len(given) > 1:
        return None
    parts = [asked, *given]
    tells = [name for name in (system, _HISTORY) if name and seen.has(name)]
    if any(as_list(value) or (isinstance(value, str) and value) for name in tells for value in seen.values(name)):
        return _with_turns(seen, parts, answer, system, tells)
    renames = {name: new for name, new in ((asked, "prompt"), (answer, "completion")) if name != new}
    if not given:
        return Conversion(", ".join(f"{name} becomes {new}" for name, new in renames.items()), renames=renames)
    why = f"{asked} and, after an empty line, {given[0]} where there is one become prompt, {answer} becomes completion"
    options = {"parts": parts}
    return Conversion(
        why,
        renames={answer: "completion"} if answer != "completion" else {},
        drops=tuple(name for name in parts if name != "prompt"),
        makes=("prompt",),
        function="join_instruction",
        options=options,
    )


def _asked(seen: Seen) -> str | None:
    """The column of the question: ``input`` where there is no other."""
    return seen.only(_QUESTIONS) or (None if seen.first(_QUESTIONS) else seen.first(("input",)))


def _given(seen: Seen, asked: str) -> list[str]:
    return [name for name in _GIVEN if name in seen.columns and name != asked and seen.is_text_or_null(name)]


def _with_turns(seen: Seen, parts: list[str], answer: str, system: str | None, tells: list[str]) -> Conversion | None:
    if not seen.takes("messages"):
        return None
    pairs = [as_list(pair) for value in seen.values(_HISTORY) for pair in as_list(value)] if _HISTORY in tells else []
    if not all(len(pair) == 2 and all(isinstance(text, str) for text in pair) for pair in pairs):
        return None
    why = f"messages are made of {', '.join((*tells, *parts))} and the answer {answer}"
    options = {"parts": parts, "answer": answer, "system": system or "", "history": _HISTORY}
    drops = tuple(dict.fromkeys((*tells, *parts, answer)))
    return Conversion(why, drops=drops, makes=("messages",), function="tell_instruction", options=options)


def prompt_of_talk(seen: Seen) -> Conversion | None:
    """The prompt of a conversation that ends with an answer, for a method that writes answers of its own."""
    if not seen.online or seen.fits or not (seen.has("messages") and seen.is_chat("messages")):
        return None
    asked = [_without_answer(as_list(value)) for value in seen.values("messages")]
    if not all(turns and as_json(turns[-1]).get("role") in ("user", "tool") for turns in asked):
        return None
    why = "prompt is the conversation in messages without its last answer"
    return Conversion(
        why, drops=("messages",), makes=("prompt",), function="take_prompt", options={"column": "messages"}
    )


def _without_answer(turns: list[object]) -> list[object]:
    while turns and as_json(turns[-1]).get("role") == "assistant":
        turns = turns[:-1]
    return turns


def question(seen: Seen) -> Conversion | None:
    """A question, for a method that writes answers of its own; rewards are still given it by its own name."""
    if not seen.online or seen.fits:
        return None
    asked = _asked(seen)
    if asked is None or not seen.is_text(asked):
        return None
    given = _given(seen, asked)
    if len(given) > 1:
        return None
    if given and any(seen.values(given[0])):
        why = f"prompt is {asked} and, after an empty line, {given[0]} where there is one"
        return Conversion(why, makes=("prompt",), function="join_instruction", options={"parts": [asked, given[0]]})
    why = f"prompt is {asked}, which rewards are given as well"
    return Conversion(why, makes=("prompt",), function="take_prompt", options={"column": asked})


PROMPTS = (instruction, prompt_of_talk, question)
