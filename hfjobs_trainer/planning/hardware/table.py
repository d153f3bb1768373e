"""The table of the hardware on offer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hfjobs_trainer.display import html_table, text_table
from hfjobs_trainer.facts import Flavor, HardwareFacts
from hfjobs_trainer.planning.hardware.catalogue import by_price, snapshot, suggest_flavors


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
        return f"prices: {self.source}; GPU memory is per GPU"

    def __repr__(self) -> str:
        return f"HardwareTable({len(self)} flavors, prices: {self.source})"

    def __str__(self) -> str:
        return text_table(self.HEADER, self._cells(), self._caption, right=self.HEADER[2:])

    def _repr_html_(self) -> str:
        return html_table(self.HEADER, self._cells(), self._caption, right=self.HEADER[2:])


def hardware_table(hardware: HardwareFacts | None = None) -> HardwareTable:
    """The flavors on offer as a table; the snapshot's if none are given."""
    offered = hardware or snapshot()
    return HardwareTable(tuple(sorted(offered.flavors, key=by_price)), offered.source)


def describe_gpus(flavor: Flavor) -> str:
    """Such as ``"4x NVIDIA L4"``."""
    if flavor.gpu is None or not flavor.num_gpus:
        return flavor.gpu or "no GPU"
    return f"{flavor.num_gpus}x {flavor.gpu}" if flavor.num_gpus > 1 else flavor.gpu
