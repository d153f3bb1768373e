"""A vLLM server for the answers, on the last of several machines."""

import os
import sys
from typing import Any

from hfjobs_trainer.rendering.runtime.nodes import join_nodes
from hfjobs_trainer.rendering.runtime.vllm_serve import (
    await_answer,
    keep,
    serve_command,
)


def serve_on_last_node(model: str, nodes: int, port: int, **options: Any) -> None:
    """On the last node, serve the model until the others have trained; then end.

    Args:
        model: Model id or path.
        nodes: Machines that were planned, this one included.
        port: Port to answer on.
        options: Further options of `trl vllm-serve`.
    """
    if os.environ.get("HFT_NODE_RANK") != str(nodes - 1):
        return
    if joined := join_nodes(nodes, 0, serving=True):
        # Where the first node reached it: no other network hears of the server.
        host = joined.lines[0].connection.getsockname()[0]
        server = keep(serve_command(model, host=host, port=port, **options))
        sys.exit(joined.watch(server, server.stdin.close, serves=True))


def await_server(port: int, seconds: float) -> str:
    """Wait, in the main process, until the last node answers.

    Args:
        port: Port on which it answers.
        seconds: How long that may take.

    Returns:
        The host to ask.
    """
    host = os.environ.get("HFT_VLLM_HOST", "")
    if not host:
        sys.exit("Set HFT_VLLM_HOST to the name of the machine with vLLM's server.")
    if os.environ.get("RANK", "0") == "0":
        await_answer(host, port, seconds)
    return host
