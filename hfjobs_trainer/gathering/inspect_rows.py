"""Rows value by value, against what the pinned TRL takes: where its trainers fail, or train on something else."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from hfjobs_trainer.facts.values import Finding, ValueFacts, ValueKind
from hfjobs_trainer.gathering.attempt import attempt
from hfjobs_trainer.gathering.forms import excerpt, form_of, given, is_blank, is_null, messages_of
from hfjobs_trainer.gathering.messages import wrong_ends, wrong_messages
from hfjobs_trainer.gathering.texts import Formats
from hfjobs_trainer.gathering.values import Json

Wrong = tuple[ValueKind, tuple[str, ...], str]
"""A kind, the columns, and an excerpt."""

MAX_DIGESTS = 4096
"""Most digests of rows that facts keep."""
LEAST_PROMPT = 5
"""A shorter prompt may well be the beginning of an answer by chance, characters."""

_TALKS = frozenset(("messages", "conversations"))
_PAIR = ("chosen", "rejected")
# The column that names the environment of a row, which is no text to train on.
_NAMING = "environment"
# By the value of any one of these, TRL tells conversations from texts (TRL 1.16: data_utils.is_conversational).
_TELLING = ("prompt", "completion", *_PAIR, "messages")


def inspect_rows(rows: Sequence[Json], formats: Formats, *, compares: bool = True) -> ValueFacts | None:
    """What is wrong with ``rows``; ``None`` if there are none, or their columns are those of no format.

    Args:
        rows: Values by column, as TRL will get them.
        formats: Sets of columns that the method takes, the usual one first.
        compares: Whether they may be compared with the rows of another dataset: each is one of those that are used.
    """
    columns = {name for row in rows for name in row}
    names = _format_of(columns, formats)
    if names is None:
        return None
    look = _Look(names, generates=_generates(formats), found=_Found(len(rows)))
    for index, row in enumerate(rows):
        look.at(index, row)
    return look.facts() if compares else replace(look.facts(), digests=frozenset())


def _format_of(columns: set[str], formats: Formats) -> tuple[str, ...] | None:
    """The columns that TRL reads; with ``prompt`` where it reads it too."""
    fitting = [tuple(names) for names in formats if set(names) <= columns]
    if not fitting:
        return None
    # tokens first, then prompts with completions, then conversations (TRL 1.16: sft_trainer.py, tokenize_fn);
    # pairs are made into single answers whatever else there is (kto_trainer.py, "Unpair")
    first = [names for names in fitting if names in (("input_ids",), _PAIR)] or [
        names for names in fitting if {"prompt", "completion"} <= set(names)
    ]
    names = (first or fitting)[0]
    names = tuple(name for name in names if name != _NAMING)
    return ("prompt", *names) if names == _PAIR and "prompt" in columns else names


def _generates(formats: Formats) -> bool:
    """Whether the model answers prompts, so that the dataset has no answers."""
    return any(tuple(names) in (("prompt",), ("prompt", _NAMING)) for names in formats)


@dataclass(slots=True)
class _Found:
    """What was found so far."""

    sampled: int
    first: dict[tuple[ValueKind, tuple[str, ...]], tuple[int, str]] = field(
        default_factory=dict[tuple[ValueKind, tuple[str, ...]], tuple[int, str]]
    )
    counts: Counter[tuple[ValueKind, tuple[str, ...]]] = field(
        default_factory=Counter[tuple[ValueKind, tuple[str, ...]]]
    )

    def add(self, index: int, wrongs: Iterator[Wrong]) -> None:
        """Take note of what is wrong in a row, each kind once."""
        seen = dict[tuple[ValueKind, tuple[str, ...]], str]()
        for kind, columns, text in wrongs:
            seen.setdefault((kind, columns), text)
        for key, text in seen.items():
            self.first.setdefault(key, (index, text))
            self.counts[key] += 1

    def findings(self) -> tuple[Finding, ...]:
        """All of it, in the order of rows."""
        found = [
            Finding(kind, columns, row, self.counts[kind, columns], text)
            for (kind, columns), (row, text) in self.first.items()
        ]
        return tuple(sorted(found, key=lambda finding: finding.row))


@dataclass(slots=True)
class _Look:
    """A look at rows, one by one.

    Attributes:
        names: The columns that TRL reads.
        generates: Whether the model answers prompts.
        found: What was found so far.
        form: Whether the first row whose form is clear is a conversation.
        digests: Digests of the rows so far.
        labels: Labels so far.
    """

    names: tuple[str, ...]
    generates: bool
    found: _Found
    form: bool | None = None
    digests: set[int] = field(default_factory=set[int])
    labels: Counter[bool] = field(default_factory=Counter[bool])

    def at(self, index: int, row: Json) -> None:
        """Look at a row."""
        self.found.add(index, self._wrong(row))

    def facts(self) -> ValueFacts:
        """What was found."""
        findings = self.found.findings()
        if len(self.labels) == 1:
            label = "true" if True in self.labels else "false"
            findings += (Finding("one label", ("label",), 0, self.labels.total(), label),)
        kept = frozenset(sorted(self.digests)[:MAX_DIGESTS])
        return ValueFacts(self.found.sampled, findings, self.form, kept)

    def _wrong(self, row: Json) -> Iterator[Wrong]:
        yield from self._of_columns(row)
        yield from self._together(row)
        if "label" in self.names:
            yield from self._of_label(row.get("label"))
        yield from _of_options(row, self.names)
        values = [row.get(name) for name in (self.names if not self.generates else ("prompt",))]
        if all(is_null(value) or is_blank(value) for value in values):
            # the empty lines of a text are all alike
            return
        digest = _digest(values)
        if digest in self.digests:
            yield "repeated row", self.names, ""
        self.digests.add(digest)

    def _of_columns(self, row: Json) -> Iterator[Wrong]:
        for name in self.names:
            if name in ("label", "input_ids"):
                continue
            value = row.get(name)
            form = form_of(value)
            if name in _TALKS:
                fits = form == "messages" or (form == "from and value" and name == "conversations")
            elif name in _TELLING:
                fits = form in ("text", "messages")
            else:
                fits = form in ("text", "json")
            if not fits:
                yield cast("ValueKind", form), (name,), "" if form in ("null", "empty list") else excerpt(value)
                continue
            for kind, text in wrong_messages(list(messages_of(value))):
                yield kind, (name,), text
            yield from self._of_answer(name, value)

    def _of_answer(self, name: str, value: object) -> Iterator[Wrong]:
        messages = list(messages_of(value))
        if name == "prompt":
            if self.generates and value == "":
                yield "empty prompt", (name,), ""
        elif messages:
            for kind, text in wrong_ends(messages):
                yield kind, (name,), text
            if name in _TALKS and len(messages) == 1:
                yield "alone", (name,), ""
        elif is_blank(value):
            yield "empty", (name,), ""

    def _together(self, row: Json) -> Iterator[Wrong]:
        talks = {name: form == "messages" for name in self.names if (form := form_of(row.get(name))) in _CLEAR}
        answers = [name for name in self.names if name in talks and name in ("completion", *_PAIR)]
        values = [row[name] for name in answers]
        if len(set(talks.values())) == 2:
            whole = not talks.get("prompt", True) and all(map(_is_whole, values))
            yield ("whole answers" if whole else "beside"), tuple(talks), ""
            return
        if not talks:
            return
        form = next(iter(talks.values()))
        self.form = form if self.form is None else self.form
        if form != self.form:
            yield "differing rows", tuple(talks), "messages" if form else "text"
        # a value that was cut off is missing from its row
        others = [name for name in _TELLING if name in row and name not in self.names]
        for name in others:
            if (form_of(row.get(name)) == "messages") != form:
                yield "differing column", (name,), ""
        if answers == list(_PAIR):
            yield from _of_pair(row, values)
        for name, value in zip(answers, values, strict=True):
            if "prompt" in talks and _begins_with(value, row["prompt"]):
                yield "repeated prompt", (name,), ""

    def _of_label(self, value: object) -> Iterator[Wrong]:
        if is_null(value):
            yield "null", ("label",), ""
        elif isinstance(value, bool | int | float) and value in (0, 1):
            self.labels[bool(value)] += 1
        else:
            yield "label", ("label",), f'"{excerpt(value)}"' if isinstance(value, str) else excerpt(value)


_CLEAR = frozenset(("text", "messages"))


def _of_pair(row: Json, values: Sequence[object]) -> Iterator[Wrong]:
    chosen, rejected = values
    if chosen == rejected:
        yield "equal", _PAIR, ""
    elif "prompt" not in row and isinstance(chosen, list) and isinstance(rejected, list):
        first, other = cast("list[object]", chosen)[0], cast("list[object]", rejected)[0]
        if first != other:
            yield "no shared prompt", _PAIR, ""
    elif "prompt" not in row and len({str(value).strip()[:LEAST_PROMPT] for value in values}) == 2:
        # a text of one word tells where a row is from, or of what kind
        others = [name for name, text in row.items() if name not in _PAIR and len(str(text).split()) > 1]
        yield "no prompt", _PAIR, others[0] if len(others) == 1 and isinstance(row[others[0]], str) else ""


def _of_options(row: Json, names: Sequence[str]) -> Iterator[Wrong]:
    """What is wrong with columns that TRL reads where they are there."""
    tools, arguments = row.get("tools"), row.get("chat_template_kwargs")
    read = attempt(lambda: json.loads(tools)) if isinstance(tools, str) else tools
    if tools is not None and not (isinstance(read, list) or tools == "null"):
        yield "tools", ("tools",), excerpt(tools)
    if "chat_template_kwargs" in row and not isinstance(arguments, Mapping):
        yield "template arguments", ("chat_template_kwargs",), excerpt(arguments)
    margin = row.get("margin", 0)
    if _PAIR[0] in names and (is_null(margin) or not isinstance(margin, bool | int | float)):
        yield "margin", ("margin",), excerpt(margin)


def _is_whole(value: object) -> bool:
    """Whether an answer is a conversation that begins with the prompt."""
    messages = list(messages_of(value))
    return len(messages) > 1 and messages[0].get("role") in ("system", "user", "developer")


def _begins_with(answer: object, prompt: object) -> bool:
    if isinstance(answer, str) and isinstance(prompt, str):
        asked = prompt.strip()
        return len(asked) >= LEAST_PROMPT and answer.lstrip().startswith(asked)
    said, asked = [_plain(item) for item in messages_of(answer)], [_plain(item) for item in messages_of(prompt)]
    return bool(asked) and said[: len(asked)] == asked


def _plain(message: Json) -> Json:
    return {name: message[name] for name in given(message)}


def _digest(values: Sequence[object]) -> int:
    text = json.dumps(values, sort_keys=True, default=str, ensure_ascii=False)
    return int.from_bytes(hashlib.blake2b(text.encode(errors="replace"), digest_size=8).digest(), "big")
