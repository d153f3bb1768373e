"""What of its messages a chat template leaves out: they are given words of their own, which must then be there."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from typing import Any, cast

from hfjobs_trainer.tokenizing.sequences import Tokens, Way

# Fields in which messages hold thoughts, by family of templates.
_THOUGHTS = ("reasoning_content", "reasoning", "thinking")
_TAGS = re.compile(r"(<think>|</think>)")


def left_out(tokens: Tokens, way: Way, *, prompt: bool) -> Iterator[tuple[str, str]]:
    """Kind and role of each thing that is missing: a text, a call, the tools, or thoughts of what is trained.

    Arguments of calls that are written as a text within a text are told of too.

    Args:
        tokens: The sequence, with the messages that it was made of.
        way: How it was made.
        prompt: Whether an answer is to follow.
    """
    if not tokens.messages:
        return
    messages, marks = _marked(tokens.messages)
    options = dict(tokens.options)
    tools = [name for tool in options.get("tools") or () if (name := _name(tool))]
    try:
        text = way.text(messages, options, **({"add_generation_prompt": True} if prompt else {}))
    except Exception:  # a template may look into what is said, and refuse the words; it took the row itself
        return
    for mark, (index, kind) in marks.items():
        if mark in text or (kind == "thoughts" and index < tokens.trained_from):
            continue
        yield kind, str(messages[index].get("role"))
    if re.search(r'\\"hft\\"', text):
        yield "arguments", "assistant"
    if tools and not any(name in text for name in tools):
        yield "tools", tools[0]


def _name(tool: Any) -> str:
    return str(_function(tool).get("name") or "")


def _function(given: Any) -> dict[str, Any]:
    """What a tool or a call names: its ``function``, or itself."""
    outer = cast("dict[str, Any]", given) if isinstance(given, dict) else {}
    inner = outer.get("function", outer)
    return cast("dict[str, Any]", inner) if isinstance(inner, dict) else {}


def _marked(given: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, tuple[int, str]]]:
    """The messages with a word in place of each text, and which message and kind each word stands for."""
    messages, marks = copy.deepcopy(given), dict[str, tuple[int, str]]()

    def mark(index: int, kind: str) -> str:
        word = f"hft{len(marks)}q"
        marks[word] = index, kind
        return word

    def replaced(index: int, text: str) -> str:
        parts, inside = _TAGS.split(text), False
        closes = "</think>" in parts
        for place, part in enumerate(parts):
            if part in ("<think>", "</think>"):
                inside = part == "<think>"
            elif part.strip():
                # thoughts that a prompt began end with a tag alone
                thought = inside or (closes and "<think>" not in parts and place < parts.index("</think>"))
                before, after = part[: len(part) - len(part.lstrip())], part[len(part.rstrip()) :]
                parts[place] = before + mark(index, "thoughts" if thought else "text") + after
        return "".join(parts)

    for index, message in enumerate(messages):
        content = message.get("content")
        if isinstance(content, str):
            message["content"] = replaced(index, content)
        elif isinstance(content, list):
            for part in cast("list[dict[str, Any]]", content):
                if isinstance(part.get("text"), str):
                    part["text"] = replaced(index, part["text"])
        for name in _THOUGHTS:
            if isinstance(message.get(name), str) and message[name].strip():
                message[name] = mark(index, "thoughts")
        for call in message.get("tool_calls") or ():
            function = _function(call)
            if isinstance(function.get("name"), str):
                function["name"] = mark(index, "call")
                arguments = {"hft": mark(index, "call")} if function.get("arguments") else None
                if arguments is not None:
                    written = isinstance(function["arguments"], str)
                    function["arguments"] = json.dumps(arguments) if written else arguments
    return messages, marks
