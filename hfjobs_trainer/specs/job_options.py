"""Options of ``hf jobs`` in the fields of a spec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from hfjobs_trainer.problems import Problem
from hfjobs_trainer.specs.notes import LEFT_OUT, Note
from hfjobs_trainer.specs.options import whole
from hfjobs_trainer.specs.requirements import package_name

# What a script pins itself, or has no use for.
_PINNED = {"trl", "transformers", "peft", "accelerate", "datasets", "torch", "trackio", "huggingface-hub", "vllm"}
_REFUSED = {
    "volume": "inputs are named in the spec, and mounted by themselves",
    "env_file": "name the variables: env={...}",
    "secrets_file": "name the secrets, whose values are read from your environment: secrets=[...]",
    "network_group": "hardware.nodes is the number of machines that train together",
    "network_alias": "hardware.nodes is the number of machines that train together",
    "expose_public": "a spec exposes ports to those who may see the job: hardware.expose",
}


def take_job_options(
    fields: dict[str, Any], notes: list[Note], problems: list[Problem], given: Mapping[str, Any]
) -> None:
    """Add what the options say to the fields; what a script does by itself is noted, the rest a problem.

    Args:
        fields: Fields of a spec.
        notes: What was taken for what.
        problems: What a spec does not say.
        given: Options by name; those that may be repeated as lists.
    """
    hardware: dict[str, Any] = {}
    for name, value in given.items():
        if value is None:
            continue
        texts = [str(item) for item in cast("list[Any]", value if isinstance(value, list) else [value])]
        match name:
            case "flavor":
                hardware["flavor"] = value
            case "timeout":
                # this one is the limit itself, not an expectation
                fields |= {"timeout": _number(texts[0]), "timeout_padding": 0.0}
            case "namespace" | "image":
                fields[name] = value
            case "env":
                pairs = (text.partition("=") for text in texts)
                fields["env"] = {**fields.get("env", {}), **{key: text for key, _, text in pairs}}
            case "secrets":
                # a value beside a name is not kept: it is read when the job is submitted
                named = [text.partition("=")[0] for text in texts if text.partition("=")[0] != "HF_TOKEN"]
                fields["secrets"] = [*fields.get("secrets", []), *named]
            case "label":
                pairs = (text.partition("=") for text in texts)
                fields["labels"] = {**fields.get("labels", {}), **{key: text for key, _, text in pairs}}
            case "with":
                _packages(fields, notes, [item for text in texts for item in text.split(",")])
            case "attempts" | "expose":
                hardware[name] = _number(texts[0]) if name == "attempts" else [_number(text) for text in texts]
            case "ssh":
                hardware[name] = True
            case "resource_group_id":
                hardware[name] = value
            case "token":
                problems.append(Problem("SPEC006", name, "HF_TOKEN of your environment is used", "hf auth login"))
            case _ if name in _REFUSED:
                problems.append(Problem("LOAD005", name, _REFUSED[name]))
            case _:
                pass
    if hardware:
        fields["hardware"] = {**fields.get("hardware", {}), **hardware}
    if fields.get("secrets") == []:
        del fields["secrets"]


def _number(text: str) -> int | str:
    """The number, or the text that is none, which the field then refuses."""
    number = whole(text)
    return text if number is None else number


def _packages(fields: dict[str, Any], notes: list[Note], packages: list[str]) -> None:
    for text in filter(None, packages):
        if package_name(text) in _PINNED:
            notes.append(Note("with", LEFT_OUT, f"{text}: the script pins it", "with"))
        else:
            fields["extra_dependencies"] = [*fields.get("extra_dependencies", []), text]
