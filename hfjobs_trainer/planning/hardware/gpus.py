"""Figures of GPUs: memory, speed, links, and the utilization that training reaches."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

Tuning = Literal["full", "lora", "qlora"]
"""All weights, an adapter, or an adapter on quantized weights."""

# Without published runs of this kind on a GPU, those of another kind count, or of the most similar GPU, with bounds
# this much wider.
BORROWED_LOW, BORROWED_HIGH = 0.6, 1.25

# GiB that torch reports per nominal GB, where no figure is known: the lowest ratio among those that are.
USABLE_PER_NOMINAL = 0.91
_ASSUMED = f"assumed: {USABLE_PER_NOMINAL:.0%} of the nominal size, the lowest share among the measured"
_BF16_SINCE = 8.0

# A count of GPUs, before or after the name.
_COUNT = re.compile(r"^(\d+)(?: ?x ?(?=[a-z])|x )| x ?(\d+)$")
# Words in a GPU's name that do not identify it.
_NOISE = re.compile(r"\b(nvidia|geforce|tesla|quadro|gpus?|graphics|cards?|tensor ?core|hbm\d?e?)\b|" + _COUNT.pattern)
_VARIANT = re.compile(r"(sxm\d?|pcie|blackwell|server|workstation|edition|generation|gb)")
# The letters before the number.
_SERIES = re.compile("[a-z]*")
_SUGGESTIONS = 3
# How much alike two names are, by difflib: any suggestion, and one beside a name that is part of what was typed.
_SIMILAR, _ALIKE = 0.6, 0.8


@dataclass(frozen=True, slots=True)
class Utilisation:
    """Share of the peak that the matrix products of training reach, recomputed ones counted as work.

    Attributes:
        low, expected, high: The share, between 0 and 1.
        rows: Number of published runs behind it; 0 if it was taken from another GPU.
        source: Where the runs are from, or from which GPU it was taken.
        assumed: Whether there is no published run of this kind on this GPU.
    """

    low: float
    expected: float
    high: float
    rows: int
    source: str
    assumed: bool = False


@dataclass(frozen=True, slots=True)
class Gpu:
    """One kind of GPU.

    Attributes:
        name: As flavors name it, such as ``"NVIDIA A100 80GB"``.
        aliases: Other names of it.
        gpu_memory_gb: Nominal memory, GB.
        usable_gpu_memory_gib: Memory that torch reports as its total, GiB.
        usable_gpu_memory_basis: The source of that figure.
        compute_capability: CUDA compute capability, such as ``"8.0"``.
        tflops: Peak of dense bf16 arithmetic with float32 accumulation, of fp16 without bf16; 10^12 FLOPs per second.
        bandwidth_gb_s: Memory bandwidth, 10^9 bytes per second.
        link: Its link to other GPUs, ``"nvlink"`` or ``"pcie"``.
        link_gb_s: Peak of that link in one direction, 10^9 bytes per second.
        source: The source of the speeds.
        utilisation: Share of the peak that training reaches, by tuning.
    """

    name: str
    aliases: tuple[str, ...]
    gpu_memory_gb: float
    usable_gpu_memory_gib: float
    usable_gpu_memory_basis: str
    compute_capability: str
    tflops: float
    bandwidth_gb_s: float
    link: Literal["nvlink", "pcie"]
    link_gb_s: float
    source: str
    utilisation: Mapping[Tuning, Utilisation]

    @property
    def bf16(self) -> bool:
        """Whether it supports bfloat16 natively: compute capability 8.0 and later."""
        return float(self.compute_capability) >= _BF16_SINCE


@cache
def all_gpus() -> tuple[Gpu, ...]:
    """Every GPU whose figures are in this package."""
    data = json.loads(files("hfjobs_trainer.data").joinpath("gpus.json").read_text(encoding="utf-8"))
    measured: dict[tuple[str, str], Utilisation] = {}
    for row in data["utilisation"]:
        shares = Utilisation(row["low"], row["expected"], row["high"], row["rows"], row["source"])
        measured[row["gpu"], row["tuning"]] = shares
    like = {entry["name"]: entry["utilisation_like"] for entry in data["gpus"]}
    return tuple(_gpu(entry, measured, like) for entry in data["gpus"])


@cache
def find_gpu(name: str) -> Gpu | None:
    """The GPU that ``name`` means, a flavor's ``gpu`` or what people type; ``None`` if unknown.

    Case, spaces, dashes, the manufacturer and a count are ignored: ``"rtx4090"``, ``"4x H100"``, ``"Tesla T4"``,
    ``"A100-80GB"``. A size or a variant must be right if given.
    """
    known, wanted = _by_name(), _plain(name)
    return known.get(wanted) or known.get(_VARIANT.sub("", wanted))


def count_gpus(name: str) -> int | None:
    """The count of GPUs in a name: 2 for ``"2x H100"`` and ``"H100 x2"``; ``None`` without one."""
    found = _COUNT.search(_spaced(name))
    return int(found[1] or found[2]) if found else None


def suggest_gpus(name: str) -> list[str]:
    """Up to three GPUs that ``name`` may mean, most likely first; empty if it resembles none."""
    known, wanted = _by_name(), _plain(name)
    series = _SERIES.match(wanted)
    held = [other for other in known if len(wanted) > 1 and (wanted in other or (len(other) > 2 and other in wanted))]
    # "a100" is meant where "a10" is in it
    held = [other for other in held if not any(other != longer and other in longer in wanted for longer in held)]
    cutoff = _ALIKE if held else _SIMILAR
    close = difflib.get_close_matches(wanted, known, n=4 * _SUGGESTIONS, cutoff=cutoff)
    # another series is another GPU: an "MI300" is not meant by "3090"
    close = [
        other for other in close if series and (found := _SERIES.match(other)) and _are_related(series[0], found[0])
    ]
    # swapped digits are the likeliest mistake
    close.sort(key=lambda other: sorted(other) != sorted(wanted))
    return list(dict.fromkeys(known[other].name for other in [*held, *close]))[:_SUGGESTIONS]


def _are_related(series: str, other: str) -> bool:
    """Whether one begins with the other: "rtx" and "rtxa", but nothing and "b"."""
    return series == other or bool(series and other and (series.startswith(other) or other.startswith(series)))


@cache
def _by_name() -> dict[str, Gpu]:
    found: dict[str, Gpu] = {}
    for gpu in all_gpus():
        for name in (gpu.name, *gpu.aliases):
            for plain in (_plain(name), _VARIANT.sub("", _plain(name))):
                found.setdefault(plain, gpu)
    return found


def _plain(name: str) -> str:
    return re.sub(r"\s+", "", _NOISE.sub("", _spaced(name)))


def _spaced(name: str) -> str:
    return re.sub(r"[\s_\-:/,()]+", " ", name.strip().lower())


def _gpu(
    entry: Mapping[str, Any], measured: Mapping[tuple[str, str], Utilisation], like: Mapping[str, str | None]
) -> Gpu:
    kinds: tuple[Tuning, ...] = ("full", "lora", "qlora")
    fields = {key: value for key, value in entry.items() if key != "utilisation_like"}
    fields["aliases"] = tuple(entry["aliases"])
    if "usable_gpu_memory_gib" not in entry:
        fields["usable_gpu_memory_gib"] = round(entry["gpu_memory_gb"] * USABLE_PER_NOMINAL, 2)
        fields["usable_gpu_memory_basis"] = _ASSUMED
    return Gpu(**fields, utilisation={kind: _utilisation(entry["name"], kind, measured, like) for kind in kinds})


def _utilisation(
    name: str, kind: Tuning, measured: Mapping[tuple[str, str], Utilisation], like: Mapping[str, str | None]
) -> Utilisation:
    """The measured figure; else that of another tuning on this GPU, or of the most similar GPU, with wider bounds."""
    if (name, kind) in measured:
        return measured[name, kind]
    other: str | None = name
    seen: set[str] = set()
    while other is not None and other not in seen:
        for tuning in dict.fromkeys((kind, "lora", "qlora", "full")):
            if (found := measured.get((other, tuning))) is not None:
                low, high = found.low * BORROWED_LOW, min(0.9, found.high * BORROWED_HIGH)
                source = f"assumed to be as on {other} ({tuning}): {found.source}"
                return Utilisation(low, found.expected, high, 0, source, True)
        seen.add(other)
        other = like[other]
    raise ValueError(f"data/gpus.json: no utilisation of {kind} leads to {name}")
