"""Rows as sequences of tokens, by the calls of TRL 1.16's trainers."""

from __future__ import annotations

import copy
import importlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

Row = dict[str, Any]


def trl_rows() -> Any:
    """TRL's functions for rows."""
    return importlib.import_module("trl.data_utils")


@dataclass(slots=True)
class Tokens:
    """One sequence that is trained on, or for which an answer is generated.

    Attributes:
        ids: Its tokens.
        mask: For each, whether it is trained; ``None``: all of them.
        messages: The messages that the template was given, if any.
        trained_from: Index of the first message that is trained on.
        options: What else the template was given.
    """

    ids: list[int]
    mask: list[bool] | None = None
    messages: list[dict[str, Any]] | None = None
    trained_from: int = 0
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Way:
    """How a trainer makes sequences of rows.

    Attributes:
        tokenizer: The tokenizer, prepared.
        text_field: Column of plain text.
        completion_only: Whether the prompt is left out of the loss.
        assistant_template: The template by which all but the assistant's tokens is masked; ``None``: nothing is.
        kwargs: Keyword arguments for the template, of all rows.
        vision: Whether a processor takes the place of the tokenizer, so that contents are lists of parts.
    """

    tokenizer: Any
    text_field: str
    completion_only: bool
    assistant_template: str | None
    kwargs: Mapping[str, Any]
    vision: bool

    def talk(self, messages: Any, options: Mapping[str, Any], **more: Any) -> dict[str, Any]:
        """Messages as tokens, and a mask of the assistant's if it is asked for."""
        if self.vision:
            messages = trl_rows().prepare_multimodal_messages(messages)
        return self.tokenizer.apply_chat_template(messages, tokenize=True, return_dict=True, **options, **more)

    def text(self, messages: Any, options: Mapping[str, Any], **more: Any) -> str:
        """Messages as text."""
        if self.vision:
            messages = trl_rows().prepare_multimodal_messages(messages)
        return self.tokenizer.apply_chat_template(messages, tokenize=False, **options, **more)

    def plain(self, text: str, **options: Any) -> list[int]:
        """A plain text as tokens."""
        return self.tokenizer(text=text, **options)["input_ids"]

    def ended(self, text: str) -> str:
        """A plain text with the end of a sequence."""
        return text if text.endswith(self.tokenizer.eos_token) else text + self.tokenizer.eos_token

    def options(self, row: Row) -> dict[str, Any]:
        """What the template is given beside the messages of a row."""
        tools = row.get("tools")
        tools = json.loads(tools) if isinstance(tools, str) else tools
        return {"tools": tools or None, **self.kwargs, **(row.get("chat_template_kwargs") or {})}


def is_talk(row: Row) -> bool:
    """Whether a row has messages, as ``trl.data_utils.is_conversational`` says, of whichever column."""
    columns = ("messages", "prompt", "completion", "chosen", "rejected")
    return any(_is_talk(row[name]) for name in columns if row.get(name))


def _is_talk(value: Any) -> bool:
    first: Any = next(iter(cast("list[Any]", value)), None) if isinstance(value, list) else None
    return isinstance(first, dict) and "role" in first


def labelled(row: Row, way: Way) -> Iterator[Tokens]:
    """SFT: all tokens, the completion, or the assistant's (trainer/sft_trainer.py, ``_prepare_dataset``)."""
    options = way.options(row)
    masked = way.assistant_template is not None
    if masked:
        options["chat_template"] = way.assistant_template
    if "prompt" in row:
        if is_talk(row):
            prompt = way.talk(row["prompt"], options, add_generation_prompt=True)["input_ids"]
            both = way.talk(row["prompt"] + row["completion"], options, return_assistant_tokens_mask=masked)
            messages = row["prompt"] + row["completion"]
        else:
            prompt = way.plain(row["prompt"])
            both = {"input_ids": way.plain(row["prompt"] + way.ended(row["completion"]))}
            messages = None
        ids = both["input_ids"]
        begin = _common(prompt, ids) if way.completion_only else 0
        mask = [place >= begin for place in range(len(ids))]
    elif "messages" in row:
        both = way.talk(row["messages"], options, return_assistant_tokens_mask=masked)
        ids, messages, mask = both["input_ids"], row["messages"], [True] * len(both["input_ids"])
    else:
        yield Tokens(way.plain(way.ended(row[way.text_field])))
        return
    if "assistant_masks" in both:
        mask = [one and bool(other) for one, other in zip(mask, both["assistant_masks"], strict=False)]
    start = len(row["prompt"]) if "prompt" in row and messages and way.completion_only else 0
    yield Tokens(ids, mask, messages, start, options)


def last_answer(row: Row, way: Way) -> Iterator[Tokens]:
    """GKD: the last message of a conversation (experimental/utils.py, ``DataCollatorForChatML``)."""
    messages = row["messages"]
    text = way.text(messages, way.kwargs)
    prompt = way.text(messages[:-1], way.kwargs, add_generation_prompt=True)
    ids, begin = way.plain(text, add_special_tokens=False), way.plain(prompt, add_special_tokens=False)
    mask = [place >= len(begin) for place in range(len(ids))]
    yield Tokens(ids, mask, messages, len(messages) - 1, way.kwargs)


def pairs(row: Row, way: Way) -> Iterator[Tokens]:
    """DPO: the chosen and the rejected completion (trainer/dpo_trainer.py, ``_prepare_dataset``)."""
    row = _with_prompt(row)
    yield from _completions(row, way, [row["chosen"], row["rejected"]])


def unpaired(row: Row, way: Way) -> Iterator[Tokens]:
    """KTO: one completion, or both of a pair (trainer/kto_trainer.py, ``_prepare_dataset``)."""
    row = _with_prompt(row) if "completion" not in row else row
    yield from _completions(row, way, [row[name] for name in ("completion", "chosen", "rejected") if name in row])


def _completions(row: Row, way: Way, answers: Sequence[Any]) -> Iterator[Tokens]:
    options, talk = way.options(row), is_talk(row)
    if talk:
        prompt = way.talk(row["prompt"], options, add_generation_prompt=True)["input_ids"]
        both = [way.talk(row["prompt"] + answer, options)["input_ids"] for answer in answers]
    else:
        prompt = way.plain(row["prompt"])
        both = [way.plain(row["prompt"] + way.ended(answer)) for answer in answers]
    # completions of a pair begin at the same place
    begin = min(_common(prompt, ids) for ids in both)
    for ids, answer in zip(both, answers, strict=True):
        messages = row["prompt"] + answer if talk else None
        start = len(row["prompt"]) if talk else 0
        yield Tokens(ids, [place >= begin for place in range(len(ids))], messages, start, options)


def ended_pairs(row: Row, way: Way) -> Iterator[Tokens]:
    """ORPO and CPO: rendered as text, and always ended (experimental/orpo/orpo_trainer.py, ``tokenize_row``)."""
    row = _with_prompt(row)
    talk = is_talk(row)
    texts: dict[str, str] = trl_rows().maybe_apply_chat_template(copy.deepcopy(row), way.tokenizer)
    prompt = way.plain(texts["prompt"], add_special_tokens=False)
    first, last = way.tokenizer.bos_token_id, way.tokenizer.eos_token_id
    for name in ("chosen", "rejected"):
        ids = way.plain(texts["prompt"] + texts[name], add_special_tokens=False)
        begin = min(len(prompt), len(ids))
        if first is not None and ids[:1] != [first]:
            ids, begin = [first, *ids], begin + 1
        if last is not None and ids[-1:] != [last]:
            ids = [*ids, last]
        messages = row["prompt"] + row[name] if talk else None
        start = len(row["prompt"]) if talk else 0
        yield Tokens(ids, [place >= begin for place in range(len(ids))], messages, start, {})


def scores(row: Row, way: Way) -> Iterator[Tokens]:
    """Reward: whole sequences, which nothing of is left out (trainer/reward_trainer.py, ``_prepare_dataset``)."""
    options = way.options(row)
    for name in ("chosen", "rejected"):
        whole: Any = row["prompt"] + row[name] if "prompt" in row else row[name]
        if isinstance(whole, str):
            yield Tokens(way.plain(way.ended(whole)))
        else:
            yield Tokens(way.talk(whole, options)["input_ids"], None, whole, len(whole), options)


def prompts(row: Row, way: Way) -> Iterator[Tokens]:
    """Online methods: the prompt, for which answers are generated (trainer/grpo_trainer.py, ``_tokenize_prompts``)."""
    prompt = row["prompt"]
    if isinstance(prompt, str):
        yield Tokens(way.plain(prompt), [])
        return
    options = dict(way.kwargs)
    ids = way.talk(prompt, options, add_generation_prompt=True)["input_ids"]
    yield Tokens(ids, [], prompt, len(prompt), options)


WAYS: Mapping[str, Callable[[Row, Way], Iterator[Tokens]]] = {
    "labels": labelled,
    "last_answer": last_answer,
    "pairs": pairs,
    "ended_pairs": ended_pairs,
    "unpaired": unpaired,
    "scores": scores,
    "prompts": prompts,
}
"""What ``Training.renders`` may say, and what it means."""


def _with_prompt(row: Row) -> Row:
    return row if "prompt" in row else {**row, **trl_rows().extract_prompt(row)}


def _common(one: list[int], other: list[int]) -> int:
    return trl_rows().common_prefix_length(one, other)
