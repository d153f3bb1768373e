"""Names of the modules of a model, by its ``model_type``, and which of them are linear layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hfjobs_trainer.facts import ModelFacts
from hfjobs_trainer.planning.model.patterns import fullmatch

LINEAR_ATTENTION = "linear_attention"
"""The type of a layer without a softmax, as ``layer_types`` of ``config.json`` names it."""

# The heads of transformers: the first for causal language models, the second for sequence classification.
_HEADS = ("lm_head", "score")


def _under(module: str, *names: str) -> dict[str, str]:
    """Linear layers in a module that are called as the matrices that they hold."""
    return {f"{module}.{name}": name for name in names}


_QKV = _under("self_attn", "q_proj", "k_proj", "v_proj")
_ATTENTION = _under("self_attn", "q_proj", "k_proj", "v_proj", "o_proj")
_GATED = _under("mlp", "gate_proj", "up_proj", "down_proj")
_UNGATED = _under("mlp", "up_proj", "down_proj")
# Qwen3.5 and Qwen3-Next: queries with a gate of their own; in three layers of four a recurrent state instead.
_GATED_ATTENTION = _ATTENTION | {"self_attn.q_proj": "gated_q_proj"}
_DELTA = {"linear_attn": "", "linear_attn.conv1d": ""} | _under(
    "linear_attn", "in_proj_qkv", "in_proj_z", "in_proj_b", "in_proj_a", "out_proj"
)
_DELTA_JOINED = {"linear_attn": "", "linear_attn.conv1d": ""} | _under(
    "linear_attn", "in_proj_qkvz", "in_proj_ba", "out_proj"
)
_ROUTED = {"mlp.experts": "", "mlp.gate": ""}
_SHARED = _under("mlp.shared_expert", "gate_proj", "up_proj", "down_proj") | {"mlp.shared_expert_gate": "router_gate"}
# GPT's own names.
_STACKED = {"dense_h_to_4h": "up_proj", "dense_4h_to_h": "down_proj"}


@dataclass(frozen=True, slots=True)
class Family:
    """The modules with weights of an architecture, without norms.

    Attributes:
        inside: The modules of one layer by their path in it, each with the matrix that it is (``shape.sizes``); ``""``
            if it has weights and is no linear layer.
        layers: Path of the list of layers.
        beside: Modules outside the layers, besides the heads.
        recurrent: What layers of the type ``"linear_attention"`` have instead of ``inside``; ``None`` if none is.
        experts: Path in a layer of the module that holds the experts of a layer as parameters; ``""`` if there is none.
    """

    inside: Mapping[str, str]
    layers: str = "model.layers"
    beside: tuple[str, ...] = ("model.embed_tokens",)
    recurrent: Mapping[str, str] | None = None
    experts: str = ""

    def layer(self, kind: str) -> Mapping[str, str]:
        """The modules of a layer of this type."""
        return self.recurrent if self.recurrent is not None and kind == LINEAR_ATTENTION else self.inside


_LLAMA = Family(_ATTENTION | _GATED)
_QWEN35 = Family(_GATED_ATTENTION | _GATED, recurrent=_DELTA | _GATED)
_QWEN35_MOE = Family(_GATED_ATTENTION | _ROUTED | _SHARED, recurrent=_DELTA | _ROUTED | _SHARED, experts="mlp.experts")

# transformers 5.23: models/<model_type>/modeling_<model_type>.py. A test builds a model of each.
_FAMILIES: dict[str, Family] = {
    **dict.fromkeys(
        (
            *("cohere", "cohere2", "ernie4_5", "exaone4", "gemma", "gemma2", "gemma3_text", "granite", "helium"),
            *("hunyuan_v1_dense", "llama", "ministral", "ministral3", "mistral", "olmo", "olmo2", "olmo3"),
            *("qwen2", "qwen3", "seed_oss", "smollm3", "stablelm"),
        ),
        _LLAMA,
    ),
    **dict.fromkeys(("arcee", "nemotron"), Family(_ATTENTION | _UNGATED)),
    "apertus": Family(_ATTENTION | _UNGATED | {"mlp.act_fn": ""}),
    "phi": Family(_QKV | {"self_attn.dense": "o_proj", "mlp.fc1": "up_proj", "mlp.fc2": "down_proj"}),
    "phi3": Family(_under("self_attn", "qkv_proj", "o_proj") | _under("mlp", "gate_up_proj", "down_proj")),
    "starcoder2": Family(_ATTENTION | {"mlp.c_fc": "up_proj", "mlp.c_proj": "down_proj"}),
    "opt": Family(
        _QKV | {"self_attn.out_proj": "o_proj", "fc1": "up_proj", "fc2": "down_proj"},
        "model.decoder.layers",
        ("model.decoder.embed_tokens", "model.decoder.embed_positions"),
    ),
    "gpt2": Family(
        {"attn.c_attn": "qkv_proj", "attn.c_proj": "o_proj", "mlp.c_fc": "up_proj", "mlp.c_proj": "down_proj"},
        "transformer.h",
        ("transformer.wte", "transformer.wpe"),
    ),
    "gpt_neox": Family(
        {"attention.query_key_value": "qkv_proj", "attention.dense": "o_proj"}
        | {f"mlp.{name}": matrix for name, matrix in _STACKED.items()},
        "gpt_neox.layers",
        ("gpt_neox.embed_in",),
    ),
    "bloom": Family(
        {"self_attention.query_key_value": "qkv_proj", "self_attention.dense": "o_proj"}
        | {f"mlp.{name}": matrix for name, matrix in _STACKED.items()},
        "transformer.h",
        ("transformer.word_embeddings",),
    ),
    **dict.fromkeys(("mixtral", "olmoe", "qwen3_moe"), Family(_ATTENTION | _ROUTED, experts="mlp.experts")),
    "qwen2_moe": Family(_ATTENTION | _ROUTED | _SHARED, experts="mlp.experts"),
    "gpt_oss": Family(
        {"self_attn": ""} | _ATTENTION | {"mlp.experts": "", "mlp.router": ""},
        experts="mlp.experts",
    ),
    "granitemoe": Family(
        _ATTENTION | {"block_sparse_moe.experts": "", "block_sparse_moe.router": ""},
        experts="block_sparse_moe.experts",
    ),
    "qwen3_next": Family(
        _GATED_ATTENTION | _ROUTED | _SHARED, recurrent=_DELTA_JOINED | _ROUTED | _SHARED, experts="mlp.experts"
    ),
    "qwen3_5_text": _QWEN35,
    "qwen3_5_moe_text": _QWEN35_MOE,
}

# Models that take images as well, by the model type of their language model.
_LANGUAGE = {"gemma3": "gemma3_text", "qwen3_5": "qwen3_5_text", "qwen3_5_moe": "qwen3_5_moe_text"}

MODEL_TYPES = tuple(sorted(_FAMILIES))
"""The model types whose modules are known."""


def family_of(model_type: str | None) -> Family | None:
    """The modules of the language model of this type; ``None`` if unknown."""
    return _FAMILIES.get(_LANGUAGE.get(model_type or "", model_type or ""))


def layer_types_of(model: ModelFacts, layers: int) -> tuple[str, ...]:
    """The type of each layer; one of four has attention where the configuration does not say (transformers 5.23)."""
    known = model.layer_types or ()
    if len(known) == layers:
        return known
    family = family_of(model.model_type)
    if family is None or family.recurrent is None:
        return ("",) * layers
    return tuple("" if (layer + 1) % 4 == 0 else LINEAR_ATTENTION for layer in range(layers))


def weight_modules(model: ModelFacts) -> tuple[str, ...] | None:
    """Paths of the modules with weights, without norms; ``None`` if unknown, as in models that take images."""
    family, layers = _FAMILIES.get(model.model_type or ""), model.num_hidden_layers
    if family is None or layers is None:
        return None
    inside = [
        f"{family.layers}.{index}.{name}"
        for index, kind in enumerate(layer_types_of(model, layers))
        for name in family.layer(kind)
    ]
    return (*family.beside, *inside, *_HEADS)


def linear_names(model_type: str | None) -> list[str] | None:
    """``target_modules`` that name the linear layers of this type of model, in their order; ``None`` if unknown.

    What PEFT takes for the experts is not among them.
    """
    family = family_of(model_type)
    if family is None:
        return None
    ours = [*family.inside.items(), *(family.recurrent or {}).items()]
    names = dict.fromkeys(path.rsplit(".", 1)[-1] for path, matrix in ours if matrix)
    return [name for name in names if name not in expert_names(model_type)]


# Families whose experts PEFT 0.21.2 adapts by the names that their matrices had in transformers 4, and its router with
# them: peft/utils/transformers_weight_conversion.py. A test compares them.
_EXPERTS_BY_NAME: dict[tuple[str, ...], Mapping[str, str]] = {
    (
        *("afmoe", "cohere2_moe", "deepseek_v2", "deepseek_v3", "deepseek_v32", "dots1", "ernie4_5_moe", "exaone_moe"),
        *("flex_olmo", "glm4_moe", "glm4_moe_lite", "glm4v_moe", "glm_moe_dsa", "hunyuan_v1_moe", "longcat_flash"),
        *("mellum", "olmoe", "qwen3_moe", "qwen3_next", "qwen3_omni_moe", "solar_open"),
    ): {"gate_proj": "gate_up_proj", "up_proj": "gate_up_proj", "down_proj": "down_proj", "gate": "gate.weight"},
    ("minimax", "minimax_m2", "mixtral"): {
        "w1": "gate_up_proj",
        "w3": "gate_up_proj",
        "w2": "down_proj",
        "gate": "gate.weight",
    },
}

_NONE: Mapping[str, str] = {}

EXPERT_TYPES = tuple(kind for kinds in _EXPERTS_BY_NAME for kind in kinds)
"""The model types whose experts PEFT adapts as it does linear layers."""


def expert_names(model_type: str | None) -> Mapping[str, str]:
    """Names that PEFT takes for the experts and the router of this type of model, each with the parameter it adapts."""
    return next((names for kinds, names in _EXPERTS_BY_NAME.items() if model_type in kinds), _NONE)


def unmatched(targets: Sequence[str] | str, weights: Sequence[str]) -> list[str] | None:
    """The targets that match no module, as PEFT 0.21.2 matches them (``tuners/tuners_utils.py``).

    ``None`` if they are a regular expression of which that cannot be said in time.

    Args:
        targets: Names, each the end of a module's path; or one regular expression, of the whole path.
        weights: Paths of the modules with weights; modules that contain them match too, and so does any that is called
            a norm.
    """
    parts = [path.split(".") for path in weights]
    paths = {".".join(part[:end]) for part in parts for end in range(1, len(part) + 1)}
    if isinstance(targets, str):
        if "norm" in targets:
            return []
        unknown = False
        for path in paths:
            found = fullmatch(targets, path)
            if found:
                return []
            unknown = unknown or found is None
        return None if unknown else [targets]
    return [
        target
        for target in targets
        if "norm" not in target and "ln_" not in target and not any(f".{path}".endswith(f".{target}") for path in paths)
    ]
