"""Specs from TRL's and PEFT's own objects, taken as they are: nothing of them is imported here."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping
from typing import Any

from hfjobs_trainer.errors import SpecError
from hfjobs_trainer.problems import Problem
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.quantization import quantization_of
from hfjobs_trainer.specs.values import plain

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
        raise SpecError([Problem("SPEC003", "config", why)], f"{method.label} spec")
    fields = {name: plain(value) for name, value in given_arguments(config).items()}
    if fields.get("report_to") == []:
        fields["report_to"] = "none"
    if peft_config is not None:
        fields["lora"] = _lora(spec, peft_config)
    if quantization_config is not None:
        fields["quantization"] = quantization_of(quantization_config, "quantization_config")
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


def _lora(spec: type[TrainSpec], config: Any) -> dict[str, Any]:
    kind = str(plain(getattr(config, "peft_type", type(config).__name__)))
    if kind != "LORA":
        why = f"a LoraConfig is needed, not {type(config).__name__}"
        raise SpecError([Problem("SPEC003", "peft_config", why)], f"{spec.METHOD.label} spec")
    task = plain(config.task_type)
    if task not in (None, spec.METHOD.lora_task):
        why = f"remove it: {spec.METHOD.label} trains adapters of the type {spec.METHOD.lora_task}, not {task}"
        raise SpecError([Problem("SPEC003", "peft_config.task_type", why)], f"{spec.METHOD.label} spec")
    # PEFT's defaults of these are not TRL's, which are ours
    fields = {name: getattr(config, name) for name in ("r", "lora_alpha", "lora_dropout")}
    fields |= given_arguments(config)
    return {name: plain(value) for name, value in fields.items() if name not in _IDENTITY}
