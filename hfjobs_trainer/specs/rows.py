"""Rows that a program holds, as a dataset: written once into the cache, and named in the spec by their content.

Tables are told by what they can do; no library of theirs is imported. This is the one place where building a spec
writes: what it takes in is not a value that a spec could keep.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Protocol, cast

from pydantic import GetPydanticSchema
from pydantic.json_schema import SkipJsonSchema
from pydantic_core.core_schema import any_schema

from hfjobs_trainer.contents import cache_home, keep_file, pinned
from hfjobs_trainer.errors import SpecError
from hfjobs_trainer.problems import Problem
from hfjobs_trainer.specs.given import FAILURES, kind_of

_LARGEST = 2**63 - 1
_MOST_COLUMNS, _MOST_IN_A_ROW = 10_000, 1_000_000
# Rows of a table that are turned into values at once.
_BATCH = 1000
# What pandas calls a value that is missing, beside NaN.
_MISSING = frozenset(("NAType", "NaTType"))


class Table(Protocol):
    """A table of rows: a ``datasets.Dataset``, a frame of pandas or polars, a table of pyarrow."""

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and columns."""
        ...

    def __len__(self) -> int: ...


def _any(source: object, handler: object) -> Any:
    return any_schema()


TableField = Annotated[SkipJsonSchema[Table], GetPydanticSchema(_any)]
"""A ``Table`` as a field takes it; no JSON has one."""


def is_rows(value: object, fields: Iterable[str]) -> bool:
    """Whether a value is rows, and not the name of a dataset or a list of datasets.

    A list of mappings is rows unless each of them is what ``hft.Dataset`` takes: an ``id``, and names of its fields, a
    misspelt one included.

    Args:
        value: What was given for a dataset.
        fields: Names of the fields of a dataset.
    """
    try:
        return _is_rows(value, tuple(fields))
    except FAILURES:  # of the value's own code
        return False


def _is_rows(value: object, known: Sequence[str]) -> bool:
    if isinstance(value, list | tuple):
        items = cast("Sequence[object]", value)
        return (
            bool(items)
            and all(isinstance(item, Mapping) for item in items)
            and not all(_names_a_dataset(cast("Mapping[object, object]", item), known) for item in items)
        )
    if isinstance(value, str | bytes | type):
        return False
    # a lazy frame and a stream have these too, and are refused by their own names
    if isinstance(value, Mapping):
        return _is_split(next(iter(cast("Mapping[object, object]", value).values()), None))
    return _is_split(value) or any(hasattr(value, name) for name in ("to_dicts", "to_pylist", "itertuples", "collect"))


def _names_a_dataset(item: Mapping[object, object], fields: Sequence[str]) -> bool:
    from difflib import get_close_matches

    if not isinstance(item.get("id"), str):
        return False
    return all(isinstance(key, str) and get_close_matches(key, fields, 1, 0.7) for key in item)


def _is_split(value: object) -> bool:
    return hasattr(value, "column_names") and hasattr(value, "features")


def keep_rows(value: object) -> str:
    """Write rows into the cache, unless they are there, and return the id of a dataset that names them.

    Args:
        value: A list of mappings, or a ``Table``.

    Raises:
        SpecError: They cannot be written.
    """
    try:
        if _is_split(value):
            return _keep_arrow(cast("Any", value))
        return _keep_lines(_rows_of(value))
    except SpecError:
        raise
    except RecursionError:
        raise _wrong("a row contains itself, or is nested too deeply") from None
    except OSError as error:
        why = f"the rows could not be written to {cache_home()} ({error.strerror or error})"
        raise _wrong(f"{why}: set the environment variable HFT_HOME to a folder that can be written") from None
    except FAILURES as error:  # of the table's own code
        raise _wrong(f"the rows of this {kind_of(value)} cannot be read: {kind_of(error)} was raised") from None


def _rows_of(value: object) -> Iterator[Mapping[object, object]]:
    """The rows of anything but a ``datasets.Dataset``."""
    table: Any = value
    kind = type(value).__name__
    if isinstance(value, Mapping):
        splits = [str(name) for name in cast("Mapping[object, object]", value)]
        raise _wrong(f"{kind} holds the splits {', '.join(splits)}: give one of them, as in data[{splits[0]!r}]")
    if isinstance(value, list | tuple):
        return iter(cast("Sequence[Mapping[object, object]]", value))
    if hasattr(value, "itertuples"):  # pandas
        if repeated := [name for name, again in zip(table.columns, table.columns.duplicated(), strict=True) if again]:
            raise _wrong(f"several columns are called {repeated[0]!r:.40}")
        starts = range(0, len(table), _BATCH)
        return (row for start in starts for row in _filled(table.iloc[start : start + _BATCH].to_dict("records")))
    if hasattr(value, "to_dicts"):  # polars
        starts = range(0, len(table), _BATCH)
        return (row for start in starts for row in _filled(table.slice(start, _BATCH).to_dicts()))
    if hasattr(value, "to_batches"):  # pyarrow
        return (row for batch in table.to_batches(max_chunksize=_BATCH) for row in batch.to_pylist())
    raise _wrong(f"{kind} has no rows yet: give what its collect() returns")


def _filled(rows: Iterable[Mapping[object, object]]) -> Iterator[Mapping[object, object]]:
    """Rows of a frame, in which NaN means that there is no value."""
    for row in rows:
        yield {name: None if _is_missing(value) else value for name, value in row.items()}


def _is_missing(value: object) -> bool:
    return type(value).__name__ in _MISSING or (isinstance(value, float) and math.isnan(value))


def _keep_lines(rows: Iterator[Mapping[object, object]]) -> str:
    def write(stream: BinaryIO) -> None:
        index = -1
        for index, row in enumerate(rows):
            left = [_MOST_IN_A_ROW]
            plain = {key: _plain(item, f"row {index}, column {key!r:.60}", left) for key, item in _named(row, index)}
            line = json.dumps(plain, ensure_ascii=False)
            stream.write(_encoded(line, index) + b"\n")
        if index < 0:
            raise _wrong("there are no rows")

    return pinned("rows.jsonl", keep_file("rows.jsonl", write))


def _named(row: Mapping[object, object], index: int) -> Iterator[tuple[str, object]]:
    if not row:
        raise _wrong(f"row {index} has no columns")
    for count, (key, item) in enumerate(row.items()):
        if count == _MOST_COLUMNS:
            raise _wrong(f"row {index} has more than {_MOST_COLUMNS:,} columns")
        if not isinstance(key, str):
            raise _wrong(f"row {index}: the name of a column must be text, not {key!r:.40}")
        yield key, item


def _encoded(line: str, index: int) -> bytes:
    try:
        return line.encode()
    except UnicodeEncodeError:
        raise _wrong(f"row {index} contains a lone surrogate, which UTF-8 cannot encode") from None


def _plain(value: object, where: str, left: list[int]) -> object:
    """A value as JSON has it.

    Args:
        value: The value.
        where: What to call it in a message.
        left: How many more values its row may have; those in it are taken off.
    """
    left[0] -= 1
    if left[0] < 0:
        raise _wrong(f"{where}: a row must have at most {_MOST_IN_A_ROW:,} values")
    if value is None or isinstance(value, str | bool):
        return value
    if isinstance(value, int):
        if abs(value) > _LARGEST:
            raise _wrong(f"{where}: an integer must have at most 64 bits")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _wrong(f"{where}: JSON has no {float(value)}: use None for a value that is missing")
        return float(value)
    if isinstance(value, Mapping):
        items = cast("Mapping[object, object]", value).items()
        for index, (key, _) in enumerate(items):
            if index > left[0]:
                raise _wrong(f"{where}: a row must have at most {_MOST_IN_A_ROW:,} values")
            if not isinstance(key, str):
                raise _wrong(f"{where}: keys must be text, not {key!r:.40}")
        return {str(key): _plain(item, where, left) for key, item in items}
    if isinstance(value, list | tuple):
        return [_plain(item, where, left) for item in cast("Sequence[object]", value)]
    if hasattr(value, "tolist"):  # an array or number of numpy
        return _plain(cast("Any", value).tolist(), where, left)
    kind = kind_of(value)
    raise _wrong(f"{where}: JSON has no values of type {kind}: make it text, or give a datasets.Dataset")


def _keep_arrow(dataset: Any) -> str:
    """Keep a ``datasets.Dataset`` as it saves itself: with the types of its columns, and images in the file."""
    if not hasattr(dataset, "save_to_disk"):
        raise _wrong(f"{type(dataset).__name__} is a stream: name where it comes from, with streaming=True")
    if not len(dataset):
        raise _wrong("there are no rows")
    with tempfile.TemporaryDirectory(prefix="hfjobs-trainer-") as folder:
        # its progress bar
        with contextlib.redirect_stderr(io.StringIO()):
            dataset.save_to_disk(folder, num_shards=1)
        (saved,) = Path(folder).glob("*.arrow")

        def write(stream: BinaryIO) -> None:
            with saved.open("rb") as source:
                while block := source.read(1 << 20):
                    stream.write(block)

        return pinned("rows.arrow", keep_file("rows.arrow", write))


def _wrong(why: str) -> SpecError:
    return SpecError([Problem("SPEC003", "", why)], "dataset")
