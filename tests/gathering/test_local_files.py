"""What travels of a local folder: of datasets and models what loads them, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from hfjobs_trainer.gathering import local_files
from hfjobs_trainer.gathering.local_dataset import read_dataset
from hfjobs_trainer.gathering.local_files import dataset_files, list_files, model_files


def make(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text('{"text": "a"}\n')
    return folder


def test_of_a_folder_only_what_is_read_travels(tmp_path: Path) -> None:
    outside = make(tmp_path / "outside", "secret.jsonl", "more/a.jsonl")
    names = ("a.jsonl", "b/c.json", "b/d.jsonl", "README.md", "config.json", "run.py", "notes.txt", "e.jsonl.bak")
    folder = make(tmp_path / "data", *names, ".env", ".git/x.jsonl", "__pycache__/y.jsonl", "b/.z.jsonl", "__q.jsonl")
    (folder / "inside.jsonl").symlink_to(folder / "a.jsonl")
    (folder / "outside.jsonl").symlink_to(outside / "secret.jsonl")
    (folder / "more").symlink_to(outside / "more")
    (folder / "lost.jsonl").symlink_to(folder / "nothing.jsonl")
    found = dataset_files(folder)
    assert list(found.found) == ["README.md", "a.jsonl", "b/c.json", "b/d.jsonl", "inside.jsonl"]
    assert found.left_out == ("more/", "outside.jsonl")
    content = read_dataset(str(folder), "train", ships=True).content
    assert content is not None
    assert (content.name, [part.name for part in content.parts], content.left_out) == (
        "data",
        list(found.found),
        found.left_out,
    )


def test_of_a_saved_dataset_all_that_it_names_travels(tmp_path: Path) -> None:
    import datasets

    rows = datasets.Dataset.from_list([{"prompt": "a", "completion": "b"}] * 30)
    datasets.DatasetDict(train=rows, test=rows).save_to_disk(tmp_path, num_shards={"train": 2, "test": 1})
    make(tmp_path, "notes.txt", "train/cache-1.arrow")
    assert list(dataset_files(tmp_path).found) == [
        "dataset_dict.json",
        "test/data-00000-of-00001.arrow",
        "test/dataset_info.json",
        "test/state.json",
        "train/data-00000-of-00002.arrow",
        "train/data-00001-of-00002.arrow",
        "train/dataset_info.json",
        "train/state.json",
    ]


def test_a_folder_of_images_travels_with_its_table(tmp_path: Path) -> None:
    make(tmp_path, "a.png", "b/b.JPG", "c.png", "metadata.jsonl", "thumbs.db")
    assert list(dataset_files(tmp_path).found) == ["a.png", "b/b.JPG", "c.png", "metadata.jsonl"]
    assert list(dataset_files(make(tmp_path / "x", "a.zip")).found) == []


def test_of_a_model_only_what_loads_it_travels(tmp_path: Path) -> None:
    loads = ["config.json", "generation_config.json", "merges.txt", "model.safetensors", "tokenizer.json"]
    more = ["additional_chat_templates/tools.jinja", "chat_template.jinja"]
    others = (
        "optimizer.pt",
        "training_args.bin",
        "trainer_state.json",
        "pytorch_model.bin",
        "consolidated.safetensors",
    )
    folder = make(tmp_path / "model", *loads, *more, *others, "checkpoint-5/model.safetensors", "README.md", "code.py")
    assert list(model_files(folder).found) == sorted([*loads, *more])
    (folder / "config.json").write_text('{"auto_map": {}}')
    (folder / "model.safetensors").unlink()
    (folder / "consolidated.safetensors").unlink()
    assert {"code.py", "pytorch_model.bin"} <= model_files(folder).found.keys()
    adapter = make(tmp_path / "adapter", "adapter_config.json", "adapter_model.safetensors", "optimizer.pt")
    assert list(model_files(adapter).found) == ["adapter_config.json", "adapter_model.safetensors"]


def test_what_is_too_large_does_not_travel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "a.jsonl", "b.jsonl")
    assert read_dataset(str(tmp_path), "train", ships=True).content is not None
    assert read_dataset(str(tmp_path), "train").content is None
    monkeypatch.setattr(local_files, "MAX_FILE_BYTES", 5)
    for place in (tmp_path, tmp_path / "a.jsonl"):
        facts = read_dataset(str(place), "train", ships=True)
        assert (facts.exists, facts.content) == (True, None)
    monkeypatch.setattr(local_files, "MAX_FILES", 1)
    with pytest.raises(ValueError, match="more than 1 files"):
        list_files(tmp_path)


def test_a_digest_says_which_content_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HFT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(make(tmp_path / "work", "a.jsonl", "saved/a.jsonl"))
    for path in ("a.jsonl", "./saved"):
        content = read_dataset(path, "train", ships=True).content
        assert content is not None
        named = f"{path}@sha256:{content.digest}"
        assert read_dataset(named, "train").content == content
        # moved: the digest finds the place where it was last seen
        assert read_dataset(f"b/{named}", "train").content == content
        changed = Path(path) if path == "a.jsonl" else Path(path, "a.jsonl")
        changed.write_text("{}")
        facts = read_dataset(named, "train")
        assert (facts.exists, facts.content) == (False, None)
