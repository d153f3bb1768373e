"""A tiny decoder, as a request describes it."""

from __future__ import annotations

from typing import Any

from hfjobs_trainer.simulating.request import Request, parse_request

MODEL: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 1000,
    "tie_word_embeddings": False,
}
# embedding and head, the final norm, and of each layer four projections, three matrices and two norms
LAYER = 64 * 64 * 2 + 64 * 32 * 2 + 3 * 64 * 160 + 2 * 64
PARAMETERS = 2 * 1000 * 64 + 64 + 6 * LAYER


def request(model: dict[str, Any] | None = None, **fields: Any) -> Request:
    """A request for the tiny decoder: 2 rows of 48 tokens, float32."""
    plain = {"mixed_precision": None, "per_device_train_batch_size": 2, "sequence_length": 48}
    return parse_request({"model": MODEL | (model or {}), **plain, **fields})
