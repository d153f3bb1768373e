"""Choose a machine and a layout for a run: whether each fits, how long the run takes there and what it costs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

from hfjobs_trainer.display import plural
from hfjobs_trainer.facts import Flavor, HardwareFacts
from hfjobs_trainer.planning.arguments.packing import PACKING_GAIN
from hfjobs_trainer.planning.arguments.precision import settle_precision
from hfjobs_trainer.planning.arguments.strategies import SHARDED
from hfjobs_trainer.planning.duration.amounts import Amounts, amounts_of
from hfjobs_trainer.planning.duration.estimate import DurationEstimate, estimate_duration, expected_seconds
from hfjobs_trainer.planning.duration.pace import USUAL_VCPU, Setup
from hfjobs_trainer.planning.estimate import HOUR, Estimate, FlavorChoice
from hfjobs_trainer.planning.hardware.catalogue import by_price, find_flavor
from hfjobs_trainer.planning.hardware.machine import Machine, machine_of
from hfjobs_trainer.planning.layout import Layout, layouts, resume_every
from hfjobs_trainer.planning.memory.estimate import MemoryEstimate
from hfjobs_trainer.planning.memory.simulated import memory_on
from hfjobs_trainer.planning.memory.storage import CHECKPOINTS_KEPT, lacks_storage
from hfjobs_trainer.planning.memory.vllm import group_sizes, least_share, server_shortage
from hfjobs_trainer.planning.memory.workload import workload_of
from hfjobs_trainer.planning.model.shape import BYTES
from hfjobs_trainer.planning.prefer import preferred, why_not
from hfjobs_trainer.planning.run import Run
from hfjobs_trainer.problems import Reason
from hfjobs_trainer.specs.groups import Hardware

Fitting = tuple[Layout, MemoryEstimate]


class Search:
    """The search for the machine and layout of one run; what does not depend on the machine is computed once.

    Args:
        run: The run.
        flavor: The flavor that the user named, which decides the precision; ``None`` to compare all.
    """

    def __init__(self, run: Run, flavor: Flavor | None = None) -> None:
        self.run = run
        self.precision = settle_precision(run, flavor)
        self.amounts = amounts_of(run, self.precision)
        self.packed_amounts = amounts_of(run, self.precision, packing=True) if run.rows.most_packed else None
        self.needs_bf16 = run.mixed_precision in (None, "bf16") or run.bf16_adapter
        self._estimated: dict[int, list[Fitting]] = {}

    def estimate(self, machine: Machine) -> Estimate:
        """The estimate with the best layout on this machine; what the user demands of machines is not checked."""
        found = self._best(machine)
        shortage = server_shortage(self.run, machine) if found.reason is None else None
        return replace(found, reason=Reason("server", f"vLLM server: {shortage}")) if shortage else found

    def survey(self, flavors: Iterable[Flavor]) -> Iterator[Estimate]:
        """Every flavor with the first reason against it, in the order given; estimated as it is asked for."""
        for flavor in flavors:
            machine = machine_of(self.run, flavor)
            reason = self._unfit(flavor)
            estimate = Estimate(machine, reason=reason) if reason else self.estimate(machine)
            if estimate.reason is None and (why := over_cap(self.run.hardware, estimate.duration)) is not None:
                estimate = replace(estimate, reason=Reason("cap", why))
            yield estimate

    def least_memory(self) -> Estimate | None:
        """The layout on one GPU that needs the least memory; ``None`` if there is none, or the size is unknown."""
        least = min(self._layouts(1), key=_total_bytes, default=None)
        return Estimate(layout=least[0], memory=least[1]) if least else None

    def _best(self, machine: Machine) -> Estimate:
        estimated, usable = self._layouts(machine.num_gpus), machine.usable_gib
        if not estimated or usable is None:
            return Estimate(machine, reason=self._unknown(machine))
        if self.run.vllm is not None and self.run.vllm.colocated:
            estimated = [self._beside_vllm(layout, memory, usable) for layout, memory in estimated]
        fitting = [(layout, memory) for layout, memory in estimated if memory.fits(usable)]
        if not fitting:
            layout, memory = min(estimated, key=_total_bytes)
            return replace(self._timed(machine, layout, memory), reason=_too_large(layout, memory, usable))
        # a copy of the model on each GPU is simplest: if it fits, nothing is sharded
        copies = [each for each in fitting if each[0].strategy not in SHARDED]
        # TRL's defaults come first, and win ties
        layout, memory = min(copies or fitting, key=lambda each: self._weight(machine, *each))
        return self._stored(self._timed(machine, layout, memory))

    def _stored(self, best: Estimate) -> Estimate:
        """The estimate with as many checkpoints as the machine's disk holds."""
        lacking = self._lacking(best, self.run.saving.limit)
        if lacking is None or best.layout is None:
            return best
        if not self.run.saving.limit_is_set:
            limited = self._lacking(best, CHECKPOINTS_KEPT)
            if limited != lacking:
                best = replace(best, layout=replace(best.layout, save_total_limit=CHECKPOINTS_KEPT))
            lacking = limited
        return replace(best, reason=lacking)

    def _beside_vllm(self, layout: Layout, memory: MemoryEstimate, usable: float) -> Fitting:
        """The layout with a vLLM on the same GPUs, each copy of the model on as few of them as possible."""
        run, vllm = self.run, self.run.vllm
        beside = layout, memory
        for size in group_sizes(vllm, run.model, layout.num_gpus) if vllm else ():
            least = least_share(run, vllm, size, usable) if vllm else None
            if vllm is None or least is None:
                return layout, memory
            share = memory.gpu_fraction if vllm.share_is_set else least
            beside = replace(layout, vllm_tensor_parallel_size=size), replace(memory, gpu_fraction=share)
            if least <= share and beside[1].fits(usable):
                break
        return beside

    def _layouts(self, num_gpus: int) -> list[Fitting]:
        """Every layout on this many GPUs, with its memory; computed once."""
        if num_gpus not in self._estimated:
            found: list[Fitting] = []
            for layout in layouts(self.run, num_gpus):
                workload = workload_of(self.run, self.precision, layout)
                memory = memory_on(workload, self.run.simulation, max(1, num_gpus) * self.run.nodes)
                if memory is not None:
                    found.append((layout, memory))
            self._estimated[num_gpus] = found
        return self._estimated[num_gpus]

    def _weight(self, machine: Machine, layout: Layout, memory: MemoryEstimate) -> tuple[float, float]:
        """Sort key of a layout: dollars, then seconds, both with packing's required gain added."""
        timing = self._timing(machine, layout, memory)
        if timing is None:
            return 0.0, 0.0
        usd, seconds = expected_seconds(*timing)
        return (usd * PACKING_GAIN, seconds * PACKING_GAIN) if layout.packing else (usd, seconds)

    def _timed(self, machine: Machine, layout: Layout, memory: MemoryEstimate) -> Estimate:
        timing = self._timing(machine, layout, memory)
        return Estimate(machine, layout, memory, estimate_duration(*timing) if timing else None)

    def _timing(self, machine: Machine, layout: Layout, memory: MemoryEstimate) -> tuple[Amounts, Setup] | None:
        gpu, amounts = machine.gpu, self.packed_amounts if layout.packing else self.amounts
        if amounts is None or gpu is None or machine.flavor is None:
            return None
        return amounts, Setup(
            gpu=gpu,
            num_gpus=layout.num_gpus * machine.nodes,
            nodes=machine.nodes,
            strategy=memory.strategy if layout.strategy == "user" else layout.strategy,
            per_device_train_batch_size=layout.per_device_train_batch_size,
            gradient_accumulation_steps=layout.gradient_accumulation_steps,
            gradient_checkpointing=layout.gradient_checkpointing,
            vcpu=machine.flavor.vcpu or USUAL_VCPU,
            usd_per_hour=machine.usd_per_hour or 0.0,
            server_gpus=machine.server_gpus,
            vllm_tensor_parallel_size=layout.vllm_tensor_parallel_size,
            chooses_saves=machine.is_rented and self.run.saving.is_open,
            save_multiple=resume_every(self.run, layout, layout.num_gpus * machine.nodes),
        )

    def _lacking(self, found: Estimate, limit: int | None) -> Reason | None:
        """The storage of the machine that is too small if ``limit`` checkpoints are kept; ``None`` if none is."""
        flavor, layout, memory, parameters = found.flavor, found.layout, found.memory, self.run.num_parameters
        if not parameters or flavor is None or layout is None or memory is None:
            return None
        weights = parameters * BYTES.get(self.precision.dtype, 4.0)
        checkpoints = self._checkpoints(found.duration, limit)
        return lacks_storage(flavor, layout, memory, weights, checkpoints, resumable=self.run.saving.resumable)

    def _checkpoints(self, duration: DurationEstimate | None, limit: int | None) -> float:
        """Checkpoints that are on the disk at once; 1 if it is unknown how many are saved."""
        saving, made = self.run.saving, 1.0
        if saving.every == 0:
            return 0
        if duration is not None:
            chosen = duration.saves is not None and duration.saves.chosen
            every, steps = duration.saves.every if duration.saves and chosen else saving.every, duration.steps
            epochs = self.run.epochs
            made = epochs if every is None else 1 / every if every < 1 else steps // max(1.0, every) + 1
        if limit is None or limit <= 0:
            return made
        # the newest and the best are never deleted, and none before the next is written (transformers 5.23:
        # trainer_utils.py, rotate_checkpoints)
        return min(made, max(limit, 1 + saving.keeps_best) + 1)

    def _unknown(self, machine: Machine) -> Reason:
        """The reason why there is no layout with known memory."""
        if machine.usable_gib is None:
            return Reason("unknown", "the memory of its GPU is unknown")
        run, batch = self.run, self.run.batch
        if next(layouts(run, machine.num_gpus), None) is not None:
            return Reason("unknown", f"cannot tell whether it fits without knowing {' and '.join(run.unknown)}")
        set_by_user = {
            f"per_device_train_batch_size={batch.per_device}": batch.per_device_is_set,
            f"gradient_accumulation_steps={batch.accumulation}": batch.accumulation_is_set,
        }
        given = " and ".join(text for text, is_set in set_by_user.items() if is_set)
        gpus = plural(machine.num_gpus * run.nodes, "GPU")
        asked = f"global_batch_size={batch.global_size} cannot be divided among {gpus}"
        return Reason("batch", f"{asked}{f' with {given}' if given else ''}")

    def _unfit(self, flavor: Flavor) -> Reason | None:
        """The first reason against a flavor that can be given without an estimate, or ``None``."""
        run, hardware = self.run, self.run.hardware
        aside = run.vllm.gpus_set_aside if run.vllm is not None else 0
        several = run.strategy in ("ddp", *SHARDED) and hardware.strategy != "auto" and run.nodes == 1
        least = aside + (hardware.num_gpus or (2 if several else 1))
        most = 1 + aside if hardware.strategy == "single" else None
        if not flavor.num_gpus:
            text = "no GPU: training needs one" if flavor.gpu is None else f"{flavor.gpu} is not a CUDA GPU"
            return Reason("no gpu", text)
        if flavor.num_gpus < least:
            return Reason("gpus", f"has {plural(flavor.num_gpus, 'GPU')}, the run needs {least}")
        if most is not None and flavor.num_gpus > most:
            return Reason("gpus", f"has {plural(flavor.num_gpus, 'GPU')}, the run uses {most}")
        if self.needs_bf16 and not flavor.bf16:
            return Reason("bf16", f"{flavor.gpu} does not support bfloat16")
        limit = hardware.max_usd_per_hour
        if limit is not None and flavor.usd_per_hour > limit:
            return Reason("price", f"${flavor.usd_per_hour:.2f}/h is above max_usd_per_hour={limit:g}")
        return None


def choose(run: Run, hardware: HardwareFacts, *, trials: int = 1) -> FlavorChoice:
    """The flavor that the user named, or the one that ``hardware.prefer`` asks for.

    Args:
        run: The run.
        hardware: The flavors on offer.
        trials: Runs of the sweep to which this one belongs; see ``preferred``.
    """
    if run.hardware.flavor != "auto":
        flavor = find_flavor(run.hardware.flavor, hardware)
        if flavor is None or not flavor.num_gpus:
            return FlavorChoice(flavor)
        estimate = Search(run, flavor).estimate(machine_of(run, flavor))
        return FlavorChoice(flavor, estimate, look=partial(possible, run, hardware))
    search = Search(run)
    found = [*search.survey(sorted(hardware.flavors, key=by_price))]
    fitting = tuple(each for each in found if each.reason is None)
    rejected = {each.machine.name: each.reason for each in found if each.reason is not None}
    if not fitting:
        return FlavorChoice(None, search.least_memory(), tuple(rejected.items()), _cheapest(found))
    best = preferred(fitting, run.hardware.prefer, trials=trials)
    others = {each.machine.name: each.reason or why_not(each, best) for each in found if each is not best}
    return FlavorChoice(best.flavor, best, tuple(others.items()), fitting=fitting)


def possible(run: Run, hardware: HardwareFacts) -> tuple[Estimate, ...]:
    """Every flavor on which the run fits within its caps, whichever the spec names."""
    return tuple(each for each in survey(run, hardware) if each.reason is None)


def survey(run: Run, hardware: HardwareFacts, *, larger_than: float = 0.0) -> Iterator[Estimate]:
    """Estimate the run on every flavor on offer, whichever the spec names, cheapest per hour first.

    Args:
        run: The run.
        hardware: The flavors on offer.
        larger_than: Only those whose GPUs have more memory, GiB; 0 for all.
    """
    flavors = (each for each in hardware.flavors if (each.usable_gpu_memory_gib or 0.0) >= larger_than)
    return Search(freed(run)).survey(sorted(flavors, key=by_price))


def find_alternative(run: Run, hardware: HardwareFacts) -> Estimate | None:
    """The flavor on which the run is expected to cost least, whichever the spec names.

    One within all caps; if there is none, one within ``max_hours``; if there is none either, the cheapest of all.
    """
    found = [*survey(run, hardware)]
    in_time = [each for each in found if "max_hours" not in exceeded_caps(run.hardware, each.duration)]
    within = [each for each in found if each.reason is None]
    return _cheapest(within) or _cheapest(in_time) or _cheapest(found)


def freed(run: Run) -> Run:
    """The run without the flavor that the spec names."""
    return replace(run, hardware=run.hardware.model_copy(update={"flavor": "auto"}))


def over_cap(hardware: Hardware, duration: DurationEstimate | None) -> str | None:
    """The cap on the whole run that is expected to be exceeded, as text; ``None`` if none is."""
    needed = exceeded_caps(hardware, duration)
    if "max_usd" in needed:
        return f"would cost about ${needed['max_usd']:.2f}, above max_usd={hardware.max_usd:g}"
    if "max_hours" in needed:
        return f"would take about {needed['max_hours']:.1f} h, above max_hours={hardware.max_hours:g}"
    return None


def exceeded_caps(
    hardware: Hardware, duration: DurationEstimate | None, case: Literal["expected", "high"] = "expected"
) -> dict[str, float]:
    """Each cap on the whole run that is exceeded, with what all its attempts need: US dollars, hours.

    Args:
        hardware: The caps.
        duration: How long the run takes; ``None`` if unknown.
        case: The value of the estimate that is compared with the caps.
    """
    if duration is None:
        return {}
    usd, seconds = (getattr(spread, case) * hardware.attempts for spread in (duration.usd, duration.seconds))
    needs = {"max_usd": usd, "max_hours": seconds / HOUR}
    caps = {"max_usd": hardware.max_usd, "max_hours": hardware.max_hours}
    return {name: need for name, need in needs.items() if (cap := caps[name]) is not None and need > cap}


def _cheapest(found: Sequence[Estimate]) -> Estimate | None:
    """The cheapest on which the run fits, regardless of the caps."""
    runs = [each for each in found if each.reason is None or each.reason.kind == "cap"]
    return min(runs, key=_cost, default=None)


def _cost(estimate: Estimate) -> tuple[bool, float, float]:
    return estimate.cost


def _total_bytes(each: Fitting) -> float:
    return each[1].total_bytes


def _too_large(layout: Layout, memory: MemoryEstimate, usable: float) -> Reason:
    share = f", of which vLLM claims {memory.gpu_fraction:.0%}" if memory.gpu_fraction else ""
    rows = f" with {layout.per_device_train_batch_size} per device"
    needs = f"needs {memory.total_gib:.1f} GiB plus {memory.margin_gib:.1f} GiB of margin{rows}"
    return Reason("memory", f"{needs}, a GPU has {usable:.1f} GiB{share}")
