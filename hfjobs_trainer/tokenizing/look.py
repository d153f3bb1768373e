"""What is to be seen of rows once they are tokens: lengths, what is trained, what a template refuses or leaves out."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from hfjobs_trainer.tokenizing.left_out import left_out
from hfjobs_trainer.tokenizing.load import prepare, training_template
from hfjobs_trainer.tokenizing.sequences import WAYS, Row, Tokens, Way, is_talk, trl_rows

# Longest text that is quoted, characters.
_QUOTED = 160
# Kinds of special tokens that are told, at most.
_SPECIALS = 64


@dataclass(slots=True)
class _Seen:
    """What was seen of all rows."""

    talks: int = 0
    skipped: int = 0
    largest: int = -1
    sequences: list[list[Any]] = field(default_factory=list[list[Any]])
    found: dict[str, list[Any]] = field(default_factory=dict[str, list[Any]])
    specials: Counter[int] = field(default_factory=Counter[int])
    ends: Counter[int] = field(default_factory=Counter[int])

    def note(self, kind: str, row: int, detail: str = "") -> None:
        """Remember that a row is found to be of a kind."""
        first = self.found.setdefault(kind, [row, 0, detail[:_QUOTED], -1])
        if first[3] != row:
            first[1], first[3] = first[1] + 1, row


def look(request: Mapping[str, Any]) -> dict[str, Any]:
    """The reply to a request: see ``facts.template.TemplateFacts``, whose fields it has.

    Raises:
        UnsupportedError: The tokenizer cannot be loaded.
    """
    tokenizer, missing = prepare(request)
    template = _template(tokenizer)
    training = training_template(tokenizer, template, request["tokenizer"]["digest"]) if template else None
    masks = bool(request["assistant_only"])
    way = Way(
        tokenizer,
        text_field=request["text_field"],
        completion_only=_completion_only(request),
        assistant_template=training if masks else None,
        kwargs=request["kwargs"],
        vision=bool(request["vision"]),
    )
    added: dict[str, int] = tokenizer.get_added_vocab()
    seen = _Seen()
    for index, row in request["rows"]:
        _look_at(index, row, way, request["renders"], has_template=template is not None, masks=masks, seen=seen)
    stops = _stops(request, tokenizer)
    names = {number: name for name, number in added.items()}
    specials = [names[number] for number, _ in seen.specials.most_common() if number in names][:_SPECIALS]
    # those that end a text may be in the vocabulary without being special
    ending = {tokenizer.eos_token, *stops} - {None, *specials}
    specials += sorted(token for token in ending if tokenizer.convert_tokens_to_ids(token) in seen.specials)
    ends = [names[number] for number, _ in seen.ends.most_common(1) if number in names]
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    return {
        "talks": seen.talks,
        "skipped": seen.skipped,
        "has_template": template is not None,
        "can_mask": training is not None if template else None,
        "eos_token": tokenizer.eos_token,
        "pad_token": tokenizer.pad_token,
        "not_in_vocabulary": missing,
        "stops": stops,
        "specials": specials,
        "turn_end": ends[0] if ends else None,
        "markers": [token for token in request["markers"] if token in vocabulary],
        "size": len(vocabulary),
        "largest": max(
            seen.largest, *(vocabulary.get(name, -1) for name in (tokenizer.eos_token, tokenizer.pad_token))
        ),
        "sequences": seen.sequences,
        "findings": [[kind, *found[:3]] for kind, found in seen.found.items()],
    }


def _template(tokenizer: Any) -> str | None:
    template: Any = tokenizer.chat_template
    return cast("dict[str, str]", template).get("default") if isinstance(template, dict) else template


def _completion_only(request: Mapping[str, Any]) -> bool:
    if request["completion_only"] is not None:
        return bool(request["completion_only"])
    first: Row = request["rows"][0][1] if request["rows"] else {}
    return "prompt" in first and "completion" in first


def _look_at(index: int, row: Row, way: Way, renders: str, *, has_template: bool, masks: bool, seen: _Seen) -> None:
    row = _as_talk(row) if renders == "labels" else row
    if not _is_whole(row, way.text_field):
        seen.skipped += 1
        return
    talk = is_talk(row)
    seen.talks += talk
    if talk and not has_template:
        seen.note("no template", index)
        return
    if not talk and way.tokenizer.eos_token is None and renders != "prompts":
        seen.note("no end", index)
        return
    try:
        sequences = list(WAYS[renders](copy.deepcopy(row), way))
    except (KeyError, IndexError):
        seen.skipped += 1  # not of a form that the method takes
        return
    except Exception as error:  # a template may raise anything
        seen.note("raises", index, _message(error))
        return
    for tokens in sequences:
        _count(index, tokens, way, seen)
        for kind, detail in left_out(tokens, way, prompt=renders == "prompts"):
            seen.note(kind, index, detail)
        if masks and talk and way.assistant_template and tokens.mask is not None and not any(tokens.mask):
            seen.note("no assistant", index, _roles(tokens))


def _count(index: int, tokens: Tokens, way: Way, seen: _Seen) -> None:
    ids, mask = tokens.ids, tokens.mask
    trained = [number for number, one in zip(ids, mask, strict=False) if one] if mask is not None else ids
    seen.sequences.append([index, len(ids), [[0, len(ids)]] if mask is None else list(_spans(mask))])
    seen.largest = max(seen.largest, *ids, -1)
    seen.specials.update(set(trained))
    if tokens.messages and tokens.messages[-1].get("role") == "assistant":
        special = set(way.tokenizer.get_added_vocab().values())
        last = next((number for number in reversed(trained[-4:]) if number in special), None)
        seen.ends.update([] if last is None else [last])


def _spans(mask: list[bool]) -> Iterator[list[int]]:
    start = None
    for place, one in enumerate([*mask, False]):
        if one and start is None:
            start = place
        elif not one and start is not None:
            yield [start, place]
            start = None


def _as_talk(row: Row) -> Row:
    """What SFT makes of a ShareGPT conversation, whose roles stay what they are."""
    trl = trl_rows()
    old = bool(row.get("conversations")) and trl.is_conversational_from_value(row)
    return trl.maybe_convert_to_chatml(copy.deepcopy(row)) if old else row


def _is_whole(row: Row, text_field: str) -> bool:
    """Whether all that is rendered is text, or all is messages: what else it may be is for others to tell."""
    columns = ("messages", "prompt", "completion", "chosen", "rejected")
    values: list[object] = [row[name] for name in columns if name in row] or [row.get(text_field)]
    if "image" in row or "images" in row:
        return False
    return all(isinstance(value, str) for value in values) or all(map(_are_messages, values))


def _are_messages(value: object) -> bool:
    messages = cast("list[object]", value) if isinstance(value, list) else []
    return bool(messages) and all(map(_is_message, messages))


def _is_message(value: object) -> bool:
    message = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    content: object = message.get("content")
    if content is None and message.get("tool_calls"):
        content = ""
    parts = isinstance(content, list) and all(isinstance(part, dict) for part in cast("list[object]", content))
    return isinstance(message.get("role"), str) and (isinstance(content, str) or parts)


def _message(error: Exception) -> str:
    from jinja2 import TemplateError

    text = str(error).strip().split("\n")[0]
    # what a template says by `raise_exception` is the whole message; other errors are known by their kind
    return text if type(error) is TemplateError else f"{type(error).__name__}: {text}"


def _roles(tokens: Tokens) -> str:
    roles = list(dict.fromkeys(str(message.get("role")) for message in tokens.messages or ()))
    return ", ".join(roles[:4])


def _stops(request: Mapping[str, Any], tokenizer: Any) -> list[str]:
    """The tokens at which the model stops, by its generation config, else by its config."""
    texts: Mapping[str, str] = request["tokenizer"]["texts"]
    for name in ("generation_config.json", "config.json"):
        try:
            found: Any = json.loads(texts.get(name, "{}")).get("eos_token_id")
        except (ValueError, AttributeError):
            continue
        numbers: list[Any] = cast("list[Any]", found) if isinstance(found, list) else [found]
        tokens = [tokenizer.convert_ids_to_tokens(number) for number in numbers if isinstance(number, int)]
        if tokens:
            return [token for token in tokens if token is not None]
    return []
