"""Rows that a program holds, as a dataset."""

from __future__ import annotations

import hashlib
import json
from collections import UserList
from datetime import date
from pathlib import Path
from typing import Any, cast

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.contents import find_kept, split_pin

ROWS = [{"prompt": f"wörd {index}", "completion": [{"n": index, "ok": None}]} for index in range(3)]
ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HFT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def sft(dataset: Any, **fields: Any) -> hft.SFT:
    return hft.SFT(model="me/model", dataset=dataset, **fields)


def kept(id: str) -> Path:
    digest = split_pin(id)[1]
    assert digest is not None
    path = find_kept(digest)
    assert path is not None
    assert hashlib.sha256(path.read_bytes()).hexdigest() == digest
    return path


def read(id: str) -> list[Any]:
    return [json.loads(line) for line in kept(id).read_text("utf-8").splitlines()]


def test_rows_are_written_once_and_named_by_their_content(home: Path) -> None:
    spec = sft(ROWS, eval_dataset=hft.Dataset(id=cast("Any", ROWS), num_samples=1))
    assert spec.dataset.id.startswith("rows.jsonl@sha256:")
    assert read(spec.dataset.id) == ROWS
    assert spec.eval_dataset is not None
    assert (spec.eval_dataset.id, spec.eval_dataset.num_samples) == (spec.dataset.id, 1)
    assert sft(ROWS) == sft(tuple(dict(row) for row in ROWS))
    assert sft(ROWS[:2]).digest != sft(ROWS).digest
    assert len(list((home / "data").iterdir())) == 2
    for text in (repr(spec), spec.to_json(), str(spec.dataset)):
        assert "wörd" not in text
        assert str(home) not in text
    assert hft.check({"method": "sft", "model": "me/model", "dataset": ROWS}, facts=hft.Facts(), backend="local").ok


def test_a_spec_of_rows_can_be_stored_and_read_here_and_says_elsewhere_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = sft(ROWS)
    file = tmp_path / "spec.json"
    file.write_text(spec.to_json())
    assert hft.load(file) == spec
    monkeypatch.setenv("HFT_HOME", str(tmp_path / "elsewhere"))
    digest = split_pin(spec.dataset.id)[1]
    with pytest.raises(hft.SpecError, match=f"LOAD006 dataset.id: rows.jsonl with the SHA-256 {digest} is not on this"):
        hft.load(file)
    report = hft.check(spec, offline=True)
    assert [(problem.code, problem.path) for problem in report.problems if "SHA-256" in problem.why] == [
        ("HUB001", "dataset.id")
    ]


def test_a_list_of_datasets_is_a_mixture_and_each_may_be_rows() -> None:
    for mixture in (["me/a", "me/b"], [{"id": "me/a"}, {"id": "me/b", "split": "test"}]):
        assert [part.id for part in sft(mixture).dataset.parts] == ["me/a", "me/b"]
    first, second, third = sft([ROWS, "me/b", ROWS[:1]]).dataset.parts
    assert (read(first.id), second.id, read(third.id)) == (ROWS, "me/b", ROWS[:1])
    # rows may have a column of this name
    assert read(sft([{"id": "a", "text": "b"}]).dataset.id) == [{"id": "a", "text": "b"}]
    with pytest.raises(hft.SpecError, match="SPEC004"):
        sft([{"id": "me/a", "spilt": "test"}])


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([], "has neither rows nor datasets"),
        ([{}], "row 0 has no columns"),
        ([{"a": 1}, {"a": date(2026, 1, 1)}], "row 1, column 'a': JSON has no values of type date"),
        ([{"a": 1}, {"b": {"c": [float("nan")]}}], "row 1, column 'b': JSON has no nan"),
        ([{"a": 2**63}], "row 0, column 'a': an integer must have at most 64 bits"),
        ([{"a": {1: 2}}], "row 0, column 'a': keys must be text, not 1"),
        ([{"a": {0: 2}}], "row 0, column 'a': keys must be text, not 0"),
        ([{"a": ENDLESS}], "a row contains itself, or is nested too deeply"),
        ([{1: 2}], "row 0: the name of a column must be text, not 1"),
        ([{"a": b"x"}], "row 0, column 'a': JSON has no values of type bytes"),
        ([{"a": "\ud800"}], "row 0 contains a lone surrogate"),
    ],
)
def test_what_cannot_be_written_is_one_problem(rows: Any, why: str, home: Path) -> None:
    with pytest.raises(hft.SpecError) as caught:
        sft(rows)
    (problem,) = caught.value.problems
    assert problem.path == "dataset"
    assert why in problem.why
    assert not (home / "data").exists() or not list((home / "data").iterdir())


def test_a_cache_that_cannot_be_written_is_told(home: Path) -> None:
    home.write_text("")
    with pytest.raises(hft.SpecError, match=r"could not be written .* HFT_HOME"):
        sft(ROWS)


def test_pandas_frames() -> None:
    import pandas as pd

    frame = pd.DataFrame({"text": ["a", None], "n": [1, 2], "x": [0.5, float("nan")]})
    frame["list"] = [pd.array([1, 2]).to_numpy(), [3]]
    assert read(sft(frame).dataset.id) == [
        {"text": "a", "n": 1, "x": 0.5, "list": [1, 2]},
        {"text": None, "n": 2, "x": None, "list": [3]},
    ]
    with pytest.raises(hft.SpecError, match="there are no rows"):
        sft(pd.DataFrame())
    with pytest.raises(hft.SpecError, match="several columns are called 'text'"):
        sft(pd.DataFrame([["a", "b"]], columns=["text", "text"]))
    with pytest.raises(hft.SpecError, match="row 0, column 'when': JSON has no values of type Timestamp"):
        sft(pd.DataFrame({"when": pd.to_datetime(["2026-01-01"])}))


class Frame(UserList[dict[str, Any]]):
    """Has of polars' frames what is used of them."""

    shape = (0, 0)

    def slice(self, start: int, length: int) -> Frame:
        return Frame(self.data[start : start + length])

    def to_dicts(self) -> list[dict[str, Any]]:
        return self.data


def test_polars_frames() -> None:
    rows = [{"text": str(index), "x": float("nan")} for index in range(1500)]
    assert read(sft(Frame(rows)).dataset.id) == [{"text": str(index), "x": None} for index in range(1500)]


class Lazy:
    def collect(self) -> None: ...


def test_a_lazy_frame_is_refused() -> None:
    with pytest.raises(hft.SpecError, match="Lazy has no rows yet: give what its collect"):
        sft(Lazy())


@pytest.mark.torch
def test_datasets_keep_their_types_and_their_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import datasets
    from PIL import Image

    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    rows = {"images": [[str(tmp_path / "a.png")]] * 2, "label": [0, 1]}
    features = datasets.Features(
        {"images": datasets.List(datasets.Image()), "label": datasets.ClassLabel(names=["no", "yes"])}
    )
    given = datasets.Dataset.from_dict(rows, features=features)
    spec = sft(given)
    assert sft(given.select([0, 1])) == spec
    assert capsys.readouterr().err == ""
    file = kept(spec.dataset.id)
    assert (file.name, str(tmp_path).encode() in file.read_bytes()) == ("rows.arrow", False)
    (tmp_path / "a.png").unlink()
    again = cast("Any", datasets.load_dataset("arrow", data_files=str(file), split="train", cache_dir=str(tmp_path)))
    assert again.features == features
    assert again[1]["images"][0].size == (4, 4)
    facts = hft.gather(spec, offline=True, backend="local").dataset
    assert (facts.columns, facts.num_rows) == (("images", "label"), 2)

    with pytest.raises(hft.SpecError) as caught:
        sft(datasets.DatasetDict(test=given))
    (problem,) = caught.value.problems
    assert problem.why == "DatasetDict holds the splits test: give one of them, as in data['test']"
    with pytest.raises(hft.SpecError, match="IterableDataset is a stream"):
        sft(given.to_iterable_dataset())
    with pytest.raises(hft.SpecError, match="there are no rows"):
        sft(given.select([]))
