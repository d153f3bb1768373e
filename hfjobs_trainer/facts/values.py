"""What is wrong with the values of a dataset's rows, as far as they were looked at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

ValueKind = Literal[
    # not a value of the right form
    "null",
    "null content",
    "empty list",
    "empty prompt",
    "json",
    "message",
    "texts",
    "lists",
    "from and value",
    "number",
    "text",
    "messages",
    "unknown",
    "tools",
    "template arguments",
    "margin",
    # forms that do not go together
    "beside",
    "whole answers",
    "differing rows",
    "differing column",
    "no shared prompt",
    "no prompt",
    # messages
    "no role",
    "no content",
    "other role",
    "unknown role",
    "content",
    "parts",
    "alone",
    # answers
    "no answer",
    "no end",
    "empty",
    "equal",
    "repeated prompt",
    # labels
    "label",
    "one label",
    # rows
    "repeated row",
]
"""Kinds of what is found:

- ``"null"``: a value is missing; ``"null content"``: that of a message.
- ``"empty list"``: a conversation without messages; ``"empty prompt"``: a text without characters.
- ``"json"``: messages as JSON text; ``"message"``: one message that is in no list; ``"texts"``: a list of texts;
  ``"lists"``: a list of lists; ``"from and value"``: messages as ShareGPT wrote them; ``"number"``; ``"text"`` where
  messages are wanted; ``"messages"`` where text is wanted; ``"unknown"``: anything else.
- ``"tools"``, ``"template arguments"``, ``"margin"``: a value of these columns that cannot be read.
- ``"beside"``: a text and messages in one row; ``"whole answers"``: a text beside conversations that begin with the
  prompt; ``"differing rows"``: texts in some rows, messages in others; ``"differing column"``: a column that is not
  trained on, but by which TRL may tell texts from messages; ``"no shared prompt"``: pairs of conversations that have no
  beginning in common; ``"no prompt"``: pairs of texts that have none, with the name of
  the only column that may hold it.
- ``"no role"``, ``"no content"``: a message lacks it; ``"other role"``: a role by another name than templates know it;
  ``"unknown role"``: a name that none of them knows; ``"content"``: a content that is neither text nor parts;
  ``"parts"``: a content in parts; ``"alone"``: a conversation of one
  message.
- ``"no answer"``: no message is the assistant's; ``"no end"``: the last one is not; ``"empty"``: an answer says
  nothing; ``"equal"``: both answers are the same; ``"repeated prompt"``: an answer begins with the prompt.
- ``"label"``: neither true nor false; ``"one label"``: all rows have the same.
- ``"repeated row"``: a row that was there before.
"""


@dataclass(frozen=True, slots=True)
class Finding:
    """Rows in which something is wrong in the same way.

    Attributes:
        kind: What it is.
        columns: The columns in which it is.
        row: Number of the first such row among those that were looked at, from 0 on.
        count: How many such rows there are.
        excerpt: A few characters of the value, or what it was taken for; empty where they would tell nothing.
    """

    kind: ValueKind
    columns: tuple[str, ...]
    row: int
    count: int
    excerpt: str = ""


@dataclass(frozen=True, slots=True)
class ValueFacts:
    """What is wrong with the rows of a dataset, as TRL will get them.

    Attributes:
        sampled: How many rows were looked at.
        findings: What was found, in the order of rows.
        conversational: Whether they hold messages; ``None`` where that is unclear.
        digests: Digests of the rows that were looked at, 8 bytes each.
    """

    sampled: int
    findings: tuple[Finding, ...] = ()
    conversational: bool | None = None
    digests: frozenset[int] = field(default=frozenset(), repr=False)

    def of(self, *kinds: ValueKind) -> tuple[Finding, ...]:
        """The findings of these kinds."""
        return tuple(finding for finding in self.findings if finding.kind in kinds)


@dataclass(frozen=True, slots=True)
class BrokenFile:
    """A data file that ``datasets`` cannot read, or reads as something else.

    Attributes:
        name: The file's name.
        line: The line at which it breaks, from 1 on; ``None`` where lines mean nothing.
        why: What is wrong there.
    """

    name: str
    line: int | None
    why: str
