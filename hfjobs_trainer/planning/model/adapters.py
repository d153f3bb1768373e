"""What PEFT makes of a LoRA configuration on a model: the matrices that it adapts, and what is trained."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from hfjobs_trainer.facts import ModelFacts
from hfjobs_trainer.planning.model.modules import Family, expert_names, family_of
from hfjobs_trainer.planning.model.patterns import fullmatch
from hfjobs_trainer.planning.model.shape import Shape, shape_of

ALL_LINEAR = "all-linear"
"""PEFT's name for every linear layer but the head."""

# What PEFT 0.21.2 adapts without any target (peft/utils/constants.py: those of its types that generate text); it has no
# default for other types. A test compares them.
_DEFAULTS = {
    **dict.fromkeys(
        (
            *("gemma", "gemma2", "gemma3_text", "gpt_neo", "gptj", "llama", "llama4", "mistral", "opt"),
            *("qwen2", "qwen3", "stablelm"),
        ),
        ("q_proj", "v_proj"),
    ),
    **dict.fromkeys(("bloom", "chatglm", "falcon", "gpt_neox"), ("query_key_value",)),
    **dict.fromkeys(("gpt2", "gpt_bigcode"), ("c_attn",)),
    "codegen": ("qkv_proj",),
    "mpt": ("Wqkv",),
    "nemotron_h": ("q_proj", "k_proj", "v_proj", "o_proj"),
    "phi": ("q_proj", "v_proj", "fc1", "fc2"),
}

# Names that a matrix has in models and stacks whose modules are not known: one joined module counts as what it holds.
_SAME_AS = {
    **dict.fromkeys(("qkv_proj", "query_key_value", "c_attn", "Wqkv", "W_pack"), ("q_proj", "k_proj", "v_proj")),
    **dict.fromkeys(("out_proj", "wo"), ("o_proj",)),
    **dict.fromkeys(("fc1", "dense_h_to_4h", "c_fc", "w1"), ("up_proj",)),
    **dict.fromkeys(("fc2", "dense_4h_to_h", "w2"), ("down_proj",)),
    "gate_up_proj": ("gate_proj", "up_proj"),
    "w3": ("gate_proj",),
}
# Experts of a family that is not known, where transformers 5 has them.
_EXPERTS, _ROUTER = "mlp.experts", "mlp.gate"


@dataclass(frozen=True, slots=True)
class Lora:
    """The fields of ``peft.LoraConfig`` from which the adapter's size follows.

    Attributes:
        r: Rank.
        targets: ``target_modules``: names, a regular expression, ``"all-linear"``, or ``None`` for PEFT's default.
        layers: ``layers_to_transform``; ``None`` for all.
        excluded: ``exclude_modules``.
        parameters: ``target_parameters``.
        ranks: ``rank_pattern``, as pairs.
        dora: ``use_dora``.
        saved: ``modules_to_save``.
        tokens: Number of ``trainable_token_indices``.
        classifies: Whether it is an adapter of a classifier, whose head PEFT trains in full (PEFT 0.21.2:
            peft_model.py).
    """

    r: int = 16
    targets: tuple[str, ...] | str | None = None
    layers: tuple[int, ...] | None = None
    excluded: tuple[str, ...] | str | None = None
    parameters: tuple[str, ...] = ()
    ranks: tuple[tuple[str, int], ...] = ()
    dora: bool = False
    saved: tuple[str, ...] = ()
    tokens: int = 0
    classifies: bool = False


NOT_NARROWED = Lora()
"""Nothing but rank and targets decides what is adapted."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """What is trained of a model with an adapter.

    Attributes:
        parameters: Parameters of the adapter's own matrices.
        per_token: Those of them that every token passes: not those of experts.
        whole: Parameters of modules that are trained in full beside them: those that ``modules_to_save`` names, and the
            head of a classifier.
        linears: Inputs and outputs of the adapted matrices of a layer; of the most frequent kind of adapted layer.
        experts: Whether the experts are adapted.
        modules: Paths of the adapted modules, experts included; empty if the names of the model's modules are not
            known.
    """

    parameters: int
    per_token: int
    whole: int
    linears: Mapping[str, tuple[int, int]]
    experts: bool
    modules: tuple[str, ...] = ()

    @property
    def trained(self) -> int:
        """All parameters that are trained."""
        return self.parameters + self.whole


@dataclass(frozen=True, slots=True)
class _Matrix:
    """A matrix of a layer that PEFT can adapt: a linear layer's, or a parameter that holds those of all experts."""

    path: str
    layer: int
    name: str
    inputs: int
    outputs: int
    copies: int = 1

    def size(self, r: int) -> int:
        return self.copies * r * (self.inputs + self.outputs)


def default_targets(model_type: str | None) -> tuple[str, ...] | None:
    """What PEFT adapts in a model of this type where no target is named; ``None`` if it refuses that."""
    return _DEFAULTS.get(model_type or "")


@lru_cache(maxsize=256)
def adapter_on(model: ModelFacts, lora: Lora) -> Adapter | None:
    """The adapter on a model; ``None`` if the model's size is unknown.

    Names of a model whose modules are not known are taken for Llama's where they mean the same; targets that the model
    does not have are ignored, and if none is left, all matrices count. The modules of a vision tower do not count.
    """
    shape = shape_of(model)
    if shape is None:
        return None
    family = family_of(model.model_type)
    modules = _modules(shape, family or _usual(shape))
    targets = lora.targets
    if targets is None:
        # beside target_parameters, PEFT does without where it has no default; for others, its usual one is assumed
        targets = default_targets(model.model_type) or (() if lora.parameters else ("q_proj", "v_proj"))
    named, ranks = list(lora.parameters), dict(lora.ranks)
    converted = expert_names(model.model_type) if shape.experts else dict[str, str]()
    parameters = _parameters(shape, model, family) if converted or named else []
    if converted:
        targets, more = _converted(targets, converted, modules, parameters)
        named += more
        ranks |= {r".*\.gate_up_proj": 2 * lora.r} if "gate_up_proj" in more else {}
    if family is None and not isinstance(targets, str):
        targets = (*targets, *_translated(targets, shape))
    chosen = list(_chosen(modules, targets, lora))
    if not chosen and targets and not named and lora.layers is None:
        chosen = list(_chosen(modules, _translated(targets, shape), lora)) or modules
    ends = tuple(f".{name}" for name in named)
    wide = [matrix for matrix in parameters if f".{matrix.path}".endswith(ends)]
    own = sum(matrix.size(_rank(matrix.path, ranks, lora.r)) for matrix in chosen)
    own += sum(matrix.outputs for matrix in chosen) if lora.dora else 0
    experts = [matrix for matrix in wide if matrix.copies > 1]
    per_token = own + sum(matrix.size(_rank(matrix.path, ranks, lora.r)) for matrix in wide if matrix.copies == 1)
    layers: dict[int, dict[str, tuple[int, int]]] = {}
    for matrix in chosen:
        layers.setdefault(matrix.layer, {})[matrix.name] = (matrix.inputs, matrix.outputs)
    kinds = Counter(tuple(layer.items()) for layer in layers.values()).most_common(1)
    paths = dict.fromkeys((*(matrix.path for matrix in chosen), *(matrix.path.rsplit(".", 1)[0] for matrix in wide)))
    return Adapter(
        parameters=per_token + sum(matrix.size(_rank(matrix.path, ranks, lora.r)) for matrix in experts),
        per_token=per_token,
        whole=_whole(shape, lora),
        linears=dict(kinds[0][0]) if kinds else {},
        experts=bool(experts),
        modules=tuple(paths) if family else (),
    )


def _usual(shape: Shape) -> Family:
    """The modules of Llama, for a family that is not known."""
    attention = ("qkv_proj", "o_proj") if shape.fused_qkv else ("q_proj", "k_proj", "v_proj", "o_proj")
    mlp = [name for name in ("gate_proj", "up_proj", "down_proj") if name in shape.linears]
    if shape.fused_gate and "gate_proj" in mlp:
        mlp = ["gate_up_proj", "down_proj"]
    return Family({f"self_attn.{name}": name for name in attention} | {f"mlp.{name}": name for name in mlp})


def _modules(shape: Shape, family: Family) -> list[_Matrix]:
    kinds = shape.layer_types or ("",) * shape.layers
    return [
        _Matrix(f"{family.layers}.{index}.{path}", index, name, *shape.sizes[name])
        for index, kind in enumerate(kinds)
        for path, name in family.layer(kind).items()
        if name in shape.sizes
    ]


def _parameters(shape: Shape, model: ModelFacts, family: Family | None) -> list[_Matrix]:
    """The parameters that ``target_parameters`` may name: weights of linear layers, and those of experts."""
    known = family or _usual(shape)
    found = [
        _Matrix(f"{matrix.path}.weight", matrix.layer, matrix.name, matrix.inputs, matrix.outputs)
        for matrix in _modules(shape, known)
    ]
    if not shape.experts:
        return found
    experts, width, h = known.experts or _EXPERTS, shape.expert_ffn, shape.hidden
    for layer in range(model.num_dense_layers or 0, shape.layers):
        path = f"{known.layers}.{layer}"
        found += [
            _Matrix(f"{path}.{experts}.gate_up_proj", layer, "", h, (2 if shape.gated else 1) * width, shape.experts),
            _Matrix(f"{path}.{experts}.down_proj", layer, "", width, h, shape.experts),
            _Matrix(f"{path}.{_ROUTER}.weight", layer, "", h, shape.experts),
        ]
    return found


def _converted(
    targets: tuple[str, ...] | str, names: Mapping[str, str], modules: list[_Matrix], parameters: list[_Matrix]
) -> tuple[tuple[str, ...], list[str]]:
    """The targets without those that PEFT takes for the experts, and the parameters that it adapts instead.

    As ``_convert_peft_config_moe`` of PEFT 0.21.2 (utils/transformers_weight_conversion.py).
    """
    if isinstance(targets, str):
        leaves = dict.fromkeys(
            matrix.path.rsplit(".", 1)[-1] for matrix in modules if _is_target(targets, matrix.path, None)
        )
        holders = dict.fromkeys(matrix.path.rsplit(".", 1)[0] for matrix in parameters if matrix.copies > 1)
        routers = dict.fromkeys(holder.removesuffix("experts") + "gate" for holder in holders)
        leaves |= {
            name: None
            for name in names
            if targets.lower() == ALL_LINEAR
            or any(_is_target(targets, f"{holder}.{name}", None) for holder in holders)
            or (name == "gate" and any(_is_target(targets, router, None) for router in routers))
        }
        targets = tuple(leaves)
    kept, moved = list[str](), list[str]()
    for target in targets:
        parameter = names.get(target.rsplit(".", 1)[-1])
        if parameter is None:
            kept.append(target)
        else:
            moved.append(parameter)
    return tuple(kept), list(dict.fromkeys(moved))


def _chosen(modules: Iterable[_Matrix], targets: tuple[str, ...] | str, lora: Lora) -> Iterator[_Matrix]:
    for matrix in modules:
        # where a pattern says nothing in time, more is adapted rather than less
        excluded = lora.excluded and _is_target(lora.excluded, matrix.path, None, unknown=False)
        kept = any(f".{name}." in f".{matrix.path}." for name in lora.saved)
        if not excluded and not kept and _is_target(targets, matrix.path, lora.layers, matrix.layer):
            yield matrix


def _is_target(
    targets: tuple[str, ...] | str, path: str, layers: tuple[int, ...] | None, layer: int = 0, *, unknown: bool = True
) -> bool:
    """As ``check_target_module_exists`` of PEFT 0.21.2 (tuners/tuners_utils.py)."""
    if isinstance(targets, str):
        try:
            found = targets.lower() == ALL_LINEAR or fullmatch(targets, path)
        except re.error:
            return False
        return unknown if found is None else found
    if path in targets:
        return True
    return (layers is None or layer in layers) and path.endswith(tuple(f".{target}" for target in targets))


def _translated(targets: tuple[str, ...] | str, shape: Shape) -> tuple[str, ...]:
    """Names of other models and stacks, as those of Llama or of this shape."""
    if isinstance(targets, str):
        return ()
    names = [name for target in targets for name in _SAME_AS.get(target.rsplit(".", 1)[-1], (target,))]
    joined = {"qkv_proj": shape.fused_qkv, "gate_up_proj": shape.fused_gate}
    return (*names, *(whole for whole, holds in joined.items() if holds and set(_SAME_AS[whole]) & set(names)))


def _rank(path: str, ranks: Mapping[str, int], r: int) -> int:
    return next((rank for key, rank in ranks.items() if _is_of(key, path)), r)


def _is_of(key: str, path: str) -> bool:
    try:
        return fullmatch(rf"(.*\.)?({key})", path) is True
    except re.error:
        return False


def _whole(shape: Shape, lora: Lora) -> int:
    """Parameters trained in full beside the adapter; norms and biases are too few to count."""
    sizes = {"embed_tokens": shape.embedding, "lm_head": shape.embedding, "score": shape.hidden}
    names = {name.rsplit(".", 1)[-1] for name in lora.saved} | ({"score"} if lora.classifies else set[str]())
    return sum(size for name, size in sizes.items() if name in names) + lora.tokens * shape.hidden
