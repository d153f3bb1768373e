"""One process per GPU, where several were planned: the models are downloaded once."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hfjobs_trainer.rendering.runtime.failing_several import run_told
from hfjobs_trainer.rendering.runtime.relaunch import count_processes, launch_command

# What transformers reads of a model's repository.
MODEL_FILES = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt", "*.py"]


def relaunch(gpus: int, models: Mapping[str, str | None]) -> None:
    """Start this script again, once per GPU, if there are several.

    Args:
        gpus: The most GPUs to use, 0 for all; HFT_NUM_PROCESSES overrides their number.
        models: Models to download once, before all processes ask for them, and the
            revision of each.
    """
    if (processes := count_processes(gpus)) > 1:
        download(models)
        where = {"num_processes": processes, "num_machines": 1, "main_process_port": 0}
        sys.exit(run_told(launch_command(**where)))


def download(models: Mapping[str, str | None]) -> None:
    """Fetch models' files; what cannot be had, the processes report themselves."""
    import huggingface_hub

    hub: Any = huggingface_hub
    for model, revision in models.items():
        if Path(model).is_dir():
            continue
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
