"""Files that are called broken are those that ``datasets`` cannot load, or whose columns move."""

from __future__ import annotations

import importlib
import io
from pathlib import Path
from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.facts.values import BrokenFile
from hfjobs_trainer.gathering.broken import find_broken

ROW = '{"text": "a"}\n'
LOADERS = {".jsonl": "json", ".json": "json", ".csv": "csv", ".txt": "text", ".parquet": "parquet"}


def parquet(columns: dict[str, list[str]]) -> bytes:
    arrow: Any = importlib.import_module("pyarrow")
    buffer = io.BytesIO()
    importlib.import_module("pyarrow.parquet").write_table(arrow.table(columns), buffer)
    return buffer.getvalue()


BROKEN: dict[str, tuple[dict[str, str | bytes], int | None]] = {
    "a bracket that is missing": ({"a.jsonl": ROW * 3 + '{"text": "b"\n' + ROW}, 4),
    "a comma after an object": ({"a.jsonl": ROW + '{"text": "b"},\n' + ROW}, 2),
    "a list among objects": ({"a.jsonl": ROW * 3 + '["x"]\n'}, 4),
    "texts": ({"a.jsonl": '"a"\n"b"\n'}, 1),
    "single quotes": ({"a.jsonl": ROW + "{'text': 'b'}\n"}, 2),
    "an end that is missing": ({"a.jsonl": ROW * 2 + '{"text": "b'}, 3),
    "a comment": ({"a.jsonl": "// rows\n" + ROW}, 1),
    "a tab in a text": ({"a.jsonl": ROW + '{"text": "a\tb"}\n'}, 2),
    "a key twice": ({"a.jsonl": ROW + '{"text": "a", "text": "b"}\n'}, 2),
    "half of a pair": ({"a.jsonl": ROW + '{"text": "\\ud800"}\n'}, 2),
    "UTF-16": ({"a.jsonl": ROW.encode("utf-16")}, 1),
    "a list that does not end": ({"a.json": '[{"text": "a"},\n{"text": "b"'}, 2),
    "a list that ends in a comma": ({"a.json": '[{"text": "a"},\n{"text": "b"},]'}, 2),
    "a list of two kinds": ({"a.json": '[{"text": "a"}, "b"]'}, None),
    "another column in the second file": ({"a.jsonl": ROW, "b.jsonl": '{"text": "a", "x": 1}\n'}, None),
    "a value too many": ({"a.csv": "a,b\n1,2\n3,4,5\n"}, 3),
    "a quote that is not closed": ({"a.csv": 'a,b\n1,2\n"3,4\n5,6\n'}, 3),
    "Latin-1": ({"a.csv": b"a,b\n1,caf\xe9\n"}, 2),
    "another order": ({"a.csv": "a,b\n1,2\n", "b.csv": "b,a\n1,2\n"}, 1),
    "Latin-1 text": ({"a.txt": b"caf\xe9\n"}, 1),
    "what is no parquet": ({"a.parquet": b"PAR1 rows PAR1"}, None),
    "a column more": ({"a.parquet": parquet({"a": ["x"]}), "b.parquet": parquet({"a": ["x"], "b": ["y"]})}, None),
}
WHOLE: dict[str, dict[str, str | bytes]] = {
    "blank lines": {"a.jsonl": ROW + "\n\n" + ROW},
    "a byte order mark": {"a.jsonl": b"\xef\xbb\xbf" + ROW.encode()},
    "NaN": {"a.jsonl": ROW + '{"text": NaN}\n'},
    "line ends of Windows": {"a.jsonl": ROW.replace("\n", "\r\n") * 2},
    "null": {"a.jsonl": ROW + "null\n"},
    "an object over several lines": {"a.json": '{\n "text": "a"\n}\n{\n "text": "b"\n}'},
    "two on a line": {"a.jsonl": '{"text": "a"}{"text": "b"}\n' + ROW},
    "a list over several lines": {"a.json": '[\n {"text": "a"},\n {"text": "b"}\n]'},
    "a list of texts": {"a.json": '["a", "b"]'},
    "a late column": {"a.jsonl": ROW * 5 + '{"text": "a", "x": 1}\n'},
    "a column less in the second file": {"a.jsonl": '{"text": "a", "x": 1}\n', "b.jsonl": ROW},
    "a value less": {"a.csv": "a,b\n1,2\n3\n"},
    "a line break in quotes": {"a.csv": 'a,b\n1,2\n"3\n3",4\n'},
    "quotes inside": {"a.csv": 'a,b\n1,2"3\n4,"5"6\n'},
    "one column": {"a.csv": "a;b\n1;2\n"},
    "another order": {"a.parquet": parquet({"a": ["x"], "b": ["y"]}), "b.parquet": parquet({"b": ["x"], "a": ["y"]})},
}
# the first value becomes a row's number
MOVED = {"a.csv": "a,b\n1,2,3\n4,5,6\n"}


def write(folder: Path, files: dict[str, str | bytes]) -> list[Path]:
    for name, content in files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return [folder / name for name in files]


def load(paths: list[Path], cache: Path) -> Any:
    datasets: Any = importlib.import_module("datasets")
    loader = LOADERS[paths[0].suffix]
    files = [str(path) for path in paths]
    loaded = datasets.load_dataset(loader, data_files=files, split="train", cache_dir=str(cache))
    return loaded, list(loaded)


@pytest.mark.torch
@pytest.mark.parametrize("name", BROKEN)
def test_what_is_broken_cannot_be_loaded(name: str, tmp_path: Path) -> None:
    files, line = BROKEN[name]
    paths = write(tmp_path, files)
    found = find_broken(paths)
    assert found is not None
    assert (found.name, found.line) == (paths[-1].name, line)
    with pytest.raises(Exception):  # noqa: B017, PT011 - of all kinds
        load(paths, tmp_path / "cache")


@pytest.mark.torch
@pytest.mark.parametrize("name", WHOLE)
def test_what_is_whole_is_loaded(name: str, tmp_path: Path) -> None:
    paths = write(tmp_path, WHOLE[name])
    assert find_broken(paths) is None
    assert load(paths, tmp_path / "cache")


@pytest.mark.torch
def test_columns_do_not_move_in_silence(tmp_path: Path) -> None:
    paths = write(tmp_path, dict(MOVED))
    loaded, _ = load(paths, tmp_path / "cache")
    assert loaded[0] == {"a": 2, "b": 3}
    assert isinstance(find_broken(paths), BrokenFile)


def test_file_and_line_are_told(tmp_path: Path) -> None:
    (path,) = write(tmp_path, {"rows.jsonl": ROW * 2 + "{\n"})
    spec = {"method": "sft", "model": "me/model", "dataset": str(path)}
    report = hft.check(spec, offline=True, backend="local")
    assert [(item.code, item.path) for item in report.problems if item.path.startswith("dataset")] == [
        ("DATA029", "dataset.id")
    ]
    (problem,) = [item for item in report.problems if item.code == "DATA029"]
    assert problem.why.startswith("rows.jsonl, line 3: ")
