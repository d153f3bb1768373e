"""Estimate a run on GPUs of one's own."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from hfjobs_trainer.errors import SpecError
from hfjobs_trainer.facts import Facts, Flavor
from hfjobs_trainer.facts.backends import LOCAL
from hfjobs_trainer.planning.assemble import draft
from hfjobs_trainer.planning.choose import Search
from hfjobs_trainer.planning.estimate import NO_CHANGE, Estimate
from hfjobs_trainer.planning.hardware.catalogue import find_flavor, snapshot
from hfjobs_trainer.planning.hardware.gpus import all_gpus, count_gpus, find_gpu, suggest_gpus
from hfjobs_trainer.planning.hardware.machine import machine_of
from hfjobs_trainer.planning.remedies import remedy_on
from hfjobs_trainer.planning.understand import understand
from hfjobs_trainer.problems import Problem, Reason
from hfjobs_trainer.specs.base import TrainSpec


def own_machine(gpu: str, num_gpus: int | None = None) -> Flavor:
    """A machine with GPUs of one's own; its host memory, processors and disk are unknown, and not checked.

    Args:
        gpu: Name of the GPU, with or without a count.
        num_gpus: GPUs of the machine; default: the count in ``gpu``, else 1.

    Raises:
        SpecError: ``gpu`` is unknown, the two counts differ, or there is no GPU.
    """
    found, counted = find_gpu(gpu), count_gpus(gpu)
    if found is None:
        raise _refused("gpu", *_unknown(gpu, counted))
    if num_gpus is None:
        num_gpus = 1 if counted is None else counted
    elif counted not in (None, num_gpus):
        raise _refused("num_gpus", f"{num_gpus}, but gpu={gpu!r} says {counted}", f"num_gpus={counted}")
    if num_gpus < 1:
        raise _refused("num_gpus", f"{num_gpus}, must be 1 or more", "num_gpus=1")
    return Flavor(
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


def estimate_on(spec: TrainSpec, facts: Facts, flavor: Flavor) -> Estimate:
    """Estimate a run on a machine of one's own; the flavor that the spec names is ignored."""
    run = understand(spec, facts)
    found = Search(run, flavor).estimate(machine_of(run, flavor, is_rented=False))
    if found.reason is None or found.reason.kind not in ("memory", "server"):
        return found
    plan = partial(draft, facts=facts, backend=LOCAL, seeks=False)
    fix = remedy_on(spec, facts, flavor, plan)
    tried = "" if fix else f"; {NO_CHANGE}"
    return replace(found, fix=fix, reason=Reason(found.reason.kind, found.reason.text + tried))


def _unknown(gpu: str, counted: int | None) -> tuple[str, str]:
    """What is wrong with the name of a GPU, and what to type instead."""
    offered = find_flavor(gpu.strip().lower(), snapshot())
    if offered is not None and offered.num_gpus:
        near, counted = [_short(offered.gpu or "")], offered.num_gpus
    else:
        near = [_short(name) for name in suggest_gpus(gpu)]
    if not near:
        return f'no GPU "{gpu}" is known; known are {", ".join(_short(known.name) for known in all_gpus())}', ""
    meant = " or ".join(near) if len(near) < 3 else f"{', '.join(near[:-1])} or {near[-1]}"
    times = f"{counted}x " if counted is not None and counted > 1 else ""
    return f'no GPU "{gpu}" is known; did you mean {meant}?', f'gpu="{times}{near[0]}"'


def _short(name: str) -> str:
    return name.removeprefix("NVIDIA ")


def _refused(path: str, why: str, fix: str) -> SpecError:
    return SpecError([Problem("SPEC003", path, why, fix)], "estimate")
