"""Every flavor with every layout of a run: whether it fits, how long it takes and what it costs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from hfjobs_trainer.facts import Facts, Flavor
from hfjobs_trainer.planning.arguments.decide import planned_gpus, precision_of, resolve
from hfjobs_trainer.planning.arguments.packing import PACKING_GAIN, most_packed
from hfjobs_trainer.planning.arguments.strategies import SHARDED, first_strategy
from hfjobs_trainer.planning.arguments.tuning import adapter_is_bf16
from hfjobs_trainer.planning.arguments.vllm import gpus_set_aside, is_colocated, server_gpus, training_nodes
from hfjobs_trainer.planning.duration.estimate import DurationEstimate, Setup, estimate_duration
from hfjobs_trainer.planning.duration.work import Work, work_of
from hfjobs_trainer.planning.hardware.gpus import find_gpu
from hfjobs_trainer.planning.layout import Layout, eval_batch_size, layouts, syncs_each_batch
from hfjobs_trainer.planning.memory.closed_form import MemoryEstimate, Workload
from hfjobs_trainer.planning.memory.simulated import memory_on
from hfjobs_trainer.planning.memory.storage import CHECKPOINTS_KEPT, lacks_storage
from hfjobs_trainer.planning.memory.vllm import group_sizes, least_share, server_shortage
from hfjobs_trainer.planning.model.shape import count_parameters
from hfjobs_trainer.planning.workload import BYTES, generated_at_once, memory_strategy, workload
from hfjobs_trainer.specs.base import TrainSpec

HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Option:
    """A flavor, and the best that the run can do on it.

    Attributes:
        flavor: The machine.
        why_not: The first reason against it; ``None`` if it can be taken.
        over_cap: Whether the reason is a cap on the whole run, ``max_usd`` or ``max_hours``: it would run there.
        layout: The cheapest layout that fits; if none does, the one that needs the least memory. ``None`` where the
            model's size is unknown or the machine is out of the question.
        memory: Memory of one GPU in that layout.
        duration: How long the run takes there, and what it costs; ``None`` if nobody can say.
    """

    flavor: Flavor
    why_not: str | None = None
    over_cap: bool = False
    layout: Layout | None = None
    memory: MemoryEstimate | None = None
    duration: DurationEstimate | None = None

    @property
    def cost(self) -> tuple[bool, float, float]:
        """Sort key: expected US dollars, then expected seconds; last and by price an hour where that is unknown."""
        if self.duration is None:
            return True, self.flavor.usd_per_hour, -(self.flavor.usable_gpu_memory_gib or 0.0)
        return False, self.duration.usd.expected, self.duration.seconds.expected


class Search:
    """What is the same for all machines, worked out once.

    Args:
        spec: What is to run.
        facts: What is known.
        flavor: The machine that the user named, whose precision holds; ``None`` to compare all.
    """

    def __init__(self, spec: TrainSpec, facts: Facts, flavor: Flavor | None = None) -> None:
        self.spec = spec
        resolved = resolve(spec, facts, flavor, backend="hub")
        self.base: Workload = workload(spec, facts, resolved)
        self.work: Work | None = work_of(spec, facts, resolved)
        self.simulation = facts.simulation
        self.facts = facts
        self.model = facts.model
        self.nodes = training_nodes(spec)
        self.most_packed = most_packed(spec, facts)
        self.packed_work = work_of(spec.replace(packing=True), facts, resolved) if self.most_packed else None
        precision, is_set = precision_of(spec, None)
        self.needs_bf16 = precision == "bf16" or not is_set or adapter_is_bf16(spec)
        parameters = facts.model.num_parameters or count_parameters(facts.model)
        self.weights_bytes = parameters * BYTES.get(resolved.dtype, 4.0) if parameters else None
        self._estimated: dict[int, list[tuple[Layout, MemoryEstimate]]] = {}

    def option(self, flavor: Flavor) -> Option:
        """The best that the run can do on this machine, whatever was asked of machines."""
        option = self._option(flavor)
        shortage = server_shortage(self.spec, self.model, flavor) if option.why_not is None else None
        return replace(option, why_not=f"vLLM's server: {shortage}") if shortage else option

    def _option(self, flavor: Flavor) -> Option:
        estimated = self._layouts(planned_gpus(self.spec, flavor))
        usable = flavor.usable_gpu_memory_gib
        if not estimated or usable is None:
            return Option(flavor, why_not=self._unknown(flavor))
        if is_colocated(self.spec):
            estimated = [self._beside_vllm(layout, memory, usable) for layout, memory in estimated]
        fitting = [(layout, memory) for layout, memory in estimated if memory.fits(usable)]
        if not fitting:
            layout, memory = min(estimated, key=lambda item: item[1].total_bytes)
            return replace(self._timed(flavor, layout, memory), why_not=_too_large(layout, memory, usable))
        options = [self._timed(flavor, layout, memory) for layout, memory in fitting]
        # a copy of the model on each GPU is the simplest: where one fits, nothing is spread
        copies = [option for option in options if option.layout is None or option.layout.strategy not in SHARDED]
        # TRL's defaults come first, and win where nothing is gained
        best = min(copies or options, key=self._weighed)
        lacking = self._lacking(best, self.spec.save_total_limit)
        if lacking is None or best.layout is None or self.spec.is_set("save_total_limit"):
            return replace(best, why_not=lacking)
        limited = self._lacking(best, CHECKPOINTS_KEPT)
        if limited != lacking:
            best = replace(best, layout=replace(best.layout, save_total_limit=CHECKPOINTS_KEPT))
        return replace(best, why_not=limited)

    def _beside_vllm(self, layout: Layout, memory: MemoryEstimate, usable: float) -> tuple[Layout, MemoryEstimate]:
        """The layout with a vLLM on the same GPUs: with as few of them for a copy of the model as will do."""
        told = self.spec.is_set("vllm_gpu_memory_utilization")
        beside = layout, memory
        for size in group_sizes(self.spec, self.model, layout.num_gpus):
            least = least_share(self.spec, self.facts, size, usable)
            if least is None:
                return layout, memory
            share = memory.gpu_fraction if told else least
            beside = replace(layout, vllm_tensor_parallel_size=size), replace(memory, gpu_fraction=share)
            if least <= share and beside[1].fits(usable):
                break
        return beside

    def _weighed(self, option: Option) -> tuple[bool, float, float]:
        """The cost, with what packing must save at least added to it."""
        unknown, usd, seconds = option.cost
        if option.layout is None or not option.layout.packing:
            return unknown, usd, seconds
        return unknown, usd * PACKING_GAIN, seconds * PACKING_GAIN

    def survey(self, flavors: Sequence[Flavor]) -> list[Option]:
        """Every flavor with the first reason against it, in the order given."""
        found: list[Option] = []
        for flavor in flavors:
            why = self._unfit(flavor)
            option = Option(flavor, why_not=why) if why else self.option(flavor)
            if option.why_not is None and (why := over_cap(self.spec, option.duration)) is not None:
                option = replace(option, why_not=why, over_cap=True)
            found.append(option)
        return found

    def _layouts(self, num_gpus: int) -> list[tuple[Layout, MemoryEstimate]]:
        """Every layout on this many GPUs, with its memory; worked out once."""
        if num_gpus not in self._estimated:
            found: list[tuple[Layout, MemoryEstimate]] = []
            for layout in self._ways(num_gpus):
                memory = memory_on(self.workload(layout), self.simulation, max(1, num_gpus) * self.nodes)
                if memory is not None:
                    found.append((layout, memory))
            self._estimated[num_gpus] = found
        return self._estimated[num_gpus]

    def _ways(self, num_gpus: int) -> Iterator[Layout]:
        """Every layout on this many GPUs."""
        return layouts(self.spec, num_gpus, nodes=self.nodes, most_packed=self.most_packed)

    def least_memory(self) -> MemoryEstimate | None:
        """Memory of the layout on one GPU that needs the least; ``None`` if there is none, or its size is unknown."""
        return min((memory for _, memory in self._layouts(1)), key=lambda memory: memory.total_bytes, default=None)

    def workload(self, layout: Layout) -> Workload:
        """What a layout asks of each GPU."""
        return replace(
            self.base,
            per_device_train_batch_size=layout.per_device_train_batch_size,
            gradient_accumulation_steps=layout.gradient_accumulation_steps,
            gradient_checkpointing=layout.gradient_checkpointing,
            generation_batch_size=generated_at_once(
                self.spec, layout.per_device_train_batch_size, layout.num_gpus * self.nodes
            ),
            strategy=self.base.strategy if layout.strategy == "user" else memory_strategy(layout.strategy),
            sync_each_batch=self.base.sync_each_batch or syncs_each_batch(self.spec, layout),
            eval_batch_size=eval_batch_size(self.spec, layout) if self.base.eval_batch_size else 0,
            padded=False if layout.packing else self.base.padded,
        )

    def _timed(self, flavor: Flavor, layout: Layout, memory: MemoryEstimate) -> Option:
        gpu, work = find_gpu(flavor.gpu or ""), self.packed_work if layout.packing else self.work
        if work is None or gpu is None:
            return Option(flavor, layout=layout, memory=memory)
        setup = Setup(
            gpu=gpu,
            num_gpus=layout.num_gpus * self.nodes,
            nodes=self.nodes,
            strategy=memory.strategy if layout.strategy == "user" else layout.strategy,
            per_device_train_batch_size=layout.per_device_train_batch_size,
            gradient_accumulation_steps=layout.gradient_accumulation_steps,
            gradient_checkpointing=layout.gradient_checkpointing,
            usd_per_hour=flavor.usd_per_hour * self.spec.hardware.nodes,
            server_gpus=server_gpus(self.spec, self.model, flavor),
            vllm_tensor_parallel_size=layout.vllm_tensor_parallel_size,
        )
        if flavor.vcpu:
            setup = replace(setup, vcpu=flavor.vcpu)
        return Option(flavor, layout=layout, memory=memory, duration=estimate_duration(work, setup))

    def _lacking(self, option: Option, limit: int | None) -> str | None:
        """What of the machine's storage is too small where so many checkpoints are kept; ``None`` if nothing is."""
        weights, layout, memory = self.weights_bytes, option.layout, option.memory
        if weights is None or layout is None or memory is None:
            return None
        checkpoints, resumable = self._checkpoints(option, limit), not self.spec.save_only_model
        return lacks_storage(option.flavor, layout, memory, weights, checkpoints, resumable=resumable)

    def _checkpoints(self, option: Option, limit: int | None) -> float:
        """Checkpoints that lie on the disk at once; 1 where nobody knows how many are made."""
        if self.spec.save_strategy == "no":
            return 0
        made = 1.0
        if self.work is not None and option.duration is not None:
            every = self.work.save_every
            steps = option.duration.steps
            made = self.work.epochs if every is None else 1 / every if 0 < every < 1 else steps // max(1.0, every) + 1
        if limit is None or limit <= 0:
            return made
        # the newest and the best are never deleted, and nothing is before the next is written (transformers 5.23:
        # trainer_utils.py, rotate_checkpoints)
        return min(made, max(limit, 1 + self.spec.load_best_model_at_end) + 1)

    def _unknown(self, flavor: Flavor) -> str:
        """Why there is no layout of which the memory is known."""
        if flavor.usable_gpu_memory_gib is None:
            return "the memory of its GPU is unknown"
        if next(self._ways(planned_gpus(self.spec, flavor)), None) is not None:
            return f"nobody knows {' and '.join(self.base.unknown)}, and so whether it fits"
        spec = self.spec
        names = ("per_device_train_batch_size", "gradient_accumulation_steps")
        given = " and ".join(f"{name}={getattr(spec, name)}" for name in names if spec.is_set(name))
        world = _gpus(planned_gpus(spec, flavor) * self.nodes)
        asked = f"global_batch_size={spec.global_batch_size}"
        return f"{asked} cannot be spread over {world}{f' with {given}' if given else ''}"

    def _unfit(self, flavor: Flavor) -> str | None:
        """The first reason against a flavor that needs no estimate, or ``None``."""
        hardware, aside = self.spec.hardware, gpus_set_aside(self.spec)
        several = first_strategy(self.spec) in ("ddp", *SHARDED) and hardware.strategy != "auto" and self.nodes == 1
        least = aside + (hardware.num_gpus or (2 if several else 1))
        most = 1 + aside if hardware.strategy == "single" else None
        if not flavor.num_gpus:
            return "no GPU: training needs one" if flavor.gpu is None else f"{flavor.gpu} is not a CUDA GPU"
        if flavor.num_gpus < least:
            return f"has {_gpus(flavor.num_gpus)}, {least} are wanted"
        if most is not None and flavor.num_gpus > most:
            return f"has {_gpus(flavor.num_gpus)}, {most} would be used"
        if self.needs_bf16 and not flavor.bf16:
            return f"{flavor.gpu} does not compute in bfloat16"
        if hardware.max_usd_per_hour is not None and flavor.usd_per_hour > hardware.max_usd_per_hour:
            return f"${flavor.usd_per_hour:.2f}/h is above max_usd_per_hour={hardware.max_usd_per_hour:g}"
        return None


def over_cap(spec: TrainSpec, duration: DurationEstimate | None) -> str | None:
    """Which cap on the whole run is expected to be exceeded, in words; ``None`` if none is."""
    needed, hardware = exceeded_caps(spec, duration), spec.hardware
    if "max_usd" in needed:
        return f"would cost about ${needed['max_usd']:.2f}, above max_usd={hardware.max_usd:g}"
    if "max_hours" in needed:
        return f"would take about {needed['max_hours']:.1f} h, above max_hours={hardware.max_hours:g}"
    return None


def exceeded_caps(
    spec: TrainSpec, duration: DurationEstimate | None, case: Literal["expected", "high"] = "expected"
) -> dict[str, float]:
    """What the run needs of each cap on the whole run that is below that: US dollars, hours.

    Args:
        spec: The spec.
        duration: How long the run takes; ``None`` if nobody can say.
        case: Which value of the estimate is held against the caps.
    """
    if duration is None:
        return {}
    needs = {"max_usd": getattr(duration.usd, case), "max_hours": getattr(duration.seconds, case) / HOUR}
    caps = {name: getattr(spec.hardware, name) for name in needs}
    return {name: need for name, need in needs.items() if caps[name] is not None and need > caps[name]}


def _gpus(count: int) -> str:
    return f"{count} GPU{'s' if count > 1 else ''}"


def _too_large(layout: Layout, memory: MemoryEstimate, usable: float) -> str:
    share = f", of which vLLM claims {memory.gpu_fraction:.0%}" if memory.gpu_fraction else ""
    rows = f" with {layout.per_device_train_batch_size} per device"
    needs = f"needs {memory.total_gib:.1f} GiB and {memory.margin_gib:.1f} GiB of margin{rows}"
    return f"{needs}, a GPU has {usable:.1f} GiB{share}"
