"""What the machine offers, and what follows from it: GPU or CPU, precision, dtype."""

import os
import subprocess
import sys
from typing import NamedTuple

from hfjobs_trainer.rendering.runtime.events import report


class Machine(NamedTuple):
    """What this machine offers to each process of the run."""

    device: str  # "cuda", "mps" or "cpu"
    gpus: int
    gpu: str | None
    has_bf16: bool  # without emulation: NVIDIA's GPUs since Ampere
    world_size: int


def find_machine(use_cpu: bool = False) -> Machine:
    """Look at the machine; with `use_cpu`, its GPUs are left alone."""
    from torch import backends, cuda

    size = int(os.environ.get("WORLD_SIZE", "1"))
    if use_cpu or not cuda.is_available():
        mps = backends.mps.is_available() and not use_cpu
        return Machine("mps" if mps else "cpu", 0, None, False, size)
    bf16 = cuda.is_bf16_supported(including_emulation=False)
    return Machine("cuda", cuda.device_count(), cuda.get_device_name(), bf16, size)


def require_gpus(machine: Machine, planned: int) -> None:
    """Report that there are fewer GPUs than planned, and end a job that rented them."""
    planned = min(planned, int(os.environ.get("HFT_NUM_PROCESSES") or planned))
    if machine.gpus >= planned:
        return
    why = "this machine has no more"
    report("replaced", what="gpus", planned=planned, used=machine.gpus, why=why)
    # Not on a Hub of one's own, whose jobs may run on any machine.
    if "JOB_ID" in os.environ and "HF_ENDPOINT" not in os.environ:
        from torch import __version__, version

        query = "timeout 20 nvidia-smi --query-gpu=driver_version --format=csv,noheader"
        sys.exit(
            f"{planned} GPU(s) were promised, torch sees {machine.gpus}: torch"
            f" {__version__} is for CUDA {version.cuda}; the driver, by nvidia-smi:"
            f" {subprocess.getoutput(query)}. If there is one, let uv install the build"
            ' that fits: torch-backend = "auto" under [tool.uv] in the header of this'
            " script. If there is none, choose a flavor with GPUs."
        )


def settle_precision(machine: Machine, planned: str) -> dict[str, bool]:
    """Give the trainer's arguments for the mixed precision that this machine has."""
    used = planned if machine.device == "cuda" else "fp32"
    if used == "bf16" and not machine.has_bf16:
        used = "fp16"
    if used != planned:
        why = f"no {planned} mixed precision on this {machine.device} device"
        report("replaced", what="precision", planned=planned, used=used, why=why)
    return {"bf16": used == "bf16", "fp16": used == "fp16"}


def settle_dtype(machine: Machine, planned: str, frozen: bool = False) -> str:
    """Choose a dtype for the weights that this machine computes well with."""
    used = planned
    if machine.device == "cpu" and planned in ("bfloat16", "float16"):
        used = "float32"
    elif machine.device == "cuda" and planned == "bfloat16" and not machine.has_bf16:
        # Weights that are trained in fp16 mixed precision must be float32 themselves.
        used = "float16" if frozen else "float32"
    if used != planned:
        why = f"{planned} is slow on this {machine.device} device"
        report("replaced", what="dtype", planned=planned, used=used, why=why)
    return used


def accumulation_steps(global_batch_size: int, per_device_batch_size: int) -> int:
    """Split the global batch size over the processes that there are."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    batch = per_device_batch_size * processes
    if global_batch_size % batch:
        sys.exit(
            f"A global batch size of {global_batch_size} is not a multiple of"
            f" {per_device_batch_size} per device on {processes} process(es): change"
            f" one of them, or the process count with HFT_NUM_PROCESSES."
        )
    return global_batch_size // batch
