"""Every flavor side by side for one run: whether it fits, how long it takes, what it costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hfjobs_trainer.facts import Facts, Flavor
from hfjobs_trainer.planning.duration.estimate import DurationEstimate
from hfjobs_trainer.planning.flavors import snapshot
from hfjobs_trainer.planning.hardware.catalogue import by_price
from hfjobs_trainer.planning.hardware.table import as_html, as_text
from hfjobs_trainer.planning.layout import Layout
from hfjobs_trainer.planning.memory.closed_form import MemoryEstimate
from hfjobs_trainer.planning.memory.estimate import Verdict
from hfjobs_trainer.planning.search import HOUR, Option, Search
from hfjobs_trainer.specs.base import TrainSpec


@dataclass(frozen=True, slots=True)
class FlavorRow:
    """What a run would do on one flavor.

    Attributes:
        flavor: The machine.
        verdict: Whether the run fits in the memory of its GPU; ``None`` where that is unknown, and without a GPU.
        memory_gib: Estimated peak on one GPU, GiB, without margin.
        limit_gib: Memory of one GPU that torch reports as its total, GiB.
        layout: The cheapest layout that fits; if none does, the one that needs the least memory.
        duration: Seconds and US dollars, each low, expected and high; ``None`` where nobody can say or it does not fit.
        why_not: The first reason against the flavor; ``None`` if it can be taken.
        estimate: The memory by component.
    """

    flavor: Flavor
    verdict: Verdict | None
    memory_gib: float | None
    limit_gib: float | None
    layout: Layout | None
    duration: DurationEstimate | None
    why_not: str | None
    estimate: MemoryEstimate | None = None

    @property
    def hours(self) -> float | None:
        """Expected time, hours."""
        return self.duration.seconds.expected / HOUR if self.duration else None

    @property
    def usd(self) -> float | None:
        """Expected cost, US dollars."""
        return self.duration.usd.expected if self.duration else None


@dataclass(frozen=True, slots=True)
class FlavorComparison:
    """A run on every flavor, printable, and indexable by the flavor's name.

    Attributes:
        rows: Every flavor: those that can be taken first, the cheapest run first.
        source: Where the prices come from: ``"live"`` or ``"snapshot"`` and its date.
    """

    rows: tuple[FlavorRow, ...]
    source: str

    HEADER = ("flavor", "fits", "GiB", "of", "layout", "hours", "$", "note")

    def __iter__(self) -> Iterator[FlavorRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, name: str) -> FlavorRow:
        for row in self.rows:
            if row.flavor.name == name:
                return row
        raise KeyError(f"no flavor {name!r}; there are {', '.join(row.flavor.name for row in self.rows)}")

    def _cells(self) -> list[tuple[str, ...]]:
        return [
            (
                row.flavor.name,
                row.verdict or "-",
                "-" if row.memory_gib is None else f"{row.memory_gib:.1f}",
                "-" if row.limit_gib is None else f"{row.limit_gib:.1f}",
                "-" if row.layout is None else str(row.layout),
                "-" if row.hours is None else f"{row.hours:.2f}",
                "-" if row.usd is None else f"{row.usd:.2f}",
                row.why_not or "",
            )
            for row in self.rows
        ]

    @property
    def _caption(self) -> str:
        return f"prices: {self.source}; GiB of one GPU at the peak, without margin; hours and dollars as expected"

    def __str__(self) -> str:
        return as_text(self.HEADER, self._cells(), self._caption, right=("GiB", "of", "hours", "$"))

    def _repr_html_(self) -> str:
        return as_html(self.HEADER, self._cells(), self._caption)


def compare_flavors(spec: TrainSpec, facts: Facts) -> FlavorComparison:
    """The run on every flavor on offer, whichever the spec names."""
    freed = spec.replace(hardware={**spec.hardware.model_dump(exclude_unset=True), "flavor": "auto"})
    hardware = facts.hardware or snapshot()
    options = Search(freed, facts).survey(sorted(hardware.flavors, key=by_price))
    options.sort(key=lambda option: (option.why_not is not None, option.layout is None, option.cost))
    return FlavorComparison(tuple(map(_row, options)), hardware.source)


def _row(option: Option) -> FlavorRow:
    memory, usable = option.memory, option.flavor.usable_gpu_memory_gib
    verdict = memory.verdict(usable) if memory is not None and usable is not None else None
    return FlavorRow(
        flavor=option.flavor,
        verdict=verdict,
        memory_gib=memory.total_gib if memory else None,
        limit_gib=usable,
        layout=option.layout,
        duration=None if verdict == "does not fit" else option.duration,
        why_not=option.why_not,
        estimate=memory,
    )
