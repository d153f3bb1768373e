"""What a run needs of a machine and costs there, and the records of the choice and the comparison of flavors."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from hfjobs_trainer.display import html_pairs, html_section, html_table, plural, text_table
from hfjobs_trainer.facts import Flavor
from hfjobs_trainer.planning.duration.estimate import DurationEstimate
from hfjobs_trainer.planning.duration.ranges import Range
from hfjobs_trainer.planning.hardware.machine import NO_MACHINE, Machine
from hfjobs_trainer.planning.hardware.table import describe_gpus
from hfjobs_trainer.planning.layout import Layout
from hfjobs_trainer.planning.memory.estimate import MemoryEstimate, Verdict
from hfjobs_trainer.planning.prefer import Alternative, alternatives
from hfjobs_trainer.problems import Reason

HOUR = 3600.0

NO_CHANGE = "no change that was tried makes it fit"


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run needs of a machine and what it costs there; what is unknown is ``None``.

    Attributes:
        machine: The machine.
        layout: Strategy, batch per device, accumulation and gradient checkpointing: the cheapest layout that fits; if
            none does, the one that needs the least memory.
        memory: The peak on one GPU.
        duration: Seconds and US dollars, each low, expected and high.
        reason: The first reason against the machine; ``None`` if the run fits there.
        fix: What to type so that it fits, as keyword arguments of ``spec.replace``, tried by planning the run so; for a
            GPU of your own it may be ``num_gpus``, an argument of ``hft.estimate``. Empty if the run fits, or if
            nothing was found.
    """

    machine: Machine = NO_MACHINE
    layout: Layout | None = None
    memory: MemoryEstimate | None = None
    duration: DurationEstimate | None = None
    reason: Reason | None = None
    fix: str = ""

    @property
    def flavor(self) -> Flavor | None:
        """The flavor; ``None`` if none was chosen."""
        return self.machine.flavor

    @property
    def gpu(self) -> str | None:
        """Name of the GPU."""
        return self.flavor.gpu if self.flavor else None

    @property
    def num_gpus(self) -> int:
        """GPUs that train, over all machines."""
        return self.machine.world_size

    @property
    def usable_gib(self) -> float | None:
        """Memory of one GPU that torch reports as its total, GiB."""
        return self.machine.usable_gib

    @property
    def memory_gib(self) -> float | None:
        """Estimated peak on one GPU, GiB, without margin."""
        return self.memory.total_gib if self.memory else None

    @property
    def headroom_gib(self) -> float | None:
        """Memory of one GPU that the estimated peak leaves free, GiB, the margin included."""
        usable = self.usable_gib
        return self.memory.headroom_gib(usable) if self.memory is not None and usable is not None else None

    @property
    def is_known(self) -> bool:
        """Whether anything could be estimated."""
        return self.memory is not None or self.duration is not None

    @property
    def verdict(self) -> Verdict | None:
        """``"fits"``, ``"tight"`` or ``"does not fit"``; ``None`` if the model's or the GPU's size is unknown."""
        usable = self.usable_gib
        return None if self.memory is None or usable is None else self.memory.verdict(usable)

    @property
    def why_not(self) -> str | None:
        """The reason as text; ``None`` if the run fits there, or if that is unknown."""
        return self.reason

    @property
    def fits(self) -> bool:
        """Whether the peak and its margin are known to fit."""
        usable = self.usable_gib
        return self.memory is not None and usable is not None and self.memory.fits(usable)

    @property
    def seconds(self) -> Range | None:
        """How long the job takes, seconds, startup included."""
        return self.duration.seconds if self.duration else None

    @property
    def hours(self) -> float | None:
        """Expected time, hours."""
        return self.duration.seconds.expected / HOUR if self.duration else None

    @property
    def usd(self) -> Range | None:
        """What the job costs, US dollars; ``None`` for a GPU of your own."""
        return self.duration.usd if self.duration and self.machine.is_rented else None

    @property
    def cost(self) -> tuple[bool, float, float]:
        """Sort key: expected US dollars, then expected seconds; if unknown, last and by hourly price."""
        if self.duration is None:
            return True, self.flavor.usd_per_hour if self.flavor else 0.0, -(self.usable_gib or 0.0)
        return False, self.duration.usd.expected, self.duration.seconds.expected

    def __repr__(self) -> str:
        known = {
            "gpu": self.gpu and (f"{self.num_gpus}x {self.gpu}" if self.num_gpus > 1 else self.gpu),
            "verdict": self.verdict,
            "memory": None if self.memory is None else f"{self.memory_gib:.1f} GiB",
            "time": self.duration and self.duration.seconds.as_duration(),
            "cost": self.usd and self.usd.as_usd(),
        }
        return f"Estimate({', '.join(f'{name}={value!r}' for name, value in known.items() if value)})"

    def _repr_html_(self) -> str:
        where = f"{f'{self.num_gpus} x ' if self.num_gpus > 1 else ''}{self.gpu or 'no GPU'}"
        usable = "" if self.usable_gib is None else f", {self.usable_gib:.1f} GiB each"
        rows: dict[str, str | list[str]] = {"on": where + usable}
        if self.verdict is not None:
            rows["verdict"] = self.verdict if self.reason is None else f"{self.verdict}: {self.reason}"
        rows["memory"] = str(self.memory).split("\n") if self.memory else str(self.reason or "unknown")
        if self.fix:
            rows["fits with"] = self.fix
        if self.layout is not None:
            rows["with"] = str(self.layout)
        if self.duration is None:
            return html_pairs({**rows, "time": "unknown"})
        rows["time"] = f"about {self.duration.seconds.as_duration()}, {self.duration.steps:,} steps"
        if self.usd is not None:
            rows["cost"] = f"about {self.usd.as_usd()}"
        rows["assumed"] = list(self.duration.assumed) or "nothing"
        parts = {name: part.as_duration() for name, part in self.duration.parts.items()}
        return html_pairs(rows) + html_section("where the time goes", html_pairs(parts))

    def __str__(self) -> str:
        where = f" on {f'{self.num_gpus} x ' if self.num_gpus > 1 else ''}{self.gpu}" if self.gpu else ""
        lines: list[str] = []
        if self.verdict is not None:
            lines.append(f"{self.verdict}{where}, of which each has {self.usable_gib:.1f} GiB")
        if self.memory is None:
            unknown = "the model's size is unknown"
            lines.append(f"memory: {self.reason or unknown}")
        else:
            lines.append(str(self.memory))
            # the verdict covers memory already
            lines += [f"but {self.reason}"] if self.reason and self.verdict != "does not fit" else []
        if self.fix:
            lines.append(f"fits with {self.fix}")
        elif self.memory is not None and self.verdict == "does not fit" and (self.reason or "").endswith(NO_CHANGE):
            lines.append(NO_CHANGE)
        if self.layout is not None:
            lines.append(f"with {self.layout}")
        if self.duration is None:
            lines.append("time: unknown")
        else:
            lines.append("about " + self.duration.seconds.as_duration())
            lines += [f"about {self.usd.as_usd()}"] if self.usd is not None else []
            lines += [f"  {line}" for line in self.duration.assumptions]
        return "\n".join(lines)


UNKNOWN = Estimate()
"""The estimate of a run about which nothing is known."""


@dataclass(frozen=True, slots=True)
class FlavorChoice:
    """The chosen flavor, and the reason against each other one.

    Attributes:
        flavor: The choice; ``None`` if nothing fits, or if that is unknown.
        estimate: What the run needs there; if nothing was chosen, the least memory that it needs on one GPU.
        rejected: Every other flavor and the first reason against it, cheapest first.
        cheapest: If nothing was chosen because of ``max_usd`` or ``max_hours``: what would be cheapest without them.
        fitting: If the flavor was chosen: each on which the run fits within its caps, cheapest per hour first.
        look: If it was named: finds these, for ``alternatives``.
    """

    flavor: Flavor | None
    estimate: Estimate | None = None
    rejected: tuple[tuple[str, Reason], ...] = ()
    cheapest: Estimate | None = None
    fitting: tuple[Estimate, ...] = field(default=(), repr=False, compare=False)
    look: Callable[[], tuple[Estimate, ...]] | None = field(default=None, repr=False, compare=False)

    @property
    def alternatives(self) -> tuple[Alternative, ...]:
        """The two or three other flavors that are worth a thought: cheaper, faster, or with more memory to spare.

        Of a named flavor: those that are clearly cheaper and faster. Asked of one, all flavors are then compared.
        """
        if self.flavor is None or self.estimate is None:
            return ()
        possible = self.fitting or (self.look() if self.look is not None else ())
        return alternatives(self.estimate, possible, named=self.look is not None)

    @property
    def usd_per_hour(self) -> float | None:
        """Price of one machine, US dollars per hour."""
        return self.flavor.usd_per_hour if self.flavor else None

    @property
    def layout(self) -> Layout | None:
        """The layout of the run on the machine; ``None`` if the model's size is unknown."""
        return self.estimate.layout if self.flavor and self.estimate else None

    @property
    def duration(self) -> DurationEstimate | None:
        """How long the run takes there, and what it costs; ``None`` if unknown."""
        return self.estimate.duration if self.estimate else None

    @property
    def headroom(self) -> float | None:
        """Memory that the estimated peak leaves free on one GPU, GiB, the margin included; ``None`` if unknown."""
        return self.estimate.headroom_gib if self.estimate else None

    @property
    def shortage(self) -> Reason | None:
        """The limit of a named flavor, besides GPU memory, that the run is expected to exceed; ``None`` if none."""
        return self.estimate.reason if self.estimate is not None and self.estimate.fits else None

    def __repr__(self) -> str:
        name = self.flavor and self.flavor.name
        return f"FlavorChoice({name!r}, {plural(len(self.rejected), 'flavor')} rejected)"

    def _repr_html_(self) -> str:
        head, *_ = str(self).split("\n  not ")
        rejected = html_table(("flavor", "why not"), [(name, str(why)) for name, why in self.rejected])
        count = plural(len(self.rejected), "other flavor")
        return html_pairs({"flavor": head.split("\n  ")}) + html_section(f"{count}, and why not", rejected)

    def __str__(self) -> str:
        if self.flavor is None:
            lines = ["no flavor"]
        else:
            free = self.headroom
            spare = "" if free is None else f", {free:.1f} GiB free at the estimated peak"
            lines = [f"{self.flavor.name}: {describe_gpus(self.flavor)}, ${self.usd_per_hour:.2f}/h{spare}"]
        if self.duration is not None:
            lines.append(f"  about {self.duration.seconds.as_duration()}, {self.duration.usd.as_usd()}")
        lines += [f"  or {each}" for each in self.alternatives]
        width = max((len(name) for name, _ in self.rejected), default=0)
        return "\n".join([*lines, *(f"  not {name:<{width}}  {why}" for name, why in self.rejected)])


@dataclass(frozen=True, slots=True)
class FlavorComparison:
    """The estimates of a run on every flavor: printable, and indexable by the flavor's name.

    Attributes:
        rows: Every flavor: those on which the run fits first, cheapest first.
        source: Where the prices come from: ``"live"`` or ``"snapshot"`` and its date.
    """

    rows: tuple[Estimate, ...]
    source: str

    HEADER = ("flavor", "fits", "GiB", "of", "layout", "hours", "$", "note")
    NUMBERS = ("GiB", "of", "hours", "$")

    def __iter__(self) -> Iterator[Estimate]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, name: str) -> Estimate:
        for row in self.rows:
            if row.machine.name == name:
                return row
        raise KeyError(f"no flavor {name!r}; choose one of {', '.join(row.machine.name for row in self.rows)}")

    def _cells(self) -> list[tuple[str, ...]]:
        return [
            (
                row.machine.name,
                row.verdict or "-",
                _number(row.memory_gib, 1),
                _number(row.usable_gib, 1),
                "-" if row.layout is None else str(row.layout),
                _number(row.hours, 2),
                _number(row.usd.expected if row.usd else None, 2),
                "; ".join([*([row.reason] if row.reason else []), *([f"fits with {row.fix}"] if row.fix else [])]),
            )
            for row in self.rows
        ]

    @property
    def _caption(self) -> str:
        return f"prices: {self.source}; GiB: peak of one GPU, without margin; hours and $: expected values"

    def __repr__(self) -> str:
        fitting = sum(row.fits and row.reason is None for row in self.rows)
        return f"FlavorComparison({plural(len(self), 'flavor')}, the run fits on {fitting})"

    def __str__(self) -> str:
        return text_table(self.HEADER, self._cells(), self._caption, right=self.NUMBERS)

    def _repr_html_(self) -> str:
        return html_table(self.HEADER, self._cells(), self._caption, right=self.NUMBERS)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
