"""Rows of known shapes, and what TRL is to get of them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

Row = dict[str, Any]


def user(text: str) -> Row:
    return {"role": "user", "content": text}


def assistant(text: str, **more: Any) -> Row:
    return {"role": "assistant", "content": text, **more}


def system(text: str) -> Row:
    return {"role": "system", "content": text}


def said(speaker: str, text: str) -> Row:
    return {"from": speaker, "value": text}


@dataclass(frozen=True)
class Shaped:
    """Rows as they are, the method that reads them, and what it reads: values by column, of each row."""

    method: str
    rows: list[Row]
    made: list[Row]


TALK = [user("q"), assistant("a")]
SHARE_GPT = [said("human", "q"), said("gpt", "a")]
PAIR = {"chosen": TALK, "rejected": [user("q"), assistant("b")]}
ANSWERS = {"chosen": [assistant("a")], "rejected": [assistant("b")]}
OPENAI = {
    "input": {"messages": [user("q")], "tools": [], "parallel_tool_calls": True},
    "preferred_output": [assistant("a")],
    "non_preferred_output": [assistant("b")],
}

SHAPES: dict[str, Shaped] = {
    "ShareGPT": Shaped("sft", [{"conversations": SHARE_GPT}], [{"messages": TALK}]),
    "ShareGPT in messages": Shaped("sft", [{"messages": SHARE_GPT}], [{"messages": TALK}]),
    "ShareGPT, other roles": Shaped(
        "sft",
        [{"conversations": [said("System", "s"), said("user", "q"), said("chatgpt", "a"), said("observation", "o")]}],
        [{"messages": [system("s"), *TALK, {"role": "tool", "content": "o"}]}],
    ),
    "ShareGPT with a system prompt": Shaped(
        "sft",
        [{"conversations": SHARE_GPT, "system": "s"}, {"conversations": SHARE_GPT, "system": ""}],
        [{"messages": [system("s"), *TALK]}, {"messages": TALK}],
    ),
    "ShareGPT as JSON": Shaped("sft", [{"conversations": json.dumps(SHARE_GPT)}], [{"messages": TALK}]),
    "roles of ShareGPT": Shaped(
        "sft",
        [{"messages": [{"role": "human", "content": "q"}, {"role": "bot", "content": "a"}]}],
        [{"messages": TALK}],
    ),
    "conversations of role and content": Shaped("sft", [{"conversations": TALK}], [{"messages": TALK}]),
    "speaker and text": Shaped(
        "sft",
        [{"dialog": [{"speaker": "customer", "text": "q"}, {"speaker": "agent", "text": "a"}]}],
        [{"messages": TALK}],
    ),
    "messages as JSON": Shaped("sft", [{"messages": json.dumps(TALK)}], [{"messages": TALK}]),
    "messages as Python": Shaped("sft", [{"messages": str(TALK)}], [{"messages": TALK}]),
    "contents in parts": Shaped(
        "sft",
        [{"messages": [{"role": "user", "content": [{"type": "text", "text": "q"}]}, assistant("a")]}],
        [{"messages": TALK}],
    ),
    "a prompt beside messages": Shaped(
        "sft", [{"prompt": "q", "prompt_id": "1", "messages": TALK}], [{"prompt_id": "1", "messages": TALK}]
    ),
    "weights of 1": Shaped("sft", [{"messages": [user("q"), assistant("a", weight=1)]}], [{"messages": TALK}]),
    "weights of 0": Shaped(
        "sft",
        [{"messages": [user("q"), assistant("a", weight=0), user("r"), assistant("b", weight=1)]}, {"messages": TALK}],
        [
            {"prompt": [*TALK, user("r")], "completion": [assistant("b")]},
            {"prompt": [user("q")], "completion": [assistant("a")]},
        ],
    ),
    "alpaca": Shaped(
        "sft",
        [{"instruction": "do", "input": "", "output": "x"}, {"instruction": "do", "input": "it", "output": "y"}],
        [{"prompt": "do", "completion": "x"}, {"prompt": "do\n\nit", "completion": "y"}],
    ),
    "dolly": Shaped(
        "sft",
        [{"instruction": "do", "context": "it", "response": "y", "category": "qa"}],
        [{"prompt": "do\n\nit", "completion": "y", "category": "qa"}],
    ),
    "alpaca with turns": Shaped(
        "sft",
        [{"instruction": "r", "input": "", "output": "b", "system": "s", "history": [["q", "a"]]}],
        [{"messages": [system("s"), *TALK, user("r"), assistant("b")]}],
    ),
    "question and answer": Shaped(
        "sft", [{"question": "q", "answer": "a", "id": 3}], [{"prompt": "q", "completion": "a", "id": 3}]
    ),
    "input and output": Shaped("sft", [{"input": "q", "output": "a"}], [{"prompt": "q", "completion": "a"}]),
    "prompt and response": Shaped("sft", [{"prompt": "q", "response": "a"}], [{"prompt": "q", "completion": "a"}]),
    "a system prompt, a question and a response": Shaped(
        "sft",
        [{"id": 1, "system_prompt": "s", "question": "q", "response": "a"}],
        [{"id": 1, "messages": [system("s"), *TALK]}],
    ),
    "answers with labels": Shaped(
        "kto",
        [{"question": "q", "answer": "a", "label": True}],
        [{"prompt": "q", "completion": "a", "label": True}],
    ),
    "a text beside a message": Shaped(
        "sft", [{"prompt": [user("q")], "completion": "a"}], [{"prompt": [user("q")], "completion": [assistant("a")]}]
    ),
    "ultrafeedback": Shaped("dpo", [{"prompt": "q", **PAIR}], [PAIR]),
    "ultrafeedback, with messages": Shaped(
        "orpo", [{"prompt": "q", "messages": TALK, "score_chosen": 3.0, **PAIR}], [{"score_chosen": 3.0, **PAIR}]
    ),
    "ultrafeedback for a reward model": Shaped("reward", [{"prompt": "q", **PAIR}], [PAIR]),
    "ultrafeedback for KTO": Shaped("kto", [{"prompt": "q", **PAIR}], [PAIR]),
    "messages that repeat the prompt": Shaped(
        "dpo", [{"prompt": [user("q")], **PAIR}], [{"prompt": [user("q")], **ANSWERS}]
    ),
    "texts that repeat the prompt": Shaped(
        "dpo",
        [{"prompt": "Question: q. ", "chosen": "Question: q. a", "rejected": "Question: q. b"}],
        [{"prompt": "Question: q. ", "chosen": "a", "rejected": "b"}],
    ),
    "a text and messages": Shaped("dpo", [{"prompt": "q", **ANSWERS}], [{"prompt": [user("q")], **ANSWERS}]),
    "one message without a list": Shaped(
        "dpo",
        [{"prompt": [user("q")], "chosen": assistant("a"), "rejected": assistant("b")}],
        [{"prompt": [user("q")], **ANSWERS}],
    ),
    "stack-exchange": Shaped(
        "dpo",
        [{"qid": 1, "question": "q", "date": "d", "metadata": ["m"], "response_j": "a", "response_k": "b"}],
        [{"qid": 1, "prompt": "q", "date": "d", "metadata": ["m"], "chosen": "a", "rejected": "b"}],
    ),
    "orca": Shaped(
        "dpo",
        [{"system": "s", "question": "q", "chosen": "a", "rejected": "b"}],
        [{"prompt": [system("s"), user("q")], **ANSWERS}],
    ),
    "an instruction beside answers": Shaped(
        "dpo",
        [{"instruction": "q", "input": given, "chosen": "a", "rejected": "b"} for given in ("", "it")],
        [{"prompt": "q", "chosen": "a", "rejected": "b"}, {"prompt": "q\n\nit", "chosen": "a", "rejected": "b"}],
    ),
    "a conversation beside answers": Shaped(
        "dpo",
        [{"conversations": [said("human", "q")], "chosen": said("gpt", "a"), "rejected": said("gpt", "b")}],
        [{"prompt": [user("q")], **ANSWERS}],
    ),
    "preference rows of OpenAI": Shaped("dpo", [OPENAI], [{"prompt": [user("q")], **ANSWERS}]),
    "a question to answer": Shaped(
        "grpo", [{"question": "q", "answer": "a"}], [{"question": "q", "answer": "a", "prompt": "q"}]
    ),
    "a conversation to continue": Shaped(
        "grpo", [{"messages": TALK, "level": 1}], [{"prompt": [user("q")], "level": 1}]
    ),
    "ShareGPT to continue": Shaped("grpo", [{"conversations": SHARE_GPT}], [{"prompt": [user("q")]}]),
    "ShareGPT for a student": Shaped("gkd", [{"conversations": SHARE_GPT}], [{"messages": TALK}]),
}

AS_THEY_ARE: dict[str, tuple[str, list[Row]]] = {
    "messages": ("sft", [{"messages": TALK, "source": "x"}]),
    "messages and tools": ("sft", [{"messages": TALK, "tools": "[]"}]),
    "texts": ("sft", [{"text": "abc", "prompt_id": 1}]),
    "JSON as text": ("sft", [{"text": '{"a": 1}'}]),
    "prompt and completion": ("sft", [{"prompt": "a", "completion": "b"}]),
    "an answer that begins like its prompt": ("sft", [{"prompt": "ab", "completion": "abc"}]),
    "a word to be completed": ("sft", [{"prompt": "transform", "completion": "transformation"}]),
    "roles of a template's own": ("sft", [{"messages": [{"role": "context", "content": "x"}, *TALK]}]),
    "more than one question": ("sft", [{"question": "q", "instruction": "i", "answer": "a"}]),
    "a column with a meaning": ("sft", [{"question": "q", "reasoning": "since", "answer": "a"}]),
    "pairs": ("dpo", [{"prompt": [user("q")], **ANSWERS}]),
    "pairs of texts": ("dpo", [{"prompt": "q", "chosen": "a", "rejected": "b"}]),
    "pairs with the prompt inside": ("dpo", [PAIR]),
    "dialogs as text": (
        "dpo",
        [{"chosen": "\n\nHuman: q\n\nAssistant: a", "rejected": "\n\nHuman: q\n\nAssistant: b"}],
    ),
    "a conversation without an answer": ("grpo", [{"messages": [*TALK, system("s")]}]),
    "prompts": ("grpo", [{"prompt": "q", "messages": TALK}]),
    "a whole conversation beside answers": (
        "dpo",
        [{"conversations": TALK, "chosen": [assistant("a")], "rejected": [assistant("b")]}],
    ),
    "a pair without a question": ("dpo", [{"response_j": "a", "response_k": "b"}]),
    "a problem with its context and hints": ("grpo", [{"problem": "q", "input": "x", "context": "y"}]),
    "labels": ("kto", [{"prompt": "q", "completion": "a", "label": True}]),
}
