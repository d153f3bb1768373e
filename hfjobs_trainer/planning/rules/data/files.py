"""Rules about what a dataset is made of: data files that can be read."""

from __future__ import annotations

from collections.abc import Iterator

from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.problems import Found, rule
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.fixes import change
from hfjobs_trainer.specs.inputs import data_inputs

CONVERTED = "refs/convert/parquet"
"""The branch on which the Hub keeps the rows of a dataset as parquet files."""


@rule("DATA029", first=True)
def files_can_be_read(context: Context[TrainSpec]) -> Iterator[Found]:
    """Data files can be read.

    What it does:
        Refuses local files that `datasets` cannot read: a line that is no JSON object, a row of a table with more
        values than it has columns, a quote that is never closed, text that is not UTF-8, a damaged parquet file, files
        of one dataset with different columns. Refuses datasets that are a loading script; where the Hub has converted
        their rows, these can be used.

    Why:
        `load_dataset` raises a `DatasetGenerationError` that names neither the file nor the line, and only on the
        machine; of a table whose rows are all too long it takes the first value for a row's number, so that all others
        move to the wrong column. Loading scripts are no longer run: "Dataset scripts are no longer supported".

    Example:
        ```python
        hft.SFT(model=..., dataset="train.jsonl")  # its third line ends in a comma
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset="mended.jsonl")
        ```
    """
    for data in data_inputs(context.spec, context.facts):
        broken, script = data.facts.broken, data.facts.loading_script
        if broken is not None:
            place = broken.name if broken.line is None else f"{broken.name}, line {broken.line}"
            yield Found(data.id_path, f"{place}: {broken.why}")
        if script is not None and data.dataset.revision != CONVERTED:
            # the viewer shows what was converted
            shown = data.facts.lengths is not None or data.facts.values is not None
            fix = change(context.spec, {f"{data.path}.revision": CONVERTED}) if shown else ""
            yield Found(data.id_path, f"{data.id} is a loading script ({script}), which datasets no longer runs", fix)
