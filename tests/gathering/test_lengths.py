"""How long rows are: of real files, of datasets behind a real Hub stand-in, with a real tokenizer and without one."""

from __future__ import annotations

import json
import os
import sys
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from gathering.test_gather import TOKEN, make_repo
from gathering.test_local_dataset import FILES, GARBAGE, lines, write_gzip
from hubsim import Hub

import hfjobs_trainer as hft
from examples import tiny
from hfjobs_trainer.facts import DatasetFacts, LengthFacts
from hfjobs_trainer.gathering import gather, lengths, rows, tokenizer
from hfjobs_trainer.gathering.lengths import END_TOKENS, MESSAGE_TOKENS, measure, merge
from hfjobs_trainer.gathering.viewer import viewer_url
from hfjobs_trainer.specs.base import TrainSpec

FORMATS = (("messages",), ("text",), ("prompt", "completion"), ("chosen", "rejected"), ("prompt",))
NO_MODEL = "acme/no-model"


def found(spec: TrainSpec, hub: Hub | None = None) -> DatasetFacts:
    endpoint = hub.endpoint if hub else None
    return gather(spec, offline=hub is None, token=TOKEN, endpoint=endpoint, backend="local").dataset


def of_dataset(dataset: Any, hub: Hub | None = None, model: str = NO_MODEL, **fields: Any) -> LengthFacts:
    lengths = found(hft.SFT(model=model, dataset=dataset, **fields), hub).lengths
    assert lengths is not None
    return lengths


def known(spec: TrainSpec) -> tuple[str, int, float, float | None]:
    lengths = found(spec).lengths
    assert lengths is not None
    return lengths.unit, lengths.sampled, lengths.mean, lengths.prompt_mean


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
    import datasets

    path = tmp_path / name
    FILES[name](path)
    builder = "csv" if ".csv" in name else "parquet" if ".parquet" in name else "json"
    loaded = datasets.load_dataset(builder, data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    facts = found(hft.SFT(model=NO_MODEL, dataset=str(path)))
    if name in UNKNOWN:
        assert facts.lengths is None
        return
    counted = [len(row.get("text") or row["prompt"] + row["completion"]) for row in loaded]
    assert facts.lengths is not None
    assert (facts.lengths.sampled, facts.lengths.mean) == (len(counted), sum(counted) / len(counted))
    assert facts.lengths.maximum == max(counted)


def save(path: Path, texts: Sequence[str]) -> str:
    import datasets

    datasets.DatasetDict(train=datasets.Dataset.from_dict({"text": list(texts)})).save_to_disk(path, num_shards=None)
    return str(path)


def write_lines(path: Path, texts: Sequence[str]) -> str:
    path.write_text(lines([{"text": text} for text in texts]))
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


# ---------------------------------------------------------------------------------------- tokens


def long_roles(real: Any, messages: Sequence[Mapping[str, str]]) -> int:
    """By how much the roles are longer than one token, as they are in the vocabulary of a real model."""
    return sum(len(real(message["role"])["input_ids"]) - 1 for message in messages)


@pytest.mark.parametrize("format", ["text", "messages", "prompt_completion", "prompt_completion_chat"])
def test_tokens_are_those_that_training_sees(
    tiny_model: Path, tiny_data: Callable[[tiny.Format], Path], format: tiny.Format
) -> None:
    import transformers

    measured = of_dataset(str(tiny_data(format)), model=str(tiny_model))
    real = transformers.AutoTokenizer.from_pretrained(tiny_model)
    counted: list[int] = []
    for row in tiny.dataset_rows(format):
        messages = row.get("messages") or [*row.get("prompt", []), *row.get("completion", [])]
        if format.endswith("_chat") or format == "messages":
            counted.append(len(real.apply_chat_template(messages)["input_ids"]) - long_roles(real, messages))
        else:
            texts = [row[name] for name in ("text", "prompt", "completion") if name in row]
            counted.append(sum(len(real(text)["input_ids"]) for text in texts) + END_TOKENS)
    assert (measured.unit, measured.sampled) == ("tokens", 32)
    assert measured.mean == pytest.approx(sum(counted) / len(counted))
    assert (measured.quantiles[0], measured.maximum) == (sorted(counted)[1], max(counted))


def test_a_message_takes_what_chatml_adds(tiny_model: Path) -> None:
    import transformers

    real = transformers.AutoTokenizer.from_pretrained(tiny_model)
    for role in ("user", "assistant", "system"):
        message = {"role": role, "content": ""}
        added = len(real.apply_chat_template([message])["input_ids"]) - long_roles(real, [message])
        assert added == MESSAGE_TOKENS


def test_without_tokenizers_characters_are_counted(
    tiny_model: Path, tiny_data: Callable[[tiny.Format], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    assert of_dataset(str(tiny_data("text")), model=str(tiny_model)).unit == "characters"


@pytest.mark.parametrize("content", ["", "{", "{}", "null", '{"version": "1.0", "model": {"type": "BPE"}}', "\0" * 99])
def test_a_broken_tokenizer_counts_nothing(
    tmp_path: Path, tiny_data: Callable[[tiny.Format], Path], content: str
) -> None:
    (tmp_path / "tokenizer.json").write_text(content)
    assert of_dataset(str(tiny_data("text")), model=str(tmp_path)).unit == "characters"


def test_a_tokenizer_that_is_too_large_is_not_read(
    tiny_model: Path, tiny_data: Callable[[tiny.Format], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenizer, "MAX_BYTES", 100)
    assert of_dataset(str(tiny_data("text")), model=str(tiny_model)).unit == "characters"


def test_long_texts_are_counted_in_part(tiny_model: Path, tmp_path: Path) -> None:
    import transformers

    data = write_lines(tmp_path / "data.jsonl", ["sea " * 50_000] * 20)
    measured = of_dataset(data, model=str(tiny_model))
    count = tokenizer.Tokenizer(tiny_model / "tokenizer.json")
    whole = transformers.AutoTokenizer.from_pretrained(tiny_model)("sea " * 50_000)["input_ids"]
    assert count(["sea " * 50_000])[0] == pytest.approx(len(whole), rel=0.01)
    assert measured.sampled == lengths.MAX_CHARACTERS // 200_000
    assert measured.mean == pytest.approx(len(whole) + END_TOKENS, rel=0.01)


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
