"""One process per GPU, and a clean end for each of them."""

import os
import sys
from typing import Any


def relaunch(gpus: int) -> None:
    """Start this script again, once for each of `gpus` GPUs, or of all if it is 0."""
    if (processes := count_processes(gpus)) > 1:
        where = {"num_processes": processes, "num_machines": 1, "main_process_port": 0}
        os.execv(sys.executable, launch_command(**where))


def count_processes(gpus: int) -> int:
    """Count the processes that are to train here; 0 if this is one of them."""
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


def finish() -> None:
    """End this process of a run that has several."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
        sys.stdout.flush()
        os._exit(0)  # the interpreter's own exit can hang after a distributed run
