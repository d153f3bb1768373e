"""The peak memory of one GPU in a training step, by component."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal

from hfjobs_trainer.display import html_pairs

GIB = 2**30

Verdict = Literal["fits", "tight", "does not fit"]
"""Whether a run fits on a GPU, by its estimate."""

# Of 139 published peaks of stacks like TRL's, 2 lie above what is asked for with this margin and 1 below the peak less
# it; of the 115 that are simulated, 2 and none. Of 27 published runs that ran out of memory and can be modelled,
# none is said to fit (benchmarks/README.md: python -m benchmarks.memory).
MARGIN_FACTOR, MARGIN_GIB = 1.20, 0.5


@dataclass(frozen=True, slots=True)
class MemoryEstimate:
    """The peak memory of one GPU in a step; every component in bytes.

    Attributes:
        weights: The model.
        adapter: The LoRA matrices and the other trained modules.
        gradients: Gradients alive at that moment.
        optimizer_states: The optimizer's moments.
        activations: What autograd saved, and the working set of one layer.
        logits: The head: its tile, its gradients, or all logits.
        reference_model: Other models: the reference, a teacher, a reward and a value model.
        kv_cache: Keys and values of the sequences being generated.
        buffers: Half-precision copies of the weights, the optimizer's temporaries, DDP's gradient buckets.
        fragmentation: What the allocator keeps and cannot reuse.
        overhead: Outside of torch's allocator: the CUDA context, NCCL.
        moment: When the peak is reached, such as ``"the optimizer's step"``.
        num_gpus: GPUs among which the batch is divided.
        strategy: How the model is distributed over them: a copy on each (``"ddp"``), or sharded.
        ddp_bytes: Additional bytes on each GPU if there were several; 0 once included.
        cached_bytes: Bytes that the allocator keeps in addition and frees before it fails; not part of the peak.
        paged_bytes: Part of the optimizer's states that the driver moves to the host's memory when the GPU is full; it
            is outside of torch's allocator.
        gpu_fraction: Share of the GPU that another process claims, such as vLLM.
        assumed: The assumptions about the model.
        basis: The method that gives the bytes of live tensors.
    """

    weights: float = 0.0
    adapter: float = 0.0
    gradients: float = 0.0
    optimizer_states: float = 0.0
    activations: float = 0.0
    logits: float = 0.0
    reference_model: float = 0.0
    kv_cache: float = 0.0
    buffers: float = 0.0
    fragmentation: float = 0.0
    overhead: float = 0.0
    moment: str = ""
    num_gpus: int = 1
    strategy: str = "ddp"
    ddp_bytes: float = 0.0
    cached_bytes: float = 0.0
    paged_bytes: float = 0.0
    gpu_fraction: float = 0.0
    assumed: tuple[str, ...] = ()
    basis: Literal["closed form", "simulation"] = "closed form"

    @property
    def components(self) -> dict[str, float]:
        """Bytes by component."""
        return {name: getattr(self, name) for name in _COMPONENTS}

    @property
    def total_bytes(self) -> float:
        """The peak, bytes: the best guess, without margin."""
        return sum(self.components.values())

    @property
    def total_gib(self) -> float:
        """The peak, GiB: the best guess, without margin."""
        return self.total_bytes / GIB

    @property
    def device_gib(self) -> float:
        """The peak that nvidia-smi shows, GiB."""
        return (self.total_bytes + self.cached_bytes) / GIB

    @property
    def reserved_gib(self) -> float:
        """The peak that torch's allocator reserves, GiB: ``torch.cuda.max_memory_reserved``."""
        return (self.total_bytes + self.cached_bytes - self.overhead - self.paged_bytes) / GIB

    @property
    def allocated_gib(self) -> float:
        """The peak of live tensors, GiB: ``torch.cuda.max_memory_allocated``."""
        return (self.total_bytes - self.overhead - self.fragmentation - self.paged_bytes) / GIB

    @property
    def margin_gib(self) -> float:
        """Memory to leave free beyond the estimated peak, GiB: 20% plus half a GiB.

        Source: the comparison with published peaks in ``benchmarks/memory.py``.
        """
        return self.total_gib * (MARGIN_FACTOR - 1) + MARGIN_GIB

    @property
    def dominant(self) -> str:
        """Name of the largest component."""
        return max(self.components.items(), key=lambda item: item[1])[0]

    def headroom_gib(self, usable_gib: float, num_gpus: int = 1) -> float:
        """Memory that the peak leaves free on each of ``num_gpus`` GPUs, GiB; negative if it does not fit."""
        extra = self.ddp_bytes if num_gpus > 1 else 0.0
        return usable_gib * (1 - self.gpu_fraction) - self.total_gib - extra / GIB

    def fits(self, usable_gib: float, num_gpus: int = 1) -> bool:
        """Whether the peak and its margin fit in ``usable_gib`` on each of ``num_gpus`` GPUs."""
        return self.headroom_gib(usable_gib, num_gpus) >= self.margin_gib

    def verdict(self, usable_gib: float, num_gpus: int = 1) -> Verdict:
        """Whether the run fits in ``usable_gib`` on each of ``num_gpus`` GPUs.

        ``"fits"``: the peak and its margin do. ``"does not fit"``: the peak is above by more than the margin, even with
        paged optimizer states moved to the host. ``"tight"``: in between, within the estimate's error.
        """
        headroom = self.headroom_gib(usable_gib, num_gpus)
        if headroom >= self.margin_gib:
            return "fits"
        return "tight" if headroom + self.margin_gib + self.paged_bytes / GIB >= 0 else "does not fit"

    def __repr__(self) -> str:
        first, *_ = str(self).split("\n")
        return f"MemoryEstimate({first})"

    def _repr_html_(self) -> str:
        first, *parts = str(self).split("\n")
        return html_pairs({"peak": first, "parts": [part.strip() for part in parts]})

    def __str__(self) -> str:
        spread = "" if self.strategy == "ddp" else f" ({self.strategy})"
        copies = f" on each of {self.num_gpus} GPUs{spread}" if self.num_gpus > 1 else ""
        lines = [f"about {self.total_gib:.1f} GiB{copies} at {self.moment}, plus {self.margin_gib:.1f} GiB of margin"]
        shown = sorted(self.components.items(), key=lambda item: -item[1])
        lines += [f"  {name.replace('_', ' '):<17} {size / GIB:>8.2f} GiB" for name, size in shown if size >= GIB / 200]
        if self.gpu_fraction:
            lines.append(f"  vLLM claims {self.gpu_fraction:.0%} of the GPU beside this")
        if self.assumed:
            lines.append(f"  assumed: {', '.join(self.assumed)}")
        return "\n".join(lines)


_NAMES = [item.name for item in fields(MemoryEstimate)]
_COMPONENTS = tuple(_NAMES[: _NAMES.index("moment")])
