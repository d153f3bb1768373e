"""The tokenizer of a request, as TRL's trainer has it once it has read its arguments."""

from __future__ import annotations

import copy
import importlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any


class UnsupportedError(Exception):
    """There is no result, and the message says why."""


# Loading one takes up to a second, and so does a copy; a client asks about a few models.
_KEPT = 4
_loaded: dict[tuple[str, ...], Any] = {}
_templates: dict[str, Any] = {}


def _kept(key: tuple[str, ...], make: Callable[[], Any]) -> Any:
    """What was made for this key, of the few that were last made."""
    if key not in _loaded:
        while len(_loaded) >= _KEPT:
            del _loaded[next(iter(_loaded))]
        _loaded[key] = make()
    return _loaded[key]


def load(given: Mapping[str, Any]) -> Any:
    """A tokenizer, from the ``texts`` of its small files and the ``paths`` of its large ones; not to be changed.

    Raises:
        UnsupportedError: transformers cannot read it without code of the repository.
    """
    digest = str(given["digest"])
    tokenizer = _kept((digest,), lambda: _read(given))
    _templates.setdefault(digest, tokenizer.chat_template)
    return tokenizer


def _read(given: Mapping[str, Any]) -> Any:
    transformers: Any = importlib.import_module("transformers")
    with tempfile.TemporaryDirectory(prefix="hft-tokenizer-") as folder:
        for name, text in given["texts"].items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        for name, path in given["paths"].items():
            _put(path, Path(folder) / name)
        try:
            return transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
        except Exception as error:  # whatever a broken file makes it raise
            reason = str(error).replace(folder, "its folder").strip().split("\n")[0]
            raise UnsupportedError(
                f"transformers cannot load the tokenizer ({type(error).__name__}: {reason[:160]})"
            ) from error


def _put(source: str, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def prepare(request: Mapping[str, Any]) -> tuple[Any, list[str]]:
    """The tokenizer with the spec's end of sequence and template, and those of the asked tokens that it lacks.

    The order is that of TRL 1.16: ``eos_token``, then ``chat_template_path`` (trainer/sft_trainer.py).
    """
    given, source, end = request["tokenizer"], request.get("source"), request.get("eos_token")
    tokenizer = load(given)
    own = _templates[str(given["digest"])]
    asked = [token for token in (end, request.get("pad_token")) if token is not None]
    if end is not None or source is not None:
        key = (given["digest"], source["digest"] if source else "", end or "")
        tokenizer = _kept(key, lambda: _changed(tokenizer, end, source))
    if request["vision"] and (written := given["texts"].get("chat_template.json")):
        # where processors of earlier versions have theirs
        own = json.loads(written).get("chat_template") or own
    if request.get("template") is not None:
        own = request["template"]
    elif source is not None:
        own = _templates[str(source["digest"])]
        if not own:
            raise UnsupportedError("the tokenizer that chat_template_path names has no chat template")
    # of one that is kept, an earlier request may have set another
    tokenizer.chat_template = own
    vocabulary: Any = tokenizer.get_vocab() if asked else ()
    return tokenizer, [token for token in asked if token not in vocabulary]


def _changed(tokenizer: Any, end: str | None, source: Mapping[str, Any] | None) -> Any:
    changed = copy.deepcopy(tokenizer)
    if end is not None and end in changed.get_vocab():
        changed.eos_token = end
    if source is not None:
        _clone(changed, load(source))
    return changed


def _clone(tokenizer: Any, source: Any) -> None:
    """What ``trl.clone_chat_template`` does with a tokenizer; the model's embedding grows with it."""
    known = tokenizer.get_vocab()
    tokenizer.add_tokens([token for token in source.added_tokens_decoder.values() if token.content not in known])
    tokenizer.eos_token = source.eos_token


_training: dict[tuple[str, str], str | None] = {}


def training_template(tokenizer: Any, template: str, digest: str) -> str | None:
    """The template by which TRL masks all but the assistant's tokens; ``None``: there is none.

    Args:
        tokenizer: The tokenizer, prepared.
        template: Its chat template.
        digest: What stands for the tokenizer.
    """
    from trl.chat_template_utils import get_training_chat_template, has_generation_markers

    if has_generation_markers(template):
        return template
    if (template, digest) not in _training:
        try:
            _training[template, digest] = get_training_chat_template(tokenizer)
        except Exception:  # a template may raise anything, at the questions that this asks of it
            _training[template, digest] = None
    return _training[template, digest]
