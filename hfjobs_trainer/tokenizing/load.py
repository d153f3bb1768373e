"""The tokenizer of a request, as TRL's trainer has it once it has read its arguments."""

from __future__ import annotations

import copy
import functools
import importlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class UnsupportedError(Exception):
    """There is no result, and the message says why."""


# Loading one takes up to a second; a client asks about a few models.
_KEPT = 4
_loaded: dict[str, Any] = {}


def load(given: Mapping[str, Any]) -> Any:
    """A tokenizer of one's own to change, from the ``texts`` of its small files and the ``paths`` of its large ones.

    Raises:
        UnsupportedError: transformers cannot read it without code of the repository.
    """
    key = str(given["digest"])
    if key not in _loaded:
        while len(_loaded) >= _KEPT:
            del _loaded[next(iter(_loaded))]
        _loaded[key] = _read(given)
    return copy.deepcopy(_loaded[key])


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
    tokenizer = load(request["tokenizer"])
    vocabulary = tokenizer.get_vocab()
    asked = [request.get("eos_token"), request.get("pad_token")]
    if asked[0] in vocabulary:
        tokenizer.eos_token = asked[0]
    if request["vision"] and (written := request["tokenizer"]["texts"].get("chat_template.json")):
        # where processors of earlier versions have theirs
        tokenizer.chat_template = json.loads(written).get("chat_template") or tokenizer.chat_template
    if request.get("template") is not None:
        tokenizer.chat_template = request["template"]
    elif request.get("source") is not None:
        _clone(tokenizer, load(request["source"]))
        vocabulary = tokenizer.get_vocab()
    return tokenizer, [token for token in asked if token is not None and token not in vocabulary]


def _clone(tokenizer: Any, source: Any) -> None:
    """What ``trl.clone_chat_template`` does with a tokenizer; the model's embedding grows with it."""
    try:
        tokenizer.chat_template = source.get_chat_template()
    except ValueError as error:
        raise UnsupportedError("the tokenizer that chat_template_path names has no chat template") from error
    known = tokenizer.get_vocab()
    tokenizer.add_tokens([token for token in source.added_tokens_decoder.values() if token.content not in known])
    tokenizer.eos_token = source.eos_token


@functools.cache
def training_template(template: str, digest: str) -> str | None:
    """The template by which TRL masks all but the assistant's tokens; ``None``: there is none.

    Args:
        template: The chat template of the tokenizer.
        digest: The tokenizer, which must be loaded.
    """
    from trl.chat_template_utils import get_training_chat_template, has_generation_markers

    if has_generation_markers(template):
        return template
    tokenizer = copy.copy(_loaded[digest])
    tokenizer.chat_template = template
    try:
        return get_training_chat_template(tokenizer)
    except Exception:  # a template may raise anything, at the questions that this asks of it
        return None
