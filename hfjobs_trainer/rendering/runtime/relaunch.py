"""One process per GPU, and a clean end for each of them."""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# What transformers reads of a model's repository.
MODEL_FILES = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt", "*.py"]


def relaunch(
    gpus: int,
    models: Mapping[str, str | None] | None = None,
    join: Callable[[int], Any] | None = None,
) -> None:
    """Start this script again under accelerate if several processes are to train.

    Args:
        gpus: The most GPUs to use, 0 for all that are visible. The environment
            variable HFT_NUM_PROCESSES overrides it, also where there is no GPU.
        models: Models to download once, before all processes ask for them, and the
            revision of each.
        join: Where several machines train: joins them, given the number of processes
            on this one.
    """
    if {"RANK", "LOCAL_RANK", "WORLD_SIZE"} & os.environ.keys():
        return  # this is one of them

    import torch

    visible = torch.cuda.device_count()
    wanted = os.environ.get("HFT_NUM_PROCESSES")
    processes = int(wanted) if wanted else min(visible, gpus or visible)
    if processes > 1 or join:
        for model, revision in (models or {}).items():
            download(model, revision)
    nodes = join(max(processes, 1)) if join else None
    if processes < 2 and visible > 1:
        # A single process would spread the model over all GPUs, layer by layer.
        first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
        os.environ["CUDA_VISIBLE_DEVICES"] = first
    script = sys.argv
    if nodes and nodes.trains == 1 and processes < 2:
        os.environ["WORLD_SIZE"] = "1"  # it is the one that trains
        sys.exit(nodes.run([sys.executable, *script]))
    if nodes or processes > 1:
        launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
        # Precision is for the trainer's own arguments to say.
        launch += ["--gpu_ids=all", "--mixed_precision=no", "--dynamo_backend=no"]
        alone = [f"--num_processes={processes}", "--num_machines=1"]
        alone += ["--main_process_port=0"]
        launch += [*(nodes.arguments if nodes else alone), *script]
        if nodes:
            sys.exit(nodes.run(launch))
        os.execv(sys.executable, launch)


def download(model: str, revision: str | None) -> None:
    """Fetch a model's files; what cannot be had, the processes report themselves."""
    import huggingface_hub

    if Path(model).is_dir():
        return
    hub: Any = huggingface_hub
    try:
        # Folders hold the same weights in other formats, as consolidated files do.
        hub.snapshot_download(
            model,
            revision=revision,
            allow_patterns=MODEL_FILES,
            ignore_patterns=["*/*", "consolidated*"],
        )
    except Exception as error:  # noqa: BLE001 - the processes will tell
        print(f"{model} was not downloaded ahead: {error!r:.300}", flush=True)


def finish() -> None:
    """Hand over the last metrics and end every process of the run."""
    import torch.distributed as dist

    trackio: Any = sys.modules.get("trackio")
    if trackio and trackio.context_vars.current_run.get():
        trackio.finish()
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)  # the interpreter's own exit can hang after a distributed run
