"""What the machine decides: GPU or CPU, precision, gradient accumulation."""

# needs: events

import os
import subprocess
import sys
from typing import Any

from hfjobs_trainer.rendering.runtime.events import report


def prepare_machine(
    method: str,
    model: str,
    gpus: int,
    precision: str | None,
    use_cpu: bool = False,
    bf16_adapter: bool = False,
) -> dict[str, Any]:
    """Check the GPUs, report the start, and settle the precision.

    Args:
        method: Training method, for the report.
        model: Model, for the report.
        gpus: GPUs that were planned, 0 for none in particular.
        precision: "bf16", "fp16" or "fp32" as planned; None keeps the script's own.
        use_cpu: Whether to leave a GPU alone.
        bf16_adapter: Whether the weights that are trained are bfloat16.

    Returns:
        The arguments of the trainer's config that follow from the machine.
    """
    import torch

    device = find_device(use_cpu)
    found = torch.cuda.device_count() if device == "cuda" else 0
    planned = 0 if use_cpu else gpus
    planned = min(planned, int(os.environ.get("HFT_NUM_PROCESSES") or planned))
    # A job of the public Hub; one of a Hub of one's own may run on any machine.
    rented = "JOB_ID" in os.environ and "HF_ENDPOINT" not in os.environ
    if found < planned and rented:
        # A rented machine without its GPUs would train on the CPU until its timeout.
        sys.exit(
            f"{planned} GPU(s) were promised, torch sees {found}: torch"
            f" {torch.__version__} is built for CUDA {torch.version.cuda}, and the"
            f" NVIDIA driver here is {nvidia_driver()}. If there is a driver, have uv"
            ' install the build that fits it: torch-backend = "auto" under [tool.uv]'
            " in this script's header. If there is none, choose a flavor with GPUs."
        )
    report(
        "start",
        method=method,
        model=model,
        device=device,
        gpu=torch.cuda.get_device_name() if device == "cuda" else None,
        world_size=int(os.environ.get("WORLD_SIZE", "1")),
    )
    if found < planned:
        why = "this machine has no more"
        report("replaced", what="gpus", planned=planned, used=found, why=why)
    settled: dict[str, Any] = {"use_cpu": True} if device == "cpu" else {}
    if precision is not None:
        used = precision
        if device != "cuda":
            used = "fp32"
        elif precision == "bf16" and not has_bf16() and not bf16_adapter:
            # Without bf16 arithmetic it is emulated; fp16 cannot train such weights.
            used = "fp16"
        if used != precision:
            why = f"no {precision} mixed precision on this {device} device"
            report("replaced", what="precision", planned=precision, used=used, why=why)
        settled |= {"bf16": used == "bf16", "fp16": used == "fp16"}
    return settled


def settle_dtype(planned: str, frozen: bool = False, use_cpu: bool = False) -> str:
    """Choose a dtype for the weights that this machine computes well with."""
    device, used = find_device(use_cpu), planned
    if device == "cpu" and planned in ("bfloat16", "float16"):
        used = "float32"
    elif device == "cuda" and planned == "bfloat16" and not has_bf16():
        # Weights that are trained in fp16 mixed precision must be float32 themselves.
        used = "float16" if frozen else "float32"
    if used != planned:
        why = f"{planned} is slow on this {device} device"
        report("replaced", what="dtype", planned=planned, used=used, why=why)
    return used


def accumulation_steps(global_batch_size: int, per_device_batch_size: int) -> int:
    """Split the global batch size over the processes that there are."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    batch = per_device_batch_size * processes
    if global_batch_size % batch:
        sys.exit(
            f"A global batch size of {global_batch_size} is no multiple of"
            f" {per_device_batch_size} per device on {processes} process(es): change"
            f" one of them, or the process count with HFT_NUM_PROCESSES."
        )
    return global_batch_size // batch


def find_device(use_cpu: bool) -> str:
    """Name the device to train on: "cuda", "mps" or "cpu"."""
    import torch

    if use_cpu:
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def has_bf16() -> bool:
    """Tell whether the GPU computes in bf16 itself (NVIDIA: since Ampere)."""
    import torch

    return torch.cuda.is_bf16_supported(including_emulation=False)


def nvidia_driver() -> str:
    """Read the version of the NVIDIA driver."""
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.check_output(query, text=True, timeout=20).split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        return "not found"
