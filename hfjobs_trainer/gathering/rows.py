"""A few hundred rows of a data file or a saved dataset, without loading it."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast

from hfjobs_trainer.gathering.attempt import attempt
from hfjobs_trainer.gathering.tables import delimiter, import_optional, list_head, map_arrow, open_data
from hfjobs_trainer.gathering.values import Json
from hfjobs_trainer.specs.locations import data_suffix

T = TypeVar("T")

MAX_ROWS = 512
"""Rows of a sample."""
MOST_ROWS = 4096
"""Most rows that are read where all of them are wanted: about a tenth of a second's look at each value."""
MAX_BYTES = 4 * 1024**2
"""Most bytes of text that are read for a sample."""

# A large file is looked at in so many places.
_PLACES = 16
# More items of a JSON list are not looked at.
_MAX_ITEMS = MOST_ROWS
# Rows of a parquet file that are turned into values at once.
_BATCH = 8


def sample_rows(
    paths: Sequence[Path], columns: Iterable[str] | None = None, first: int | None = None, most: int = MAX_ROWS
) -> list[Json]:
    """Up to ``most`` rows of the files, spread over them where that is cheap; broken files give none.

    Args:
        paths: Files of one split, in order.
        columns: Columns that are wanted; of other columns nothing need be read. ``None`` for all but images and other
            bytes.
        first: Take only from the first so many rows; then from the first file alone.
        most: Number of rows.
    """
    wanted, files = _set(columns), list(paths) if first is None else list(paths[:1])
    rows: list[Json] = []
    for path in spread(files, most):
        share = max(1, most // len(files))
        rows += attempt(lambda path=path, share=share: _read(path, wanted, first, share, len(files))) or []
    return rows


def sample_arrow(
    paths: Sequence[Path], columns: Iterable[str] | None = None, first: int | None = None, most: int = MAX_ROWS
) -> list[Json]:
    """Up to ``most`` rows of the arrow files of a saved dataset, spread evenly; none without pyarrow."""
    arrow = import_optional("pyarrow")
    if arrow is None:
        return []
    # only the rows that are chosen become values
    table: Any = arrow.concat_tables([map_arrow(path) for path in paths])
    table = table.select(_readable(table.schema, _set(columns)))
    # of a large one, a few from everywhere rather than all up to a bound
    most = most if int(table.nbytes) <= MAX_BYTES else min(most, MAX_ROWS)
    chosen = spread(range(int(table.num_rows))[:first], most)
    return _few_bytes(table.slice(index, 1) for index in chosen)


def spread(items: Sequence[T], count: int) -> list[T]:
    """Up to ``count`` of ``items``, evenly spread, in order."""
    return [items[index * len(items) // count] for index in range(count)] if len(items) > count else list(items)


def _set(columns: Iterable[str] | None) -> frozenset[str] | None:
    return None if columns is None else frozenset(columns)


def _readable(schema: Any, columns: frozenset[str] | None) -> list[str]:
    """The wanted columns of a table, or all that hold no bytes such as those of images."""
    if columns is not None:
        return [name for name in schema.names if name in columns]
    return [name for name in schema.names if "binary" not in str(schema.field(name).type)]


def _read(path: Path, columns: frozenset[str] | None, first: int | None, count: int, files: int) -> list[Json]:
    match data_suffix(path.name):
        case ".parquet":
            return _read_parquet(path, columns, first, count)
        case ".arrow":
            return spread(sample_arrow([path], columns, first, count), count)
        case ".csv" | ".tsv":
            found = _read_csv(path, MAX_BYTES // files)
        case ".txt":
            found = _read_text(path, MAX_BYTES // files)
        case _:
            found = _read_json(path, MAX_BYTES // files, spread_out=first is None)
    return spread(found[:first], count)


def _read_parquet(path: Path, columns: frozenset[str] | None, first: int | None, count: int) -> list[Json]:
    parquet = import_optional("pyarrow.parquet")
    if parquet is None:
        return []
    with parquet.ParquetFile(str(path), memory_map=True, pre_buffer=False) as file:
        names = _readable(file.schema_arrow, columns)
        groups = spread(range(file.num_row_groups), _PLACES) if first is None else [0]
        total = sum(_group_bytes(file.metadata.row_group(index), names) for index in range(file.num_row_groups))
        # of a large one, a few from everywhere rather than all up to a bound
        count = count if total <= MAX_BYTES else min(count, MAX_ROWS)
        share = max(1, count // max(1, len(groups)))
        rows: list[Json] = []
        for group in groups if names else []:
            if first is None and _group_bytes(file.metadata.row_group(group), names) <= MAX_BYTES:
                table = file.read_row_group(group, columns=names, use_threads=False)
                batches = (table.slice(index, 1) for index in spread(range(int(table.num_rows)), share))
            else:
                batches = file.iter_batches(_BATCH, row_groups=[group], columns=names, use_threads=False)
                batches = itertools.islice(batches, math.ceil(share / _BATCH))
            rows += _few_bytes(batches, MAX_BYTES // len(groups))[:share]
        return rows[:first]


def _group_bytes(group: Any, columns: Sequence[str]) -> int:
    """Bytes of the ``columns`` of a row group once unpacked; parts of a nested column go by its name."""
    parts = [group.column(index) for index in range(group.num_columns)]
    return sum(int(part.total_uncompressed_size) for part in parts if part.path_in_schema.split(".")[0] in columns)


def _few_bytes(batches: Iterable[Any], limit: int = MAX_BYTES) -> list[Json]:
    """The rows of ``batches``, until ``limit`` bytes are reached."""
    rows: list[Json] = []
    for batch in batches:
        rows += batch.to_pylist()
        limit -= int(batch.nbytes)
        if limit <= 0:
            break
    return rows


def _read_csv(path: Path, limit: int) -> list[Json]:
    with open_data(path) as stream:
        head = stream.read(limit)
    text = io.StringIO(head.decode("utf-8-sig", errors="ignore"), newline="")
    rows = list(csv.reader(text, delimiter=delimiter(path.name)))
    if len(head) == limit:
        rows.pop()  # cut off in its middle
    if not rows:
        return []
    names, values = rows[0], [row for row in rows[1:] if row]
    columns = [_typed([row[index] if index < len(row) else "" for row in values]) for index in range(len(names))]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


# What pandas, which reads tables for datasets, takes for a missing value (pandas 3: _libs/parsers, STR_NA_VALUES).
_NO_VALUE = frozenset(
    ("#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA")
) | frozenset(("NULL", "NaN", "None", "n/a", "nan", "null"))


def _typed(cells: Sequence[str]) -> list[object]:
    """The cells of one column as ``datasets`` reads them: numbers and booleans where all are such, empty ones null."""
    cells = ["" if cell in _NO_VALUE else cell for cell in cells]
    filled = [cell for cell in cells if cell]
    if filled and all(cell in ("True", "False", "TRUE", "FALSE", "true", "false") for cell in filled):
        return [cell.lower() == "true" if cell else None for cell in cells]
    for kind in (int, float):
        if filled and attempt(lambda kind=kind: [kind(cell) for cell in filled]):
            return [kind(cell) if cell else None for cell in cells]
    return [cell or None for cell in cells]


def _read_text(path: Path, limit: int) -> list[Json]:
    with open_data(path) as stream:
        head = stream.read(limit)
    lines = head.decode("utf-8-sig", errors="ignore").splitlines()
    return [{"text": line} for line in (lines[:-1] if len(head) == limit else lines)]


def _read_json(path: Path, limit: int, *, spread_out: bool) -> list[Json]:
    with open_data(path) as stream:
        head = stream.read(limit)
        start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
        if start.startswith(b"["):
            return _rows(list_head(start, _MAX_ITEMS))
        if len(head) < limit:
            single = attempt(lambda: json.loads(start))
            return [cast(Json, single)] if isinstance(single, dict) else _rows(_parse(start.split(b"\n")))
        if not spread_out or path.suffix.lower() == ".gz":
            return _rows(_parse(start.split(b"\n")[:-1]))
        # where rows are so long that no place holds one, the first will do
        return _rows(_lines_spread(stream, path.stat().st_size, limit) or _parse(start.split(b"\n")[:-1]))


def _lines_spread(stream: BinaryIO, size: int, limit: int) -> list[object]:
    rows: list[object] = []
    for place in range(_PLACES):
        offset = size * place // _PLACES
        stream.seek(offset)
        lines = stream.read(limit // _PLACES).split(b"\n")
        # The first is cut off, except at the start of the file; so is the last. All between count: where rows are
        # long, there are few of them in as many bytes.
        rows += _parse(lines[1 if offset else 0 : -1])
    return rows


def _parse(lines: Iterable[bytes]) -> list[object]:
    parse: Callable[[bytes], object] = json.loads
    return [parse(line) for line in lines if line.strip()]


def _rows(items: Sequence[object]) -> list[Json]:
    # datasets calls the column of a list of texts "text"
    rows = [{"text": item} if isinstance(item, str) else item for item in items]
    return [cast(Json, row) for row in rows if isinstance(row, dict)]
