"""Facts about a model in a folder of this machine."""

from __future__ import annotations

import json
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

from hfjobs_trainer.contents import Content, split_pin
from hfjobs_trainer.facts import ModelFacts
from hfjobs_trainer.gathering.attempt import attempt
from hfjobs_trainer.gathering.config import has_template, main_dtype, read_config, reads_answers, template_digest
from hfjobs_trainer.gathering.local_files import list_files, locate, model_files, read_content, weight_files
from hfjobs_trainer.gathering.model_files import read_names
from hfjobs_trainer.gathering.values import Json, as_int, as_json, as_list, as_text, read_json
from hfjobs_trainer.specs.source import open_file, read_text

ADAPTER_CONFIG = "adapter_config.json"
"""File by which PEFT recognizes an adapter."""

# The format's own limit.
_MAX_HEADER_BYTES = 100_000_000


def read_model(text: str, *, ships: bool = False) -> ModelFacts:
    """Facts about the model folder at ``text``; what cannot be read is ``None``.

    Args:
        text: The path, as the spec gives it.
        ships: Whether the model travels to where it is trained, so that its content is read.
    """
    path, exists = locate(text, model_files)
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
        template_digest=attempt(lambda: _template_digest(path)),
        reads_answers=attempt(lambda: reads_answers(read_json(path / "tokenizer_config.json"))),
        adapts=None if adapter is None else as_text(adapter.get("base_model_name_or_path")) or "",
        content=_content(text, path, ships=ships),
        **(read_names(names) if (names := attempt(lambda: list(list_files(path).found))) is not None else {}),
    )


def read_adapter(text: str, *, ships: bool = False) -> ModelFacts:
    """Facts about the adapter in the folder at ``text``; what cannot be read is ``None``.

    Args:
        text: The path, as the spec gives it.
        ships: Whether the adapter travels to where it is trained, so that its content is read.
    """
    path, exists = locate(text, model_files)
    config = attempt(lambda: read_json(path / ADAPTER_CONFIG)) or {}
    content = _content(text, path, ships=ships) if exists else None
    return ModelFacts(path=str(path), exists=exists, task_type=as_text(config.get("task_type")), content=content)


def _content(text: str, path: Path, *, ships: bool) -> Content | None:
    return attempt(lambda: read_content(path, model_files)) if ships or split_pin(text)[1] else None


def count_parameters(folder: Path) -> Counter[str]:
    """Stored parameters by safetensors dtype, from the headers alone; empty without safetensors.

    Raises:
        OSError, ValueError: A file is missing or damaged.
    """
    counts: Counter[str] = Counter()
    for path in weight_files(folder):
        for name, tensor in _read_header(path).items():
            if name != "__metadata__":
                dtype, shape = as_text(as_json(tensor).get("dtype")), as_json(tensor).get("shape")
                sizes = [as_int(size) for size in as_list(shape)]
                if dtype is None or None in sizes:
                    raise ValueError(f"{path.name} has a damaged header")
                counts[dtype] += math.prod(size for size in sizes if size is not None)
    return counts


def _read_header(path: Path) -> Json:
    with open_file(path) as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > _MAX_HEADER_BYTES:
            raise ValueError(f"{path.name} is not a safetensors file")
        return as_json(json.loads(stream.read(length)))


def _has_chat_template(folder: Path) -> bool:
    config = folder / "tokenizer_config.json"
    return (folder / "chat_template.jinja").exists() or (config.exists() and has_template(read_json(config)))


def _template_digest(folder: Path) -> str | None:
    file = folder / "chat_template.jinja"
    if file.exists():
        return template_digest(read_text(file))
    return template_digest(read_json(folder / "tokenizer_config.json").get("chat_template"))
