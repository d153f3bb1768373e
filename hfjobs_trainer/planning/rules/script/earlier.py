"""Calls in a script with arguments of an earlier TRL, by the tables of names that specs are read with."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from hfjobs_trainer.specs import names
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.dropped import INSTEAD, plain_name
from hfjobs_trainer.specs.registry import METHODS


@dataclass(frozen=True, slots=True)
class Earlier:
    """An argument that a call does not take any more.

    Attributes:
        line: Line of the call in the script.
        call: Name of the class that is called.
        argument: Name of the argument.
        today: What it is today.
    """

    line: int
    call: str
    argument: str
    today: str


def earlier_arguments(tree: ast.Module) -> Iterator[Earlier]:
    """The arguments of an earlier TRL in a script, in its order."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    for call in sorted(calls, key=lambda node: node.lineno):
        name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
        yield from _of_call(call, str(name))


def _of_call(call: ast.Call, name: str) -> Iterator[Earlier]:
    if plain_name(name) in INSTEAD and name.endswith(("Trainer", "Config")):
        return
    spec = _spec_of(name)
    if spec is None:
        return
    for word in call.keywords:
        if word.arg is None:
            continue
        today = _of_trainer(spec, word.arg) if name.endswith("Trainer") else _of_config(spec, word.arg)
        if today:
            yield Earlier(call.lineno, name, word.arg, today)


def _spec_of(name: str) -> type[TrainSpec] | None:
    """The spec class of the method whose config or trainer this is; of transformers' own, one with what all have."""
    if name in ("TrainingArguments", "Trainer"):
        return METHODS["sft"]
    if not name.endswith(("Config", "Trainer")):
        return None
    method = next((method for method in METHODS if method.replace("_", "") == plain_name(name)), None)
    spec = METHODS[method] if method else None
    return spec if spec and name in (spec.METHOD.config, spec.METHOD.trainer) else None


def _taken(spec: type[TrainSpec]) -> frozenset[str]:
    """Names that the config takes: those of the spec, those that groups of it mean, and those that it refuses."""
    return spec.METHOD.trl_argument_names(spec) | spec.FOLDED.keys() | names.REFUSED.keys() | {"output_dir"}


def _of_config(spec: type[TrainSpec], argument: str) -> str:
    if argument in _taken(spec):
        return ""
    today = names.renamed(spec.FORMER_NAMES, argument)
    if today is None:
        return ""
    place = today.path.rsplit(".", 1)[-1]
    if not today.path:
        return f"it is gone: {today.note}"
    if place in _taken(spec):
        value = f"={today.value!r}" if today.value not in (None, names.UNSAID) else ""
        return f"it is {place}{value} today" + (f", {today.note}" if today.note else "")
    # what a spec calls by another name was never an argument of the config
    return ""


def _of_trainer(spec: type[TrainSpec], argument: str) -> str:
    if argument == "tokenizer":
        return "it is processing_class today"
    if argument in _taken(spec):
        return f"it is an argument of {spec.METHOD.config} today"
    told = _of_config(spec, argument) if argument in spec.FORMER_NAMES or argument in _MOVED else ""
    today = names.renamed(spec.FORMER_NAMES, argument)
    return f"{told}, of {spec.METHOD.config}" if told and today and today.path else told


_MOVED = frozenset({"max_seq_length", "max_seq_len", "evaluation_strategy", "warmup_ratio"})
