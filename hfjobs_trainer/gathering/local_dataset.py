"""Facts about a dataset on this machine: a data file, a folder of data files, or a saved dataset."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from hfjobs_trainer.contents import split_pin
from hfjobs_trainer.facts import DatasetFacts
from hfjobs_trainer.gathering.attempt import attempt
from hfjobs_trainer.gathering.broken import find_broken
from hfjobs_trainer.gathering.local_files import (
    dataset_files,
    is_saved,
    list_files,
    locate,
    read_content,
    saved_files,
    saved_splits,
)
from hfjobs_trainer.gathering.rows import MAX_ROWS, sample_arrow, sample_rows, spread
from hfjobs_trainer.gathering.tables import Table, read_arrow, read_table
from hfjobs_trainer.gathering.values import Json, as_json, read_json
from hfjobs_trainer.specs.locations import data_suffix
from hfjobs_trainer.specs.source import read_bytes
from hfjobs_trainer.specs.splits import count_rows, is_from_start, select, split_names

Tables = Mapping[str, Callable[[], Table]]

# The words by which datasets tells the splits of a folder apart, and what may stand around them.
_KEYWORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_BOUNDARY = "[-._ 0-9]"
_SHARD = re.compile(r"data/(?P<split>\w+(?:\.\w+)*)-\d{5}-of-\d{5}[^/]*\.[^/]*")


def read_dataset(text: str, split: str, *, ships: bool = False) -> DatasetFacts:
    """Facts about the dataset at ``text``; what cannot be read is ``None``.

    Args:
        text: The path, as the spec gives it.
        split: The split that is to be read, slices included.
        ships: Whether the data travel to where they are trained on, so that their content is read.
    """
    path, exists = locate(text, dataset_files)
    if not exists:
        return DatasetFacts(path=str(path), exists=exists)
    content = attempt(lambda: read_content(path, dataset_files)) if ships or split_pin(text)[1] else None
    saved = attempt(lambda: is_saved(path)) if path.is_dir() else None
    known = DatasetFacts(path=str(path), exists=True, saved=saved, content=content)
    if saved and not attempt(lambda: saved_splits(path)):
        # One dataset without splits, which is loaded whole whatever split is asked for.
        table = attempt(lambda: _read_saved(path)) or Table()
        return replace(known, columns=table.columns, num_rows=table.num_rows)
    tables = attempt(lambda: _tables(path))
    if tables is None:
        script = f"{path.name}.py"
        if attempt(lambda: (path / script).is_file()):
            return replace(known, loading_script=script)
        return replace(known, num_rows=0) if attempt(lambda: _is_empty(path)) else known
    wanted = {name: attempt(tables[name]) or Table() for name in split_names(split) if name in tables}
    return replace(
        known,
        columns=next(iter(wanted.values()), Table()).columns,
        num_rows=count_rows(split, {name: table.num_rows for name, table in wanted.items()}),
        splits=tuple(tables),
        broken=attempt(lambda: find_broken(_data_files(path))),
    )


def read_rows(
    path: Path, split: str, columns: Iterable[str] | None = None, first: int | None = None, most: int = MAX_ROWS
) -> list[Json]:
    """A sample of the rows of the dataset at ``path``; none if they cannot be read.

    A slice that does not begin where its split does is taken out of what was read of the whole split, if all of it
    was; else it is sampled from the whole split.

    Args:
        path: Where it is, as ``DatasetFacts.path`` says.
        split: The split that is to be read, slices included.
        columns: Columns that are wanted; ``None`` for all but images and other bytes.
        first: Only the first so many rows count.
        most: Number of rows; all of them, if there are no more.
    """
    wanted = None if columns is None else tuple(columns)
    if attempt(lambda: (path / "state.json").exists()):
        return attempt(lambda: sample_arrow(saved_files(path), wanted, first, most)) or []
    limit = first if is_from_start(split) else None
    read = {
        name: attempt(lambda name=name: _sample(path, name, wanted, limit, most)) or [] for name in split_names(split)
    }
    if not is_from_start(split):
        tables = attempt(lambda: _tables(path)) or {}
        sizes = {name: attempt(lambda name=name: tables[name]().num_rows) for name in read}
        if all(len(rows) == sizes[name] for name, rows in read.items()):
            return spread(select(split, read), most)
    return spread([row for rows in read.values() for row in rows], most)


def _sample(path: Path, name: str, columns: Sequence[str] | None, first: int | None, most: int) -> list[Json]:
    if path.is_file():
        return sample_rows([path], columns, first, most) if name == "train" else []
    if (path / "dataset_dict.json").exists():
        return sample_arrow(saved_files(path / name), columns, first, most)
    return sample_rows((_splits_of_folder(path) or {}).get(name, []), columns, first, most)


def _tables(path: Path) -> Tables | None:
    if path.is_file():
        return {"train": lambda: read_table([path])} if data_suffix(path.name) else None
    if names := saved_splits(path):
        return {name: lambda name=name: _read_saved(path / name) for name in names}
    splits = _splits_of_folder(path)
    return {name: lambda files=files: read_table(files) for name, files in splits.items()} if splits else None


def _data_files(path: Path) -> list[Path]:
    """The data files, in the order in which they are loaded: whatever split is asked for, all are."""
    if path.is_file():
        return [path]
    return [file for files in (_splits_of_folder(path) or {}).values() for file in files]


def _is_empty(path: Path) -> bool:
    """Whether it is a folder in which no file could be data."""
    files = list_files(path)
    names = (*files.found, *files.left_out)
    return path.is_dir() and not [name for name in names if not name.lower().endswith(".md")]


def _read_saved(folder: Path) -> Table:
    """A dataset that ``Dataset.save_to_disk`` wrote."""
    features = as_json(read_json(folder / "dataset_info.json").get("features"))

    return Table(tuple(features) or None, attempt(lambda: read_arrow(saved_files(folder))))


def _splits_of_folder(folder: Path) -> dict[str, list[Path]] | None:
    if _declares_files(folder / "README.md"):
        return None
    files = {name: path for name, path in dataset_files(folder).found.items() if name != "README.md"}
    formats = {data_suffix(name) for name in (*files, *list_files(folder).found)} - {None}
    # a folder of images holds rows of another kind, and one of several formats must not have them in different splits
    if len(formats) != 1 or None in map(data_suffix, files):
        return None
    shards: dict[str, list[Path]] = {}
    for name, path in files.items():
        if match := _SHARD.fullmatch(name):
            shards.setdefault(match["split"], []).append(path)
    by_folder = _by_keyword(files, lambda name: name.split("/")[:-1])
    by_name = _by_keyword(files, lambda name: name.split("/")[-1:])
    return shards or by_folder or by_name or {"train": list(files.values())}


def _by_keyword(files: Mapping[str, Path], parts: Callable[[str], Sequence[str]]) -> dict[str, list[Path]]:
    found = {
        split: [path for name, path in files.items() if any(_has_keyword(part, words) for part in parts(name))]
        for split, words in _KEYWORDS.items()
    }
    return {split: paths for split, paths in found.items() if paths}


def _has_keyword(text: str, words: Sequence[str]) -> bool:
    return re.search(rf"(^|{_BOUNDARY})({'|'.join(words)})({_BOUNDARY}|$)", text) is not None


def _declares_files(card: Path) -> bool:
    """Whether a dataset card says itself which file belongs to which split."""
    return card.exists() and re.search(rb"^configs:", read_bytes(card), re.M) is not None
