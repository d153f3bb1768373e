"""What the files of a model say, on disk or on the Hub: config.json, tokenizer_config.json, safetensors dtypes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any, cast

from hfjobs_trainer.facts import ModelFacts
from hfjobs_trainer.gathering.values import Json, as_int, as_json, as_list, as_number, as_text

# Older architectures have their own names for the same numbers (transformers calls this an attribute map).
_NAMES = {
    "hidden_size": ("hidden_size", "n_embd", "d_model"),
    "intermediate_size": ("intermediate_size", "n_inner", "ffn_dim", "d_ff"),
    "num_hidden_layers": ("num_hidden_layers", "n_layer", "num_layers"),
    "num_attention_heads": ("num_attention_heads", "n_head", "num_heads"),
    "num_key_value_heads": ("num_key_value_heads", "num_kv_heads"),
    "head_dim": ("head_dim",),
    "vocab_size": ("vocab_size",),
    "num_experts": ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts"),
    "num_experts_per_tok": ("num_experts_per_tok", "moe_k", "moe_topk", "num_experts_per_token"),
    "moe_intermediate_size": ("moe_intermediate_size", "expert_ffn_hidden_size"),
    "shared_expert_intermediate_size": ("shared_expert_intermediate_size", "shared_intermediate_size"),
    "shared_experts": ("n_shared_experts", "num_shared_experts", "moe_num_shared_experts"),
    "max_position_embeddings": ("max_position_embeddings", "n_positions", "max_seq_len", "seq_length", "n_ctx"),
    "num_dense_layers": ("first_k_dense_replace", "num_dense_layers", "moe_layer_start_index"),
    **{
        name: (name,)
        for name in ("linear_num_key_heads", "linear_num_value_heads", "linear_key_head_dim", "linear_value_head_dim")
    },
}

_TORCH_DTYPES = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}


# Types whose configuration may leave out the MLP's width, which is then four times the model's.
_FOURFOLD = frozenset({"bloom", "codegen", "gpt2", "gpt_bigcode", "gptj"})


def read_config(config: Json) -> ModelFacts:
    """The architecture that a ``config.json`` describes; of a multimodal model, that of its language model."""
    text = as_json(config.get("text_config"))
    scopes = (text, config) if text else (config,)

    def number(field: str) -> int | None:
        found = (as_int(scope.get(name)) for scope in scopes for name in _NAMES[field])
        return next((value for value in found if value is not None), None)

    hidden, heads, head_dim = number("hidden_size"), number("num_attention_heads"), number("head_dim")
    if head_dim is None and hidden and heads:
        head_dim = hidden // heads
    experts, expert_width = number("num_experts"), number("moe_intermediate_size") or number("intermediate_size")
    shared = number("shared_expert_intermediate_size")
    if shared is None and (count := number("shared_experts")) and expert_width:
        shared = count * expert_width
    ties = [scope["tie_word_embeddings"] for scope in scopes if isinstance(scope.get("tie_word_embeddings"), bool)]
    dtypes = [as_text(scope.get(name)) for scope in scopes for name in ("dtype", "torch_dtype")]
    dtype = next((name for name in dtypes if name), None)
    return ModelFacts(
        model_type=as_text(config.get("model_type")),
        hidden_size=hidden,
        intermediate_size=number("intermediate_size") or _usual_width(config, hidden),
        num_hidden_layers=number("num_hidden_layers"),
        num_attention_heads=heads,
        num_key_value_heads=number("num_key_value_heads") or heads,
        head_dim=head_dim,
        vocab_size=number("vocab_size"),
        tie_word_embeddings=bool(ties[0]) if ties else None,
        num_experts=experts or None,
        num_experts_per_tok=number("num_experts_per_tok") if experts else None,
        moe_intermediate_size=expert_width if experts else None,
        shared_expert_intermediate_size=shared if experts else None,
        num_dense_layers=number("num_dense_layers") if experts else None,
        layer_types=_layer_types(scopes, number("num_hidden_layers")),
        linear_num_key_heads=number("linear_num_key_heads"),
        linear_num_value_heads=number("linear_num_value_heads"),
        linear_key_head_dim=number("linear_key_head_dim"),
        linear_value_head_dim=number("linear_value_head_dim"),
        max_position_embeddings=number("max_position_embeddings"),
        dtype=dtype.removeprefix("torch.") if dtype else None,
        quantization=_quantization(config) or _quantization(text),
        is_vision=bool(as_json(config.get("vision_config"))) if config else None,
        architectures=_architectures(config),
        auto_classes=tuple(as_json(config.get("auto_map"))) if config else None,
        num_labels=_num_labels(config),
        **_positions(scopes),
    )


def _usual_width(config: Json, hidden: int | None) -> int | None:
    return 4 * hidden if hidden and as_text(config.get("model_type")) in _FOURFOLD else None


def _layer_types(scopes: Iterable[Json], layers: int | None) -> tuple[str, ...] | None:
    """The type of each layer: as listed, or by the interval of those with attention, as transformers reads it."""
    for scope in scopes:
        kinds, interval = scope.get("layer_types"), as_int(scope.get("full_attention_interval"))
        if isinstance(kinds, list):
            return tuple(str(kind) for kind in cast("list[object]", kinds))
        if interval and layers:
            return tuple("linear_attention" if (layer + 1) % interval else "full_attention" for layer in range(layers))
    return None


def _architectures(config: Json) -> tuple[str, ...] | None:
    """The classes that it names; of a configuration that names none, none."""
    names = (as_text(name) for name in as_list(config.get("architectures")))
    return tuple(name for name in names if name) if config else None


def _num_labels(config: Json) -> int | None:
    """The scores of a classifier: transformers writes their names, unless there are two."""
    named = len(as_json(config.get("id2label"))) or as_int(config.get("num_labels"))
    architectures = _architectures(config) or ()
    return named or (2 if any(name.endswith("ForSequenceClassification") for name in architectures) else None)


# How positions are stretched beyond those that ``max_position_embeddings`` counts: by vLLM's and transformers' rules,
# the other kinds are for a model whose ``max_position_embeddings`` has them already.
_STRETCHED = frozenset({"linear", "dynamic", "yarn", "ntk"})


def _positions(scopes: Iterable[Json]) -> dict[str, Any]:
    """How positions are stretched, and by how much beyond ``max_position_embeddings``."""
    for scope in scopes:
        for name in ("rope_scaling", "rope_parameters"):
            given = as_json(scope.get(name))
            kind = as_text(given.get("rope_type")) or as_text(given.get("type"))
            factor, most = as_number(given.get("factor")), as_int(scope.get("max_position_embeddings"))
            if kind is None or kind == "default":
                continue
            original = as_int(given.get("original_max_position_embeddings"))
            reached = factor * original / most if factor and original and most else factor
            return {"rope_type": kind, "rope_factor": reached if kind in _STRETCHED else None}
    return {}


def _quantization(config: Json) -> str | None:
    """The method that a ``quantization_config`` names; older ones of bitsandbytes name none."""
    given = as_json(config.get("quantization_config"))
    unnamed = "bitsandbytes" if given.get("load_in_4bit") or given.get("load_in_8bit") else None
    return as_text(given.get("quant_method")) or unnamed


def has_template(tokenizer_config: Json) -> bool:
    """Whether a ``tokenizer_config.json`` holds a chat template: one text, or several with names."""
    return bool(tokenizer_config.get("chat_template"))


def template_digest(template: object) -> str | None:
    """The digest of a chat template; ``None`` for none, and for several with names."""
    return hashlib.sha256(template.encode()).hexdigest() if isinstance(template, str) and template else None


def reads_answers(tokenizer_config: Json) -> bool:
    """Whether a ``tokenizer_config.json`` says how an answer is read."""
    return any(tokenizer_config.get(name) is not None for name in ("response_template", "response_schema"))


def main_dtype(counts: Iterable[tuple[str, int]]) -> str | None:
    """Name in torch of the dtype of most parameters, from pairs of a safetensors dtype and a count."""
    largest = max(counts, key=lambda pair: pair[1], default=None)
    return _TORCH_DTYPES.get(largest[0]) if largest else None
