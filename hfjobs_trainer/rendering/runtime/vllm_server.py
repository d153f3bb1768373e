"""A vLLM server for the answers, on GPUs of this machine that do not train."""

import os
import socket
import sys
from typing import Any

from hfjobs_trainer.rendering.runtime.vllm_serve import (
    await_answer,
    keep,
    serve_command,
)

# Held so that their standard input stays open for as long as this process lives.
KEEPERS = list[Any]()

# What a launcher tells its processes is nothing for the server.
LAUNCHER = (
    "RANK",
    "LOCAL_",
    "WORLD_SIZE",
    "MASTER_",
    "GROUP_",
    "ROLE_",
    "TORCHELASTIC_",
    "ACCELERATE_",
)


def set_aside(gpus: int) -> None:
    """Keep the last GPUs for the server; the others are all that training sees."""
    if "HFT_VLLM_GPUS" in os.environ:
        return  # the process that started this one has done so
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is None:
        import torch

        visible = [str(index) for index in range(torch.cuda.device_count())]
    else:
        visible = [name for name in given.split(",") if name.strip()]
    trains = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if len(visible) < gpus + trains:
        sys.exit(
            f"vLLM's server takes {gpus} GPU(s) and {trains} process(es) train, but"
            f" there are {len(visible)} GPU(s): use a machine with more, or"
            ' vllm_mode="colocate".'
        )
    os.environ["HFT_VLLM_GPUS"] = ",".join(visible[-gpus:])
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(visible[:-gpus])


def serve_model(model: str, port: int, seconds: float, **options: Any) -> None:
    """Start the server from the main process, and wait until it answers.

    Args:
        model: Model id or path.
        port: Port to answer on.
        seconds: How long that may take.
        options: Further options of `trl vllm-serve`.
    """
    if os.environ.get("RANK", "0") != "0":
        return
    command = serve_command(model, **options, port=port)
    env = {k: v for k, v in os.environ.items() if not k.startswith(LAUNCHER)}
    env["CUDA_VISIBLE_DEVICES"] = os.environ.get("HFT_VLLM_GPUS", "")
    start_server(command, port, seconds, env)


def start_server(
    command: list[str], port: int, seconds: float, env: dict[str, str]
) -> None:
    """Start a server that ends with this process, and wait until it is healthy."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            sys.exit(f"Port {port} for vLLM's server: {error}. Set vllm_server_port.")
    keeper = keep(command, env)
    KEEPERS.append(keeper)
    await_answer("127.0.0.1", port, seconds, keeper)
