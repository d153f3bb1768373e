"""The shape of a transformer and its parameters, from the numbers of its ``config.json``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hfjobs_trainer.facts import ModelFacts

# Families whose MLP has two matrices instead of three (no gate).
_UNGATED = frozenset(
    {"apertus", "bloom", "codegen", "falcon", "gpt2", "gpt_bigcode", "gpt_neo", "gpt_neox", "gptj"}
    | {"mpt", "nemotron", "opt", "phi", "starcoder2"}
)
# Families with a bias on the query, key and value projections.
_QKV_BIAS = frozenset({"qwen2", "qwen2_moe"})
# Families with a norm on each head's queries and keys.
_QK_NORM = frozenset({"qwen3", "qwen3_moe"})

# What PEFT 0.21.2 adapts when it is given no target modules (peft/utils/constants.py). Others: the attention's queries
# and values, which is what most of that table says.
_DEFAULT_TARGETS = {
    "phi": ("q_proj", "v_proj", "fc1", "fc2"),
    "nemotron_h": ("q_proj", "k_proj", "v_proj", "o_proj"),
    **dict.fromkeys(("bloom", "falcon", "gpt_neox", "mpt", "gpt2", "gpt_bigcode"), ("q_proj", "k_proj", "v_proj")),
}

# Other names of the same projections: one fused module counts as the projections that it holds.
_SAME_AS = {
    **dict.fromkeys(("qkv_proj", "query_key_value", "c_attn", "Wqkv", "W_pack"), ("q_proj", "k_proj", "v_proj")),
    **dict.fromkeys(("out_proj", "wo"), ("o_proj",)),
    **dict.fromkeys(("fc1", "dense_h_to_4h", "c_fc", "w1"), ("up_proj",)),
    **dict.fromkeys(("fc2", "dense_4h_to_h", "w2"), ("down_proj",)),
    "gate_up_proj": ("gate_proj", "up_proj"),
    "w3": ("gate_proj",),
}


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes from which memory follows.

    Attributes:
        hidden: Width of the residual stream.
        layers: Number of decoder layers.
        heads: Attention heads.
        query: Width of all queries together, heads times head size.
        key_value: Width of all keys (and of all values) together.
        ffn: Inner width of the MLP.
        vocab: Size of the vocabulary.
        tied: Whether the head shares the embedding's matrix.
        gated: Whether the MLP has a gate.
        parameters: Parameters of the whole model.
        assumed: What is a guess, because the model's configuration does not say.
    """

    hidden: int
    layers: int
    heads: int
    query: int
    key_value: int
    ffn: int
    vocab: int
    tied: bool
    gated: bool
    parameters: int
    assumed: tuple[str, ...] = ()

    @property
    def embedding(self) -> int:
        """Parameters of the embedding, and of the head."""
        return self.vocab * self.hidden

    @property
    def linears(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of each matrix of one layer."""
        h, q, kv, f = self.hidden, self.query, self.key_value, self.ffn
        found = {"q_proj": (h, q), "k_proj": (h, kv), "v_proj": (h, kv), "o_proj": (q, h), "up_proj": (h, f)}
        return found | {"down_proj": (f, h)} | ({"gate_proj": (h, f)} if self.gated else {})

    @property
    def body(self) -> int:
        """Parameters outside the embedding and the head."""
        return max(0, self.parameters - self.embedding * (1 if self.tied else 2))


def count_parameters(model: ModelFacts) -> int | None:
    """Parameters of a dense decoder by its configuration; ``None`` if a number is missing.

    Exact for the Llama, Qwen2 and Qwen3 families; without the small biases of a few others. Experts are not counted.
    """
    h, f, layers, heads = model.hidden_size, model.intermediate_size, model.num_hidden_layers, model.num_attention_heads
    if h is None or f is None or layers is None or heads is None or model.vocab_size is None:
        return None
    head_size = model.head_dim or h // heads
    query, key_value = heads * head_size, (model.num_key_value_heads or heads) * head_size
    layer = h * query + 2 * h * key_value + query * h + (3 if _gated(model) else 2) * h * f + 2 * h
    if model.model_type in _QKV_BIAS:
        layer += query + 2 * key_value
    if model.model_type in _QK_NORM:
        layer += 2 * head_size
    return layers * layer + model.vocab_size * h * (1 if model.tie_word_embeddings else 2) + h


def shape_of(model: ModelFacts) -> Shape | None:
    """The sizes of a model; ``None`` if neither its parameters nor its configuration are known.

    What the configuration lacks is filled in with what transformers defaults to or, where only the number of
    parameters is known, with the proportions of common models; ``assumed`` names what was guessed.
    """
    counted = count_parameters(model)
    known = _without_stored_twice(model, counted)
    if known is None:
        return None
    assumed: list[str] = []

    def or_guess(name: str, value: int | None, guess: int) -> int:
        if value is None:
            assumed.append(name)
        return value or max(1, guess)

    # From parameters = 12 * layers * hidden^2 and hidden = 128 * layers, the proportions of Llama 7B to 70B.
    depth = max(2, round((known / (12 * 128**2)) ** (1 / 3)))
    layers = or_guess("num_hidden_layers", model.num_hidden_layers, depth)
    hidden = or_guess("hidden_size", model.hidden_size, 128 * depth)
    heads = or_guess("num_attention_heads", model.num_attention_heads, hidden // 128)
    head_size = model.head_dim or max(1, hidden // heads)
    ffn = or_guess("intermediate_size", model.intermediate_size, 7 * hidden // 2)
    vocab = or_guess("vocab_size", model.vocab_size, 151_936)
    if counted is not None and abs(known - counted) > 0.1 * counted:
        assumed.append("layers other than a dense decoder's")
    return Shape(
        hidden=hidden,
        layers=layers,
        heads=heads,
        query=heads * head_size,
        key_value=(model.num_key_value_heads or heads) * head_size,
        ffn=ffn,
        vocab=vocab,
        tied=bool(model.tie_word_embeddings),
        gated=_gated(model),
        parameters=known,
        assumed=tuple(assumed),
    )


def adapted_linears(
    shape: Shape, targets: Sequence[str] | str | None, model_type: str | None = None
) -> dict[str, tuple[int, int]]:
    """Inputs and outputs of the matrices of one layer that LoRA adapts.

    Args:
        shape: The model.
        targets: ``target_modules`` as PEFT takes them: names, a regular expression, ``"all-linear"``, or ``None`` for
            PEFT's choice. Names that no layer has are passed over; if none is left, all matrices count.
        model_type: Decides PEFT's choice.
    """
    linears = shape.linears
    if targets is None:
        targets = _DEFAULT_TARGETS.get(model_type or "", ("q_proj", "v_proj"))
    if targets == "all-linear":
        return linears
    if isinstance(targets, str):
        chosen = {name for name in linears if _matches(targets, name)}
    else:
        last = [target.rsplit(".", 1)[-1] for target in targets]
        chosen = {name for target in last for name in _SAME_AS.get(target, (target,))}
    return {name: size for name, size in linears.items() if name in chosen} or linears


def count_lora_parameters(model: ModelFacts, r: int, targets: Sequence[str] | str | None = None) -> int | None:
    """Parameters of a LoRA adapter of rank ``r``; ``None`` if the model's size is unknown."""
    shape = shape_of(model)
    if shape is None:
        return None
    adapted = adapted_linears(shape, targets, model.model_type)
    return shape.layers * r * sum(inputs + outputs for inputs, outputs in adapted.values())


def _gated(model: ModelFacts) -> bool:
    return model.model_type not in _UNGATED


def _matches(pattern: str, name: str) -> bool:
    block = "mlp" if name in ("gate_proj", "up_proj", "down_proj") else "self_attn"
    try:
        return re.fullmatch(pattern, f"model.layers.0.{block}.{name}") is not None
    except re.error:
        return False


def _without_stored_twice(model: ModelFacts, counted: int | None) -> int | None:
    """The exact count of the safetensors files, less a tied head that was stored beside its embedding."""
    known = model.num_parameters
    if known is None or counted is None or not model.tie_word_embeddings:
        return known or counted
    head = (model.vocab_size or 0) * (model.hidden_size or 0)
    return counted if abs(known - counted - head) < 0.01 * head else known
