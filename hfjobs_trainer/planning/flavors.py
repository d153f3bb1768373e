"""Which machine of Hugging Face Jobs a run gets, why not the others, and the table of all of them."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from hfjobs_trainer.facts import Flavor, HardwareFacts
from hfjobs_trainer.planning.memory import MemoryEstimate
from hfjobs_trainer.planning.offers import by_price, find_flavor, parse_live, snapshot, suggest_flavors

__all__ = [
    "FlavorChoice",
    "HardwareTable",
    "Requirements",
    "choose_flavor",
    "find_flavor",
    "hardware_table",
    "parse_live",
    "snapshot",
    "suggest_flavors",
]

# Host memory beyond the weights that a training process needs for Python, torch and the data set's pages, GB.
PROCESS_RAM_GB = 3.0
# Disk that the packages of a script take when installed (torch and the CUDA libraries above all), GB.
PACKAGES_DISK_GB = 15.0


@dataclass(frozen=True, slots=True)
class Requirements:
    """What a run needs of a machine.

    Attributes:
        memory: Estimate for one GPU; ``None`` if the model's size is unknown.
        spread: Estimate for each number of GPUs, where the model is spread over them; empty with a copy on each.
        bf16: Whether the GPU must compute in bfloat16.
        min_gpus, max_gpus: Bounds on the number of GPUs, ``None`` for no upper bound. Where one GPU is allowed,
            machines with one come first: every GPU holds the whole model, so more of them never help it fit.
        max_usd_per_hour: Highest price of the machine, US dollars an hour; ``None`` for no limit.
        weights_bytes: Size of the weights as they are loaded, bytes; ``None`` if unknown, and host memory and disk are
            then not looked at.
    """

    memory: MemoryEstimate | None
    spread: Mapping[int, MemoryEstimate] = field(default_factory=dict[int, MemoryEstimate])
    bf16: bool = True
    min_gpus: int = 1
    max_gpus: int | None = None
    max_usd_per_hour: float | None = None
    weights_bytes: float | None = None

    def memory_on(self, flavor: Flavor) -> MemoryEstimate | None:
        """The estimate that holds for one GPU of this flavor."""
        return self.spread.get(flavor.num_gpus, self.memory)


@dataclass(frozen=True, slots=True)
class FlavorChoice:
    """Which machine was chosen, and why not the others.

    Attributes:
        flavor: The choice; ``None`` if nothing fits or nothing can be said.
        usd_per_hour: Its price, US dollars an hour.
        headroom: Memory that the estimated peak leaves free on one GPU, GiB, the margin included; ``None`` if unknown.
        rejected: Every other flavor and the first reason against it, cheapest first.
        estimate: The memory estimate that decided.
    """

    flavor: Flavor | None
    usd_per_hour: float | None = None
    headroom: float | None = None
    rejected: tuple[tuple[str, str], ...] = ()
    estimate: MemoryEstimate | None = None

    @classmethod
    def named(cls, flavor: Flavor | None, estimate: MemoryEstimate | None = None) -> FlavorChoice:
        """The choice that the user made."""
        if flavor is None:
            return cls(None, estimate=estimate)
        return cls(flavor, flavor.usd_per_hour, _headroom(flavor, estimate), estimate=estimate)

    def __str__(self) -> str:
        if self.flavor is None:
            lines = ["no flavor"]
        else:
            spare = "" if self.headroom is None else f", {self.headroom:.1f} GiB free at the estimated peak"
            lines = [f"{self.flavor.name}: {_gpus(self.flavor)}, ${self.usd_per_hour:.2f}/h{spare}"]
        width = max((len(name) for name, _ in self.rejected), default=0)
        return "\n".join([*lines, *(f"  not {name:<{width}}  {why}" for name, why in self.rejected)])


def choose_flavor(requirements: Requirements, hardware: HardwareFacts) -> FlavorChoice:
    """The cheapest flavor that meets the requirements; of two at one price, the one with more memory.

    Machines without a GPU are never chosen for training. Where nothing fits, or the model's size is unknown, ``flavor``
    is ``None`` and ``rejected`` says why for each.
    """
    reasons: dict[str, str] = {}
    fitting: list[Flavor] = []
    for flavor in sorted(hardware.flavors, key=by_price):
        why = _unfit(flavor, requirements)
        if why is None:
            fitting.append(flavor)
        else:
            reasons[flavor.name] = why
    if not fitting:
        return FlavorChoice(None, rejected=tuple(reasons.items()), estimate=requirements.memory)
    best = min(fitting, key=lambda flavor: (requirements.min_gpus <= 1 < flavor.num_gpus, *by_price(flavor)))
    for flavor in fitting:
        reasons[flavor.name] = _second(flavor, best)
    order = [flavor.name for flavor in sorted(hardware.flavors, key=by_price) if flavor.name != best.name]
    return FlavorChoice(
        flavor=best,
        usd_per_hour=best.usd_per_hour,
        headroom=_headroom(best, requirements.memory_on(best)),
        rejected=tuple((name, reasons[name]) for name in order),
        estimate=requirements.memory_on(best),
    )


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

    def __str__(self) -> str:
        lines = [self.HEADER, *self._cells()]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.HEADER))]

        def aligned(line: Sequence[str]) -> str:
            names = [cell.ljust(width) for cell, width in zip(line[:2], widths[:2], strict=True)]
            numbers = [cell.rjust(width) for cell, width in zip(line[2:], widths[2:], strict=True)]
            return "  ".join([*names, *numbers])

        return "\n".join([*map(aligned, lines), f"prices: {self.source}; GPU memory is that of one GPU"])

    def _repr_html_(self) -> str:
        def row(tag: str, cells: Iterable[str]) -> str:
            return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

        head, body = row("th", self.HEADER), "".join(row("td", cells) for cells in self._cells())
        caption = html.escape(f"prices: {self.source}; GPU memory is that of one GPU")
        return f"<table><caption>{caption}</caption><thead>{head}</thead><tbody>{body}</tbody></table>"


def hardware_table(hardware: HardwareFacts | None = None) -> HardwareTable:
    """The flavors on offer as a table; the snapshot's if none are given."""
    offered = hardware or snapshot()
    return HardwareTable(tuple(sorted(offered.flavors, key=by_price)), offered.source)


def _headroom(flavor: Flavor, estimate: MemoryEstimate | None) -> float | None:
    if estimate is None or flavor.usable_gpu_memory_gib is None:
        return None
    return estimate.headroom_gib(flavor.usable_gpu_memory_gib, flavor.num_gpus)


def _unfit(flavor: Flavor, wanted: Requirements) -> str | None:
    """The first reason against a flavor, or ``None``."""
    if not flavor.num_gpus:
        return "no GPU: training needs one" if flavor.gpu is None else f"{flavor.gpu} is not a CUDA GPU"
    if flavor.num_gpus < wanted.min_gpus:
        return f"has {flavor.num_gpus} GPU{'s' if flavor.num_gpus > 1 else ''}, {wanted.min_gpus} are wanted"
    if wanted.max_gpus is not None and flavor.num_gpus > wanted.max_gpus:
        return f"has {flavor.num_gpus} GPUs, {wanted.max_gpus} would be used"
    if wanted.bf16 and not flavor.bf16:
        return f"{flavor.gpu} does not compute in bfloat16"
    if wanted.max_usd_per_hour is not None and flavor.usd_per_hour > wanted.max_usd_per_hour:
        return f"${flavor.usd_per_hour:.2f}/h is above max_usd_per_hour={wanted.max_usd_per_hour:g}"
    memory = wanted.memory_on(flavor)
    if memory is None:
        return "the size of the model is unknown, so nobody can say whether it fits"
    return _too_small(flavor, wanted, memory)


def _too_small(flavor: Flavor, wanted: Requirements, memory: MemoryEstimate) -> str | None:
    usable = flavor.usable_gpu_memory_gib
    if usable is None:
        return "the memory of its GPU is unknown"
    if not memory.fits(usable, flavor.num_gpus):
        peak = usable * (1 - memory.gpu_fraction) - memory.headroom_gib(usable, flavor.num_gpus)
        share = f", of which vLLM claims {memory.gpu_fraction:.0%}" if memory.gpu_fraction else ""
        return f"needs {peak:.1f} GiB and {memory.margin_gib:.1f} GiB of margin, a GPU has {usable:.1f} GiB{share}"
    if wanted.weights_bytes is None:
        return None
    weights_gb = wanted.weights_bytes / 1e9
    # a process per GPU, each of which loads the weights by way of host memory; where they are spread, one does for all
    ram = weights_gb * (1 if wanted.spread else flavor.num_gpus) + flavor.num_gpus * PROCESS_RAM_GB
    if flavor.ram_gb and ram > flavor.ram_gb:
        return f"needs {ram:.0f} GB of host memory to load the weights, it has {flavor.ram_gb:g} GB"
    # the download, the saved model, and a checkpoint of what is trained with its optimizer
    trained = memory.adapter or wanted.weights_bytes
    disk = PACKAGES_DISK_GB + 2 * weights_gb + (trained + memory.optimizer_states) / 1e9
    if flavor.disk_gb and disk > flavor.disk_gb:
        return f"needs {disk:.0f} GB of disk for the weights and one checkpoint, it has {flavor.disk_gb:g} GB"
    return None


def _second(flavor: Flavor, best: Flavor) -> str:
    if flavor.usd_per_hour > best.usd_per_hour:
        return f"fits, but costs ${flavor.usd_per_hour:.2f}/h; {best.name} costs ${best.usd_per_hour:.2f}/h"
    if flavor.num_gpus > best.num_gpus:
        return f"fits, but one GPU is enough: {best.name}"
    return f"fits at the same price, with less GPU memory than {best.name}"


def _gpus(flavor: Flavor) -> str:
    """Such as ``"4x NVIDIA L4"``."""
    if flavor.gpu is None or not flavor.num_gpus:
        return flavor.gpu or "no GPU"
    return f"{flavor.num_gpus}x {flavor.gpu}" if flavor.num_gpus > 1 else flavor.gpu
