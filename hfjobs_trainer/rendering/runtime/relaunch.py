"""One process per GPU, and a clean end for each of them."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from hfjobs_trainer.rendering.runtime.clock import seconds_left


def relaunch(gpus: int) -> None:
    """Start this script again, once for each of `gpus` GPUs, or of all if it is 0."""
    if (processes := count_processes(gpus)) > 1:
        where = {"num_processes": processes, "num_machines": 1, "main_process_port": 0}
        sys.exit(run_processes(launch_command(**where)))


def count_processes(gpus: int) -> int:
    """Count the processes that are to train here; 0 if this is one of them."""
    seconds_left()  # the launcher's processes are sessions of their own
    if {"RANK", "LOCAL_RANK", "WORLD_SIZE"} & os.environ.keys():
        return 0
    from torch import cuda

    seen = cuda.device_count()
    processes = int(os.environ.get("HFT_NUM_PROCESSES") or min(seen, gpus or seen))
    if processes < 2 and seen > 1:  # it would spread the model over all GPUs
        first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
        os.environ["CUDA_VISIBLE_DEVICES"] = first
    return max(1, processes)


def launch_command(**options: Any) -> list[str]:
    """Give the command that starts this script under accelerate."""
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
    # Precision is for the trainer's own arguments to say.
    launch += ["--gpu_ids=all", "--mixed_precision=no", "--dynamo_backend=no"]
    return [*launch, *(f"--{key}={value}" for key, value in options.items()), *sys.argv]


def run_processes(command: list[str], wait: Any = None) -> int:
    """Run a command that starts processes of this script, and give their exit code.

    A launcher would make a 1 of it: they leave it in HFT_EXIT_FILE, which is there from
    when they train. SIGTERM then makes a file beside it, which they look for; a second
    one, but uv's copy of it, ends them at once.
    """
    with tempfile.TemporaryDirectory() as folder:
        path, asked = Path(folder, "codes"), list[float]()
        env = {**os.environ, "HFT_EXIT_FILE": str(path)}
        # In a group of its own, so that a signal reaches it once, from here.
        process = subprocess.Popen(command, env=env, process_group=0)

        def end(number: int, _: Any) -> None:
            asked.append(time.time())
            first = number == signal.SIGTERM and asked[-1] < asked[0] + 1
            if first and path.exists():
                path.with_name("stop").touch()
            else:
                process.send_signal(number)

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, end)
        code = wait(process, path) if wait else process.wait()
        codes = path.read_text("utf-8").split() if path.exists() else []
    return 128 - code if code < 0 else code or max(map(int, codes), default=0)


def finish(code: int = 0) -> None:
    """End this process, if it is one of several or did not end well."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
    elif not code:
        return
    if code and (path := os.environ.get("HFT_EXIT_FILE")):
        with Path(path).open("a") as file:
            print(code, file=file)
        code = 0
    sys.stdout.flush()
    os._exit(code)  # the interpreter's own exit can hang after a distributed run
