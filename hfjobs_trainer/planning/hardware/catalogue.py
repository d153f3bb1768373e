"""The flavors of Hugging Face Jobs: the snapshot of this package, and what the Hub lists now."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Any, Protocol

from hfjobs_trainer.facts import Flavor, HardwareFacts
from hfjobs_trainer.planning.hardware.gpus import USABLE_PER_NOMINAL, all_gpus, find_gpu

# GPUs before compute capability 8.0, which have no bfloat16 arithmetic.
_NO_BF16 = re.compile(
    r"\b(T4|V100|P100|P40|P4|K80|M60|GTX|RTX[ -]?20\d0|RTX[ -]?[568]000(?! ADA)|TITAN)\b", re.IGNORECASE
)
_HOURLY = {"second": 3600.0, "minute": 60.0, "hour": 1.0}
_GIGA = {"MB": 1e-3, "MIB": 2**20 / 1e9, "GB": 1.0, "GIB": 2**30 / 1e9, "TB": 1e3, "TIB": 2**40 / 1e9, "": 1.0}
_SUGGESTIONS = 3


@cache
def snapshot() -> HardwareFacts:
    """The flavors and prices of this package; ``source`` has their date."""
    data = _data()
    flavors = [_flavor(entry) for entry in data["flavors"]]
    return HardwareFacts(tuple(sorted(flavors, key=by_price)), source=f"snapshot {data['date']}")


@cache
def _data() -> Any:
    return json.loads(files("hfjobs_trainer.data").joinpath("flavors.json").read_text(encoding="utf-8"))


def _flavor(entry: dict[str, Any]) -> Flavor:
    """The flavor of a row, with the figures of its GPU."""
    gpu = next((gpu for gpu in all_gpus() if gpu.name == entry["gpu"]), None)
    if gpu is None and entry["gpu"] is not None:
        raise ValueError(f"data/flavors.json: {entry['name']} has a GPU that data/gpus.json lacks: {entry['gpu']}")
    return Flavor(
        **entry,
        gpu_memory_gb=gpu and gpu.gpu_memory_gb,
        usable_gpu_memory_gib=gpu and gpu.usable_gpu_memory_gib,
        bf16=gpu is not None and gpu.bf16,
        compute_capability=gpu and gpu.compute_capability,
    )


def find_flavor(name: str, hardware: HardwareFacts) -> Flavor | None:
    """The flavor of exactly this name, or ``None``; ``suggest_flavors`` then has suggestions."""
    return next((flavor for flavor in hardware.flavors if flavor.name == name), None)


def suggest_flavors(name: str, hardware: HardwareFacts) -> list[str]:
    """Up to three flavors that ``name`` may mean, most likely first; empty if it resembles none."""
    offered = [flavor.name for flavor in hardware.flavors]
    plain = re.sub(r"[\s_]+", "-", name.strip().lower())
    plain = re.sub(r"^(gpu-|nvidia-|hf-|\d+x-?(?=[a-z]))+", "", plain)
    stem = re.sub(r"([-x:]\d+|-\d+gb)+$", "", plain) if plain not in offered else plain
    found = [plain, *_called(plain, hardware)]
    if stem != plain and (others := _called(stem, hardware)):
        # as many of the closest: "h200x8" for "h100x8"
        found += [plain.replace(stem, others[0], 1), *others]
    found += difflib.get_close_matches(plain, offered, n=_SUGGESTIONS, cutoff=0.6)
    return [other for other in dict.fromkeys(found) if other in offered][:_SUGGESTIONS]


def _called(name: str, hardware: HardwareFacts) -> list[str]:
    """The flavors with one GPU of this name, or those that come closest to it."""
    gpu = find_gpu(name)
    having = [item.name for item in hardware.flavors if gpu and item.num_gpus == 1 and find_gpu(item.gpu or "") is gpu]
    return having or _data()["called"].get(name, [])


def by_price(flavor: Flavor) -> tuple[float, float, str]:
    """Sort key: cheapest first; at the same price the most GPU memory first."""
    return flavor.usd_per_hour, -(flavor.usable_gpu_memory_gib or 0.0), flavor.name


class LiveAccelerator(Protocol):
    """The Hub's record of a machine's GPUs: ``huggingface_hub.JobAccelerator``."""

    @property
    def type(self) -> str:
        """``"gpu"``, or another kind."""
        ...

    @property
    def model(self) -> str:
        """Such as ``"A10G"``."""
        ...

    @property
    def quantity(self) -> str:
        """Such as ``"4"``."""
        ...

    @property
    def vram(self) -> str:
        """Total memory, such as ``"96 GB"``."""
        ...

    @property
    def manufacturer(self) -> str:
        """Such as ``"Nvidia"``."""
        ...


class LiveMachine(Protocol):
    """The Hub's record of a machine: ``huggingface_hub.JobHardwareInfo``."""

    @property
    def name(self) -> str:
        """Such as ``"a10g-large"``."""
        ...

    @property
    def cpu(self) -> str:
        """Such as ``"12 vCPU"``."""
        ...

    @property
    def ram(self) -> str:
        """Such as ``"46 GB"``."""
        ...

    @property
    def ephemeral_storage(self) -> str:
        """Such as ``"200 GB"``."""
        ...

    @property
    def accelerator(self) -> LiveAccelerator | None:
        """Its GPUs, if it has any."""
        ...

    @property
    def unit_cost_usd(self) -> float:
        """US dollars per unit of time."""
        ...

    @property
    def unit_label(self) -> str:
        """The unit of time, such as ``"minute"``."""
        ...


def parse_live(machines: Iterable[LiveMachine]) -> HardwareFacts:
    """The flavors that the Hub lists now, with the snapshot's facts about the GPUs that it has.

    A new GPU counts as having 0.91 GiB usable per nominal GB, and as supporting bfloat16 unless its name is that of an
    older one. Figures that cannot be read are the snapshot's, or 0 if it has none; a machine whose price cannot be read
    is omitted unless it is in the snapshot.
    """
    found = [flavor for machine in machines if (flavor := _live_flavor(machine)) is not None]
    return HardwareFacts(tuple(sorted(found, key=by_price)), source="live")


def _live_flavor(machine: LiveMachine) -> Flavor | None:
    known = find_flavor(machine.name, snapshot())
    hours = _HOURLY.get(machine.unit_label.rstrip("s").lower())
    if hours is None and known is None:
        return None
    # the server rounds to a millionth of a dollar per minute
    price = round(machine.unit_cost_usd * hours, 3) if hours is not None else known.usd_per_hour if known else 0.0
    gpu, num_gpus, memory_gb = None, 0, None
    usable, bf16, capability = None, False, None
    if machine.accelerator is not None:
        gpu = " ".join(f"{machine.accelerator.manufacturer} {machine.accelerator.model}".split())
        cuda = machine.accelerator.type.lower() == "gpu" and machine.accelerator.manufacturer.lower() == "nvidia"
        # only CUDA GPUs count: the scripts' torch is built for them
        num_gpus = round(_gigabytes(machine.accelerator.quantity) or 1) if cuda else 0
        total = _gigabytes(machine.accelerator.vram)
        memory_gb = total / max(1, num_gpus) if total else None
        twin = _same_gpu(machine.accelerator.model, memory_gb) if cuda else None
        if twin is not None:
            gpu, memory_gb, usable = twin.gpu, twin.gpu_memory_gb, twin.usable_gpu_memory_gib
            bf16, capability = twin.bf16, twin.compute_capability
        elif cuda:
            usable = memory_gb * USABLE_PER_NOMINAL if memory_gb else None
            bf16 = _NO_BF16.search(machine.accelerator.model) is None
    return Flavor(
        name=machine.name,
        gpu=gpu,
        num_gpus=num_gpus,
        gpu_memory_gb=memory_gb,
        usable_gpu_memory_gib=usable,
        vcpu=round(_gigabytes(machine.cpu) or (known.vcpu if known else 0)),
        ram_gb=_gigabytes(machine.ram) or (known.ram_gb if known else 0.0),
        disk_gb=_gigabytes(machine.ephemeral_storage) or (known.disk_gb if known else 0.0),
        usd_per_hour=price,
        bf16=bf16,
        compute_capability=capability,
    )


def _gigabytes(text: str) -> float | None:
    """The leading number of ``"16 GB"``, ``"1.5 TB"`` or ``"8 vCPU"``, in GB if the unit is one of bytes."""
    match = re.match(r"\s*([\d.]+)\s*([A-Za-z]*)", text)
    if match is None or match[1].count(".") > 1 or not match[1].strip("."):
        return None
    return float(match[1]) * _GIGA.get(match[2].upper(), 1.0)


def _same_gpu(model: str, memory_gb: float | None) -> Flavor | None:
    """A flavor of the snapshot with the same GPU: the same model, as far as named, and the same memory."""

    def words(text: str) -> list[str]:
        return [word for word in re.split(r"[\s_-]+", text.upper()) if word != "NVIDIA"]

    wanted = words(model)
    for flavor in snapshot().flavors:
        if flavor.gpu is None or flavor.gpu_memory_gb is None or words(flavor.gpu)[: len(wanted)] != wanted:
            continue
        if memory_gb is None or abs(memory_gb - flavor.gpu_memory_gb) <= 0.05 * flavor.gpu_memory_gb:
            return flavor
    return None
