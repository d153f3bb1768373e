"""Rows made of rows, one of each, several, or none."""

from collections.abc import Callable
from typing import Any

from hfjobs_trainer.rendering.runtime.events import report


def map_rows(dataset: Any, function: Callable[[dict[str, Any]], Any]) -> Any:
    """Replace each row by what a function makes of it, in order.

    How many rows were dropped or added is reported; of a stream, nothing is known yet.

    Args:
        dataset: A dataset or a stream.
        function: Returns a row, a list of rows, or `None` to drop it.
    """
    counts = {"dropped": 0, "added": 0}
    known: dict[str, None] = {}

    def convert(batch: dict[str, list[Any]]) -> dict[str, list[Any]]:
        made: list[dict[str, Any]] = []
        for values in zip(*batch.values(), strict=True):
            rows: Any = function(dict(zip(batch, values, strict=True)))
            is_list = isinstance(rows, list)
            rows = rows if is_list else [] if rows is None else [rows]
            counts["dropped"] += not rows
            counts["added"] += max(0, len(rows) - 1)
            made += rows
        known.update(dict.fromkeys(name for row in made for name in row))
        # a batch of which nothing is left has columns all the same
        return {name: [row.get(name) for row in made] for name in known or batch}

    columns: Any = dataset.column_names
    if columns is None:
        columns = [*next(iter(dataset))]
    if not hasattr(dataset, "__len__"):
        return dataset.map(convert, batched=True, remove_columns=columns)
    # what was counted is not in a cache
    mapped = dataset.map(
        convert, batched=True, remove_columns=columns, load_from_cache_file=False
    )
    name = getattr(function, "__name__", "map")
    report("mapped", function=name, before=len(dataset), rows=len(mapped), **counts)
    return mapped
