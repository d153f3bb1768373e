"""Rows made of rows, one of each, several, or none."""

import sys
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
    name = getattr(function, "__name__", "map")
    counts = {"dropped": 0, "added": 0}
    known: dict[str, None] = {}

    def make(row: dict[str, Any], number: int) -> list[dict[str, Any]]:
        try:
            found: list[Any] | dict[str, Any] | None = function(row)
        except Exception as error:
            error.add_note(f"{name} was called with row {number}: {repr(row)[:200]}")
            raise
        rows: list[Any] = []
        if found is not None:
            rows = found if isinstance(found, list) else [found]
        for made in rows:
            if not isinstance(made, dict):
                what = f"a {type(made).__name__}, not a row, a list of rows or None"
                where = f"row {number}: {repr(row)[:200]}"
                sys.exit(f"{name} returned {what}, for {where}")
        return rows

    def convert(
        batch: dict[str, list[Any]], numbers: list[int]
    ) -> dict[str, list[Any]]:
        made: list[dict[str, Any]] = []
        for number, *values in zip(numbers, *batch.values(), strict=True):
            rows = make(dict(zip(batch, values, strict=True)), number)
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
        return dataset.map(
            convert, with_indices=True, batched=True, remove_columns=columns
        )
    # what was counted is not in a cache
    mapped = dataset.map(
        convert,
        with_indices=True,
        batched=True,
        remove_columns=columns,
        load_from_cache_file=False,
    )
    if len(dataset) and not len(mapped):
        sys.exit(f"{name} dropped all {len(dataset)} rows.")
    report("mapped", function=name, before=len(dataset), rows=len(mapped), **counts)
    return mapped
