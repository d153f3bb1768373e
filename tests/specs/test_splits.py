from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from hfjobs_trainer.specs.splits import count_rows, split_names

if TYPE_CHECKING:
    import datasets


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> datasets.DatasetBuilder:
    import datasets

    folder = tmp_path_factory.mktemp("data")
    for split, rows in (("train", 37), ("test", 10)):
        (folder / f"{split}.jsonl").write_text('{"text": "a"}\n' * rows)
    builder = datasets.load_dataset_builder(str(folder), cache_dir=str(folder / "cache"))
    builder.download_and_prepare()
    return builder


SPLITS = [
    "train",
    "train[:10]",
    "train[5:]",
    "train[-5:]",
    "train[:-5]",
    "train[10%:20%]",
    "train[:33%]",
    "train+test",
    "train[:50%]+test[1:3]",
]


@pytest.mark.parametrize("text", SPLITS)
def test_rows_are_counted_as_datasets_selects_them(saved: datasets.DatasetBuilder, text: str) -> None:
    assert count_rows(text, {"train": 37, "test": 10}) == len(saved.as_dataset(text))


def test_names_come_without_slices_and_once() -> None:
    assert split_names("train[:10%]+test+train[50:]") == ("train", "test")
    assert split_names("fold.1") == ("fold.1",)


@pytest.mark.parametrize("text", ["", "train + test", "train[", "train;", "train[a:b]", "+"])
def test_what_is_no_split_names_nothing(text: str) -> None:
    assert split_names(text) == ()
    assert count_rows(text, {"train": 5}) is None


def test_rows_of_an_unknown_split_are_unknown() -> None:
    assert count_rows("test", {"train": 5}) is None
    assert count_rows("train+test", {"train": 5, "test": None}) is None
