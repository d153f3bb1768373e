"""The files of which a tokenizer is made: on disk, in the client's cache, or on the Hub."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hfjobs_trainer.contents import hash_file
from hfjobs_trainer.gathering.attempt import attempt
from hfjobs_trainer.gathering.config import has_template
from hfjobs_trainer.gathering.local_files import locate, model_files
from hfjobs_trainer.gathering.values import as_json

CONFIGS = ("config.json", "tokenizer_config.json")
"""Small files of JSON that every model has, and that are asked for anyway."""
FURTHER = (
    *("special_tokens_map.json", "added_tokens.json", "generation_config.json"),
    *("chat_template.jinja", "chat_template.json"),
)
"""Small files that a model may have."""
VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json", "merges.txt", "vocab.txt", "spiece.model")
"""Large files, of which one or two hold the vocabulary."""
MAX_BYTES = 20_000_000
"""Bytes of the largest of them that is read."""
_MAX_TEXT = 2_000_000


@dataclass(frozen=True, slots=True)
class TokenizerFiles:
    """A tokenizer that can be loaded without its repository.

    Attributes:
        texts: Small files by name.
        paths: Where the large ones are, by name.
    """

    texts: Mapping[str, str]
    paths: Mapping[str, Path]

    def asked(self) -> dict[str, Any]:
        """As the process that renders wants it."""
        paths = {name: str(path.resolve()) for name, path in self.paths.items()}
        return {"texts": dict(self.texts), "paths": paths, "digest": self.digest}

    @property
    def digest(self) -> str:
        """What stands for all of it, hexadecimal."""
        hashes = {name: hash_file(path) for name, path in self.paths.items()}
        return hashlib.sha256(json.dumps([dict(self.texts), hashes], sort_keys=True).encode()).hexdigest()


def of_folder(folder: str) -> TokenizerFiles | None:
    """The tokenizer in a model's folder; ``None`` if there is none, or it is too large."""
    place = locate(folder, model_files)[0]
    return _found(lambda name: place / name)


def of_cache(repo_id: str, revision: str | None) -> TokenizerFiles | None:
    """The tokenizer of a model on the Hub that earlier downloads left on this machine; ``None`` if not all of it."""
    from huggingface_hub import try_to_load_from_cache

    known = {
        name: try_to_load_from_cache(repo_id, name, revision=revision) for name in (*CONFIGS, *FURTHER, *VOCABULARIES)
    }
    # another object than a path stands for a file that is known not to exist
    places = {name: Path(path) for name, path in known.items() if isinstance(path, str)}
    found = _found(places.get)
    if found is None or CONFIGS[1] not in found.texts or known["generation_config.json"] is None:
        return None
    config = as_json(attempt(lambda: json.loads(found.texts[CONFIGS[1]])))
    return found if has_template(config) or known["chat_template.jinja"] is not None else None


def of_answers(texts: Mapping[str, str], vocabulary: Path | None) -> TokenizerFiles | None:
    """The tokenizer that the Hub's answers make up."""
    return TokenizerFiles(texts, {VOCABULARIES[0]: vocabulary}) if vocabulary else None


def _found(find: Callable[[str], Path | None]) -> TokenizerFiles | None:
    texts = {
        name: text
        for name in (*CONFIGS, *FURTHER)
        if (text := attempt(lambda name=name: _text(find(name)))) is not None
    }
    paths = {name: path for name in VOCABULARIES if (path := find(name)) is not None and path.is_file()}
    if not paths or any(path.stat().st_size > MAX_BYTES for path in paths.values()):
        return None
    return TokenizerFiles(texts, paths)


def _text(path: Path | None) -> str | None:
    if path is None or not path.is_file() or path.stat().st_size > _MAX_TEXT:
        return None
    return path.read_text(encoding="utf-8")
