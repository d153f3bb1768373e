"""Specs from TRL's and PEFT's own objects, taken as they are: nothing of them is imported here."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import PurePath
from typing import Any, cast

from hfjobs_trainer.errors import SpecError
from hfjobs_trainer.problems import Problem
from hfjobs_trainer.specs.base import TrainSpec

# What makes a config buildable on this machine, whatever a run's machine may be.
_PRECISION = ("bf16", "fp16", "use_cpu")
# Fields of a PEFT config that say what it is rather than how to train.
_IDENTITY = {
    "peft_type",
    "task_type",
    "auto_mapping",
    "base_model_name_or_path",
    "revision",
    "inference_mode",
    "peft_version",
}


def fields_of(spec: type[TrainSpec], config: Any, peft_config: Any, quantization_config: Any) -> dict[str, Any]:
    """Fields of the spec that say what these objects say.

    Raises:
        SpecError: An object is not what this method takes.
    """
    method = spec.METHOD
    names = {base.__name__ for base in type(config).__mro__}
    if method.config not in names or not dataclasses.is_dataclass(config):
        why = f"a {method.config} is needed, not {type(config).__name__}"
        raise SpecError([Problem("SPEC003", "config", why, f"{method.config}(...)")], f"{method.label} spec")
    fields = {name: plain(value) for name, value in given_arguments(config).items()}
    if fields.get("report_to") == []:
        fields["report_to"] = "none"
    init = fields.get("model_init_kwargs")
    if isinstance(init, Mapping):
        rest = dict(cast("Mapping[str, Any]", init))
        found = rest.pop("quantization_config", None)
        quantization_config = quantization_config if quantization_config is not None else found
        fields["model_init_kwargs"] = rest
    if peft_config is not None:
        fields["lora"] = _lora(spec, peft_config)
    if quantization_config is not None:
        fields["quantization"] = _quantization(quantization_config)
    return fields


def given_arguments(config: Any) -> dict[str, Any]:
    """The fewest arguments from which the class of ``config`` makes the same config.

    A config replaces what was left open (``bf16=None``, ``output_dir=None``, the batch sizes of GRPO), so its fields do
    not tell what its author wrote; a config that is built without such a field has it again.
    """
    given = {field.name: getattr(config, field.name) for field in dataclasses.fields(config) if field.init}
    wanted = _values(config)
    precision = {name: given[name] for name in _PRECISION if name in given}
    reference = _built(config, {}) or _built(config, precision) or {}
    arguments = {name: value for name, value in given.items() if wanted[name] != reference.get(name, ...)}
    arguments |= {} if _built(config, {}) is not None else precision
    for name in list(arguments):
        rest = {key: value for key, value in arguments.items() if key != name}
        if _built(config, rest) == wanted:
            arguments = rest
    return arguments


def _built(config: Any, arguments: Mapping[str, Any]) -> dict[str, Any] | None:
    """Values of a config of the same class; ``None`` if these arguments make none on this machine."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _values(type(config)(**arguments))
    except Exception:
        return None


def _values(config: Any) -> dict[str, Any]:
    return {field.name: plain(getattr(config, field.name)) for field in dataclasses.fields(config)}


def plain(value: Any) -> Any:
    """A value as YAML would hold it: members of enumerations by value, dtypes by name, sets as sorted lists."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, set | frozenset):
        return sorted(plain(item) for item in cast("Iterable[Any]", value))
    if isinstance(value, list | tuple):
        return [plain(item) for item in cast("Iterable[Any]", value)]
    if type(value).__name__ == "dtype":  # torch's
        return str(value).removeprefix("torch.")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        defaults = {field.name: field.default for field in dataclasses.fields(value)}
        items = {name: getattr(value, name) for name in defaults}
        return {name: plain(item) for name, item in items.items() if item != defaults[name]}
    return value


def _lora(spec: type[TrainSpec], config: Any) -> dict[str, Any]:
    kind = str(plain(getattr(config, "peft_type", type(config).__name__)))
    if kind != "LORA":
        why = f"a LoraConfig is needed, not {type(config).__name__}"
        raise SpecError([Problem("SPEC003", "peft_config", why, "LoraConfig(...)")], f"{spec.METHOD.label} spec")
    task = plain(config.task_type)
    if task not in (None, spec.METHOD.lora_task):
        why = f"{spec.METHOD.label} trains adapters of the type {spec.METHOD.lora_task}, not {task}"
        raise SpecError([Problem("SPEC003", "peft_config.task_type", why, "leave it out")], f"{spec.METHOD.label} spec")
    # PEFT's defaults of these are not TRL's, which are ours
    fields = {name: getattr(config, name) for name in ("r", "lora_alpha", "lora_dropout")}
    fields |= given_arguments(config)
    return {name: plain(value) for name, value in fields.items() if name not in _IDENTITY}


def _quantization(config: Any) -> dict[str, Any]:
    given = cast("Mapping[str, Any]", config if isinstance(config, Mapping) else config.to_dict())
    if given.get("load_in_8bit"):
        return {"bits": "8bit"}
    if not given.get("load_in_4bit"):
        why = "only bitsandbytes with load_in_4bit or load_in_8bit can be trained on"
        raise SpecError([Problem("SPEC003", "quantization_config", why, 'quantization="4bit"')], "spec")
    fields = {
        "bits": "4bit",
        "quant_type": given.get("bnb_4bit_quant_type"),
        "use_double_quant": given.get("bnb_4bit_use_double_quant"),
        "compute_dtype": plain(given.get("bnb_4bit_compute_dtype")),
    }
    return {name: value for name, value in fields.items() if value is not None}
