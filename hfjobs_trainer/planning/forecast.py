"""What a run is expected to need: memory, time and money on one kind of machine."""

from __future__ import annotations

from dataclasses import dataclass

from hfjobs_trainer.facts import Facts, Flavor
from hfjobs_trainer.planning.arguments.vllm import training_nodes
from hfjobs_trainer.planning.duration.estimate import DurationEstimate
from hfjobs_trainer.planning.duration.ranges import Range
from hfjobs_trainer.planning.hardware.gpus import count_gpus, find_gpu, suggest_gpus
from hfjobs_trainer.planning.layout import Layout
from hfjobs_trainer.planning.memory.estimate import MemoryEstimate, Verdict
from hfjobs_trainer.planning.search import Search
from hfjobs_trainer.specs.base import TrainSpec


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a run needs of a machine, and what it costs there; every part ``None`` where nobody can say.

    Attributes:
        memory: What one GPU holds at the worst moment.
        gpu: Name of the GPU.
        num_gpus: GPUs of all machines that train.
        usable_gib: Memory of one GPU that torch reports as its total, GiB.
        layout: Strategy, batch per device, accumulation and recomputing with which it runs there.
        duration: Seconds and US dollars, each low, expected and high.
        is_rented: Whether it is a flavor of Hugging Face Jobs, which costs dollars.
        why_not: The first reason against the machine; ``None`` if the run would do there, and where nobody can say.
    """

    memory: MemoryEstimate | None = None
    gpu: str | None = None
    num_gpus: int = 1
    usable_gib: float | None = None
    layout: Layout | None = None
    duration: DurationEstimate | None = None
    is_rented: bool = True
    why_not: str | None = None

    @property
    def is_known(self) -> bool:
        """Whether anything could be estimated."""
        return self.memory is not None or self.duration is not None

    @property
    def verdict(self) -> Verdict | None:
        """``"fits"``, ``"tight"`` or ``"does not fit"``; ``None`` if the model's or the GPU's size is unknown."""
        if self.memory is None or self.usable_gib is None:
            return None
        return self.memory.verdict(self.usable_gib)

    @property
    def seconds(self) -> Range | None:
        """How long the job takes, seconds, starting up included."""
        return self.duration.seconds if self.duration else None

    @property
    def usd(self) -> Range | None:
        """What the job costs, US dollars; ``None`` for a GPU that is not rented here."""
        return self.duration.usd if self.duration and self.is_rented else None

    def __str__(self) -> str:
        where = f" on {f'{self.num_gpus} x ' if self.num_gpus > 1 else ''}{self.gpu}" if self.gpu else ""
        lines: list[str] = []
        if self.verdict is not None:
            lines.append(f"{self.verdict}{where}, of which each has {self.usable_gib:.1f} GiB")
        if self.memory is None:
            lines.append("memory: " + (self.why_not or "the model's size is not known"))
        else:
            lines.append(str(self.memory))
            # the verdict says of memory what there is to say
            lines += [f"but {self.why_not}"] if self.why_not and self.verdict != "does not fit" else []
        if self.layout is not None:
            lines.append(f"with {self.layout}")
        if self.duration is None:
            lines.append("time: not known")
        else:
            lines.append("about " + self.duration.seconds.as_duration())
            lines += [f"about {self.usd.as_usd()}"] if self.usd is not None else []
            lines += [f"  guessed: {what}" for what in self.duration.assumed]
        return "\n".join(lines)


def estimate_on(spec: TrainSpec, facts: Facts, gpu: str, num_gpus: int | None = None) -> Estimate:
    """What the run needs on GPUs of one's own.

    Args:
        spec: The spec; its flavor does not matter.
        facts: What is known.
        gpu: Name of the GPU, with or without a count.
        num_gpus: GPUs of one machine; default: the count in ``gpu``, else 1.

    Raises:
        ValueError: Nothing is known of ``gpu``, or the two counts differ.
    """
    found = find_gpu(gpu)
    if found is None:
        near = suggest_gpus(gpu)
        meant = f"; did you mean {' or '.join(near)}?" if near else "; hft.hardware_table() lists those that are rented"
        raise ValueError(f"gpu={gpu!r}: nothing is known of this GPU{meant}")
    counted = count_gpus(gpu)
    if num_gpus is None:
        num_gpus = 1 if counted is None else counted
    elif counted not in (None, num_gpus):
        raise ValueError(f"num_gpus={num_gpus}: gpu={gpu!r} says {counted}")
    if num_gpus < 1:
        raise ValueError(f"num_gpus={num_gpus}: must be 1 or more")
    # memory, processors and disk of the machine are its owner's to know
    machine = Flavor(
        name=found.name,
        gpu=found.name,
        num_gpus=num_gpus,
        gpu_memory_gb=found.gpu_memory_gb,
        usable_gpu_memory_gib=found.usable_gpu_memory_gib,
        vcpu=0,
        ram_gb=0.0,
        disk_gb=0.0,
        usd_per_hour=0.0,
        bf16=found.bf16,
        compute_capability=found.compute_capability,
    )
    option = Search(spec, facts, machine).option(machine)
    return Estimate(
        memory=option.memory,
        gpu=found.name,
        num_gpus=(option.layout.num_gpus if option.layout else num_gpus) * training_nodes(spec),
        usable_gib=found.usable_gpu_memory_gib,
        layout=option.layout,
        duration=option.duration,
        is_rented=False,
        why_not=option.why_not,
    )
