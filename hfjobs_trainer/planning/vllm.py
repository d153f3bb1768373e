"""vLLM beside the trainer: in the training processes, or as a server on GPUs or a machine of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hfjobs_trainer.facts import Flavor, ModelFacts
from hfjobs_trainer.planning.architecture import shape_of
from hfjobs_trainer.planning.estimate import MemoryEstimate
from hfjobs_trainer.planning.pins import pinned_image
from hfjobs_trainer.planning.plan import Decision, JobRequest
from hfjobs_trainer.rendering.run import Server
from hfjobs_trainer.specs.base import JobSpec, TrainSpec

SERVER_SECONDS = 900
"""How long a server may take until it answers: it downloads, loads and compiles the model; TRL's own wait of four
minutes is for a server that runs already."""

LEAST_FRACTION, MOST_FRACTION = 0.1, 0.8
"""Share of a GPU between which the planner chooses for a vLLM that shares it with training."""

SERVER_SHARE = 0.9
"""Share of its GPUs that a server takes unless it is told another (TRL 1.16: scripts/vllm_serve.py)."""

_OWN_ADDRESS = "127.0.0.1"


def uses_vllm(spec: JobSpec) -> bool:
    """Whether vLLM generates the answers."""
    return bool(getattr(spec, "use_vllm", False))


def is_colocated(spec: TrainSpec) -> bool:
    """Whether vLLM runs in the training processes, on the same GPUs."""
    return uses_vllm(spec) and _field(spec, "vllm_mode") == "colocate"


def starts_server(spec: TrainSpec) -> bool:
    """Whether the script starts a vLLM server; not with the address of one of the user's."""
    elsewhere = spec.is_set("vllm_server_base_url") or spec.is_set("vllm_server_host")
    return uses_vllm(spec) and _field(spec, "vllm_mode") == "server" and not elsewhere


def serves_apart(spec: TrainSpec) -> bool:
    """Whether that server has the last of several nodes to itself."""
    return starts_server(spec) and spec.hardware.nodes > 1


def training_nodes(spec: TrainSpec) -> int:
    """Machines that train: all but that of a server."""
    return spec.hardware.nodes - serves_apart(spec)


def gpus_set_aside(spec: TrainSpec) -> int:
    """GPUs of a machine that trains which its vLLM server takes; 0 where it starts none."""
    return int(_field(spec, "vllm_tensor_parallel_size")) if starts_server(spec) and not serves_apart(spec) else 0


def server_gpus(spec: TrainSpec, model: ModelFacts, flavor: Flavor | None) -> int:
    """GPUs that the run's own server has: as many as it is given; of a node of its own, as many as the model allows.

    Returns:
        0 where the script starts no server.
    """
    given = int(_field(spec, "vllm_tensor_parallel_size")) if starts_server(spec) else 0
    if serves_apart(spec) and flavor is not None and not spec.is_set("vllm_tensor_parallel_size"):
        return most_server_gpus(model, flavor) or given
    return given


def most_server_gpus(model: ModelFacts, flavor: Flavor) -> int | None:
    """GPUs of this machine over which vLLM can spread the model; ``None`` where its attention heads are unknown.

    Each gets as many heads and columns of the MLP, and whole heads of keys and values or copies of them (vLLM:
    config/model.py, model_executor/layers/linear.py). TRL serves no second copy of a dense model (TRL 1.16:
    scripts/vllm_serve.py), so that the others idle.
    """
    heads = model.num_attention_heads
    if heads is None:
        return None
    keys = model.num_key_value_heads or heads
    whole = (heads, model.intermediate_size or 0, model.moe_intermediate_size or 0)

    def is_shared(gpus: int) -> bool:
        return all(size % gpus == 0 for size in whole) and 0 in (keys % gpus, gpus % keys)

    return max(filter(is_shared, range(1, flavor.num_gpus + 1)), default=None)


def server_shortage(spec: TrainSpec, model: ModelFacts, flavor: Flavor) -> str | None:
    """Why the server's GPUs cannot hold the model's weights, of 16 bits, in words.

    Returns:
        ``None`` if they can, if there is no server, and if a size is unknown.
    """
    gpus, shape, usable = server_gpus(spec, model, flavor), shape_of(model), flavor.usable_gpu_memory_gib
    if not gpus or shape is None or usable is None:
        return None
    given = spec.is_set("vllm_gpu_memory_utilization")
    room = (_field(spec, "vllm_gpu_memory_utilization") if given else SERVER_SHARE) * usable
    weights = 2 * shape.parameters / gpus / 2**30
    if weights <= room:
        return None
    where = "a GPU" if gpus == 1 else f"each of {gpus} GPUs"
    return f"{weights:.1f} GiB of weights come on {where} of {flavor.name}, of which the server takes {room:.1f} GiB"


def vllm_arguments(
    spec: TrainSpec, model: ModelFacts, flavor: Flavor | None, decide: Callable[[str, Any, str], Any]
) -> dict[str, Any]:
    """Arguments of TRL's config that the spec leaves open, by whether and where the script starts a server."""
    if not starts_server(spec):
        return {}
    gpus, apart = server_gpus(spec, model, flavor), serves_apart(spec)
    if not spec.is_set("vllm_tensor_parallel_size"):
        where = "of the last node, which does not train" if apart else "the last of the machine"
        decide("vllm_tensor_parallel_size", gpus, f"GPUs for the server, {where}")
    if apart:
        return {}  # its address is known when the nodes have met
    why = "the script starts its own server, which only this machine is to reach"
    return {"vllm_server_host": decide("vllm_server_host", _OWN_ADDRESS, why)}


def vllm_server(spec: TrainSpec, gpus: int) -> Server | None:
    """The server that the script starts, on this many GPUs; ``None`` if it starts none."""
    if not gpus:
        return None
    apart = serves_apart(spec)
    options = {
        "host": None if apart else _OWN_ADDRESS,
        "tensor_parallel_size": gpus,
        "gpu_memory_utilization": _field(spec, "vllm_gpu_memory_utilization")
        if spec.is_set("vllm_gpu_memory_utilization")
        else None,
        "max_model_len": getattr(spec, "vllm_max_model_length", None),
        "vllm_model_impl": _field(spec, "vllm_model_impl") if spec.is_set("vllm_model_impl") else None,
        "revision": spec.model_revision,
        "trust_remote_code": getattr(spec, "trust_remote_code", None) or None,
    }
    seconds = _field(spec, "vllm_server_timeout") if spec.is_set("vllm_server_timeout") else SERVER_SECONDS
    given = {name: value for name, value in options.items() if value is not None}
    return Server(gpus, int(_field(spec, "vllm_server_port")), float(seconds), given, apart)


def share_gpu(
    spec: TrainSpec, memory: MemoryEstimate | None, flavor: Flavor | None
) -> tuple[MemoryEstimate | None, Decision | None]:
    """Give a colocated vLLM what training leaves of each GPU, where the user did not say and both sizes are known.

    Returns:
        The estimate beside that share, and the decision; the estimate as it was and ``None`` if nothing was decided.
    """
    usable = flavor.usable_gpu_memory_gib if flavor else None
    if memory is None or not usable or not is_colocated(spec) or spec.is_set("vllm_gpu_memory_utilization"):
        return memory, None
    alone = replace(memory, gpu_fraction=0.0)
    left = alone.headroom_gib(usable, flavor.num_gpus if flavor else 1) - alone.margin_gib
    # in steps of 5%
    fraction = min(int(left / usable * 20) / 20, MOST_FRACTION)
    if fraction < LEAST_FRACTION:
        return memory, None
    why = f"what training leaves of {usable:.0f} GiB, less a margin"
    return replace(memory, gpu_fraction=fraction), Decision("vllm_gpu_memory_utilization", fraction, why)


def vllm_request(spec: TrainSpec, request: JobRequest) -> JobRequest:
    """The request of a run with vLLM: its image has a CUDA toolkit, and torch is the build that vLLM is linked to."""
    if not uses_vllm(spec):
        return request
    env = {name: value for name, value in request.env.items() if name != "UV_TORCH_BACKEND" or name in spec.env}
    return replace(request, env=env, image=request.image or pinned_image("vllm"))


def image_decision(spec: TrainSpec, backend: str) -> Decision | None:
    """Which image a job with vLLM gets, where the user named none."""
    if backend == "local" or not uses_vllm(spec) or spec.image is not None:
        return None
    why = "vLLM compiles kernels as it starts, for which the default image has no CUDA toolkit"
    return Decision("image", pinned_image("vllm"), why)


def _field(spec: TrainSpec, name: str) -> Any:
    return getattr(spec, name)
