"""Columns and rows of a data file, as ``datasets`` will see them, without loading it."""

from __future__ import annotations

import csv
import gzip
import importlib
import io
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

from hfjobs_trainer.gathering.attempt import attempt
from hfjobs_trainer.specs.locations import data_suffix
from hfjobs_trainer.specs.source import open_file

# How much may be read in about a second each; above it the number of rows stays unknown.
MAX_LINES_BYTES = 512 * 1024**2
MAX_CSV_BYTES = 128 * 1024**2
MAX_JSON_BYTES = 64 * 1024**2
# gzip packs text about this well.
_GZIP_RATIO = 8
_HEAD_BYTES = 4 * 1024**2
_SAMPLE_ROWS = 100


@dataclass(frozen=True, slots=True)
class Table:
    """Column names and number of rows; ``None`` where unknown."""

    columns: tuple[str, ...] | None = None
    num_rows: int | None = None


def read_table(paths: Sequence[Path]) -> Table:
    """The table that these files make up together; what is unknown is ``None``."""
    tables = [attempt(lambda path=path: _read_file(path)) or Table() for path in paths]
    columns = [table.columns for table in tables if table.columns is not None]
    rows = [table.num_rows for table in tables if table.num_rows is not None]
    return Table(
        columns=_union(columns) if columns and len(columns) == len(tables) else None,
        num_rows=sum(rows) if rows and len(rows) == len(tables) else None,
    )


def read_arrow(paths: Sequence[Path]) -> int | None:
    """Rows of the arrow files of a saved dataset; ``None`` without pyarrow."""
    if import_optional("pyarrow") is None:
        return None
    return sum(int(map_arrow(path).num_rows) for path in paths)


def map_arrow(path: Path) -> Any:
    """The table in an arrow file, as a stream or with random access: mapped, not read.

    Raises:
        ImportError: pyarrow is not installed.
    """
    _require_file(path)
    arrow: Any = importlib.import_module("pyarrow")
    ipc: Any = importlib.import_module("pyarrow.ipc")
    source = arrow.memory_map(str(path))
    try:
        return ipc.open_stream(source).read_all()
    except arrow.ArrowInvalid:
        return ipc.open_file(source).read_all()


def _read_file(path: Path) -> Table:
    match data_suffix(path.name):
        case ".parquet":
            return _read_parquet(path)
        case ".arrow":
            table = map_arrow(path)
            return Table(tuple(table.column_names), int(table.num_rows))
        case ".csv" | ".tsv":
            return _read_csv(path)
        case ".txt":
            return Table(("text",), attempt(lambda: _count_lines(path, blank=True)))
        case _:
            return _read_json(path)


def _read_json(path: Path) -> Table:
    # Both .json and .jsonl: datasets tells a list, lines and a single object apart by what is in the file.
    with open_data(path) as stream:
        head = stream.read(_HEAD_BYTES).removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith(b"["):
        return _read_list(path, head)
    lines = [line for line in head.split(b"\n") if line.strip()]
    if len(head) >= _HEAD_BYTES - 3 and len(lines) > 1:
        lines.pop()  # cut off in its middle
    rows = attempt(lambda: [json.loads(line) for line in lines[:_SAMPLE_ROWS]])
    if rows is None:
        single = _load_whole(path)
        return Table(tuple(cast("dict[str, object]", single)), 1) if isinstance(single, dict) else Table()
    return Table(_columns(rows), attempt(lambda: _count_lines(path)))


def _read_list(path: Path, head: bytes) -> Table:
    if _size(path) <= MAX_JSON_BYTES:
        rows = cast("list[object]", _load_whole(path))
        return Table(_columns(rows[:_SAMPLE_ROWS]), len(rows))
    sample = list_head(head, _SAMPLE_ROWS)
    return Table(_columns(sample) if sample else None)


def list_head(head: bytes, count: int) -> list[object]:
    """Up to ``count`` first items of a JSON list, of which ``head`` is the beginning."""
    text, decoder = head.decode("utf-8", errors="ignore"), json.JSONDecoder()
    items: list[object] = []
    position = 1
    while len(items) < count:
        while position < len(text) and text[position] in " \t\r\n,":
            position += 1
        try:
            item, position = decoder.raw_decode(text, position)
        except ValueError:
            break
        items.append(item)
    return items


def _load_whole(path: Path) -> object:
    if _size(path) > MAX_JSON_BYTES:
        raise ValueError(f"{path.name} is too large to be read whole")
    with open_data(path) as stream:
        data = stream.read(MAX_JSON_BYTES + 1)
    if len(data) > MAX_JSON_BYTES:  # packed better than text is
        raise ValueError(f"{path.name} is too large to be read whole")
    return json.loads(data.removeprefix(b"\xef\xbb\xbf"))


def _count_lines(path: Path, *, blank: bool = False) -> int | None:
    if _size(path) > MAX_LINES_BYTES:
        return None
    with open_data(path) as stream:
        lines = _bounded(stream) if path.suffix.lower() == ".gz" else stream
        return sum(blank or not line.isspace() for line in lines)


def _bounded(stream: BinaryIO) -> Iterator[bytes]:
    """The lines of a file that is packed, up to as many bytes as may be read."""
    left = MAX_LINES_BYTES
    while line := stream.readline(left):
        left -= len(line)
        if left <= 0:
            raise ValueError("it is too large to be read whole")
        yield line


def _columns(rows: Sequence[object]) -> tuple[str, ...] | None:
    if rows and all(isinstance(row, str) for row in rows):
        return ("text",)  # the name that datasets gives to a list of texts
    if not rows or not all(isinstance(row, dict) for row in rows):
        return None
    return _union(tuple(cast("dict[str, object]", row)) for row in rows)


def _read_csv(path: Path) -> Table:
    with open_data(path) as stream, io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text:
        reader = csv.reader(text, delimiter=delimiter(path.name))
        header = next(reader, None)
        if header is None:
            return Table(num_rows=0)
        columns = tuple(header) if header else None
        if columns is None or _size(path) > MAX_CSV_BYTES:
            return Table(columns)
        # A quoted line break does not end a row; an empty line is not a row.
        return Table(columns, attempt(lambda: sum(bool(row) for row in reader)))


def _read_parquet(path: Path) -> Table:
    parquet: Any = import_optional("pyarrow.parquet")
    if parquet is None:
        return Table()
    with parquet.ParquetFile(str(path)) as file:
        return Table(tuple(str(name) for name in file.schema_arrow.names), int(file.metadata.num_rows))


def delimiter(name: str) -> str:
    """What stands between the values of a ``.csv`` or ``.tsv`` file."""
    return "\t" if data_suffix(name) == ".tsv" else ","


def open_data(path: Path) -> BinaryIO:
    """The bytes of a data file, unpacked."""
    stream = open_file(path)
    if path.suffix.lower() != ".gz":
        return stream
    unpacked: Any = gzip.GzipFile(fileobj=stream)
    unpacked.myfileobj = stream  # which it closes with itself
    return cast(BinaryIO, unpacked)


def _require_file(path: Path) -> None:
    """Refuse what a library would wait for, such as a pipe."""
    if not path.is_file():
        raise ValueError(f"{path.name} is not a file")


def _size(path: Path) -> int:
    """Bytes of the content; of a compressed file, about."""
    size = path.stat().st_size
    return size * _GZIP_RATIO if path.suffix.lower() == ".gz" else size


def import_optional(name: str) -> Any:
    """A module of pyarrow, which comes with ``datasets`` and which submitting does not need; else ``None``."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _union(rows: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(itertools.chain.from_iterable(rows)))
