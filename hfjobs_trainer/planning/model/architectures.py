"""The models that the pinned transformers has itself, read off it: ``data/architectures.json``."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import Any, Literal

Kind = Literal["language", "score", "other", "unknown"]


@cache
def _table() -> dict[str, Any]:
    text = resources.files("hfjobs_trainer.data").joinpath("architectures.json").read_text(encoding="utf-8")
    table: dict[str, Any] = json.loads(text)
    return {key: value if isinstance(value, str) else frozenset(value) for key, value in table.items()}


def version() -> str:
    """The version of transformers that the table was read off."""
    return _table()["transformers"]


def is_implemented(model_type: str) -> bool:
    """Whether transformers has this ``model_type``."""
    return model_type in _table()["types"]


def writes_text(model_type: str) -> bool:
    """Whether ``AutoModelForCausalLM`` loads it."""
    return model_type in _table()["causal_types"]


def can_score(model_type: str) -> bool:
    """Whether ``AutoModelForSequenceClassification`` loads it."""
    return model_type in _table()["scoring_types"]


def returns_router_logits(model_type: str) -> bool:
    """Whether it is a mixture of experts whose router has a loss of its own."""
    return model_type in _table()["router_types"]


def kind_of(architecture: str) -> Kind:
    """What a class of transformers does: write text, score it, or something else; unknown if there is none."""
    table = _table()
    kinds: dict[Kind, str] = {"language": "language_classes", "score": "scoring_classes", "other": "other_classes"}
    for kind, key in kinds.items():
        if architecture in table[key]:
            return kind
    return "unknown"


POSITIONS_IN_A_TABLE = frozenset({"biogpt", "codegen", "ctrl", "gpt2", "gpt_bigcode", "gpt_neo", "gptj", "opt"})
"""Types that look positions up in a table of fixed length, so that a longer sequence ends in an ``IndexError``."""
