"""Local datasets of every kind: what is gathered must be what datasets loads."""

from __future__ import annotations

import csv
import gzip
import json
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hfjobs_trainer.facts import DatasetFacts
from hfjobs_trainer.gathering import tables
from hfjobs_trainer.gathering.local_dataset import read_dataset, read_rows
from hfjobs_trainer.specs.locations import LOADERS, data_suffix

ROWS: list[dict[str, Any]] = [
    {"prompt": "a", "completion": "b"},
    {"prompt": "line\nbreak", "completion": "d"},
    {"prompt": "e", "completion": "f", "score": 1},
]


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def write_csv(path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, ["prompt", "completion", "score"])
        writer.writeheader()
        writer.writerows(ROWS)


def write_arrow(path: Path, kind: str) -> None:
    import pyarrow as pa

    table = pa.Table.from_pylist(ROWS)
    with getattr(pa.ipc, kind)(str(path), table.schema) as writer:
        writer.write_table(table)


def write_gzip(path: Path, text: str) -> None:
    with gzip.open(path, "wt", encoding="utf-8") as stream:
        stream.write(text)


def write_parquet(path: Path) -> None:
    import datasets

    datasets.Dataset.from_list(ROWS).to_parquet(str(path))


FILES: dict[str, Callable[[Path], Any]] = {
    "lines.jsonl": lambda path: path.write_text(lines(ROWS)),
    "no-newline.jsonl": lambda path: path.write_text(lines(ROWS).rstrip("\n")),
    "blank-lines.jsonl": lambda path: path.write_text(lines(ROWS).replace("\n", "\n\n") + "\n"),
    "bom.jsonl": lambda path: path.write_bytes(b"\xef\xbb\xbf" + lines(ROWS).encode()),
    "list.jsonl": lambda path: path.write_text(json.dumps(ROWS, indent=1)),
    "list.json": lambda path: path.write_text(json.dumps(ROWS)),
    "lines.json": lambda path: path.write_text(lines(ROWS)),
    "wrapped.json": lambda path: path.write_text(json.dumps({"data": ROWS})),
    "wrapped-and-indented.json": lambda path: path.write_text(json.dumps({"data": ROWS, "version": 1}, indent=1)),
    "texts.json": lambda path: path.write_text(json.dumps(["a", "b"])),
    "packed.jsonl.gz": lambda path: write_gzip(path, lines(ROWS)),
    "packed.json.gz": lambda path: write_gzip(path, json.dumps(ROWS)),
    "table.csv": write_csv,
    "packed.csv.gz": lambda path: write_gzip(path, "prompt,completion\na,b\n\nc,d\n"),
    "bom.csv": lambda path: path.write_bytes(b"\xef\xbb\xbfprompt,completion\na,b\n"),
    "table.parquet": write_parquet,
    "table.tsv": lambda path: path.write_text("prompt\tcompletion\na\tb\n\nc\td\n"),
    "lines.txt": lambda path: path.write_text("a\n\nb\nc"),
    "packed.txt.gz": lambda path: write_gzip(path, "a\nb\n"),
    "stream.arrow": lambda path: write_arrow(path, "new_stream"),
    "table.arrow": lambda path: write_arrow(path, "new_file"),
    "lines.ndjson": lambda path: path.write_text(lines(ROWS)),
}


def load_file(path: Path, cache: Path) -> Any:
    import datasets

    suffix = data_suffix(path.name)
    assert suffix is not None
    more: dict[str, Any] = {"sep": "\t"} if suffix == ".tsv" else {}
    return datasets.load_dataset(LOADERS[suffix], data_files=str(path), split="train", cache_dir=str(cache), **more)


@pytest.mark.parametrize("name", FILES)
def test_a_data_file_is_described_as_datasets_loads_it(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    FILES[name](path)
    loaded = load_file(path, tmp_path / "cache")
    assert read_dataset(str(path), "train") == DatasetFacts(
        path=str(path), exists=True, columns=tuple(loaded.column_names), num_rows=len(loaded), splits=("train",)
    )


FOLDERS = {
    "names": {"train.jsonl": 2, "test.jsonl": 1},
    "several names": {"my_train-2.jsonl": 2, "dev.jsonl": 1, "evaluation set.jsonl": 3},
    "folders": {"train/a.jsonl": 2, "train/b.jsonl": 1, "validation/a.jsonl": 1},
    "folders before names": {"train.jsonl": 1, "train/a.jsonl": 2, "test/b.jsonl": 3},
    "shards": {
        "data/train-00000-of-00002.jsonl": 2,
        "data/train-00001-of-00002.jsonl": 1,
        "data/extra-00000-of-00001.jsonl": 3,
    },
    "no keyword": {"a.jsonl": 2, "b.jsonl": 3, "retrain.jsonl": 1},
    "hidden": {"train.jsonl": 2, ".cache/test.jsonl": 1, "__pycache__/validation.jsonl": 1},
}


@pytest.mark.parametrize("files", FOLDERS.values(), ids=FOLDERS)
def test_a_folder_of_data_files_has_the_splits_that_datasets_finds(tmp_path: Path, files: dict[str, int]) -> None:
    import datasets

    folder = tmp_path / "data folder"
    for name, rows in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text('{"text": "a"}\n' * rows)
    loaded = datasets.load_dataset(str(folder), cache_dir=str(tmp_path / "cache"))
    for split, rows in loaded.items():
        facts = read_dataset(str(folder), split)
        assert (facts.columns, facts.num_rows) == (("text",), len(rows))
        assert set(facts.splits or ()) == set(loaded)


def test_what_a_folder_cannot_tell_is_unknown(tmp_path: Path) -> None:
    unknown = DatasetFacts(path=str(tmp_path), exists=True, saved=False)
    assert read_dataset(str(tmp_path), "train") == replace(unknown, num_rows=0)
    (tmp_path / "train.jsonl").write_text(lines(ROWS))
    assert read_dataset(str(tmp_path), "train").num_rows == 3
    card = tmp_path / "README.md"
    card.write_text("---\nconfigs:\n- config_name: default\n  data_files: other/*.jsonl\n---\n")
    assert read_dataset(str(tmp_path), "train") == unknown
    card.unlink()
    (tmp_path / "test.csv").write_text("prompt\na\n")
    assert read_dataset(str(tmp_path), "train") == unknown


def test_a_saved_dataset(tmp_path: Path) -> None:
    import datasets

    dataset = datasets.Dataset.from_list(ROWS * 10)
    dataset.filter(lambda row: row["prompt"] == "a").save_to_disk(tmp_path, num_shards=2)
    columns = ("prompt", "completion")
    facts = DatasetFacts(path=str(tmp_path), exists=True, columns=columns, num_rows=10, saved=True)
    assert read_dataset(str(tmp_path), "train") == facts
    assert read_dataset(str(tmp_path), "test") == facts, "it has no splits"


def test_a_saved_dataset_with_splits(tmp_path: Path) -> None:
    import datasets

    dataset = datasets.Dataset.from_list(ROWS * 10)
    datasets.DatasetDict(train=dataset, test=dataset.select(range(4)).remove_columns("completion")).save_to_disk(
        tmp_path
    )
    facts = read_dataset(str(tmp_path), "test")
    assert (facts.columns, facts.num_rows, facts.splits) == (("prompt",), 4, ("train", "test"))
    assert read_dataset(str(tmp_path), "train[:50%]+test").num_rows == 19


def test_a_split_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "data.jsonl").write_text(lines(ROWS))
    facts = read_dataset(str(tmp_path / "data.jsonl"), "test")
    assert (facts.exists, facts.columns, facts.num_rows, facts.splits) == (True, None, None, ("train",))


def test_a_missing_file_does_not_exist(tmp_path: Path) -> None:
    missing = tmp_path / "none.jsonl"
    assert read_dataset(str(missing), "train") == DatasetFacts(path=str(missing), exists=False)


def test_a_relative_path_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data.jsonl").write_text(lines(ROWS))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert read_dataset("./data.jsonl", "train").path == str(tmp_path / "data.jsonl")
    assert read_dataset("~/data.jsonl", "train").num_rows == 3


GARBAGE = {
    "empty": b"",
    "binary": bytes(range(256)) * 40,
    "cut off": b'{"prompt": "a", "compl',
    "numbers": b"[1, 2, 3]",
    "deep": b"[" * 100_000,
    "scalar": b"42\n43\n",
    "second line": b'{"a": 1}\n{"a": \n',
}


@pytest.mark.parametrize("suffix", ["jsonl", "json", "parquet", "jsonl.gz", "csv.gz"])
@pytest.mark.parametrize("content", GARBAGE.values(), ids=GARBAGE)
def test_a_broken_file_is_unknown_and_raises_nothing(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"data.{suffix}"
    path.write_bytes(content)
    facts = read_dataset(str(path), "train")
    assert (facts.exists, facts.columns) == (True, None)


@pytest.mark.parametrize("content", [b"", bytes(range(256))])
def test_a_broken_csv_is_unknown(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "data.csv"
    path.write_bytes(content)
    assert read_dataset(str(path), "train").columns is None


@pytest.mark.parametrize("name", ["dataset_dict.json", "state.json", "dataset_info.json"])
def test_a_broken_saved_dataset_is_unknown(tmp_path: Path, name: str) -> None:
    import datasets

    datasets.DatasetDict(train=datasets.Dataset.from_list(ROWS)).save_to_disk(tmp_path)
    broken = tmp_path / name if name == "dataset_dict.json" else tmp_path / "train" / name
    broken.write_text("[")
    facts = read_dataset(str(tmp_path), "train")
    assert facts.exists is True
    assert facts.columns is None or facts.num_rows is None


@pytest.mark.parametrize("text", ["/\0", "/" + "x" * 5000, "~nobody-of-this-name/data.jsonl"])
def test_an_impossible_path_raises_nothing(text: str) -> None:
    assert not read_dataset(text, "train").exists


@pytest.mark.parametrize("suffix", ["jsonl", "json", "csv"])
def test_a_huge_file_keeps_its_columns_and_is_not_counted(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"data.{suffix}"
    head = {"jsonl": lines(ROWS), "json": json.dumps(ROWS)[:-1] + ", ", "csv": "prompt,completion,score\na,b,c\n"}[
        suffix
    ]
    path.write_text(head)
    # A sparse file: its size is told, its content takes no room.
    os.truncate(path, tables.MAX_LINES_BYTES + 1)
    with path.open("r+b") as stream:
        stream.seek(len(head))
        stream.write((b'{"prompt": "x"}' + (b"," if suffix == "json" else b"\n")) * 400_000)
    facts = read_dataset(str(path), "train")
    assert (facts.columns, facts.num_rows) == (("prompt", "completion", "score"), None)


def test_a_long_file_is_counted_beyond_the_rows_that_are_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text(lines(ROWS) * 50_000)
    assert read_dataset(str(path), "train").num_rows == 150_000


def test_columns_that_only_later_rows_have_are_found(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text('{"a": 1}\n' * 99 + '{"b": 1}\n' + '{"c": 1}\n')
    assert read_dataset(str(path), "train").columns == ("a", "b")


def test_without_pyarrow_its_formats_are_known_in_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    dataset = datasets.Dataset.from_list(ROWS)
    dataset.to_parquet(tmp_path / "data.parquet")
    dataset.save_to_disk(tmp_path / "saved")
    for name in ("pyarrow", "pyarrow.ipc", "pyarrow.parquet"):
        monkeypatch.setitem(sys.modules, name, None)
    table = read_dataset(str(tmp_path / "data.parquet"), "train")
    assert (table.exists, table.columns, table.num_rows) == (True, None, None)
    saved = read_dataset(str(tmp_path / "saved"), "train")
    assert (saved.columns, saved.num_rows) == (("prompt", "completion"), None)


def test_a_huge_list_whose_first_row_does_not_end_is_unknown(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_text('[{"text": "')
    os.truncate(path, tables.MAX_JSON_BYTES + 1)
    assert read_dataset(str(path), "train").columns is None


def test_a_huge_file_that_is_no_table_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "data.json"
    path.write_text('{\n"data": ')
    os.truncate(path, tables.MAX_JSON_BYTES + 1)
    assert read_dataset(str(path), "train").columns is None


@pytest.mark.parametrize("name", ["lines.txt", "table.tsv", "stream.arrow", "table.arrow"])
def test_rows_are_sampled_from_every_kind_of_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    FILES[name](path)
    rows = read_rows(path, "train", ["prompt", "text"])
    assert [row.get("prompt", row.get("text")) for row in rows] == {
        "lines.txt": ["a", "", "b", "c"],
        "table.tsv": ["a", "c"],
    }.get(name, ["a", "line\nbreak", "e"])
