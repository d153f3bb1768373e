"""Facts about a model in a folder of this machine."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

from hfjobs_trainer.facts import ModelFacts
from hfjobs_trainer.gathering.attempt import attempt
from hfjobs_trainer.gathering.config import has_template, main_dtype, read_config
from hfjobs_trainer.gathering.values import Json, as_int, as_json, as_list, as_text

ADAPTER_CONFIG = "adapter_config.json"
"""File by which PEFT recognizes an adapter."""

# The format's own limit.
_MAX_HEADER_BYTES = 100_000_000


def absolute(text: str) -> Path:
    """The path that ``text`` means, with ``~`` expanded; links are kept, since a target may have another suffix."""
    path = Path(text)
    return (attempt(path.expanduser) or path).absolute()


def read_model(text: str) -> ModelFacts:
    """Facts about the model folder at ``text``; what cannot be read is ``None``."""
    path = absolute(text)
    exists = attempt(path.exists)
    if not exists:
        return ModelFacts(path=str(path), exists=exists)
    facts = read_config(attempt(lambda: read_json(path / "config.json")) or {})
    adapter = attempt(lambda: read_json(path / ADAPTER_CONFIG)) if not (path / "config.json").exists() else None
    counts = attempt(lambda: count_parameters(path))
    return replace(
        facts,
        path=str(path),
        exists=True,
        num_parameters=sum(counts.values()) if counts else None,
        dtype=main_dtype(counts.items()) if counts else facts.dtype,
        has_chat_template=attempt(lambda: _has_chat_template(path)),
        adapts=None if adapter is None else as_text(adapter.get("base_model_name_or_path")) or "",
    )


def read_adapter(text: str) -> ModelFacts:
    """Facts about the adapter in the folder at ``text``; what cannot be read is ``None``."""
    path = absolute(text)
    config = attempt(lambda: read_json(path / ADAPTER_CONFIG)) or {}
    return ModelFacts(path=str(path), exists=attempt(path.exists), task_type=as_text(config.get("task_type")))


def read_json(path: Path) -> Json:
    """The JSON object in a file, empty if it holds something else.

    Raises:
        OSError, ValueError: It cannot be read, or is not JSON.
    """
    return as_json(json.loads(path.read_text(encoding="utf-8")))


def count_parameters(folder: Path) -> Counter[str]:
    """Stored parameters by safetensors dtype, from the headers alone; empty without safetensors.

    Raises:
        OSError, ValueError: A file is missing or damaged.
    """
    counts: Counter[str] = Counter()
    for path in _weight_files(folder):
        for name, tensor in _read_header(path).items():
            if name != "__metadata__":
                dtype, shape = as_text(as_json(tensor).get("dtype")), as_json(tensor).get("shape")
                sizes = [as_int(size) for size in as_list(shape)]
                if dtype is None or None in sizes:
                    raise ValueError(f"{path.name} has a damaged header")
                counts[dtype] += math.prod(size for size in sizes if size is not None)
    return counts


def _weight_files(folder: Path) -> list[Path]:
    # In the order of transformers: a folder may hold the same weights twice, as shards and as consolidated.safetensors.
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.exists():
        return [single]
    if index.exists():
        names = {str(name) for name in as_json(read_json(index)["weight_map"]).values()}
        return [folder / name for name in sorted(names)]
    return sorted(path for path in folder.glob("*.safetensors") if not path.name.startswith("adapter_"))


def _read_header(path: Path) -> Json:
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > _MAX_HEADER_BYTES:
            raise ValueError(f"{path.name} is not a safetensors file")
        return as_json(json.loads(stream.read(length)))


def _has_chat_template(folder: Path) -> bool:
    config = folder / "tokenizer_config.json"
    return (folder / "chat_template.jinja").exists() or (config.exists() and has_template(read_json(config)))
