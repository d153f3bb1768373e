"""The files of a local dataset or model that a run reads, and the place that a spec's path means."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hfjobs_trainer.contents import Content, base_name, find_kept, keep_link, read_file, read_folder, split_pin
from hfjobs_trainer.gathering.attempt import attempt
from hfjobs_trainer.gathering.values import Json, as_json, as_list, as_text, read_json
from hfjobs_trainer.specs.locations import LOADERS, data_suffix

MAX_FILES = 10_000
"""A folder with more files than this is hardly a dataset or a model, and listing it would take long."""
MAX_FILE_BYTES = 50_000_000_000
"""The largest file that the client says its ``upload_file`` takes (huggingface_hub 2.4); of buckets nothing is said."""

_HIDDEN = re.compile(r"(^|/)(\.|__)")
# Files of a folder that datasets passes over.
_NO_DATA = frozenset(("config.json", "dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"))
_IMAGES = frozenset((".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tiff"))
_IMAGE_TABLES = frozenset(("metadata.jsonl", "metadata.csv", "metadata.parquet"))
# What decides between endings of which a folder has equally many, as in datasets.
_PREFERRED = (".csv", ".json", ".jsonl", ".arrow", ".parquet")

# What transformers, PEFT and vLLM read of a model's folder beside its weights.
_MODEL_SUFFIXES = frozenset((".json", ".jinja", ".model", ".txt", ".tiktoken", ".spm", ".vocab", ".bpe"))
_TRAINING_STATE = frozenset(("trainer_state.json", "all_results.json", "train_results.json", "eval_results.json"))
_TORCH_WEIGHTS = re.compile(r"(pytorch_model|adapter_model)(-\d+-of-\d+)?\.bin")


@dataclass(frozen=True, slots=True)
class Files:
    """Files of a folder by their names in it, with ``/``.

    Attributes:
        found: Those that are in the folder.
        left_out: Names of links to a place outside; those of folders end in ``/``.
    """

    found: dict[str, Path] = field(default_factory=dict[str, Path])
    left_out: tuple[str, ...] = ()

    def only(self, keep: Callable[[str], bool]) -> Files:
        """Those whose names ``keep`` takes."""
        found = {name: path for name, path in self.found.items() if keep(name)}
        return Files(found, tuple(filter(keep, self.left_out)))


Select = Callable[[Path], Files]
"""Finds the files of a folder that a run reads."""


def absolute(text: str) -> Path:
    """The path that ``text`` means, with ``~`` expanded; links are kept, since a target may have another suffix."""
    path = Path(split_pin(text)[0])
    return (attempt(path.expanduser) or path).absolute()


def locate(text: str, select: Select) -> tuple[Path, bool | None]:
    """The path that ``text`` means, and whether it is there; with a digest, what has that content, wherever it is.

    Args:
        text: The path as the spec gives it.
        select: Finds the files of a folder.
    """
    given, digest = absolute(text), split_pin(text)[1]
    if digest is None:
        return given, attempt(given.exists)
    for place in (given, find_kept(digest)):
        content = attempt(lambda place=place: read_content(place, select)) if place else None
        if place and content and content.digest == digest:
            return place, True
    return given, False


def read_content(path: Path, select: Select) -> Content:
    """The content of a file, or of the files of a folder that a run reads; it is then found again by its digest.

    Raises:
        OSError: A file cannot be read.
        ValueError: There is none, or one is too large to be uploaded.
    """
    if path.is_file():
        _refuse_large(path)
        content = read_file(path)
    else:
        files = select(path)
        for file in files.found.values():
            _refuse_large(file)
        content = read_folder(path, files.found, files.left_out)
    keep_link(path, content.digest)
    return content


def _refuse_large(path: Path) -> None:
    if path.stat().st_size > MAX_FILE_BYTES:
        raise ValueError(f"{path.name} is larger than {MAX_FILE_BYTES / 1e9:.0f} GB")


def list_files(folder: Path) -> Files:
    """The visible files of a folder, those of its folders included; a link counts as what it leads to.

    Raises:
        ValueError: There are too many.
    """
    root, found, left_out = folder.resolve(), dict[str, Path](), list[str]()
    for place, folders, names in os.walk(folder):
        here = Path(place)
        folders.sort()
        # os.walk does not follow these
        links = [name for name in folders if (here / name).is_symlink()]
        for name in sorted((*names, *links)):
            path = here / name
            relative = path.relative_to(folder).as_posix()
            if _HIDDEN.search(relative):
                continue
            if path.is_symlink() and not path.resolve().is_relative_to(root):
                left_out.append(f"{relative}/" if path.is_dir() else relative)
            elif path.is_file():
                found[relative] = path
        if len(found) + len(left_out) > MAX_FILES:
            raise ValueError(f"{folder.name} has more than {MAX_FILES} files")
        folders[:] = [name for name in folders if not name.startswith((".", "__"))]
    return Files(dict(sorted(found.items())), tuple(left_out))


def added_file(folder: Path, content: Content, *, of_dataset: bool) -> str | None:
    """The name of a file that a run would read of a folder by now, and that is no part of its content as it was."""
    found = attempt(lambda: (dataset_files if of_dataset else model_files)(folder).found) or {}
    return next(iter(found.keys() - {part.name for part in content.parts}), None)


# -- datasets


def dataset_files(folder: Path) -> Files:
    """The files of a dataset's folder that ``datasets`` reads: of a saved dataset, or the data files and their card."""
    if is_saved(folder):
        names = _saved_names(folder)
        return list_files(folder).only(lambda name: name in names)
    files = list_files(folder).only(lambda name: base_name(name) not in _NO_DATA)
    chosen = _main_suffix(files)
    loader = LOADERS.get(chosen)

    def is_read(name: str) -> bool:
        if loader is None:
            return Path(name).suffix.lower() in _IMAGES or base_name(name) in _IMAGE_TABLES
        return name == "README.md" or name.endswith("/") or LOADERS.get(data_suffix(name) or "") == loader

    return files.only(is_read) if chosen else Files(left_out=files.left_out)


def is_saved(folder: Path) -> bool:
    """Whether it is a folder of ``save_to_disk``: one dataset, or several splits."""
    return (folder / "state.json").exists() or (folder / "dataset_dict.json").exists()


def saved_files(folder: Path) -> list[Path]:
    """The arrow files of one saved dataset."""
    entries = as_list(read_json(folder / "state.json")["_data_files"])
    return [folder / name for entry in entries if (name := as_text(as_json(entry).get("filename")))]


def saved_splits(folder: Path) -> list[str]:
    """The splits of a saved ``DatasetDict``; none of one dataset alone."""
    listed: Json = read_json(folder / "dataset_dict.json") if (folder / "dataset_dict.json").exists() else {}
    return [name for name in as_list(listed.get("splits", [])) if isinstance(name, str)]


def _saved_names(folder: Path) -> frozenset[str]:
    parts = [folder / name for name in saved_splits(folder)] or [folder]
    names = [part / name for part in parts for name in ("state.json", "dataset_info.json")]
    names += [file for part in parts for file in saved_files(part)]
    return frozenset(("dataset_dict.json", *(path.relative_to(folder).as_posix() for path in names)))


def _main_suffix(files: Files) -> str:
    """The ending that ``datasets`` goes by: the most frequent one; empty if it reads none of the files."""
    names = [base_name(name).lower() for name in files.found]
    known = (*LOADERS, *_IMAGES)
    counts = Counter(f".{part}" for name in names if name not in _IMAGE_TABLES for part in name.split(".")[1:])
    usable = {suffix: count for suffix, count in counts.items() if suffix in known}
    order = {suffix: index for index, suffix in enumerate(_PREFERRED)}
    return max(usable, key=lambda suffix: (usable[suffix], order.get(suffix, -1), suffix), default="")


# -- models


def model_files(folder: Path) -> Files:
    """The files of a model's or adapter's folder that loading it takes: no optimizer states, no weights twice."""
    files = list_files(folder)
    weights = attempt(lambda: {path.name for path in weight_files(folder)}) or set[str]()
    weights |= {"adapter_model.safetensors"} & files.found.keys()
    has_code = bool(attempt(lambda: "auto_map" in read_json(folder / "config.json")))

    def is_read(name: str) -> bool:
        if "/" in name:
            # further chat templates, as tokenizers save them
            return name.startswith("additional_chat_templates/") and name.endswith(".jinja")
        if name in weights or (not weights and _TORCH_WEIGHTS.fullmatch(name)):
            return True
        suffix = Path(name).suffix
        return (suffix in _MODEL_SUFFIXES and name not in _TRAINING_STATE) or (has_code and suffix == ".py")

    return files.only(is_read)


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a model.

    Raises:
        OSError, ValueError: The index cannot be read.
    """
    # In the order of transformers: a folder may hold the same weights twice, as shards and as consolidated.safetensors.
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.exists():
        return [single]
    if index.exists():
        names = {str(name) for name in as_json(read_json(index)["weight_map"]).values()}
        return [folder / name for name in sorted(names)]
    return sorted(path for path in folder.glob("*.safetensors") if not path.name.startswith("adapter_"))
