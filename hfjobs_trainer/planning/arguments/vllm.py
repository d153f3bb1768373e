"""vLLM next to the trainer: in the training processes, or as a server on its own GPUs or its own node."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hfjobs_trainer.planning.hardware.machine import Machine
from hfjobs_trainer.planning.layout import Layout
from hfjobs_trainer.planning.pins import pinned_image
from hfjobs_trainer.planning.plan import Decide, JobRequest
from hfjobs_trainer.planning.run import Run, Vllm
from hfjobs_trainer.rendering.page import Server

SERVER_SECONDS = 900.0
"""How long a server may take to start: it downloads, loads and compiles the model. TRL's default of four minutes is for
a server that runs already."""

_OWN_ADDRESS = "127.0.0.1"


def vllm_arguments(vllm: Vllm | None, machine: Machine, layout: Layout | None, decide: Decide) -> dict[str, Any]:
    """Arguments of TRL's config that the spec leaves open, by where vLLM runs."""
    if vllm is None:
        return {}
    together = layout.vllm_tensor_parallel_size if layout else 1
    if vllm.colocated and together > 1 and not vllm.gpus_is_set:
        why = "GPUs per copy of the model in vLLM: next to training, one GPU cannot hold a whole copy"
        return {"vllm_tensor_parallel_size": decide("vllm_tensor_parallel_size", together, why)}
    if not vllm.starts_server:
        return {}
    if not vllm.gpus_is_set:
        where = "all of the last node, which does not train" if vllm.apart else "the last ones of the machine"
        decide("vllm_tensor_parallel_size", machine.server_gpus, f"GPUs of the vLLM server: {where}")
    if vllm.apart:
        return {}  # its address is known only once the nodes have found each other
    why = "the script starts its own server, reachable only from this machine"
    return {"vllm_server_host": decide("vllm_server_host", _OWN_ADDRESS, why)}


def vllm_server(vllm: Vllm | None, gpus: int, context: int | None) -> Server | None:
    """The server that the script starts on ``gpus`` GPUs with this ``context``; ``None`` if it starts none."""
    if vllm is None or not gpus:
        return None
    options = {
        "host": None if vllm.apart else _OWN_ADDRESS,
        "tensor_parallel_size": gpus,
        "gpu_memory_utilization": vllm.share if vllm.share_is_set else None,
        "max_model_len": context,
        **vllm.options,
    }
    given = {name: value for name, value in options.items() if value is not None}
    return Server(gpus, vllm.port, vllm.timeout or SERVER_SECONDS, given, vllm.apart)


def vllm_request(run: Run, request: JobRequest, own_env: dict[str, str]) -> JobRequest:
    """The request of a run with vLLM: an image with a CUDA toolkit, and the build of torch that vLLM is linked to.

    Args:
        run: The run.
        request: The request as for any run.
        own_env: The spec's own environment variables, which take precedence.
    """
    if run.vllm is None:
        return request
    env = {name: value for name, value in request.env.items() if name != "UV_TORCH_BACKEND" or name in own_env}
    return replace(request, env=env, image=request.image or pinned_image("vllm"))


def decide_image(run: Run, decide: Decide) -> None:
    """Record the image of a job with vLLM, if the user named none."""
    if run.vllm is not None and run.image is None:
        why = "vLLM compiles kernels when it starts, and the default image has no CUDA toolkit"
        decide("image", pinned_image("vllm"), why)
