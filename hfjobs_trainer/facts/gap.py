"""What the Hub was asked for and did not say, and why."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

PRICES = "the prices"
"""What a gap calls the flavors on offer, without which those of the snapshot are used."""
TOKEN = "your token"
"""What a gap calls the account of the token."""
TARGET, SPACE = "the model's own repository", "the Space of the metrics"
"""What a gap calls the repositories that a run would write to."""

GapKind = Literal["unanswered", "refused", "absent"]


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that the Hub was asked for and did not say.

    Attributes:
        about: ``TOKEN``, ``PRICES``, ``TARGET``, ``SPACE`` or the id of a repository.
        kind: ``"unanswered"``: it may be, later. ``"refused"``: the token may not read it, or was not accepted.
            ``"absent"``: the Hub answered, and has no such thing.
        why: How it went, such as ``"HTTP status 503, asked 3 times"``; empty if there is no more to say.
        part: Which part of it, such as ``"config.json"``; empty for all of it.
        is_needed: Whether it must be known before money is spent.
    """

    about: str
    kind: GapKind
    why: str = ""
    part: str = ""
    is_needed: bool = True

    def __str__(self) -> str:
        return f"{self.about}{f', {self.part}' if self.part else ''}{f' ({self.why})' if self.why else ''}"

    @property
    def told(self) -> str:
        """What it is, as a clause."""
        what = f"{self.part} of {self.about}" if self.part else self.about
        why = f": {self.why}" if self.why else ""
        if self.kind == "absent":
            return f"the Hub answered, and has no {what}{why}"
        return f"the Hub {'has not answered for' if self.kind == 'unanswered' else 'refuses'} {what}{why}"


def needed_answers(gaps: Iterable[Gap]) -> list[Gap]:
    """What the Hub did not answer for and must be known before money is spent, and the prices."""
    return [gap for gap in gaps if gap.kind == "unanswered" and (gap.is_needed or gap.about == PRICES)]
