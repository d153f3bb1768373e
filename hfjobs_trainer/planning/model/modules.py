"""Names of the modules of a model, by its ``model_type``, and those that adapters target."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_ATTENTION = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
_GATED = ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
# The heads of transformers: the first for causal language models, the second for sequence classification.
_HEADS = ("lm_head", "score")


@dataclass(frozen=True, slots=True)
class _Family:
    """Where the layers are, the modules with weights in each (without norms), and those outside the layers."""

    layers: str
    inside: tuple[str, ...]
    beside: tuple[str, ...]


# transformers 5.23: models/<model_type>/modeling_<model_type>.py. A test builds a model of each.
_FAMILIES: dict[str, _Family] = {
    **dict.fromkeys(
        (
            "cohere",
            "gemma",
            "gemma2",
            "gemma3_text",
            "granite",
            "llama",
            "mistral",
            "olmo2",
            "qwen2",
            "qwen3",
            "smollm3",
        ),
        _Family("model.layers", _ATTENTION + _GATED, ("model.embed_tokens",)),
    ),
    "phi": _Family("model.layers", (*_ATTENTION[:3], "self_attn.dense", "mlp.fc1", "mlp.fc2"), ("model.embed_tokens",)),
    "phi3": _Family(
        "model.layers",
        ("self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj"),
        ("model.embed_tokens",),
    ),
    "starcoder2": _Family("model.layers", (*_ATTENTION, "mlp.c_fc", "mlp.c_proj"), ("model.embed_tokens",)),
    "opt": _Family(
        "model.decoder.layers",
        (*_ATTENTION[:3], "self_attn.out_proj", "fc1", "fc2"),
        ("model.decoder.embed_tokens", "model.decoder.embed_positions"),
    ),
    "gpt2": _Family(
        "transformer.h",
        ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj"),
        ("transformer.wte", "transformer.wpe"),
    ),
    "gpt_neox": _Family(
        "gpt_neox.layers",
        ("attention.query_key_value", "attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"),
        ("gpt_neox.embed_in",),
    ),
    "bloom": _Family(
        "transformer.h",
        ("self_attention.query_key_value", "self_attention.dense", "mlp.dense_h_to_4h", "mlp.dense_4h_to_h"),
        ("transformer.word_embeddings",),
    ),
}

MODEL_TYPES = tuple(sorted(_FAMILIES))
"""The model types whose modules are known."""


def weight_modules(model_type: str | None, layers: int) -> tuple[str, ...] | None:
    """Paths of the modules with weights of a model with this many layers, without norms; ``None`` if unknown."""
    family = _FAMILIES.get(model_type or "")
    if family is None:
        return None
    inside = [f"{family.layers}.{layer}.{name}" for layer in range(layers) for name in family.inside]
    return (*family.beside, *inside, *_HEADS)


def adaptable(model_type: str) -> list[str]:
    """The usual ``target_modules`` of a model of this type, in the order of a layer."""
    return list(dict.fromkeys(name.rsplit(".", 1)[-1] for name in _FAMILIES[model_type].inside))


def unmatched(targets: Sequence[str] | str, weights: Sequence[str]) -> list[str]:
    """The targets that match no module, as PEFT 0.21.2 matches them (``tuners/tuners_utils.py``).

    Args:
        targets: Names, each the end of a module's path; or one regular expression, of the whole path.
        weights: Paths of the modules with weights; modules that contain them match too, and so does any that is called
            a norm.
    """
    parts = [path.split(".") for path in weights]
    paths = {".".join(part[:end]) for part in parts for end in range(1, len(part) + 1)}
    if isinstance(targets, str):
        return [] if any(re.fullmatch(targets, path) for path in paths) or "norm" in targets else [targets]
    return [
        target
        for target in targets
        if "norm" not in target and "ln_" not in target and not any(f".{path}".endswith(f".{target}") for path in paths)
    ]
