"""What a series of injected faults came to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that did not hold.

    Attributes:
        kind: Which, in a word or two, such as ``"short log"``.
        where: The fault, such as ``"stream closed after 5 lines, job ended"``.
        seen: What was seen instead.
    """

    kind: str
    where: str
    seen: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """One series of faults.

    Attributes:
        title: What was tried.
        cells: How many faults were injected.
        violations: The promises that did not hold.
        notes: Figures beside these, a line each.
    """

    title: str
    cells: int
    violations: tuple[Violation, ...] = ()
    notes: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        kinds = Counter(violation.kind for violation in self.violations)
        lines = [f"{self.title}: {self.cells:,} tried, {len(self.violations)} violations"]
        lines += [f"  {count:4} {kind}" for kind, count in kinds.most_common()]
        lines += [f"  - {each.kind}: {each.where}: {each.seen}" for each in self.violations[:20]]
        return "\n".join([*lines, *(f"  {note}" for note in self.notes)])


def join(sections: Iterable[Section]) -> str:
    """All sections as one text."""
    return "\n\n".join(map(str, sections))
