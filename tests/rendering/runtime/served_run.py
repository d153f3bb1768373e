"""The training of ``distributed_run.py`` beside a vLLM server on the last node, as the renderer starts both."""

from __future__ import annotations

import os
import sys
import urllib.request

from hfjobs_trainer.rendering.runtime.nodes import join_nodes
from hfjobs_trainer.rendering.runtime.relaunch_nodes import relaunch
from hfjobs_trainer.rendering.runtime.vllm_node import await_server, serve_on_last_node
from tests.rendering.runtime import distributed_run

MODEL, _, NODES, PORT = sys.argv[1:]


if __name__ == "__main__":
    serve_on_last_node(MODEL, nodes=int(NODES), port=int(PORT), tensor_parallel_size=2)
    relaunch(gpus=0, models={}, join=lambda processes: join_nodes(int(NODES), processes, serving=True))
    server = await_server(int(PORT), 60)
    rank = os.environ.get("RANK", "0")
    # TRL's trainers ask from the main process alone, which has waited
    if rank == "0":
        with urllib.request.urlopen(f"http://{server}:{PORT}/health") as answer:
            print(f"answered with {answer.status}", flush=True)
    print(f"rank {rank} knows {server}", flush=True)
    if os.environ.get("TRAINING_FAILS"):
        raise SystemExit("the loss is not finite")
    distributed_run.main()
