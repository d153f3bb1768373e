"""Which machine a run gets, and why not the others."""

from __future__ import annotations

from dataclasses import replace

from hfjobs_trainer.facts import Facts
from hfjobs_trainer.planning.arguments.decide import Resolved
from hfjobs_trainer.planning.flavors import FlavorChoice, find_flavor, snapshot
from hfjobs_trainer.planning.hardware.catalogue import by_price
from hfjobs_trainer.planning.memory.closed_form import MemoryEstimate
from hfjobs_trainer.planning.memory.simulated import memory_on
from hfjobs_trainer.planning.search import Option, Search, exceeded_caps
from hfjobs_trainer.planning.workload import workload
from hfjobs_trainer.specs.base import TrainSpec


def memory_of(spec: TrainSpec, facts: Facts, resolved: Resolved) -> MemoryEstimate | None:
    """Memory of one GPU; ``None`` if the model's size is unknown."""
    return memory_on(workload(spec, facts, resolved), facts.simulation, resolved.world_size)


def choose_machine(spec: TrainSpec, facts: Facts) -> FlavorChoice:
    """The flavor that the user named, or the one on which the run is expected to cost least; of equals the faster."""
    hardware = facts.hardware or snapshot()
    if spec.hardware.flavor != "auto":
        flavor = find_flavor(spec.hardware.flavor, hardware)
        if flavor is None or not flavor.num_gpus:
            return FlavorChoice.named(flavor)
        option = Search(spec, facts, flavor).option(flavor)
        return replace(_taken(option), shortage=option.why_not if _fits(option) else None)
    search = Search(spec, facts)
    options = search.survey(sorted(hardware.flavors, key=by_price))
    possible = [option for option in options if option.why_not is None]
    rejected = {option.flavor.name: option.why_not or "" for option in options}
    if not possible:
        return FlavorChoice(
            None,
            rejected=tuple(rejected.items()),
            estimate=search.least_memory(),
            cheapest=_cheapest(options),
        )
    best = min(possible, key=lambda option: option.cost)
    rejected |= {option.flavor.name: _second(option, best) for option in possible}
    del rejected[best.flavor.name]
    return _taken(best, tuple(rejected.items()))


def find_alternative(spec: TrainSpec, facts: Facts) -> Option | None:
    """The flavor on which the run is expected to cost least, whatever was named.

    One within all caps; where none is, one that keeps ``max_hours``; where none does either, the cheapest of all.
    """
    freed = spec.replace(hardware={**spec.hardware.model_dump(exclude_unset=True), "flavor": "auto"})
    hardware = facts.hardware or snapshot()
    options = Search(freed, facts).survey(sorted(hardware.flavors, key=by_price))
    in_time = [option for option in options if "max_hours" not in exceeded_caps(spec, option.duration)]
    within = [option for option in options if option.why_not is None]
    return _cheapest(within) or _cheapest(in_time) or _cheapest(options)


def _cheapest(options: list[Option]) -> Option | None:
    """The cheapest on which the run would do, the caps aside."""
    runs = [option for option in options if option.why_not is None or option.over_cap]
    return min(runs, key=lambda option: option.cost, default=None)


def _fits(option: Option) -> bool:
    usable = option.flavor.usable_gpu_memory_gib
    return option.memory is not None and usable is not None and option.memory.fits(usable)


def _taken(option: Option, rejected: tuple[tuple[str, str], ...] = ()) -> FlavorChoice:
    flavor, memory = option.flavor, option.memory
    usable = flavor.usable_gpu_memory_gib
    return FlavorChoice(
        flavor=flavor,
        usd_per_hour=flavor.usd_per_hour,
        headroom=memory.headroom_gib(usable) if memory is not None and usable is not None else None,
        rejected=rejected,
        estimate=memory,
        layout=option.layout,
        duration=option.duration,
    )


def _second(option: Option, best: Option) -> str:
    """Why a flavor that would do is not the one."""
    if option.duration is not None and best.duration is not None:
        usd, least = option.duration.usd.expected, best.duration.usd.expected
        if f"{usd:.2f}" == f"{least:.2f}":
            return f"fits at the same cost, but is slower than {best.flavor.name}"
        return f"fits, but the run would cost about ${usd:.2f}; on {best.flavor.name} ${least:.2f}"
    if option.flavor.usd_per_hour > best.flavor.usd_per_hour:
        prices = f"${option.flavor.usd_per_hour:.2f}/h; {best.flavor.name} costs ${best.flavor.usd_per_hour:.2f}/h"
        return f"fits, but costs {prices}"
    return f"fits at the same price, with less GPU memory than {best.flavor.name}"
