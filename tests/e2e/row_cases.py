"""Rows of all kinds, what the rules say of each, and what TRL makes of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Row = dict[str, Any]
Outcome = Literal["fails", "ruined", "trains"]


@dataclass(frozen=True)
class Case:
    """Four rows for a method.

    Attributes:
        method: Name of the method.
        name: What is special about the rows.
        rows: The rows.
        code: The rule that refuses them, or warns of them; empty if none does.
        outcome: Whether TRL's trainer fails; trains on something that nobody means; or trains.
        arguments: Further arguments.
        seen: What is part of what is trained on.
    """

    method: str
    name: str
    rows: Sequence[Row]
    code: str = ""
    outcome: Outcome = "trains"
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    seen: str = ""

    def __str__(self) -> str:
        return f"{self.method}-{self.name}"


def user(text: Any) -> Row:
    return {"role": "user", "content": text}


def said(text: Any) -> Row:
    return {"role": "assistant", "content": text}


def system(text: Any) -> Row:
    return {"role": "system", "content": text}


def among(bad: Row, good: Row) -> list[Row]:
    """One such row among others."""
    return [good, good, bad, good]


ASKED, ANSWER, OTHER = "what is red", "a rose", "the sea"
TEXT: Row = {"text": f"{ASKED}? {ANSWER}"}
TALK: Row = {"messages": [user(ASKED), said(ANSWER)]}
COMPLETION: Row = {"prompt": ASKED, "completion": ANSWER}
CHAT_COMPLETION: Row = {"prompt": [user(ASKED)], "completion": [said(ANSWER)]}
PAIR: Row = {"prompt": ASKED, "chosen": ANSWER, "rejected": OTHER}
CHAT_PAIR: Row = {"prompt": [user(ASKED)], "chosen": [said(ANSWER)], "rejected": [said(OTHER)]}
WHOLE_PAIR: Row = {"chosen": [user(ASKED), said(ANSWER)], "rejected": [user(ASKED), said(OTHER)]}
LABELLED: Row = COMPLETION | {"label": True}
DISLIKED: Row = {"prompt": ASKED, "completion": OTHER, "label": False}
PROMPT: Row = {"prompt": ASKED, "answer": ANSWER}
CHAT_PROMPT: Row = {"prompt": [user(ASKED)], "answer": ANSWER}
WEATHER: Row = {"name": "weather", "description": "Tells it.", "parameters": {"type": "object", "properties": {}}}
TOOL: Row = {"type": "function", "function": WEATHER}
PARTS = [{"type": "text", "text": ASKED}]


def of_sft() -> Iterator[Case]:
    yield Case("sft", "texts", [TEXT] * 4, seen=ANSWER)
    yield Case("sft", "conversations", [TALK] * 4, seen=ANSWER)
    yield Case("sft", "conversations with a system message", [{"messages": [system("x"), *TALK["messages"]]}] * 4)
    yield Case(
        "sft", "ShareGPT", [{"conversations": [{"from": "human", "value": "x"}, {"from": "gpt", "value": "y"}]}] * 4
    )
    yield Case("sft", "completions", [COMPLETION] * 4)
    yield Case("sft", "completions as messages", [CHAT_COMPLETION] * 4)
    yield Case("sft", "tools as JSON", [TALK | {"tools": json.dumps([TOOL])}] * 4)
    yield Case("sft", "tools as a list", [TALK | {"tools": [TOOL]}] * 4)
    yield Case("sft", "no tools", [TALK | {"tools": None}] * 4)
    yield Case("sft", "JSON that is the text", [{"text": json.dumps({"role": "king"})}] * 4)
    yield Case("sft", "a text beside conversations", [TALK | {"text": "x"}] * 4, seen=ANSWER)
    yield Case("sft", "tokens", [{"input_ids": [5, 6, 7], "labels": [-100, 6, 7]}] * 4)
    yield Case("sft", "null text", among({"text": None}, TEXT), "DATA013", "fails")
    yield Case("sft", "null answer", among({"prompt": ASKED, "completion": None}, COMPLETION), "DATA013", "fails")
    yield Case("sft", "null content", among({"messages": [user(ASKED), said(None)]}, TALK), "DATA013", "fails")
    yield Case("sft", "null messages", among({"messages": None}, TALK), "DATA013", "fails")
    yield Case("sft", "no messages", among({"messages": []}, TALK), "DATA013", "fails")
    yield Case("sft", "number", among({"text": 3}, TEXT), "DATA014", "fails")
    yield Case("sft", "JSON", [{"messages": json.dumps(TALK["messages"])}] * 4, "DATA014", "fails")
    yield Case("sft", "JSON in one of many", among({"messages": json.dumps(TALK["messages"])}, TALK))
    yield Case("sft", "one message", among({"messages": said(ANSWER)}, TALK), "DATA014", "fails")
    yield Case("sft", "texts for messages", among({"messages": [ASKED, ANSWER]}, TALK), "DATA014", "fails")
    yield Case("sft", "lists for messages", among({"messages": [TALK["messages"]]}, TALK), "DATA014", "fails")
    yield Case("sft", "messages for a text", [{"text": TALK["messages"]}] * 4, "DATA014", "fails")
    yield Case("sft", "from and value", [{"messages": [{"from": "human", "value": "x"}]}] * 4, "DATA014", "fails")
    yield Case(
        "sft", "tools that are none", among(TALK | {"tools": "weather"}, TALK | {"tools": "[]"}), "DATA014", "fails"
    )
    arguments = TALK | {"chat_template_kwargs": {"thinking": True}}
    yield Case("sft", "template arguments", [arguments] * 4)
    yield Case("sft", "no arguments", among(TALK | {"chat_template_kwargs": None}, arguments), "DATA014", "fails")
    yield Case("sft", "text after messages", [{"prompt": [user(ASKED)], "completion": ANSWER}] * 4, "DATA015", "fails")
    yield Case("sft", "messages after text", [{"prompt": ASKED, "completion": [said(ANSWER)]}] * 4, "DATA015", "fails")
    yield Case("sft", "both forms", among(CHAT_COMPLETION, COMPLETION), "DATA016", "fails")
    yield Case("sft", "no role", among({"messages": [{"content": ASKED}, said(ANSWER)]}, TALK), "DATA017", "fails")
    renamed = {"messages": [{"role": "human", "content": ASKED}, {"role": "gpt", "content": ANSWER}]}
    yield Case("sft", "other roles", [renamed] * 4, "DATA017", "ruined", seen="gpt")
    yield Case("sft", "parts", among({"messages": [user(PARTS), said(ANSWER)]}, TALK), "DATA018", "fails")
    only = {"messages": [user(ASKED)]}
    yield Case("sft", "no answer", among(only, TALK), "DATA019", "fails", {"assistant_only_loss": True})
    yield Case("sft", "no answers", [only] * 4, "DATA019", "ruined", seen=ASKED)
    yield Case(
        "sft",
        "empty answers",
        [{"prompt": ASKED, "completion": ""}] * 4,
        "DATA019",
        "ruined",
        seen=f"{ASKED}<|im_end|>",
    )
    yield Case("sft", "an empty answer", among({"prompt": ASKED, "completion": " "}, COMPLETION), "DATA020", "ruined")
    yield Case(
        "sft",
        "the prompt again",
        [{"prompt": ASKED, "completion": f"{ASKED}? {ANSWER}"}] * 4,
        "DATA025",
        "ruined",
        seen=f"{ASKED}{ASKED}",
    )
    yield Case("sft", "labels", [TEXT | {"labels": "x"}] * 4, "DATA028", "fails")
    yield Case("sft", "a label", [TEXT | {"label": 1}] * 4)
    yield Case("sft", "messages of another kind", [TEXT | {"chosen": [user(ASKED)]}] * 4, "DATA016", "fails")


def of_pairs() -> Iterator[Case]:
    for method in ("dpo", "reward", "orpo", "kto"):
        for name, row in (("texts", PAIR), ("messages", CHAT_PAIR), ("conversations", WHOLE_PAIR)):
            yield Case(method, name, [row] * 4)
        single = {"prompt": [user(ASKED)], "chosen": said(ANSWER), "rejected": said(OTHER)}
        yield Case(method, "one message", among(single, CHAT_PAIR), "DATA014", "fails")
        yield Case(method, "null", among(CHAT_PAIR | {"rejected": None}, CHAT_PAIR), "DATA013", "fails")
    for method in ("dpo", "reward", "kto"):
        yield Case(method, "a text and conversations", [WHOLE_PAIR | {"prompt": ASKED}] * 4, "DATA015", "fails")
        yield Case(method, "a text and messages", [CHAT_PAIR | {"prompt": ASKED}] * 4, "DATA015", "fails")
    for method in ("dpo", "orpo"):
        apart = {"chosen": [said(ANSWER)], "rejected": [said(OTHER)]}
        yield Case(method, "no prompt", among(apart, WHOLE_PAIR), "DATA015", "fails")
        equal = PAIR | {"rejected": ANSWER}
        yield Case(method, "an equal pair", among(equal, PAIR), "DATA024", "ruined")
    yield Case("reward", "no prompt", [{"chosen": [said(ANSWER)], "rejected": [said(OTHER)]}] * 4)
    yield Case("dpo", "numbers", among(PAIR | {"chosen": 1, "rejected": 2}, PAIR), "DATA014", "fails")
    as_json = {name: json.dumps(value) for name, value in WHOLE_PAIR.items()}
    yield Case("dpo", "JSON", [as_json] * 4, "DATA014", "ruined", seen='[{"role": "user"')
    yield Case("dpo", "an empty list", among(WHOLE_PAIR | {"rejected": []}, WHOLE_PAIR), "DATA013", "fails")
    yield Case("dpo", "equal pairs", [PAIR | {"rejected": ANSWER}] * 4, "DATA019", "ruined")
    yield Case("dpo", "the prompt in the answers", [WHOLE_PAIR | {"prompt": [user(ASKED)]}] * 4, "DATA025", "ruined")
    yield Case(
        "dpo", "no assistant", [CHAT_PAIR | {"chosen": [user("x")], "rejected": [user("y")]}] * 4, "DATA019", "ruined"
    )
    yield Case("orpo", "messages beside", [CHAT_PAIR | {"messages": TALK["messages"]}] * 4, "DATA028", "fails")
    yield Case("orpo", "a label beside", [CHAT_PAIR | {"label": 1}] * 4, "DATA028", "fails")
    yield Case("orpo", "a label beside texts", [PAIR | {"label": 1}] * 4)
    yield Case("cpo", "tokens beside", [PAIR | {"input_ids": [1, 2]}] * 4, "DATA028", "fails")
    yield Case("reward", "margins", [PAIR | {"margin": 1.5}] * 4)
    yield Case("reward", "no margin", among(PAIR | {"margin": None}, PAIR | {"margin": 1.5}), "DATA014", "fails")
    yield Case("dpo", "no margin", among(PAIR | {"margin": None}, PAIR | {"margin": 1.5}))


def of_labels() -> Iterator[Case]:
    both = [LABELLED, DISLIKED]
    yield Case("kto", "booleans", both * 2)
    yield Case("kto", "0 and 1", [row | {"label": int(row["label"])} for row in both] * 2)
    yield Case("kto", "pairs with labels", [PAIR | {"label": True}] * 4)
    yield Case("kto", "words", [LABELLED | {"label": "good"}] * 4, "DATA022", "fails")
    yield Case("kto", "texts", [LABELLED | {"label": "true"}] * 4, "DATA022", "fails")
    yield Case("kto", "null label", [LABELLED | {"label": None}, *both, DISLIKED], "DATA013", "fails")
    yield Case("kto", "-1", [LABELLED, DISLIKED | {"label": -1}] * 2, "DATA022", "ruined", seen="-1")
    yield Case("kto", "one label", [LABELLED | {"prompt": f"{ASKED} {i}"} for i in range(8)], "DATA023", "ruined")
    yield Case("kto", "null completion", [LABELLED | {"completion": None}, *both, DISLIKED], "DATA013", "fails")


def of_prompts() -> Iterator[Case]:
    for method in ("grpo", "online_dpo"):
        yield Case(method, "texts", [PROMPT] * 4)
        yield Case(method, "messages", [CHAT_PROMPT] * 4)
        yield Case(method, "null", [PROMPT | {"prompt": None}] * 4, "DATA013", "fails")
        yield Case(method, "one message", [CHAT_PROMPT | {"prompt": user(ASKED)}] * 4, "DATA014", "fails")
        yield Case(method, "completions", [PROMPT | {"completions": "x"}] * 4, "DATA028", "fails")
        yield Case(method, "a completion", [CHAT_PROMPT | {"completion": "x"}] * 4)
    yield Case("rloo", "completions", [PROMPT | {"completions": "x"}] * 4, "DATA028", "fails")
    yield Case("grpo", "nothing", [PROMPT | {"prompt": ""}] * 4, "DATA013", "fails")
    yield Case("grpo", "JSON", [PROMPT | {"prompt": json.dumps(CHAT_PROMPT["prompt"])}] * 4, "DATA014", "ruined")
    nothing: Row = {"prompt": []}
    yield Case("grpo", "no messages", [CHAT_PROMPT | nothing] * 4, "DATA013", "fails")
    yield Case("grpo", "parts", [CHAT_PROMPT | {"prompt": [user(PARTS)]}] * 4, "DATA018", "fails")
    yield Case("online_dpo", "tokens beside", [PROMPT | {"input_ids": [1]}] * 4, "DATA028", "fails")


def of_gkd() -> Iterator[Case]:
    yield Case("gkd", "conversations", [TALK] * 4)
    yield Case("gkd", "a completion beside", [TALK | {"completion": "x"}] * 4)
    yield Case("gkd", "an answer alone", [{"messages": [said(ANSWER)]}] * 4, "DATA019", "fails")
    yield Case("gkd", "a prompt alone", [{"messages": [user(ASKED)]}] * 4, "DATA019", "fails")
    yield Case("gkd", "null", [{"messages": None}, TALK, TALK, TALK], "DATA013", "fails")


CASES = [*of_sft(), *of_pairs(), *of_labels(), *of_prompts(), *of_gkd()]
