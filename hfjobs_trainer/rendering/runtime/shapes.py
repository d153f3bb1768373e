"""Rows of the shapes that datasets come in, made into those that TRL takes."""

import ast
import json
from typing import Any

# What datasets call those who speak, and what chat templates call them.
ROLES = {
    "user": "user human usr prompter questioner customer student client input",
    "assistant": "assistant gpt model bot chatbot chatgpt gpt4 gpt-4 gpt3.5 gpt-3.5"
    " bing bard claude gemini ai llm agent answer output function_call function-call"
    " functioncall tool_call tool-call",
    "system": "system system_prompt sys",
    "tool": "tool function observation ipython environment tool_response tool-response"
    " tool_result function_response function-response function_output function_result",
    "developer": "developer",
}
ROLE_KEYS = ("role", "from", "speaker")
TEXT_KEYS = ("content", "value", "text", "message")


def as_messages(row: dict[str, Any], columns: dict[str, str]) -> dict[str, Any]:
    """Messages with `role` and `content`, and the roles that chat templates know.

    Args:
        row: A row.
        columns: Columns of conversations, and what they are called afterwards.
    """
    known = {word: role for role, words in ROLES.items() for word in words.split()}

    def convert(message: dict[str, Any]) -> dict[str, Any]:
        speaker = next(key for key in ROLE_KEYS if message.get(key) is not None)
        text = next((k for k in TEXT_KEYS if message.get(k) is not None), "content")
        role = known.get(str(message[speaker]).strip().lower())
        if role is None:
            raise ValueError(
                f"A message has the unknown role {message[speaker]!r:.80}."
            )
        rest = {k: v for k, v in message.items() if k not in (speaker, text)}
        return {"role": role, "content": message.get(text), **rest}

    return {
        new: row[old] and [convert(message) for message in row[old]]
        for old, new in columns.items()
    }


def parse_columns(row: dict[str, Any], columns: list[str]) -> dict[str, Any]:
    """Values that stand in text as JSON, or as Python writes them."""

    def parse(text: Any) -> Any:
        if not isinstance(text, str):
            return text
        try:
            return json.loads(text)
        except ValueError:
            return ast.literal_eval(text)

    return {name: parse(row[name]) for name in columns}


def join_parts(row: dict[str, Any], columns: list[str]) -> dict[str, Any]:
    """Messages whose content is text, of messages whose content is a list of texts."""

    def join(content: Any) -> Any:
        if content is None or isinstance(content, str):
            return content
        return "".join(
            [part if type(part) is str else part["text"] for part in content]
        )

    return {
        name: [{**item, "content": join(item.get("content"))} for item in row[name]]
        for name in columns
    }


def as_turns(row: dict[str, Any], columns: dict[str, str]) -> dict[str, Any]:
    """Lists of messages, of a text or of one message alone.

    Args:
        row: A row.
        columns: Columns, and the role of whom a text there is said by.
    """

    def turns(value: Any, role: str) -> Any:
        if isinstance(value, str):
            return [{"role": role, "content": value}]
        return [value] if isinstance(value, dict) else value

    return {name: turns(row[name], role) for name, role in columns.items()}


def put_system_first(row: dict[str, Any], system: str, column: str) -> dict[str, Any]:
    """Begin the messages of a column with the text of another, unless it is empty."""
    text, messages = row[system], row[column]
    if not text or (messages and messages[0]["role"] == "system"):
        return {column: messages}
    return {column: [{"role": "system", "content": text}, *messages]}


def split_by_weight(row: dict[str, Any]) -> list[dict[str, Any]]:
    """A row for each answer of a conversation whose weight is not 0, after its prompt.

    The trainer then trains on these answers alone.
    """
    plain = _without_weights(row["messages"])
    rest = {k: v for k, v in row.items() if k != "messages"}
    return [
        {**rest, "prompt": plain[:place], "completion": [plain[place]]}
        for place, message in enumerate(row["messages"])
        if message["role"] == "assistant" and message.get("weight") != 0
    ]


def drop_weights(row: dict[str, Any]) -> dict[str, Any]:
    """Messages without their weights, all of which are 1."""
    if any(message.get("weight") == 0 for message in row["messages"]):
        raise ValueError("A message has weight 0, which none of those looked at had.")
    return {"messages": _without_weights(row["messages"])}


def _without_weights(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Messages as they are, but for their weights."""
    return [{k: v for k, v in item.items() if k != "weight"} for item in messages]


def join_instruction(row: dict[str, Any], parts: list[str]) -> dict[str, Any]:
    """The prompt of an instruction and what it is about, which may be empty."""
    return {"prompt": "\n\n".join(row[name] for name in parts if row[name])}


def tell_instruction(
    row: dict[str, Any], parts: list[str], answer: str, system: str, history: str
) -> dict[str, Any]:
    """The messages of an instruction, with a system prompt and the turns before it.

    Args:
        row: A row.
        parts: Columns that make the last question.
        answer: Column of its answer.
        system: Column of the system prompt.
        history: Column of the turns before, pairs of a question and its answer.
    """
    messages = [{"role": "system", "content": row[system]}] if row.get(system) else []
    pairs: list[Any] = row.get(history) or []
    texts = [row[name] for name in parts if row[name]]
    for question, reply in [*pairs, ["\n\n".join(texts), row[answer]]]:
        messages.append({"role": "user", "content": question})
        messages.append({"role": "assistant", "content": reply})
    return {"messages": messages}


def take_prompt(row: dict[str, Any], column: str) -> dict[str, Any]:
    """The prompt: a column, but for the answer with which a conversation ends."""
    value: Any = row[column]
    is_text = isinstance(value, str)
    while not is_text and value and value[-1]["role"] == "assistant":
        value = value[:-1]
    return {"prompt": value}


def cut_prompt(row: dict[str, Any], columns: list[str]) -> dict[str, Any]:
    """Answers without the prompt with which they begin."""
    return {name: row[name][len(row["prompt"]) :] for name in columns}


def take_preference(row: dict[str, Any]) -> dict[str, Any]:
    """Prompt, tools, and a better and a worse answer, of OpenAI's preference rows."""
    given = row["input"]
    found = {
        "prompt": given["messages"],
        "chosen": row["preferred_output"],
        "rejected": row["non_preferred_output"],
    }
    return {**found, "tools": given["tools"]} if given.get("tools") else found
