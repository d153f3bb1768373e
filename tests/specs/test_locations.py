from __future__ import annotations

import pytest
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from hfjobs_trainer.specs.locations import data_suffix, is_local_path, is_valid_repo_id

PATHS = [
    "/data/train",
    "./model",
    "../model",
    "~/data",
    "~me/data",
    ".",
    "..",
    "C:\\data\\x",
    "d:/data",
    ".\\model",
    "\\\\server\\share",
    "train.jsonl",
    "data/train.json",
    "TRAIN.CSV",
    "x.parquet",
    "x.jsonl.gz",
    "x.json.gz",
    "x.csv.gz",
    "notes.txt",
    f"my-model@sha256:{'0' * 64}",
]
HUB_IDS = [
    "gpt2",
    "Qwen/Qwen2.5-0.5B-Instruct",
    "trl-lib/Capybara",
    "me/jsonl",
    "a/b/c",
    "me/model.bin",
    "x.parquet.gz",
    "",
]
NAMES = [
    *HUB_IDS,
    "A" * 96,
    "a" * 97,
    "me/" + "a" * 96,
    "me/" + "a" * 97,
    "n" * 97 + "/x",
    "-a",
    "a-",
    ".a",
    "a.",
    "me/-a",
    "me-/a",
    "_a_",
    "a--b",
    "a..b",
    "a.git",
    "me/a.git",
    "a b",
    "a\n",
    "café",
    "me/",
    "/me",
    "a",
    "https://huggingface.co/me/a",
    "'; import os",
]


@pytest.mark.parametrize("text", PATHS)
def test_a_path_is_local(text: str) -> None:
    assert is_local_path(text)


@pytest.mark.parametrize("text", HUB_IDS)
def test_all_else_is_on_the_hub(text: str) -> None:
    assert not is_local_path(text)


@pytest.mark.parametrize("text", NAMES)
def test_repo_ids_are_judged_as_the_official_client_judges_them(text: str) -> None:
    try:
        validate_repo_id(text)
        valid = True
    except HFValidationError:
        valid = False
    assert is_valid_repo_id(text) is valid


FORMATS = {
    "a.jsonl": ".jsonl",
    "A.JSON": ".json",
    "a.csv.gz": ".csv",
    "a.parquet": ".parquet",
    "a.parquet.gz": None,
    "a.txt": ".txt",
    "a.tsv.gz": ".tsv",
    "a.arrow": ".arrow",
    "a.arrow.gz": None,
    f"a.csv@sha256:{'0' * 64}": ".csv",
    f"saved@sha256:{'0' * 64}": None,
    "a.bin": None,
}


@pytest.mark.parametrize(("name", "suffix"), FORMATS.items())
def test_the_format_of_a_data_file(name: str, suffix: str | None) -> None:
    assert data_suffix(name) == suffix
