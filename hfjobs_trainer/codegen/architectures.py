"""Generator of ``hfjobs_trainer/data/architectures.json``: the models that the pinned transformers has itself."""

from __future__ import annotations

import importlib
import inspect
import json
from typing import Any

from hfjobs_trainer.codegen.trl_args import require_pinned

PATH = "hfjobs_trainer/data/architectures.json"

LANGUAGE = ("CAUSAL_LM", "IMAGE_TEXT_TO_TEXT", "MULTIMODAL_LM")
"""Tasks whose models write text token by token."""
SCORES = "SEQUENCE_CLASSIFICATION"
ROUTER = "output_router_logits"
"""Argument of the configurations of mixture-of-experts models that return what their router decided."""


def generate() -> dict[str, str]:
    """Return the table: types of models, the classes of each kind, and the types that return their router's logits."""
    version = require_pinned("transformers")
    configurations: Any = importlib.import_module("transformers.models.auto.configuration_auto")
    tasks: Any = importlib.import_module("transformers.models.auto.modeling_auto")
    types = configurations.CONFIG_MAPPING_NAMES
    named = {task: _classes(getattr(tasks, f"MODEL_FOR_{task}_MAPPING_NAMES")) for task in (*LANGUAGE, SCORES)}
    language = set[str]().union(*(named[task].values() for task in LANGUAGE))
    scoring = set(named[SCORES].values())
    # what ``getattr(transformers, name)`` finds, which is how TRL looks for the class
    homes: dict[str, str] = importlib.import_module("transformers")._class_to_module
    every = {name for name, module in homes.items() if ".modeling_" in module and _is_model(name)}
    table = {
        "transformers": version,
        "types": sorted(types),
        "causal_types": sorted(named["CAUSAL_LM"]),
        "scoring_types": sorted(named[SCORES]),
        "router_types": sorted(kind for kind in types if _returns_router_logits(configurations.CONFIG_MAPPING[kind])),
        "language_classes": sorted(language),
        "scoring_classes": sorted(scoring - language),
        "other_classes": sorted(every - language - scoring),
    }
    # a line for each list
    lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in table.items())
    return {PATH: f"{{\n{lines}\n}}\n"}


def _is_model(name: str) -> bool:
    return (
        name[0].isupper()
        and not name.isupper()
        and not name.startswith("Auto")
        and not name.endswith("PreTrainedModel")
    )


def _classes(mapping: Any) -> dict[str, str]:
    """Type -> class; of several, the first, which is the one that is loaded."""
    return {kind: name if isinstance(name, str) else name[0] for kind, name in mapping.items()}


def _returns_router_logits(configuration: Any) -> bool:
    """Whether a configuration, or that of a multimodal model's language model, has the argument."""
    inner = [part for part in _parts(configuration) if inspect.isclass(part)]
    return any(ROUTER in _fields(part) for part in (configuration, *inner))


def _parts(configuration: Any) -> list[Any]:
    return list(getattr(configuration, "sub_configs", {}).values())


def _fields(configuration: Any) -> set[str]:
    spaces: list[dict[str, Any]] = [vars(base) for base in configuration.__mro__]
    return {name for space in spaces for name in (*space, *space.get("__annotations__", {}))}
