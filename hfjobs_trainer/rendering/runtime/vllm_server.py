"""A vLLM server for the answers, on GPUs of this machine that do not train."""

import os
import socket
import subprocess
import sys
import time
import urllib.request
from http.client import HTTPException
from typing import Any

# Keeps the server: ends it once the training process is gone, however that ended,
# since then its standard input closes. All of it is one process group.
KEEPER = """
import os, signal, subprocess, sys, threading
for name in (signal.SIGTERM, signal.SIGINT):
    signal.signal(name, lambda *_: None)
server = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
def follow():
    code = server.wait()
    os.killpg(0, signal.SIGTERM)
    os._exit(code if code >= 0 else 128 - code)
threading.Thread(target=follow, daemon=True).start()
sys.stdin.buffer.read()
os.killpg(0, signal.SIGTERM)
try:
    server.wait(20)
except subprocess.TimeoutExpired:
    pass
os.killpg(0, signal.SIGKILL)
"""

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
    command = [sys.executable, "-m", "trl.scripts.vllm_serve", f"--model={model}"]
    command += [f"--{name}={value}" for name, value in options.items()]
    env = {k: v for k, v in os.environ.items() if not k.startswith(LAUNCHER)}
    env["CUDA_VISIBLE_DEVICES"] = os.environ.get("HFT_VLLM_GPUS", "")
    start_server([*command, f"--port={port}"], port, seconds, env)


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
    started = time.monotonic()
    keeper = subprocess.Popen(
        [sys.executable, "-c", KEEPER, *command],
        env=env,
        stdin=subprocess.PIPE,
        start_new_session=True,
    )
    KEEPERS.append(keeper)
    # Straight to this machine, whatever proxies the environment names.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() - started < seconds:
        if (code := keeper.poll()) is not None:
            sys.exit(
                f"vLLM's server ended with code {code} before it answered; the lines"
                " above are its own."
            )
        try:
            with opener.open(f"http://127.0.0.1:{port}/health", timeout=5):
                waited = time.monotonic() - started
                print(f"vLLM's server answers after {waited:.0f} s.", flush=True)
                return
        except (OSError, HTTPException):
            time.sleep(0.5)
    sys.exit(
        f"vLLM's server did not answer within {seconds:.0f} s. Give it more time with"
        " vllm_server_timeout, or see above what it was doing."
    )
