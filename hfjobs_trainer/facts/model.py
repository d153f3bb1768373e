"""Facts about a model."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from hfjobs_trainer.contents import Content


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A model as its ``config.json`` and its safetensors headers describe it; what is unknown is ``None``.

    Attributes:
        path: Absolute folder of a local model; ``None`` for a model on the Hub.
        exists: Whether the Hub or the disk has it.
        private: Whether reading it needs a token because the repository is private.
        gated: Whether reading it needs a token whose owner has accepted the terms.
        sha: Commit of the revision that was read.
        model_type: transformers' ``model_type``, such as ``"qwen2"``.
        num_parameters: Exact count of parameters, from the safetensors metadata.
        hidden_size, intermediate_size, num_hidden_layers, num_attention_heads, num_key_value_heads, head_dim,
        vocab_size, tie_word_embeddings: as in ``config.json``.
        num_experts: Routed experts of each mixture-of-experts layer; ``None`` in a dense model.
        num_experts_per_tok: Experts that one token is routed to.
        moe_intermediate_size: Inner width of one expert.
        shared_expert_intermediate_size: Inner width of the experts that every token passes, together.
        num_dense_layers: Decoder layers at the start that have no experts.
        layer_types: The type of each layer, such as ``"linear_attention"``, if the configuration says.
        linear_num_key_heads, linear_num_value_heads, linear_key_head_dim, linear_value_head_dim: as in ``config.json``,
            for layers of linear attention.
        max_position_embeddings: Tokens of the longest sequence of the model.
        dtype: dtype of the stored weights, such as ``"bfloat16"``.
        quantization: Method by which the stored weights are quantized, ``quant_method`` of ``config.json``, such as
            ``"gptq"``; ``None`` also if they are not quantized.
        is_vision: Whether it takes images, by its ``config.json``.
        has_chat_template: Whether the tokenizer comes with a chat template.
        template_digest: SHA-256 of the text of its chat template, hexadecimal.
        reads_answers: Whether its ``tokenizer_config.json`` says how an answer is read, by ``response_template``.
        task_type: PEFT's task type, such as ``"CAUSAL_LM"``, of an adapter.
        adapts: If it is an adapter in place of a model: the model that it was trained on, empty if it does not say.
        content: Of a local folder that travels with the job, what is in it.
        lacks_revision: Whether it is there, but not the revision that is asked for.
        found_as: If no model has this id: ``"dataset"`` or ``"Space"``, whichever has.
        current_id: Its id today, where the Hub has renamed it or writes it otherwise.
        granted: Of a gated model, whether this token may read its files.
        based_on: The model from which it was made, as its page says.
        architectures: Classes of transformers, as in ``config.json``.
        auto_classes: Auto classes of transformers for which the repository brings code of its own, its ``auto_map``.
        num_labels: Scores of a classifier, if ``config.json`` names them.
        weights: The kind of weights that it has: ``"transformers"`` (what transformers loads), ``"GGUF"``, ``"other"``
            (files of weights by other names), ``"none"``.
        library: The library that it is for, if its files say it is another: ``"diffusers"``,
            ``"sentence-transformers"``.
        has_tokenizer: Whether it has files of a tokenizer.
        rope_type: How its positions are stretched, such as ``"yarn"``, as in ``config.json``.
        rope_factor: By how much they are, if ``max_position_embeddings`` does not contain it already.
        license: Its license, as its page names it, such as ``"apache-2.0"``.
    """

    path: str | None = None
    exists: bool | None = None
    private: bool | None = None
    gated: bool | None = None
    sha: str | None = None
    model_type: str | None = None
    num_parameters: int | None = None
    hidden_size: int | None = None
    intermediate_size: int | None = None
    num_hidden_layers: int | None = None
    num_attention_heads: int | None = None
    num_key_value_heads: int | None = None
    head_dim: int | None = None
    vocab_size: int | None = None
    tie_word_embeddings: bool | None = None
    num_experts: int | None = None
    num_experts_per_tok: int | None = None
    moe_intermediate_size: int | None = None
    shared_expert_intermediate_size: int | None = None
    num_dense_layers: int | None = None
    layer_types: tuple[str, ...] | None = None
    linear_num_key_heads: int | None = None
    linear_num_value_heads: int | None = None
    linear_key_head_dim: int | None = None
    linear_value_head_dim: int | None = None
    max_position_embeddings: int | None = None
    dtype: str | None = None
    quantization: str | None = None
    is_vision: bool | None = None
    has_chat_template: bool | None = None
    template_digest: str | None = field(default=None, compare=False)
    reads_answers: bool | None = field(default=None, compare=False)
    task_type: str | None = None
    adapts: str | None = None
    content: Content | None = None
    lacks_revision: bool = False
    found_as: Literal["dataset", "Space"] | None = None
    current_id: str | None = None
    granted: bool | None = None
    based_on: str | None = None
    architectures: tuple[str, ...] | None = None
    auto_classes: tuple[str, ...] | None = None
    num_labels: int | None = None
    weights: Literal["transformers", "GGUF", "other", "none"] | None = None
    library: Literal["diffusers", "sentence-transformers"] | None = None
    has_tokenizer: bool | None = None
    rope_type: str | None = None
    rope_factor: float | None = None
    license: str | None = field(default=None, compare=False)
