"""What the names of a model's files say: weights, tokenizer, the library that it is for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

# Names by which transformers 5.23 looks for weights (modeling_utils.py); shards are found by their index.
_LOADED = frozenset(
    ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
)
_WEIGHTS = re.compile(r"\.(safetensors|bin|pth?|ckpt|h5|msgpack|onnx|gguf|nemo|npz)$")
# What a training leaves beside them.
_STATE = re.compile(r"(^|/)(optimizer|scheduler|training_args|rng_state[^/]*|scaler)\.(pt|pth|bin)$")
# Files that AutoProcessor or AutoTokenizer makes something of.
_TOKENIZER = re.compile(
    r"(tokenizer[^/]*|vocab[^/]*|merges\.txt|spiece\.model|[^/]*\.(spm|tiktoken|bpe|sp\.model)|sentencepiece[^/]*"
    r"|tekken\.json|special_tokens_map\.json|(pre)?processor_config\.json|tokenization_[^/]*\.py)"
)


def read_names(names: Iterable[str]) -> dict[str, Any]:
    """Fields of ``ModelFacts`` that follow from the names of all files of a model.

    Args:
        names: Names of the files in the folder or repository, those of its folders included, with ``/``.
    """
    known = set(names)
    top = {name for name in known if "/" not in name}
    return {"weights": _weights(top, known), "library": _library(known), "has_tokenizer": _has_tokenizer(top)}


def weight_names(names: Iterable[str]) -> tuple[str, ...]:
    """Those of the files that hold weights."""
    return tuple(sorted(name for name in names if _WEIGHTS.search(name) and not _STATE.search(name)))


def _weights(top: set[str], known: set[str]) -> str:
    if top & _LOADED:
        return "transformers"
    held = weight_names(known)
    if any(name.endswith(".gguf") for name in held):
        return "GGUF"
    return "other" if held else "none"


def _library(known: set[str]) -> str | None:
    if "model_index.json" in known:
        return "diffusers"
    return "sentence-transformers" if "modules.json" in known else None


def _has_tokenizer(top: set[str]) -> bool:
    return any(_TOKENIZER.fullmatch(name) for name in top)
