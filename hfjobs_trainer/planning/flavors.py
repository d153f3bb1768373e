"""Which machine of Hugging Face Jobs a run gets, why not the others, and the table of all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hfjobs_trainer.facts import Flavor, HardwareFacts
from hfjobs_trainer.planning.hardware.catalogue import by_price, find_flavor, parse_live, snapshot, suggest_flavors
from hfjobs_trainer.planning.hardware.table import as_html, as_text
from hfjobs_trainer.planning.memory.closed_form import MemoryEstimate

if TYPE_CHECKING:
    from hfjobs_trainer.planning.duration.estimate import DurationEstimate
    from hfjobs_trainer.planning.layout import Layout
    from hfjobs_trainer.planning.search import Option

__all__ = [
    "FlavorChoice",
    "HardwareTable",
    "find_flavor",
    "hardware_table",
    "parse_live",
    "snapshot",
    "suggest_flavors",
]


@dataclass(frozen=True, slots=True)
class FlavorChoice:
    """Which machine was chosen, and why not the others.

    Attributes:
        flavor: The choice; ``None`` if nothing fits or nothing can be said.
        usd_per_hour: Its price, US dollars an hour.
        headroom: Memory that the estimated peak leaves free on one GPU, GiB, the margin included; ``None`` if unknown.
        rejected: Every other flavor and the first reason against it, cheapest first.
        estimate: The memory estimate that decided.
        layout: How the run is laid out on the machine; ``None`` where the model's size is unknown.
        duration: How long the run takes there, and what it costs; ``None`` where nobody can say.
        shortage: What of a named flavor's host memory or disk the run is expected to exceed; ``None`` if nothing.
        cheapest: Where nothing was chosen because of ``max_usd`` or ``max_hours``: what would do without them.
    """

    flavor: Flavor | None
    usd_per_hour: float | None = None
    headroom: float | None = None
    rejected: tuple[tuple[str, str], ...] = ()
    estimate: MemoryEstimate | None = None
    layout: Layout | None = None
    duration: DurationEstimate | None = None
    shortage: str | None = None
    cheapest: Option | None = None

    @classmethod
    def named(cls, flavor: Flavor | None) -> FlavorChoice:
        """The choice that the user made, of which nothing else is known."""
        return cls(flavor, flavor.usd_per_hour if flavor else None)

    def __str__(self) -> str:
        if self.flavor is None:
            lines = ["no flavor"]
        else:
            spare = "" if self.headroom is None else f", {self.headroom:.1f} GiB free at the estimated peak"
            lines = [f"{self.flavor.name}: {_gpus(self.flavor)}, ${self.usd_per_hour:.2f}/h{spare}"]
        if self.duration is not None:
            lines.append(f"  about {self.duration.seconds.as_duration()}, {self.duration.usd.as_usd()}")
        width = max((len(name) for name, _ in self.rejected), default=0)
        return "\n".join([*lines, *(f"  not {name:<{width}}  {why}" for name, why in self.rejected)])


@dataclass(frozen=True, slots=True)
class HardwareTable:
    """The flavors on offer, printable, and indexable by name.

    Attributes:
        rows: Every flavor, cheapest first.
        source: Where the prices come from: ``"live"`` or ``"snapshot"`` and its date.
    """

    rows: tuple[Flavor, ...]
    source: str

    HEADER = ("flavor", "GPU", "GPUs", "GPU memory", "vCPU", "RAM", "disk", "$/h")

    def __iter__(self) -> Iterator[Flavor]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, name: str) -> Flavor:
        for row in self.rows:
            if row.name == name:
                return row
        near = suggest_flavors(name, HardwareFacts(self.rows, self.source))
        raise KeyError(f"no flavor {name!r}" + (f"; did you mean {' or '.join(near)}?" if near else ""))

    def _cells(self) -> list[tuple[str, ...]]:
        return [
            (
                row.name,
                row.gpu or "-",
                str(row.num_gpus or "-"),
                f"{row.gpu_memory_gb:g} GB" if row.gpu_memory_gb else "-",
                str(row.vcpu),
                f"{row.ram_gb:g} GB",
                f"{row.disk_gb:g} GB",
                f"{row.usd_per_hour:.2f}",
            )
            for row in self.rows
        ]

    @property
    def _caption(self) -> str:
        return f"prices: {self.source}; GPU memory is that of one GPU"

    def __str__(self) -> str:
        return as_text(self.HEADER, self._cells(), self._caption, right=self.HEADER[2:])

    def _repr_html_(self) -> str:
        return as_html(self.HEADER, self._cells(), self._caption)


def hardware_table(hardware: HardwareFacts | None = None) -> HardwareTable:
    """The flavors on offer as a table; the snapshot's if none are given."""
    offered = hardware or snapshot()
    return HardwareTable(tuple(sorted(offered.flavors, key=by_price)), offered.source)


def _gpus(flavor: Flavor) -> str:
    """Such as ``"4x NVIDIA L4"``."""
    if flavor.gpu is None or not flavor.num_gpus:
        return flavor.gpu or "no GPU"
    return f"{flavor.num_gpus}x {flavor.gpu}" if flavor.num_gpus > 1 else flavor.gpu
