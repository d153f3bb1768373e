"""What the Hub did not say, noted as its answers come in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hfjobs_trainer.facts.gap import PRICES, SPACE, TARGET, TOKEN, Gap
from hfjobs_trainer.gathering.answer import NEVER, Answer

_ABSENT = (404, NEVER)
"""Statuses of what is not there."""


class Gaps:
    """What was noted so far, in order."""

    def __init__(self) -> None:
        self._noted: list[Gap] = []

    def __iter__(self) -> Iterator[Gap]:
        return iter([*self._noted])

    def note(self, gap: Gap) -> None:
        """Note what is not known; several requests may be about one thing."""
        whole = any((gap.about, gap.kind) == (other.about, other.kind) and not other.part for other in self._noted)
        if not whole and gap not in self._noted:
            self._noted.append(gap)

    def note_answer(self, about: str, answer: Answer[Any], part: str, *, is_needed: bool, has_token: bool) -> None:
        """Note what an answer does not say. That a repository is not there is a fact, and no gap.

        Args:
            about: As a gap has it.
            answer: The answer.
            part: As a gap has it.
            is_needed: As a gap has it.
            has_token: Whether it was asked for with a token.
        """
        if answer.failure is not None:
            self.note(Gap(about, "unanswered", answer.failure, part, is_needed))
        elif answer.gated:
            self.note(Gap(about, "refused", "its terms are not accepted", part, is_needed))
        elif answer.refused in _ABSENT and about not in (TOKEN, PRICES):
            if part:
                self.note(Gap(about, "absent", "", part, is_needed))
        elif answer.refused is not None:
            self.note(Gap(about, "refused", _explain(answer.refused, has_token=has_token), part, is_needed))


def _explain(status: int, *, has_token: bool) -> str:
    if status == 401:
        why = "it does not accept your token" if has_token else "it is private or not there, and no token was sent"
        return f"HTTP status 401, {why}"
    if status == 403:
        return f"HTTP status 403, {'your token' if has_token else 'anyone without a token'} may not read it"
    return f"HTTP status {status}"


def subject(question: tuple[object, ...]) -> str:
    """What a question is about, as a gap calls it."""
    kind, *about = question
    if kind in ("account", "hardware"):
        return TOKEN if kind == "account" else PRICES
    if kind == "target":
        return TARGET if about[0] == "models" else SPACE
    return str(about[1] if kind in ("auth", "page") else about[0])
