"""How long rows are of datasets behind a real Hub stand-in, and with tokenizers from there."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from gathering.repos import TOKEN, make_repo
from gathering.row_lengths import NO_MODEL, found, of_dataset, write_lines
from gathering.test_local_dataset import lines
from hubsim import Hub

import hfjobs_trainer as hft
from hfjobs_trainer.facts import DatasetFacts, LengthFacts
from hfjobs_trainer.gathering import gather, tokenizer
from hfjobs_trainer.gathering.lengths import END_TOKENS
from hfjobs_trainer.gathering.viewer import viewer_url

# ---------------------------------------------------------------------------------------- datasets on the Hub


def make_data(hub: Hub, name: str, files: dict[str, Sequence[str]], card: str = "", **settings: Any) -> None:
    texts = {file: lines([{"text": text} for text in rows]) for file, rows in files.items()}
    make_repo(hub, "datasets", name, {**texts, **({"README.md": card} if card else {})}, settings)


def test_the_viewer_shows_rows_and_counts_them(hub: Hub) -> None:
    make_data(hub, "acme/data", {"train.jsonl": ["abc"] * 150 + ["x" * 50] * 50, "test.jsonl": ["abcde"] * 3})
    facts = found(hft.SFT(model=NO_MODEL, dataset="acme/data"), hub)
    assert (facts.columns, facts.num_rows, facts.splits) == (("text",), 200, ("test", "train"))
    assert facts.lengths == LengthFacts("characters", 100, 3, (3,) * 20)
    test = found(hft.SFT(model=NO_MODEL, dataset={"id": "acme/data", "split": "test"}), hub)
    assert (test.num_rows, test.lengths) == (3, LengthFacts("characters", 3, 5, (5,) * 20))
    assert {entry["token"] for entry in hub.requests("/(size|first-rows)$")} == {TOKEN}


def test_what_the_card_says_holds(hub: Hub) -> None:
    card = "---\ndataset_info:\n  splits:\n  - name: train\n    num_examples: 7\n---\n"
    make_data(hub, "acme/data", {"train.jsonl": ["abc"] * 5}, card)
    facts = found(hft.SFT(model=NO_MODEL, dataset="acme/data"), hub)
    assert (facts.num_rows, facts.splits) == (7, ("train",))
    assert facts.lengths is not None


CONFIGS = """---
configs:
- config_name: short
  data_files:
  - split: train
    path: short.jsonl
- config_name: long{marked}
  data_files:
  - split: train
    path: long.jsonl
---
"""


@pytest.mark.parametrize(
    ("marked", "config", "mean"),
    [("\n  default: true", None, 5), ("", "short", 2), ("", None, None), ("", "none", None)],
)
def test_rows_are_those_of_the_configuration(hub: Hub, marked: str, config: str | None, mean: float | None) -> None:
    files = {"short.jsonl": ["ab"] * 3, "long.jsonl": ["abcde"] * 4}
    make_data(hub, "acme/data", files, CONFIGS.format(marked=marked))
    facts = found(hft.SFT(model=NO_MODEL, dataset={"id": "acme/data", "config": config}), hub)
    assert (facts.lengths.mean if facts.lengths else None) == mean
    assert facts.num_rows == {5: 4, 2: 3, None: None}[mean]


def test_rows_that_are_cut_off_do_not_count(hub: Hub) -> None:
    """Ten rows are sent although they are too large; the last of them are cut off, but for short ones."""
    make_data(hub, "acme/data", {"train.jsonl": ["x" * 30_000] * 8 + ["short"] * 12})
    measured = of_dataset("acme/data", hub)
    assert 0 < measured.sampled < 8
    assert (measured.mean, measured.maximum) == (30_000, 30_000)


def test_rows_that_are_all_cut_off_tell_nothing(hub: Hub) -> None:
    make_data(hub, "acme/data", {"train.jsonl": ["x" * 300_000] * 10})
    facts = found(hft.SFT(model=NO_MODEL, dataset="acme/data"), hub)
    assert (facts.num_rows, facts.lengths) == (10, None)


def test_a_dataset_that_was_counted_in_part_has_an_unknown_number_of_rows(hub: Hub) -> None:
    hub.cfg["viewerPartial"] = True
    make_data(hub, "acme/data", {"train.jsonl": ["abc"] * 5})
    facts = found(hft.SFT(model=NO_MODEL, dataset="acme/data"), hub)
    assert (facts.num_rows, facts.splits) == (None, ("train",))
    assert facts.lengths is not None


def test_a_private_dataset_is_shown_to_some(hub: Hub) -> None:
    make_data(hub, "acme/data", {"train.jsonl": ["abc"] * 5}, private=True)
    spec = hft.SFT(model=NO_MODEL, dataset="acme/data")
    facts = found(spec, hub)
    assert (facts.private, facts.num_rows, facts.lengths) == (True, None, None)
    assert {entry["status"] for entry in hub.requests("/size")} == {501}
    hub.cfg["viewerPrivate"] = True
    assert found(spec, hub).num_rows == 5
    hidden = gather(spec, token="hf_carol_write", endpoint=hub.endpoint, backend="local").dataset
    assert hidden == DatasetFacts(exists=False)


@pytest.mark.parametrize("part", [{"revision": "v1"}, {"data_files": "train.jsonl"}, {"data_dir": "data"}])
def test_what_the_viewer_does_not_show_is_not_asked_for(hub: Hub, part: dict[str, Any]) -> None:
    make_data(hub, "acme/data", {"train.jsonl": ["abc"] * 5})
    assert found(hft.SFT(model=NO_MODEL, dataset={"id": "acme/data", **part}), hub).lengths is None
    assert not hub.requests("/(size|first-rows)$")


def test_renaming_and_the_first_rows(hub: Hub) -> None:
    rows = [{"question": "ab", "answer": "abc"}] * 4 + [{"question": "a" * 9, "answer": "abc"}] * 90
    make_repo(hub, "datasets", "acme/data", {"train.jsonl": lines(rows)})
    columns = {"question": "prompt", "answer": "completion"}
    measured = of_dataset({"id": "acme/data", "columns": columns, "num_samples": 4}, hub)
    assert measured == LengthFacts("characters", 4, 5, (5,) * 20, 2)


ODD = [
    {},
    [],
    None,
    {"rows": {}, "features": "x", "size": [], "splits": 3},
    {"size": {"splits": [None, 3, {"config": 1, "split": []}, {"config": "default", "split": "train"}]}},
    {"size": {"splits": [{"config": "default", "split": "train", "num_rows": "many"}]}, "rows": [None, {"row": 3}]},
    {"rows": [{"row": {"text": {"a": 1}}, "truncated_cells": [[], {}]}, {"truncated_cells": 7}], "features": [{}]},
]


@pytest.mark.parametrize("body", ODD, ids=json.dumps)
def test_odd_answers_of_the_viewer_are_unknown(hub: Hub, body: Any) -> None:
    make_data(hub, "acme/data", {"train.jsonl": ["abc"] * 5})
    hub.fail(path="/(size|first-rows)$", times=9, response={"status": 200, "body": json.dumps(body)})
    facts = found(hft.SFT(model=NO_MODEL, dataset={"id": "acme/data", "config": "default"}), hub)
    assert (facts.exists, facts.num_rows, facts.lengths) == (True, None, None)


@pytest.mark.parametrize("status", [401, 404, 422, 500, 501, 503])
def test_a_viewer_that_refuses_is_no_obstacle(hub: Hub, status: int) -> None:
    make_data(hub, "acme/data", {"train.jsonl": ["abc"] * 5})
    hub.fail(path="/(size|first-rows)$", times=9, response={"status": status})
    facts = found(hft.SFT(model=NO_MODEL, dataset="acme/data"), hub)
    assert (facts.exists, facts.num_rows, facts.lengths) == (True, None, None)


def test_the_address_of_the_viewer() -> None:
    assert (
        viewer_url("https://huggingface.co/", "/size", dataset="a/b c")
        == "https://datasets-server.huggingface.co/size?dataset=a%2Fb+c"
    )
    assert viewer_url("http://127.0.0.1:8", "/size", dataset="a") == "http://127.0.0.1:8/size?dataset=a"


# ---------------------------------------------------------------------------------------- tokenizers on the Hub


def test_a_tokenizer_is_downloaded_once_and_found_offline(
    hub: Hub, tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    import transformers

    make_repo(hub, "models", "acme/counts", {"tokenizer.json": (tiny_model / "tokenizer.json").read_text()})
    make_data(hub, "acme/data", {"train.jsonl": ["the sea is blue"] * 5})
    measured = of_dataset("acme/data", hub, model="acme/counts")
    real = transformers.AutoTokenizer.from_pretrained(tiny_model)
    assert measured.unit == "tokens"
    assert measured.mean == len(real("the sea is blue")["input_ids"]) + END_TOKENS
    of_dataset("acme/data", hub, model="acme/counts")
    assert [entry["status"] for entry in hub.requests("tokenizer.json$", "GET")] == [200]
    data = write_lines(tmp_path / "data.jsonl", ["the sea is blue"])
    assert of_dataset(data, model="acme/counts") == LengthFacts("tokens", 1, measured.mean, (measured.mean,) * 20)
    assert capfd.readouterr().err == ""


def test_a_large_tokenizer_is_not_downloaded(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenizer, "MAX_BYTES", 1000)
    make_repo(hub, "models", "acme/large", {"tokenizer.json": "x" * 1001})
    make_data(hub, "acme/data", {"train.jsonl": ["abc"] * 5})
    assert of_dataset("acme/data", hub, model="acme/large").unit == "characters"
    assert hub.requests("tokenizer.json$", "HEAD")
    assert not hub.requests("tokenizer.json$", "GET")


def test_a_tokenizer_that_is_refused_is_no_obstacle(hub: Hub) -> None:
    make_repo(hub, "models", "acme/gated", {"tokenizer.json": "{}"}, {"gated": "manual"})
    make_data(hub, "acme/data", {"train.jsonl": ["abc"] * 5})
    spec = hft.SFT(model="acme/gated", dataset="acme/data")
    facts = gather(spec, token="hf_carol_write", endpoint=hub.endpoint, backend="local").dataset
    assert facts.lengths == LengthFacts("characters", 5, 3, (3,) * 20)
