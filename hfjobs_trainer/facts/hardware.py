"""Facts about the hardware on offer."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Flavor:
    """One machine type of Hugging Face Jobs.

    Attributes:
        name: As for ``hardware=``, such as ``"a10g-large"``.
        gpu: Name of the GPU, such as ``"NVIDIA A10G"``; ``None`` for a CPU flavor.
        num_gpus: GPUs in the machine, 0 for a CPU flavor.
        gpu_memory_gb: Nominal memory of one GPU, GB as advertised.
        usable_gpu_memory_gib: Memory of one GPU that torch reports as its total, GiB.
        vcpu: Virtual CPU cores.
        ram_gb: Host memory, GB.
        disk_gb: Ephemeral disk, GB.
        usd_per_hour: Price of the whole machine, US dollars per hour, billed by the minute.
        bf16: Whether the GPU supports bfloat16 natively (compute capability 8.0 and later).
        compute_capability: CUDA compute capability, such as ``"8.6"``.
    """

    name: str
    gpu: str | None
    num_gpus: int
    gpu_memory_gb: float | None
    usable_gpu_memory_gib: float | None
    vcpu: int
    ram_gb: float
    disk_gb: float
    usd_per_hour: float
    bf16: bool
    compute_capability: str | None = None


@dataclass(frozen=True, slots=True)
class HardwareFacts:
    """The flavors on offer.

    Attributes:
        flavors: Every flavor, cheapest first.
        source: Where the prices come from: ``"live"`` (read from the Hub now) or ``"snapshot 2026-08-22"``.
    """

    flavors: tuple[Flavor, ...]
    source: str
