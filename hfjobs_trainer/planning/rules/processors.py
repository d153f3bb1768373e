"""Rules about the machine's processors."""

from __future__ import annotations

from collections.abc import Iterator

from hfjobs_trainer.planning.arguments.vllm import training_nodes
from hfjobs_trainer.problems import Found, rule
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.context import Context

# Processes for each of the machine's processors, beyond which they only wait for each other: some wait for the disk.
MOST_PER_PROCESSOR = 2


@rule("HW009", stage="run", scope="remote", severity="warning")
def processes_have_processors(context: Context[TrainSpec]) -> Iterator[Found]:
    """The processes that prepare data have processors to run on.

    What it does:
        Warns where `dataset_num_proc`, or `dataloader_num_workers` for all GPUs of a machine, is more than twice the
        machine's number of processors.

    Why:
        Each process holds its own copy of Python and of its part of the data: they slow each other down, and many run
        out of host memory, which ends the job without a traceback.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., dataset_num_proc=64, hardware="a10g-small")
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., dataset_num_proc=4, hardware="a10g-small")
        ```
    """
    flavor, spec = context.flavor, context.spec
    if flavor is None or not flavor.vcpu:
        return
    gpus = max(1, context.num_gpus // training_nodes(spec))
    for name, each in (("dataset_num_proc", 1), ("dataloader_num_workers", gpus)):
        processes: int = (getattr(spec, name, None) or 0) * each
        if processes > MOST_PER_PROCESSOR * flavor.vcpu:
            which = f" for {gpus} GPUs" if each > 1 else ""
            why = f"starts {processes} processes{which}, {flavor.name} has {flavor.vcpu} processors"
            yield Found(name, why, f"{name}={max(1, flavor.vcpu // each)}")
