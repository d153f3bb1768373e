"""The machine of a run: its GPUs, how many of them train and how many serve, and its price."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from hfjobs_trainer.facts import Flavor, ModelFacts
from hfjobs_trainer.planning.hardware.gpus import Gpu, find_gpu
from hfjobs_trainer.planning.run import Run, Vllm

PROXY_USD_PER_HOUR = 0.01
"""Price of the proxy to a job's ports, US dollars per hour (huggingface/hub-docs: the pages on Jobs, August 2026)."""


class Asked(Protocol):
    """What of a spec's hardware, or of a request, is paid for beside the time."""

    @property
    def nodes(self) -> int:
        """Machines, one job each."""
        ...

    @property
    def expose(self) -> Sequence[int]:
        """Ports of each job that the proxy leads to."""
        ...


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine that a run is planned for.

    Attributes:
        flavor: The flavor; ``None`` if unknown.
        num_gpus: GPUs of one machine that train; 0 if the machine decides.
        nodes: Machines that train.
        server_gpus: GPUs of the run's own vLLM server; 0 without one.
        usd_per_hour: Price of all machines, a server's node and the proxy of ports included, US dollars per hour;
            ``None`` if unknown.
        is_rented: Whether it is a flavor of Hugging Face Jobs, which costs money.
    """

    flavor: Flavor | None = None
    num_gpus: int = 0
    nodes: int = 1
    server_gpus: int = 0
    usd_per_hour: float | None = None
    is_rented: bool = True

    @property
    def name(self) -> str:
        """Name of its flavor."""
        return self.flavor.name if self.flavor is not None else "unknown"

    @property
    def world_size(self) -> int:
        """GPUs that train, over all machines; one on each if unknown."""
        return max(1, self.num_gpus) * self.nodes

    @property
    def gpu(self) -> Gpu | None:
        """Figures of its GPU; ``None`` if unknown."""
        return find_gpu(self.flavor.gpu or "") if self.flavor is not None else None

    @property
    def usable_gib(self) -> float | None:
        """Memory of one GPU that torch reports as its total, GiB; ``None`` if unknown."""
        return self.flavor.usable_gpu_memory_gib if self.flavor is not None else None


NO_MACHINE = Machine()
"""An unknown machine."""


def machine_of(run: Run, flavor: Flavor | None, *, is_rented: bool = True) -> Machine:
    """The machine of this flavor, as the run would use it."""
    return Machine(
        flavor=flavor,
        num_gpus=training_gpus(run, flavor),
        nodes=run.nodes,
        server_gpus=server_gpus(run.vllm, run.model, flavor),
        usd_per_hour=hourly_usd(flavor, run.hardware) if flavor is not None else None,
        is_rented=is_rented,
    )


def hourly_usd(flavor: Flavor, asked: Asked) -> float:
    """Price of all machines of this flavor, and of the proxy that leads to their ports, US dollars per hour."""
    return (flavor.usd_per_hour + (PROXY_USD_PER_HOUR if asked.expose else 0.0)) * asked.nodes


def training_gpus(run: Run, flavor: Flavor | None) -> int:
    """GPUs of one machine that train; 0 if the flavor is unknown."""
    if flavor is None:
        return 0
    most = 1 if run.hardware.strategy == "single" else run.hardware.num_gpus or flavor.num_gpus
    aside = run.vllm.gpus_set_aside if run.vllm is not None else 0
    return min(max(flavor.num_gpus - aside, 1), flavor.num_gpus, most)


def server_gpus(vllm: Vllm | None, model: ModelFacts, flavor: Flavor | None) -> int:
    """GPUs of the run's own server: as many as were set; on its own node, as many as the model allows.

    Returns:
        0 if the script starts no server.
    """
    if vllm is None or not vllm.starts_server:
        return 0
    if vllm.apart and flavor is not None and not vllm.gpus_is_set:
        return most_server_gpus(model, flavor) or vllm.gpus
    return vllm.gpus


def most_server_gpus(model: ModelFacts, flavor: Flavor) -> int | None:
    """GPUs of this machine over which vLLM can shard the model; ``None`` if its attention heads are unknown.

    TRL serves no second copy of a dense model (TRL 1.16: scripts/vllm_serve.py), so the others idle.
    """
    return max((gpus for gpus in range(1, flavor.num_gpus + 1) if is_shared_by(model, gpus)), default=None)


def is_shared_by(model: ModelFacts, gpus: int) -> bool:
    """Whether vLLM can shard the model over ``gpus`` GPUs; ``False`` if its attention heads are unknown.

    Each gets the same number of heads and of columns of the MLP, and whole key-value heads or copies of them (vLLM:
    config/model.py, model_executor/layers/linear.py).
    """
    heads = model.num_attention_heads
    if heads is None:
        return False
    keys = model.num_key_value_heads or heads
    whole = (heads, model.intermediate_size or 0, model.moe_intermediate_size or 0)
    return all(size % gpus == 0 for size in whole) and 0 in (keys % gpus, gpus % keys)
