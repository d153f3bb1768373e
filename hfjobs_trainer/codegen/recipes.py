"""Generator of the tables of starting values, from ``data/recipes.json``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hfjobs_trainer.planning.arguments.recipes import (
    Cell,
    as_source,
    recipe_of,
    recipe_sources,
    shared_cells,
    span,
)
from hfjobs_trainer.specs.registry import METHODS

HEADER = ("Field", "For", "Start with", "Range", "Why")
SOURCES = ("Source", "Where")

Rows = list[tuple[str, ...]]


def recipe_tables() -> Iterator[tuple[str, Rows, tuple[str, ...]]]:
    """Title and rows of a table for each method that has a recipe, and what else is said; the shared one last."""
    shared = shared_cells()
    for spec in METHODS.values():
        recipe = recipe_of(spec.TRAINING)
        if recipe is not None:
            own = [cell for cell in recipe.cells if cell not in shared]
            yield (
                f"{spec.METHOD.label} ({_names(recipe.sources)})",
                _rows(own, recipe.unit, recipe.sources),
                recipe.notes,
            )
    yield "Each of these", _rows(shared, "", ()), ()


def source_rows() -> Rows:
    """Each source, and where it is."""
    return list(recipe_sources().items())


def _rows(cells: Iterable[Cell], unit: str, sources: tuple[str, ...]) -> Rows:
    return [
        (
            f"`{cell.field}`",
            ", ".join(_conditions(cell)),
            _value(cell, unit),
            span(cell.range),
            cell.why + (f" ({_names(cell.sources)})" if cell.sources != sources else "") + (" (*weak*)" * cell.weak),
        )
        for cell in cells
    ]


def _names(sources: tuple[str, ...]) -> str:
    return ", ".join(sources)


def _value(cell: Cell, unit: str) -> str:
    if cell.share_of_rows is not None:
        return f"what {cell.share_of_rows:.0%} of the rows fit in"
    return f"`{as_source(cell.value)}`" + (f" {unit}" if cell.field == "global_batch_size" else "")


def _conditions(cell: Cell) -> Iterator[str]:
    if cell.tuning is not None:
        yield "all weights" if cell.tuning == "full" else "LoRA"
    if cell.upto < float("inf"):
        yield f"up to {cell.upto:g}B"
    if cell.above:
        yield f"from {cell.above:g}B"
    if cell.batch_from:
        yield f"from {cell.batch_from:g} per step"
    if cell.rows_from is not None:
        yield f"from {cell.rows_from:,} rows, if they are short"
    if cell.rows_below is not None:
        yield f"below {cell.rows_below:,} rows"
    for name, accepted in cell.when:
        yield f"`{name}` {' or '.join(f'`{as_source(value)}`' for value in accepted)}"
    if cell.unless_set:
        yield f"without {' or '.join(f'`{name}`' for name in cell.unless_set)}"
