"""Data files on this machine that ``datasets`` cannot read, or reads as something else, and where they break."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, cast

from hfjobs_trainer.facts.values import BrokenFile
from hfjobs_trainer.gathering.attempt import attempt
from hfjobs_trainer.gathering.tables import delimiter, import_optional, open_data
from hfjobs_trainer.specs.locations import data_suffix

MAX_BYTES = 64 * 1024**2
"""Most bytes of text that are looked at, over all files: about a second's work."""

_FILLED = re.compile(r"\S")
_BOM = b"\xef\xbb\xbf"
# What datasets takes for the first part of a JSON file, by which it decides on the columns (datasets 5.2: json.py).
_CHUNK = 10 << 20


class _Broken(Exception):
    """A file cannot be read, because of ``why``, from ``line`` on."""

    def __init__(self, why: str, line: int | None = None) -> None:
        super().__init__(why)
        self.why, self.line = why, line


def find_broken(paths: Iterable[Path]) -> BrokenFile | None:
    """The first of the files that is broken; ``None`` if none is, as far as they were looked at.

    Files of text are looked at whole, in order, up to ``MAX_BYTES``; of parquet files the footer is.

    Args:
        paths: Files that are loaded together, in order, all of one format.
    """
    left, first = MAX_BYTES, None
    for path in paths:
        look, size = _LOOKS.get(data_suffix(path.name) or "", _look_at_json), attempt(lambda path=path: _size(path))
        if size is None or (look is not _look_at_parquet and size > left):
            return None
        left -= 0 if look is _look_at_parquet else size
        try:
            columns = look(path)
            if first is not None and columns:
                _compare(path, columns, *first)
            # a longer one may have further columns beyond what was taken for all of them
            first = first or ((path.name, columns) if columns and size <= _CHUNK else None)
        except _Broken as broken:
            return BrokenFile(path.name, broken.line, broken.why)
    return None


def _size(path: Path) -> int:
    # gzip packs text about this well
    return path.stat().st_size * (8 if path.suffix.lower() == ".gz" else 1)


def _compare(path: Path, columns: Sequence[str], name: str, others: Sequence[str]) -> None:
    exact = data_suffix(path.name) in (".csv", ".tsv")
    if exact and tuple(columns) != tuple(others):
        why = f"its columns are {', '.join(columns)}, those of {name} are {', '.join(others)}"
        raise _Broken(f"{why}; files of one dataset need the same columns in the same order", 1)
    more = [column for column in columns if column not in others]
    if more:
        raise _Broken(f"has a column {more[0]}, which {name} does not have: the first file decides on the columns")


def _text(path: Path) -> str:
    with open_data(path) as stream:
        data = stream.read(MAX_BYTES + 1).removeprefix(_BOM)
    if len(data) > MAX_BYTES:  # packed better than text is
        raise ValueError(f"{path.name} is too large to be looked at")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _Broken("is not UTF-8", data.count(b"\n", 0, error.start) + 1) from None


def _look_at_text(path: Path) -> tuple[str, ...]:
    _text(path)
    return ()


def _look_at_json(path: Path) -> tuple[str, ...]:
    text = _text(path)
    if text.lstrip().startswith("["):
        return _look_at_list(text)
    columns = dict[str, None]()
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            columns |= dict.fromkeys(_object(json.loads(line, object_pairs_hook=_distinct), line, number))
        except ValueError as error:
            # objects may also stand on several lines each
            if (read := attempt(lambda: _objects(text))) is not None:
                return tuple(read)
            message = error.msg if isinstance(error, json.JSONDecodeError) else str(error)
            raise _Broken(f"is no JSON object ({message[:1].lower()}{message[1:]})", number) from None
    return tuple(columns)


def _look_at_list(text: str) -> tuple[str, ...]:
    try:
        rows = cast("list[object]", json.loads(text))
    except json.JSONDecodeError as error:
        raise _Broken(f"is no JSON ({error.msg[:1].lower()}{error.msg[1:]})", error.lineno) from None
    kinds = {type(row) for row in rows}
    if dict in kinds and len(kinds - {type(None)}) > 1:
        other = next(index for index, row in enumerate(rows) if not isinstance(row, dict | None))
        raise _Broken(f"item {other} of its list is no JSON object, and others are")
    return tuple(dict.fromkeys(key for row in rows if isinstance(row, dict) for key in cast("dict[str, Any]", row)))


def _object(value: object, line: str, number: int) -> Iterable[str]:
    """The keys of a row."""
    if value is None:
        return ()
    if not isinstance(value, dict):
        raise _Broken("is no JSON object", number)
    if "\\ud" in line.lower() and attempt(lambda: json.dumps(value, ensure_ascii=False).encode()) is None:
        raise _Broken("holds half of a surrogate pair, which is no character", number)
    return cast("dict[str, object]", value)


def _objects(text: str) -> dict[str, None]:
    """The keys of JSON objects one after another, however they are spread over lines."""
    decoder, position, columns = json.JSONDecoder(object_pairs_hook=_distinct), 0, dict[str, None]()
    while (found := _FILLED.search(text, position)) is not None:
        position = found.start()
        value, position = decoder.raw_decode(text, position)
        columns |= dict.fromkeys(_object(value, "", 0))
    return columns


def _distinct(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("a key comes twice")
    return made


def _look_at_csv(path: Path) -> tuple[str, ...]:
    text = _text(path)
    separator = delimiter(path.name)
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    header = next((row for row in rows if row), None)
    if header is None:
        return ()
    for row in rows:
        if len(row) > len(header):
            why = f"has {len(row)} values, and there are {len(header)} columns"
            raise _Broken(f"{why}: a value that contains {separator!r} needs quotes", rows.line_num)
    if (line := _unclosed(text, separator)) is not None:
        raise _Broken("a quote is opened and never closed", line)
    return tuple(header)


def _unclosed(text: str, separator: str) -> int | None:
    """The line on which the last row begins, if the text ends inside its quotes."""
    if '"' not in text:
        return None
    rows, line = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True), 1
    try:
        for _ in rows:
            line = rows.line_num + 1
    except csv.Error as error:
        return line if "unexpected end of data" in str(error) else None
    return None


def _look_at_parquet(path: Path) -> tuple[str, ...]:
    parquet, arrow = import_optional("pyarrow.parquet"), import_optional("pyarrow")
    if parquet is None:
        return ()
    try:
        return tuple(str(name) for name in parquet.read_schema(str(path)).names)
    except arrow.ArrowInvalid:
        raise _Broken("is no parquet file, or is not complete") from None


_LOOKS: dict[str, Callable[[Path], tuple[str, ...]]] = {
    ".csv": _look_at_csv,
    ".tsv": _look_at_csv,
    ".txt": _look_at_text,
    ".parquet": _look_at_parquet,
    # one of a saved dataset, which other facts tell
    ".arrow": lambda path: (),
}
