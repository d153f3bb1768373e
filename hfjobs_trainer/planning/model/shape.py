"""The shape of a transformer and its parameters, from the numbers of its ``config.json``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

from hfjobs_trainer.facts import ModelFacts
from hfjobs_trainer.planning.model.modules import layer_types_of

BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0}
"""Bytes of one weight by dtype."""

# Families whose MLP has two matrices instead of three (no gate).
_UNGATED = frozenset(
    {"apertus", "bloom", "codegen", "falcon", "gpt2", "gpt_bigcode", "gpt_neo", "gpt_neox", "gptj"}
    | {"mpt", "nemotron", "opt", "phi", "starcoder2"}
)
# Families with a bias on the query, key and value projections.
_QKV_BIAS = frozenset({"qwen", "qwen2", "qwen2_moe", "gpt_oss"})
# Families with a norm on each head's queries and keys, as wide as one head.
_QK_NORM = frozenset({"qwen3", "qwen3_moe", "gemma3", "gemma3_text", "apertus"})
# Families with a norm on all queries and on all keys together.
_WIDE_QK_NORM = frozenset({"olmo2", "olmo3"})
# Families with one norm for both the attention and the MLP.
_ONE_NORM = frozenset({"codegen", "gptj", "phi"})
# Families whose GELU is written out in Python, which saves three tensors more (transformers 5.23: activations.py).
_WRITTEN_GELU = frozenset({"codegen", "gpt2", "gptj", "phi"})
# Families with a norm before and after both the attention and the MLP.
_FOUR_NORMS = frozenset({"gemma2", "gemma3", "gemma3_text"})
# Families whose norms multiply by their weight in float32.
_FLOAT32_NORMS = frozenset({"gemma", "gemma2", "gemma3", "gemma3_text", "olmo2", "olmo3"})
# Families for which transformers 5.23 has no other attention than eager or FlashAttention, and the bytes of a score.
_EAGER_ONLY = frozenset({"gemma2", "gpt_oss"})
_SCORE_BYTES = {"gemma2": 8, "gpt_oss": 10}
# Families whose norms are torch's own LayerNorm, which saves its input as it is.
_LAYER_NORM = frozenset(
    {"bloom", "codegen", "falcon", "gptj", "gpt2", "gpt_bigcode", "gpt_neox", "mpt", "opt", "phi", "starcoder2"}
)
# Families with one matrix for queries, keys and values, those without rotary embeddings, and those with one matrix for
# the gate and the MLP's input.
_FUSED_QKV = frozenset(
    {"baichuan", "bloom", "chatglm", "falcon", "gpt2", "gpt_bigcode", "gpt_neox", "mpt", "phi3", "qwen"}
)
_UNTURNED = frozenset({"bloom", "gpt2", "gpt_bigcode", "mpt", "opt"})
_FUSED_GATE = frozenset({"chatglm", "glm", "glm4", "phi3"})


@dataclass(frozen=True, eq=False)  # without slots, for its cached properties; compared by identity, which is fast
class Shape:
    """The sizes from which memory follows; ``shape_of`` gives one for each model.

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
        experts: Experts of each layer that tokens are routed to; 0 in a dense model.
        experts_per_token: Experts that one token is routed to.
        expert_ffn: Inner width of one expert.
        shared_ffn: Inner width of what every token passes besides its experts.
        norms: Norms of one layer as wide as the residual stream.
        head_norms: Whether each head's queries and keys are normed.
        layer_norms: Whether norms are torch's LayerNorm.
        float32_norms: Whether norms multiply by their weight in float32.
        eager_only: Whether the matrix of scores is held unless FlashAttention is used.
        score_bytes: Bytes of one held score: half-precision scores and probabilities, float32 ones between them, and a
            copy if scores are capped or have sinks.
        written_gelu: Whether the activation is written out, which saves more tensors.
        rotary: Whether queries and keys have rotary embeddings, which makes new tensors of them.
        fused_qkv, fused_gate: Whether the projections of the attention, and those into the MLP, are one matrix.
        parameters: Parameters of the whole model.
        layer_types: The type of each layer; ``""`` for the usual one.
        state_keys, state_values: Width of all keys, and of all values, of a layer of linear attention.
        state_heads: Heads of its values.
        assumed: The assumptions, for what the model's configuration lacks.
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
    experts: int = 0
    experts_per_token: int = 0
    expert_ffn: int = 0
    shared_ffn: int = 0
    norms: int = 2
    head_norms: bool = False
    layer_norms: bool = False
    float32_norms: bool = False
    eager_only: bool = False
    score_bytes: int = 6
    written_gelu: bool = False
    rotary: bool = True
    fused_qkv: bool = False
    fused_gate: bool = False
    layer_types: tuple[str, ...] = ()
    state_keys: int = 0
    state_values: int = 0
    state_heads: int = 0
    assumed: tuple[str, ...] = ()

    @cached_property
    def embedding(self) -> int:
        """Parameters of the embedding, and of the head."""
        return self.vocab * self.hidden

    @cached_property
    def ends(self) -> int:
        """Parameters of the embedding and the head together."""
        return self.embedding * (1 if self.tied else 2)

    @cached_property
    def active_ffn(self) -> int:
        """Total inner width that one token passes in a layer's MLP."""
        return self.experts_per_token * self.expert_ffn + self.shared_ffn if self.experts else self.ffn

    @cached_property
    def expert_weights(self) -> int:
        """Parameters of the experts of one layer."""
        return self.experts * (3 if self.gated else 2) * self.hidden * self.expert_ffn

    @cached_property
    def linears(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of each matrix of one layer, without experts.

        transformers 5 keeps the experts of a layer in tensors of three dimensions, which bitsandbytes does not quantize
        (``integrations/moe.py``, ``integrations/bitsandbytes.py``).
        """
        h, q, kv = self.hidden, self.query, self.key_value
        found = {"q_proj": (h, q), "k_proj": (h, kv), "v_proj": (h, kv), "o_proj": (q, h)}
        f = self.shared_ffn if self.experts else self.ffn
        if not f:
            return found
        return found | {"up_proj": (h, f), "down_proj": (f, h)} | ({"gate_proj": (h, f)} if self.gated else {})

    @cached_property
    def sizes(self) -> dict[str, tuple[int, int]]:
        """Inputs and outputs of each matrix that a layer may have, by the names in ``modules.Family.inside``."""
        h, q, kv, found = self.hidden, self.query, self.key_value, self.linears
        keys, values, heads = self.state_keys, self.state_values, self.state_heads
        joined = found["gate_proj"][1] + found["up_proj"][1] if "gate_proj" in found else 0
        return found | {
            "qkv_proj": (h, q + 2 * kv),
            "gate_up_proj": (h, joined),
            "gated_q_proj": (h, 2 * q),
            "router_gate": (h, 1),
            "in_proj_qkv": (h, 2 * keys + values),
            "in_proj_z": (h, values),
            "in_proj_b": (h, heads),
            "in_proj_a": (h, heads),
            "in_proj_qkvz": (h, 2 * keys + 2 * values),
            "in_proj_ba": (h, 2 * heads),
            "out_proj": (values, h),
        }

    @cached_property
    def body(self) -> int:
        """Parameters outside the embedding and the head."""
        return max(0, self.parameters - self.ends)


def count_parameters(model: ModelFacts) -> int | None:
    """Parameters of a decoder by its configuration; ``None`` if a number is missing.

    Exact for the Llama, Qwen2, Qwen3 and Gemma families; for a few others, small biases are missing.
    """
    h, f, layers, heads = model.hidden_size, model.intermediate_size, model.num_hidden_layers, model.num_attention_heads
    if h is None or f is None or layers is None or heads is None or model.vocab_size is None:
        return None
    head_size = model.head_dim or h // heads
    query, key_value = heads * head_size, (model.num_key_value_heads or heads) * head_size
    matrices = 3 if _gated(model) else 2
    layer = h * query + 2 * h * key_value + query * h + (4 if model.model_type in _FOUR_NORMS else 2) * h
    if model.model_type in _QKV_BIAS:
        layer += query + 2 * key_value
    if model.model_type in _QK_NORM:
        layer += 2 * head_size
    if model.model_type in _WIDE_QK_NORM:
        layer += query + key_value
    dense = matrices * h * f
    mlps = layers * dense
    if model.num_experts:
        expert, shared = model.moe_intermediate_size or f, model.shared_expert_intermediate_size or 0
        routed = model.num_experts * (matrices * h * expert + h) + matrices * h * shared
        without = min(layers, model.num_dense_layers or 0)
        mlps = without * dense + (layers - without) * routed
    return layers * layer + mlps + model.vocab_size * h * (1 if model.tie_word_embeddings else 2) + h


@lru_cache(maxsize=1024)
def shape_of(model: ModelFacts) -> Shape | None:
    """The sizes of a model; ``None`` if neither its parameters nor its configuration are known.

    What the configuration lacks is filled in with transformers' defaults or, if only the number of parameters is known,
    with the proportions of common models; ``assumed`` names it.
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

    vocab = or_guess("vocab_size", model.vocab_size, 151_936)
    # From 128 numbers of width for each layer and an MLP of 7/2 of it, the proportions of Llama 7B to 70B: a layer has
    # 4 * hidden^2 parameters, and 3.5 * hidden^2 for each matrix of its MLP.
    depth = max(2, round((known / ((4 + 3.5 * (3 if _gated(model) else 2)) * 128**2)) ** (1 / 3)))
    hidden = or_guess("hidden_size", model.hidden_size, 128 * depth)
    layers = or_guess("num_hidden_layers", model.num_hidden_layers, depth)
    heads = or_guess("num_attention_heads", model.num_attention_heads, hidden // 128)
    head_size = model.head_dim or max(1, hidden // heads)
    ffn = or_guess("intermediate_size", model.intermediate_size, 7 * hidden // 2)
    if counted is not None and abs(known - counted) > 0.1 * counted:
        assumed.append("layers other than the configuration says")
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
        experts=model.num_experts or 0,
        experts_per_token=(model.num_experts_per_tok or 1) if model.num_experts else 0,
        expert_ffn=(model.moe_intermediate_size or ffn) if model.num_experts else 0,
        shared_ffn=model.shared_expert_intermediate_size or 0,
        norms=4 if model.model_type in _FOUR_NORMS else 1 if model.model_type in _ONE_NORM else 2,
        head_norms=model.model_type in _QK_NORM or model.model_type in _WIDE_QK_NORM,
        written_gelu=model.model_type in _WRITTEN_GELU,
        layer_norms=model.model_type in _LAYER_NORM,
        float32_norms=model.model_type in _FLOAT32_NORMS,
        eager_only=model.model_type in _EAGER_ONLY,
        score_bytes=_SCORE_BYTES.get(model.model_type or "", 6),
        rotary=model.model_type not in _UNTURNED,
        fused_qkv=model.model_type in _FUSED_QKV,
        fused_gate=model.model_type in _FUSED_GATE,
        layer_types=layer_types_of(model, layers),
        state_keys=(model.linear_num_key_heads or 0) * (model.linear_key_head_dim or 0),
        state_values=(model.linear_num_value_heads or 0) * (model.linear_value_head_dim or 0),
        state_heads=model.linear_num_value_heads or 0,
        assumed=tuple(assumed),
    )


def _gated(model: ModelFacts) -> bool:
    return model.model_type not in _UNGATED


def _without_stored_twice(model: ModelFacts, counted: int | None) -> int | None:
    """The exact count of the safetensors files, without a tied head stored in addition to its embedding."""
    known = model.num_parameters
    if known is None or counted is None or not model.tie_word_embeddings:
        return known or counted
    head = (model.vocab_size or 0) * (model.hidden_size or 0)
    return counted if abs(known - counted - head) < 0.01 * head else known
