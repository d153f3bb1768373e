"""Host memory and disk that a run needs."""

from __future__ import annotations

from hfjobs_trainer.facts import Flavor
from hfjobs_trainer.planning.arguments.strategies import SHARDS_WEIGHTS
from hfjobs_trainer.planning.layout import Layout
from hfjobs_trainer.planning.memory.closed_form import MemoryEstimate
from hfjobs_trainer.problems import Reason

# Host memory beyond the weights that a training process needs for Python, torch and the dataset's pages, GB.
PROCESS_RAM_GB = 3.0
# Disk that the installed packages of a script take (torch and the CUDA libraries above all), GB.
PACKAGES_DISK_GB = 15.0

CHECKPOINTS_KEPT = 2
"""Checkpoints to keep if the disk cannot hold all: the newest, and another in case that one is damaged."""


def lacks_storage(
    flavor: Flavor,
    layout: Layout,
    memory: MemoryEstimate,
    weights_bytes: float,
    checkpoints: float,
    *,
    resumable: bool = True,
) -> Reason | None:
    """The reason why host memory or disk is too small; ``None`` if both suffice or are unknown.

    Args:
        flavor: The machine.
        layout: The layout of the run on it.
        memory: Memory of one GPU.
        weights_bytes: Bytes of the loaded model.
        checkpoints: Checkpoints that are on the disk at once.
        resumable: Whether a checkpoint has the optimizer states as well.
    """
    weights_gb = weights_bytes / 1e9
    processes = max(1, layout.num_gpus)
    # each process loads the weights through host memory; if they are sharded, one does it for all
    ram = weights_gb * (1 if memory.strategy in SHARDS_WEIGHTS else processes) + processes * PROCESS_RAM_GB
    if flavor.ram_gb and ram > flavor.ram_gb:
        return Reason("host memory", f"needs {ram:.0f} GB of host memory to load the weights, has {flavor.ram_gb:g} GB")
    spread = memory.num_gpus if memory.strategy in SHARDS_WEIGHTS else 1
    trained = (memory.adapter * spread or weights_bytes) / 1e9
    states = memory.optimizer_states * (memory.num_gpus if memory.strategy != "ddp" else 1) / 1e9
    states = states if resumable else 0.0
    # the download, the saved model, and the checkpoints
    disk = PACKAGES_DISK_GB + 2 * weights_gb + max(1, checkpoints) * (trained + states)
    if flavor.disk_gb and disk > flavor.disk_gb:
        several = checkpoints > 1
        kept = f"{checkpoints:.0f} checkpoints" if several else "one checkpoint"
        text = f"needs {disk:.0f} GB of disk for the weights and {kept}, has {flavor.disk_gb:g} GB"
        return Reason("checkpoints" if several else "disk", text)
    return None
