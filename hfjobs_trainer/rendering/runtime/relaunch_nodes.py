"""One process per GPU on several machines, which start together."""

import os
import sys
from collections.abc import Callable, Mapping

from hfjobs_trainer.rendering.runtime.failing_several import run_told
from hfjobs_trainer.rendering.runtime.nodes import Nodes
from hfjobs_trainer.rendering.runtime.relaunch import count_processes, launch_command
from hfjobs_trainer.rendering.runtime.relaunch_several import download


def relaunch(
    gpus: int, models: Mapping[str, str | None], join: Callable[[int], Nodes | None]
) -> None:
    """Start this script again, once per GPU, together with the other machines.

    Args:
        gpus: The most GPUs to use, 0 for all; HFT_NUM_PROCESSES overrides their number.
        models: Models to download once, before all processes ask for them, and the
            revision of each.
        join: Joins the machines, given the number of processes on this one; None
            where this one is on its own.
    """
    if not (processes := count_processes(gpus)):
        return
    download(models)
    if nodes := join(processes):
        if nodes.trains > 1 or processes > 1:
            command = launch_command(**nodes.arguments)
        else:
            os.environ["WORLD_SIZE"] = "1"  # it is the one that trains
            command = [sys.executable, *sys.argv]
        sys.exit(run_told(command, nodes.run))
    if processes > 1:
        where = {"num_processes": processes, "num_machines": 1, "main_process_port": 0}
        sys.exit(run_told(launch_command(**where)))
