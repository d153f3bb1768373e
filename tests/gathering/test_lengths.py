"""How long rows are: of real files, and of what of a row counts."""

from __future__ import annotations

import json
import os
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from gathering.row_lengths import NO_MODEL, found, known, of_dataset, write_lines
from gathering.test_local_dataset import FILES, GARBAGE, lines, load_file, write_gzip

import hfjobs_trainer as hft
from hfjobs_trainer.facts import LengthFacts
from hfjobs_trainer.gathering import gather, rows
from hfjobs_trainer.gathering.lengths import measure, merge

FORMATS = (("messages",), ("text",), ("prompt", "completion"), ("chosen", "rejected"), ("prompt",))


# ---------------------------------------------------------------------------------------- what of a row counts

SAID = [{"role": "user", "content": "1234"}, {"role": "assistant", "content": "123456"}]
CALL = {"role": "assistant", "content": None, "tool_calls": [{"name": "f"}]}
PARTS = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "12345"}]}]
SHARE_GPT = [{"from": "human", "value": "123"}, {"from": "gpt", "value": "12"}]


@pytest.mark.parametrize(
    ("row", "mean", "prompt"),
    [
        ({"text": "12345", "label": "no text"}, 5, None),
        ({"messages": SAID}, 10, None),
        ({"messages": [*SAID, CALL]}, 10 + len('[{"name": "f"}]'), None),
        ({"messages": PARTS}, 5, None),
        ({"messages": SHARE_GPT}, 5, None),
        ({"prompt": "123", "completion": "12345"}, 8, 3),
        ({"prompt": SAID[:1], "completion": SAID[1:]}, 10, 4),
        ({"prompt": "123", "chosen": "12", "rejected": "1234"}, 6, 3),
        ({"chosen": SAID, "rejected": SAID[:1]}, 7, None),
        ({"prompt": "123"}, 3, 3),
        ({"prompt": SAID[:1], "tools": '["f"]'}, 9, 9),
        ({"text": ""}, 0, None),
    ],
)
def test_what_is_trained_on_counts(row: Mapping[str, Any], mean: float, prompt: float | None) -> None:
    measured = measure([row], FORMATS, None)
    assert measured == LengthFacts("characters", 1, mean, (mean,) * 20, prompt)


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"other": "x"},
        {"text": None},
        {"text": 7},
        {"text": ["a", "b"]},
        {"messages": []},
        {"messages": {"role": "user"}},
        {"messages": [None]},
        {"prompt": None, "completion": "x"},
        {"prompt": "x", "completion": 3.5},
        {"chosen": [1], "rejected": "x"},
        {"input_ids": [1, 2, 3]},
    ],
)
def test_a_row_without_text_is_left_out(row: Mapping[str, Any]) -> None:
    assert measure([row], (*FORMATS, ("input_ids",)), None) is None
    measured = measure([row, {"text": "abc"}], FORMATS, None)
    assert measured is not None
    assert (measured.sampled, measured.mean) == (1, 3)


def test_the_method_says_what_counts(tmp_path: Path) -> None:
    data = tmp_path / "data.jsonl"
    data.write_text(lines([{"prompt": "12", "completion": "1234", "chosen": "123", "rejected": "1"}]))
    common: dict[str, Any] = {"model": NO_MODEL, "dataset": str(data)}
    assert known(hft.SFT(**common)) == ("characters", 1, 6, 2)
    assert known(hft.DPO(**common)) == ("characters", 1, 4, 2)
    assert known(hft.GRPO(**common, reward_funcs="think_format_reward")) == ("characters", 1, 2, 2)
    assert known(hft.SFT(**common, dataset_text_field="chosen")) == ("characters", 1, 3, None)


# ---------------------------------------------------------------------------------------- files on this machine

UNKNOWN = {"wrapped.json", "wrapped-and-indented.json"}


@pytest.mark.parametrize("name", FILES)
def test_every_kind_of_file_is_sampled(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    FILES[name](path)
    loaded = load_file(path, tmp_path / "cache")
    facts = found(hft.SFT(model=NO_MODEL, dataset=str(path)))
    if name in UNKNOWN:
        assert facts.lengths is None
        return
    counted = [len(row["text"] if "text" in row else row["prompt"] + row["completion"]) for row in loaded]
    assert facts.lengths is not None
    assert (facts.lengths.sampled, facts.lengths.mean) == (len(counted), sum(counted) / len(counted))
    assert facts.lengths.maximum == max(counted)


def save(path: Path, texts: Sequence[str]) -> str:
    import datasets

    datasets.DatasetDict(train=datasets.Dataset.from_dict({"text": list(texts)})).save_to_disk(path, num_shards=None)
    return str(path)


def write_parquet(path: Path, texts: Sequence[str]) -> str:
    import datasets

    datasets.Dataset.from_dict({"text": list(texts)}).to_parquet(str(path), batch_size=500)
    return str(path)


def write_json(path: Path, texts: Sequence[str]) -> str:
    path.write_text(json.dumps([{"text": text} for text in texts]))
    return str(path)


WRITERS: dict[str, Callable[[Path, Sequence[str]], str]] = {
    "saved": save,
    "data.jsonl": write_lines,
    "data.parquet": write_parquet,
    "data.json": write_json,
}


@pytest.mark.parametrize("name", sorted(WRITERS.keys() - {"data.json"}))
def test_a_sample_stands_for_the_whole(tmp_path: Path, name: str) -> None:
    """Rows grow from the first to the last: the first alone would say far too little."""
    data = WRITERS[name](tmp_path / name, ["x" * index for index in range(4000)])
    measured = of_dataset(data)
    assert 256 <= measured.sampled <= rows.MAX_ROWS
    assert measured.mean == pytest.approx(2000, rel=0.15)
    assert measured.p50 == pytest.approx(2000, rel=0.15)
    assert measured.p95 == pytest.approx(3800, rel=0.15)


def test_of_a_long_list_the_head_is_looked_at(tmp_path: Path) -> None:
    data = write_json(tmp_path / "data.json", ["x" * 1000] * 3000 + ["y"] * 100_000 + ["x" * 1000] * 3000)
    measured = of_dataset(data)
    assert (measured.sampled, measured.p50, measured.quantiles[0]) == (rows.MAX_ROWS, 1000, 1)
    assert found(hft.SFT(model=NO_MODEL, dataset=data)).num_rows == 106_000


@pytest.mark.parametrize("name", WRITERS)
def test_only_the_rows_that_are_taken_count(tmp_path: Path, name: str) -> None:
    data = WRITERS[name](tmp_path / name, ["x"] * 10 + ["y" * 100] * 990)
    assert of_dataset({"id": data, "num_samples": 10}).maximum == 1
    assert of_dataset({"id": data, "num_samples": 20}).mean == pytest.approx(50.5)
    if name != "saved":
        assert of_dataset({"id": data, "split": "train[:1%]"}).maximum == 1
        assert of_dataset({"id": data, "split": "train[:5]", "num_samples": 50}).sampled == 5
        assert of_dataset({"id": data, "split": "train[10:]"}).p50 == 100


def test_columns_are_renamed(tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    data.write_text("question,answer,prompt\nabc,de,not this\n")
    columns = {"question": "prompt", "answer": "completion", "prompt": "old"}
    measured = of_dataset({"id": str(data), "columns": columns})
    assert (measured.mean, measured.prompt_mean) == (5, 3)


def test_folders_and_splits(tmp_path: Path) -> None:
    for name, text in {"train-1": "abc", "train-2": "abcde", "test": "a"}.items():
        write_lines(tmp_path / f"{name}.jsonl", [text] * 3)
    folder = str(tmp_path)
    assert of_dataset(folder).mean == 4
    spec = hft.SFT(model=NO_MODEL, dataset=folder, eval_dataset={"id": folder, "split": "test"})
    facts = gather(spec, offline=True)
    assert facts.eval_dataset is not None
    assert facts.eval_dataset.lengths == LengthFacts("characters", 3, 1, (1,) * 20)
    assert of_dataset({"id": folder, "split": "train+test"}).sampled == 9


def test_a_huge_file_is_read_in_parts(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    with path.open("w") as stream:
        for index in range(64):
            stream.write(lines([{"text": "x" * (1000 + index)}]) * 1000)
    assert path.stat().st_size > 64_000_000
    tracemalloc.start()
    sample = rows.sample_rows([path], ["text"])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32_000_000
    assert len(sample) == rows.MAX_ROWS
    assert {len(str(row["text"])) for row in sample} >= set(range(1000, 1064, 4))


@pytest.mark.parametrize("name", ["saved", "data.jsonl", "data.parquet"])
def test_rows_of_megabytes_are_few(tmp_path: Path, name: str) -> None:
    data = WRITERS[name](tmp_path / name, ["x" * 1_000_000] * 100)
    measured = of_dataset(data)
    assert 1 <= measured.sampled < 40
    assert measured.mean == 1_000_000


@pytest.mark.parametrize("suffix", ["jsonl", "json", "parquet", "jsonl.gz", "csv", "csv.gz"])
@pytest.mark.parametrize("content", GARBAGE.values(), ids=GARBAGE)
def test_a_broken_file_has_no_lengths(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"data.{suffix}"
    path.write_bytes(content)
    assert found(hft.SFT(model=NO_MODEL, dataset=str(path))).lengths is None


def test_a_file_that_is_cut_off_or_hollow(tmp_path: Path) -> None:
    packed = tmp_path / "data.jsonl.gz"
    write_gzip(packed, lines([{"text": "abc"}]) * 1000)
    packed.write_bytes(packed.read_bytes()[:-20])
    assert found(hft.SFT(model=NO_MODEL, dataset=str(packed))).lengths is None
    hollow = tmp_path / "data.jsonl"
    hollow.write_text(lines([{"text": "abc"}]))
    os.truncate(hollow, 10**12)
    assert rows.sample_rows([hollow], ["text"]) == [{"text": "abc"}]


def test_a_broken_saved_folder_has_no_lengths(tmp_path: Path) -> None:
    folder = Path(save(tmp_path / "saved", ["abc"]))
    next(folder.glob("train/*.arrow")).write_bytes(b"\x00" * 100)
    assert found(hft.SFT(model=NO_MODEL, dataset=str(folder))).lengths is None


# ---------------------------------------------------------------------------------------- mixtures


def test_a_mixture_has_the_lengths_of_its_parts(tmp_path: Path) -> None:
    short = write_lines(tmp_path / "short.jsonl", ["x" * 10] * 30)
    long = write_lines(tmp_path / "long.jsonl", ["x" * 100] * 10)
    whole = of_dataset([{"id": short}, {"id": long}])
    assert (whole.sampled, whole.mean, whole.p50, whole.maximum) == (40, 32.5, 10, 100)
    shared = of_dataset([{"id": short, "fraction": 0.5}, {"id": long, "fraction": 1.5}])
    assert (shared.mean, shared.p50, shared.quantiles[4]) == (77.5, 100, 10)
    few = of_dataset([{"id": short, "num_samples": 10}, {"id": long}])
    assert few.mean == 55
    missing = hft.SFT(model=NO_MODEL, dataset=[{"id": short}, {"id": str(tmp_path / "none.jsonl")}])
    assert found(missing).lengths is None


def test_lengths_in_different_units_are_not_merged() -> None:
    tokens, characters = (LengthFacts(unit, 5, 10, (10,) * 20) for unit in ("tokens", "characters"))
    assert merge([tokens, characters], [1, 1]) is None
    assert merge([tokens, tokens], [1, None]) is None
    assert merge([tokens, tokens], [0, 0]) is None
    assert merge([tokens, tokens], [1, 2]) == LengthFacts("tokens", 10, 10, (10,) * 20)


def test_the_longest_one_in_a_hundred_is_known() -> None:
    rows = [{"text": "x" * length} for length in range(1, 301)]
    measured = measure(rows, (("text",),), None)
    assert measured is not None
    assert (measured.p95, measured.p99, measured.maximum) == (285, 297, 300)
    long = measure([{"text": "x" * 1000}] * 10, (("text",),), None)
    together = merge([measured, long], [99, 1])
    assert together is not None
    assert (together.p99, together.maximum) == (300, 1000)
    # where it was not counted
    assert LengthFacts("tokens", 20, 1050.0, tuple(100.0 * step for step in range(1, 21))).p99 == pytest.approx(1980)
