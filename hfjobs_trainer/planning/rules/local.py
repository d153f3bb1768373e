"""Rules about local models and datasets that travel with the job."""

from __future__ import annotations

from collections.abc import Iterator

from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.planning.shipping import LARGE_BYTES, local_data, shipped_inputs
from hfjobs_trainer.problems import Found, rule
from hfjobs_trainer.specs.base import TrainSpec


@rule("LOCAL001", severity="warning", scope="remote")
def uploads_are_small(context: Context[TrainSpec]) -> Iterator[Found]:
    """Local data that travel with the job are small.

    What it does:
        Warns where a local model or dataset is larger than 5 GiB.

    Why:
        It is uploaded when the run is submitted, at 100 Mbit/s for 7 minutes and more. On the Hub it would be there for
        every machine, and for the next version of your code.

    Example:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-0.5B", dataset="./crawl.jsonl")  # 20 GiB
        ```

    Use instead:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-0.5B", dataset="username/crawl")
        ```
    """
    for item in local_data(shipped_inputs(context.spec, context.facts, context.backend)):
        if item.content.size > LARGE_BYTES:
            size = f"{item.content.size / 1024**3:.1f} GiB"
            yield Found(item.fields[0], f"{item.content.name} has {size}, which submit uploads unless it is there")


@rule("LOCAL002", severity="warning", scope="remote")
def all_files_travel(context: Context[TrainSpec]) -> Iterator[Found]:
    """A folder that travels with the job holds its own files.

    What it does:
        Warns where files of a local model or dataset are links to a place outside its folder: they stay here.

    Why:
        A link can lead anywhere on this machine, to what nobody meant to upload. The job would train on the other files
        alone.

    Example:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-0.5B", dataset="./data")  # data/more.jsonl -> /archive/more.jsonl
        ```

    Use instead:
        ```sh
        cp -rL ./data ./copy
        ```
        ```python
        hft.SFT(model="Qwen/Qwen2.5-0.5B", dataset="./copy")
        ```
    """
    for item in shipped_inputs(context.spec, context.facts, context.backend):
        links = item.content.left_out if item.content else ()
        if links:
            what = links[0] if len(links) == 1 else f"{links[0]} and {len(links) - 1:,} more"
            yield Found(item.path, f"the job does not have what links out of {item.id} lead to: {what}")
