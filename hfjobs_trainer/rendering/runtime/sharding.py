"""A model spread over the processes, by FSDP or DeepSpeed."""

import importlib
import os
from typing import Any

from hfjobs_trainer.rendering.runtime.events import report


def sharding(strategy: str, **arguments: Any) -> dict[str, Any]:
    """Give the arguments of the trainer's config that spread the model.

    Args:
        strategy: Name of the strategy, for the report.
        arguments: The arguments that it consists of.

    Returns:
        These arguments, or none: where a single process trains, where FSDP finds no
        GPU, and where `accelerate launch` was given a strategy of its own.
    """
    import torch

    launched = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED")
    has_gpu = torch.cuda.is_available()
    if any(os.environ.get(name, "").lower() == "true" for name in launched):
        used, why = "the launcher's", "accelerate was started with a strategy"
    elif os.environ.get("WORLD_SIZE", "1") == "1":
        used, why = "single", "a single process trains"
    elif "fsdp" in arguments and not has_gpu:
        used, why = "ddp", "FSDP needs GPUs"
    else:
        if "fsdp" in arguments:
            # One process reads the weights, the others get their part from it.
            os.environ["ACCELERATE_USE_FSDP"] = "true"
        elif not has_gpu:
            deepspeed: Any = importlib.import_module("deepspeed")
            deepspeed.init_distributed(dist_backend="gloo")
        return arguments
    report("replaced", what="strategy", planned=strategy, used=used, why=why)
    return {}
