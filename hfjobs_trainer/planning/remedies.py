"""What would make a run fit, or its answers be written in hours: sought by planning it with changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import chain
from typing import Protocol

from hfjobs_trainer.facts import Facts, Flavor, HardwareFacts
from hfjobs_trainer.planning.changes import (
    Fields,
    changes_anywhere,
    changes_elsewhere,
    changes_here,
    changes_of_batch,
    changes_of_disk,
    changes_of_hardware,
    changes_to_vllm,
    first_change,
    settled,
)
from hfjobs_trainer.planning.choose import Search, possible
from hfjobs_trainer.planning.duration.estimate import DurationEstimate
from hfjobs_trainer.planning.estimate import HOUR, Estimate, FlavorChoice
from hfjobs_trainer.planning.hardware.catalogue import find_flavor, snapshot
from hfjobs_trainer.planning.hardware.machine import machine_of
from hfjobs_trainer.planning.run import Run
from hfjobs_trainer.planning.understand import understand
from hfjobs_trainer.problems import Problem, ReasonKind
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.fixes import keywords

GENERATION_SHARE, LONG_HOURS, ENDLESS_HOURS = 0.5, 2.0, 24.0
"""Share of a run's time, and hours of that run, from which writing answers with transformers is worth a word; and hours
of writing from which vLLM is asked for."""

UNFIT_CODES = frozenset({"BATCH001", "HW003", "HW004", "HW008", "MEM001", "MEM002", "VLLM004", "VLLM007"})
"""The rules that tell of a machine that does not hold the run, or only just."""

CAP_CODES = frozenset({"COST001", "COST002"})
"""The rules that hold the run against the caps."""

_SMALL: frozenset[ReasonKind] = frozenset({"memory", "server", "host memory", "disk", "checkpoints"})
# What another machine of the same or less memory would not change.
_TOO_LARGE: frozenset[ReasonKind] = frozenset({"memory", "server", "unknown", "batch"})
# Machines on which a change is tried before it is planned on all: those with the most memory, in all and for one GPU.
_LARGEST = 3


class Planned(Protocol):
    """A plan without its script, as ``assemble.draft`` makes it."""

    @property
    def run(self) -> Run:
        """The run."""
        ...

    @property
    def choice(self) -> FlavorChoice | None:
        """How the flavor was chosen."""
        ...

    @property
    def estimate(self) -> Estimate:
        """What the run needs and costs."""
        ...

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All problems."""
        ...


Planning = Callable[[TrainSpec], Planned]
"""Plans a spec with the same facts, without seeking changes."""


def remedy(spec: TrainSpec, facts: Facts, found: Planned, plan: Planning) -> str:
    """The nearest change with which the run fits, as it is typed; empty if it fits, or if none was found."""
    changes = _changes_to_fit(spec, found, facts.hardware or snapshot())
    sought = _first(spec, facts, found, changes, plan) if changes is not None else None
    return "" if sought is None else keywords(sought[0])


def vllm_instead(spec: TrainSpec, facts: Facts, found: Planned, plan: Planning) -> Estimate | None:
    """What the run needs with vLLM, if it writes answers for long without: ``fix`` is what to type for it."""
    run = found.run
    if run.vllm is not None or run.use_cpu or "use_vllm" not in type(spec).model_fields:
        return None
    if not writes_for_long(found.estimate.duration):
        return None
    # what it costs then is another matter: its rules wait for this one
    sought = _first(spec, facts, found, changes_to_vllm(spec, run), plan, aside=CAP_CODES)
    if sought is None:
        return None
    fields, made = sought
    over = made.choice.cheapest if made.choice is not None else None
    return replace(over or made.estimate, fix=keywords(fields))


def writes_for_long(duration: DurationEstimate | None) -> bool:
    """Whether writing answers is most of a long run."""
    hours = hours_of_writing(duration)
    total = duration.seconds.expected / HOUR if duration is not None else 0.0
    return hours > ENDLESS_HOURS or (hours > GENERATION_SHARE * total and total > LONG_HOURS)


def hours_of_writing(duration: DurationEstimate | None) -> float:
    """Expected hours of writing answers during training; 0 if unknown."""
    written = duration.parts.get("generation") if duration is not None else None
    return written.expected / HOUR if written is not None else 0.0


def closest_flavor(choice: FlavorChoice, hardware: HardwareFacts) -> str:
    """Of flavors of which none will do, the one that comes closest."""
    reasons = dict(choice.rejected)
    sizes = {flavor.name: flavor.num_gpus * (flavor.usable_gpu_memory_gib or 0.0) for flavor in hardware.flavors}
    small = [name for name, why in reasons.items() if why.kind in _SMALL]
    dear = [name for name, why in reasons.items() if why.kind == "price"]
    return max(small, key=lambda name: sizes[name]) if small else dear[0] if dear else list(reasons)[-1]


def remedy_on(spec: TrainSpec, facts: Facts, flavor: Flavor, plan: Planning) -> str:
    """The nearest change with which the run fits on GPUs of one's own, as it is typed; empty if none was found.

    Args:
        spec: The spec.
        facts: Facts about model and dataset.
        flavor: The machine.
        plan: Plans for this machine, so that a change that is wrong anyway is not proposed.
    """
    fits = fits_on(facts, flavor)
    before = plan(spec)

    def holds(changed: TrainSpec) -> bool:
        return fits(changed) and adds_no_error(before, plan(changed))

    fields = first_change(spec, changes_here(spec, before.run), holds)
    if fields is not None:
        return keywords(fields)
    for gpus in (2, 4, 8):
        if gpus > flavor.num_gpus and fits_on(facts, replace(flavor, num_gpus=gpus))(spec):
            return f"num_gpus={gpus}"
    return ""


def fits_on(facts: Facts, flavor: Flavor) -> Callable[[TrainSpec], bool]:
    """Whether a spec fits on this machine, whichever it names."""

    def fits(changed: TrainSpec) -> bool:
        run = understand(changed, facts)
        return Search(run, flavor).estimate(machine_of(run, flavor)).reason is None

    return fits


def adds_no_error(before: Planned, after: Planned, *, aside: frozenset[str] = frozenset()) -> bool:
    """Whether a change makes nothing wrong that was right before; whether the run fits is another matter.

    Args:
        before: The plan without the change.
        after: The plan with it.
        aside: More codes that do not matter here.
    """
    return _errors(after) - aside <= _errors(before)


def _first(
    spec: TrainSpec,
    facts: Facts,
    found: Planned,
    changes: Iterator[Fields],
    plan: Planning,
    *,
    aside: frozenset[str] = frozenset(),
) -> tuple[Fields, Planned] | None:
    """The first change with which the planner finds that the run fits, and nothing else that was right before wrong."""
    hardware = facts.hardware or snapshot()
    planned: list[Planned] = []

    def holds(changed: TrainSpec) -> bool:
        if not _may_fit(understand(changed, facts), hardware):
            return False
        made = plan(changed)
        codes = {problem.code for problem in made.problems}
        chosen = made.choice is not None and (made.choice.flavor or (made.choice.cheapest if aside else None))
        if not chosen or codes & UNFIT_CODES or not adds_no_error(found, made, aside=aside):
            return False
        planned.append(made)
        return True

    fields = first_change(spec, changes, holds)
    if fields is None:
        return None
    made = planned[-1]
    over = made.choice.cheapest if made.choice is not None else None
    return settled(spec, fields, (over or made.estimate).machine.name), made


def _errors(planned: Planned) -> set[str]:
    return {problem.code for problem in planned.problems if problem.severity == "error"} - UNFIT_CODES


def _may_fit(run: Run, hardware: HardwareFacts) -> bool:
    """Whether a run is not too large for the machine that it names, or for the largest."""
    named = find_flavor(run.hardware.flavor, hardware)
    search = Search(run, named)
    machines = [named] if named is not None else _largest(run, hardware)
    found = (search.estimate(machine_of(run, flavor)) for flavor in machines)
    return any(each.reason is None or each.reason.kind not in _TOO_LARGE for each in found)


def _largest(run: Run, hardware: HardwareFacts) -> list[Flavor]:
    limit = run.hardware.max_usd_per_hour
    known = [each for each in hardware.flavors if each.num_gpus and (limit is None or each.usd_per_hour <= limit)]

    def memory(flavor: Flavor) -> float:
        return flavor.usable_gpu_memory_gib or 0.0

    whole = sorted(known, key=lambda flavor: flavor.num_gpus * memory(flavor))[-_LARGEST:]
    single = sorted(known, key=lambda flavor: (memory(flavor), -flavor.num_gpus))[-_LARGEST:]
    return list({flavor.name: flavor for flavor in [*whole, *single]}.values())


def _changes_to_fit(spec: TrainSpec, found: Planned, hardware: HardwareFacts) -> Iterator[Fields] | None:
    """The changes to try, by what the run lacks; ``None`` if it fits, or if that is unknown."""
    run, choice = found.run, found.choice
    if choice is None or choice.estimate is None or run.use_cpu:
        return None
    if run.hardware.flavor != "auto":
        reason = choice.estimate.reason
        if reason is None and found.estimate.verdict in (None, "fits"):
            return None
        kind: ReasonKind = reason.kind if reason is not None else "memory"
        if kind in ("unknown", "batch"):
            return None
        return _of_kind(spec, run, kind)
    if choice.flavor is not None or choice.cheapest is not None or not choice.rejected:
        return None
    closest = dict(choice.rejected)[closest_flavor(choice, hardware)].kind
    lifted = replace(run, hardware=run.hardware.model_copy(update={"max_usd_per_hour": None}))
    most = max(flavor.num_gpus for flavor in hardware.flavors)

    def asked() -> Iterator[Fields]:
        prices = () if run.hardware.max_usd_per_hour is None else possible(lifted, hardware)
        price = min((each.flavor.usd_per_hour for each in prices if each.flavor), default=None)
        yield from changes_of_hardware(spec, price, most - (run.vllm.gpus_set_aside if run.vllm else 0))

    return chain(asked(), _of_kind(spec, run, closest))


def _of_kind(spec: TrainSpec, run: Run, kind: ReasonKind) -> Iterator[Fields]:
    if kind == "batch":
        return changes_of_batch(spec, run)
    if kind == "checkpoints":
        return chain(changes_of_disk(spec), changes_elsewhere(spec, run))
    if kind in ("host memory", "disk"):
        return changes_elsewhere(spec, run)
    return changes_anywhere(spec, run)
