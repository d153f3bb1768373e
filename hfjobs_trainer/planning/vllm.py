"""vLLM beside the trainer: in the training processes, or as a server on GPUs or a machine of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hfjobs_trainer.facts import Flavor, ModelFacts
from hfjobs_trainer.planning.layout import Layout
from hfjobs_trainer.planning.pins import pinned_image
from hfjobs_trainer.planning.plan import Decision, JobRequest
from hfjobs_trainer.rendering.page import Server
from hfjobs_trainer.specs.base import JobSpec, TrainSpec

SERVER_SECONDS = 900
"""How long a server may take until it answers: it downloads, loads and compiles the model; TRL's own wait of four
minutes is for a server that runs already."""

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

    TRL serves no second copy of a dense model (TRL 1.16: scripts/vllm_serve.py), so that the others idle.
    """
    return max((gpus for gpus in range(1, flavor.num_gpus + 1) if is_shared_by(model, gpus)), default=None)


def is_shared_by(model: ModelFacts, gpus: int) -> bool:
    """Whether vLLM can spread the model over so many GPUs; no where its attention heads are unknown.

    Each gets as many heads and columns of the MLP, and whole heads of keys and values or copies of them (vLLM:
    config/model.py, model_executor/layers/linear.py).
    """
    heads = model.num_attention_heads
    if heads is None:
        return False
    keys = model.num_key_value_heads or heads
    whole = (heads, model.intermediate_size or 0, model.moe_intermediate_size or 0)
    return all(size % gpus == 0 for size in whole) and 0 in (keys % gpus, gpus % keys)


def vllm_arguments(
    spec: TrainSpec,
    model: ModelFacts,
    flavor: Flavor | None,
    layout: Layout | None,
    decide: Callable[[str, Any, str], Any],
) -> dict[str, Any]:
    """Arguments of TRL's config that the spec leaves open, by where vLLM runs."""
    together = layout.vllm_tensor_parallel_size if layout else 1
    if is_colocated(spec) and together > 1 and not spec.is_set("vllm_tensor_parallel_size"):
        why = "GPUs that share a copy of the model in vLLM: beside training, no GPU holds a whole one"
        return {"vllm_tensor_parallel_size": decide("vllm_tensor_parallel_size", together, why)}
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


def vllm_server(spec: TrainSpec, gpus: int, context: int | None) -> Server | None:
    """The server that the script starts, on this many GPUs, for sequences so long; ``None`` if it starts none."""
    if not gpus:
        return None
    apart = serves_apart(spec)
    options = {
        "host": None if apart else _OWN_ADDRESS,
        "tensor_parallel_size": gpus,
        "gpu_memory_utilization": _field(spec, "vllm_gpu_memory_utilization")
        if spec.is_set("vllm_gpu_memory_utilization")
        else None,
        "max_model_len": context,
        "vllm_model_impl": _field(spec, "vllm_model_impl") if spec.is_set("vllm_model_impl") else None,
        "revision": spec.model_revision,
        "trust_remote_code": getattr(spec, "trust_remote_code", None) or None,
    }
    seconds = _field(spec, "vllm_server_timeout") if spec.is_set("vllm_server_timeout") else SERVER_SECONDS
    given = {name: value for name, value in options.items() if value is not None}
    return Server(gpus, int(_field(spec, "vllm_server_port")), float(seconds), given, apart)


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
