"""A sample of a dataset's rows, as TRL will get them: kept and renamed as the spec says, and of a known shape."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from hfjobs_trainer.facts.shape import Shape
from hfjobs_trainer.gathering.attempt import attempt
from hfjobs_trainer.gathering.forms import is_null
from hfjobs_trainer.gathering.seen import is_talk
from hfjobs_trainer.gathering.shapes import converted, recognize
from hfjobs_trainer.gathering.texts import Formats, text_columns
from hfjobs_trainer.gathering.values import Json
from hfjobs_trainer.specs.groups import Dataset


@dataclass(frozen=True, slots=True)
class Sampled:
    """Rows of a dataset.

    Attributes:
        rows: As TRL will get them; a value that was not read in full is missing, with all rows from there on.
        shape: How they were made of those of the dataset; ``None`` where they are as they were.
    """

    rows: list[Json]
    shape: Shape | None = None


def sample(raw: Sequence[Json], dataset: Dataset, formats: Formats) -> Sampled:
    """The rows that TRL will get, made from rows as they were read; none where a function of the user makes them.

    Args:
        raw: Rows of the dataset. All have the same columns, but for values that were not read in full: those are
            missing.
        dataset: The spec's part.
        formats: Sets of columns that the method takes, the usual one first.
    """
    if dataset.map is not None:
        # code of the user's own never runs here
        return Sampled([])
    kept = dataset.keep_columns
    named: list[Json] = [
        {dataset.columns.get(name, name): value for name, value in row.items() if kept is None or name in kept}
        for row in raw
    ]
    if not named:
        return Sampled([])
    columns = tuple(dict.fromkeys(name for row in named for name in row))
    shape = recognize(_whole(named, named[0]), columns, formats, dataset.columns.values())
    if shape is None:
        return Sampled(_whole(named, text_columns(formats) & set(columns)))
    reads = {name for step in shape.conversions for name in (*step.renames, *step.drops, *step.makes)}
    rows = _whole(named, (reads | text_columns(formats)) & set(columns))
    made = converted(rows, shape)
    several = any(step.several for step in shape.conversions) and rows
    return Sampled(made, replace(shape, rows_of_one=len(made) / len(rows)) if several else shape)


def neither_text_nor_talk(rows: Sequence[Json]) -> tuple[str, ...]:
    """Columns with a value that is neither text nor a conversation, nulls left out."""
    fits = {name: True for row in rows for name in row}
    for row in rows:
        for name, value in row.items():
            fits[name] = fits[name] and (isinstance(value, str) or is_null(value) or is_talk(value))
    return tuple(name for name, fit in fits.items() if not fit)


def filled(rows: Sequence[Json]) -> list[Json]:
    """Rows as ``datasets`` gives them: ``None`` for each column that only others have, and texts of JSON read."""
    columns = dict.fromkeys(name for row in rows for name in row)
    return decoded([{name: row.get(name) for name in columns} for row in rows])


def _whole(rows: Sequence[Json], columns: Iterable[str]) -> list[Json]:
    """The rows up to the first that lacks one of ``columns``."""
    wanted = set(columns)
    return list(itertools.takewhile(lambda row: wanted <= row.keys(), rows))


def decoded(rows: Sequence[Json]) -> list[Json]:
    """Rows as ``datasets`` gives them: a column of values of several types is read from JSON, its texts as well."""
    plain = Counter[str]()
    texts = Counter[str]()
    for row in rows:
        for name, value in row.items():
            if isinstance(value, str):
                texts[name] += 1
            elif not is_null(value):
                plain[name] += 1
    mixed = plain.keys() & texts.keys()
    if not mixed:
        return list(rows)
    return [{name: _read(value) if name in mixed else value for name, value in row.items()} for row in rows]


def _read(value: object) -> object:
    if not isinstance(value, str):
        return value
    read = attempt(lambda: json.loads(value))
    return value if read is None else read
