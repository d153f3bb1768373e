"""TRL's own way of saying it: a ``trl`` command line or its YAML file, in the words of a spec.

What TRL's parser knows beside the trainer's config (model, dataset, LoRA, quantization, the arguments of ``accelerate
launch``) is given to its owner in the spec; everything else passes on under its own name.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from hfjobs_trainer.problems import Problem
from hfjobs_trainer.specs import names
from hfjobs_trainer.specs.accelerate_config import (
    PROFILES,
    config_file_of,
    idle_settings,
    lost_settings,
    read_accelerate_config,
)
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.given import FAILURES
from hfjobs_trainer.specs.notes import LEFT_OUT, Note
from hfjobs_trainer.specs.rewards import BUILTIN_REWARDS, RewardFunction, capture
from hfjobs_trainer.specs.source import is_file, path_of

Values = dict[str, Any]
ReadYAML = Callable[[Path], Any]

# Types of TRL's names that are not fields of a spec (trl/scripts/utils.py, trl/trainer/model_config.py).
TYPES: Mapping[str, Any] = {
    **dict.fromkeys(("use_peft", "load_in_4bit", "load_in_8bit", "use_rslora", "use_dora"), bool),
    **dict.fromkeys(("dataset_streaming", "streaming", "use_bnb_nested_quant", "ignore_bias_buffers"), bool),
    **dict.fromkeys(("multi_gpu", "cpu", "use_fsdp", "use_deepspeed"), bool),
    **dict.fromkeys(("lora_r", "lora_alpha", "num_processes", "num_machines", "zero_stage", "fsdp_version"), int),
    **dict.fromkeys(("lora_target_modules", "lora_modules_to_save", "lora_target_parameters"), list[str]),
    "lora_dropout": float,
    "test_split_size": int | float | None,
    "report_to": str | list[str],
}

LORA = {
    "lora_r": "r",
    "lora_alpha": "lora_alpha",
    "lora_dropout": "lora_dropout",
    "lora_target_modules": "target_modules",
    "lora_target_parameters": "target_parameters",
    "lora_modules_to_save": "modules_to_save",
    "use_rslora": "use_rslora",
    "use_dora": "use_dora",
}
"""TRL's flags for the adapter, and the fields of ``hft.LoRA``."""

_OF_ONE_DATASET = ("dataset_name", "dataset_config", "dataset_streaming")
_OF_MIXTURES = ("streaming", "test_split_size")
_OF_FOUR_BITS = ("bnb_4bit_quant_type", "use_bnb_nested_quant", "bnb_4bit_quant_storage")

# Arguments of TRL and of `accelerate launch` that change nothing here: the trainer's own arguments decide.
_WITHOUT_EFFECT = (
    "ignore_bias_buffers",
    "mixed_precision",
    "main_process_port",
    "num_cpu_threads_per_process",
    "same_network",
    "gpu_ids",
    "dynamo_backend",
)

# How the names of settings of a strategy begin, as options of `accelerate launch`.
_OF_A_STRATEGY = ("fsdp_", "offload_", "zero3_", "deepspeed_")

# Examples of earlier TRL named the pipeline with the reward model.
_PIPELINE = "sentiment-analysis:"

MARKS = frozenset({"model_name_or_path", "dataset_name", "datasets"})
"""With one of these, a file or mapping is TRL's rather than ours."""


def file_at(path: str | os.PathLike[str]) -> Path:
    """The file at a path, in which a leading ``~/`` is the home folder, as for a shell."""
    return path_of(path) or Path(path)


def is_config(raw: Mapping[str, Any]) -> bool:
    """Whether a mapping is written in TRL's names."""
    return not MARKS.isdisjoint(raw)


def read_flags(words: Sequence[str]) -> tuple[Values, list[Problem]]:
    """``--name value`` pairs by name, as text: a list where several words follow, ``True`` where none does."""
    values: Values = {}
    problems: list[Problem] = []
    name = None
    for word in words:
        if word.startswith("--") and len(word) > 2:
            flag, has_value, value = word[2:].partition("=")
            name = flag.replace("-", "_")
            values[name] = value if has_value else True
        elif name is None:
            problems.append(Problem("LOAD003", "", f"{word!r} stands before the first --argument: remove it"))
        elif values[name] is True:
            values[name] = word
        else:
            known = values[name]
            values[name] = [*cast("list[str]", known), word] if isinstance(known, list) else [known, word]
    return values, problems


def negated(spec: type[TrainSpec], values: Mapping[str, Any]) -> Values:
    """``{"no_packing": True}`` as ``{"packing": False}``, where the spec has such an argument."""
    given: Values = {}
    for name, value in values.items():
        plain = name.removeprefix("no_")
        if value is True and plain != name and plain in spec.model_fields:
            given[plain] = False
        else:
            given[name] = value
    return given


def to_fields(
    spec: type[TrainSpec], values: Mapping[str, Any], read_yaml: ReadYAML, notes: list[Note]
) -> tuple[Values, list[Problem]]:
    """Fields of the spec that mean what TRL's names mean, and what of them it cannot say.

    As in TRL, ``datasets`` wins over ``dataset_name``, the arguments of LoRA count only with ``use_peft``, and an
    evaluation dataset is taken only with an ``eval_strategy``. What is a field of ours may stand beside TRL's names.

    Args:
        spec: Class of the spec.
        values: What the command line and its file say, of the right types.
        read_yaml: Reads the file that ``accelerate_config`` names.
        notes: What was taken for what; more are added.
    """
    rest = {name: value for name, value in values.items() if name not in _WITHOUT_EFFECT}
    problems: list[Problem] = []
    fields: Values = {}
    for theirs, ours in (("model_name_or_path", "model"), ("torch_dtype", "dtype")):
        if theirs in rest:
            fields[ours] = rest.pop(theirs)
    fields |= _dataset(rest, notes)
    fields |= _lora(spec, rest, problems, notes)
    fields |= _quantization(rest, problems, notes)
    fields |= _rewards(spec, rest, problems)
    fields |= _hardware(rest, problems, read_yaml, notes)
    if isinstance(env := rest.get("env"), Mapping):
        rest["env"] = {str(key): str(value) for key, value in cast("Mapping[Any, Any]", env).items()}
    why = "is also given under TRL's name: give one of them"
    problems += [Problem("SPEC007", name, why) for name in fields if name in rest]
    return {**rest, **fields}, problems


def _idle(notes: list[Note], said: Iterable[str], why: str) -> None:
    """Arguments that count only with another one, as in TRL."""
    notes += [Note(name, LEFT_OUT, f"{name}: {why}", name) for name in said]


def _dataset(rest: Values, notes: list[Note]) -> Values:
    said = {name for name in (*_OF_ONE_DATASET, *_OF_MIXTURES) if rest.get(name)}
    parts, size, streaming = (rest.pop(name, None) for name in ("datasets", "test_split_size", "streaming"))
    id, config = rest.pop("dataset_name", None), rest.pop("dataset_config", None)
    train, test = rest.pop("dataset_train_split", None), rest.pop("dataset_test_split", None) or "test"
    flag = rest.pop("dataset_streaming", None)
    evaluates = rest.get("eval_strategy") not in (None, "no") and not rest.keys() & {"eval_dataset", "eval_fraction"}
    if parts:
        common = {"streaming": True} if streaming else {}
        items = cast("list[Any]", parts if isinstance(parts, list) else [parts])
        _idle(notes, sorted(said.difference(_OF_MIXTURES)), "datasets is given, and wins")
        dataset: Any = [{**_mixture_part(item), **common} for item in items]
        return {"dataset": dataset} | ({"eval_fraction": size} if size is not None else {})
    of_mixtures = "it counts only with datasets; dataset_streaming and eval_fraction are those of dataset_name"
    _idle(notes, sorted(said.intersection(_OF_MIXTURES)), of_mixtures)
    if id is None:
        return {}
    same = {"id": id, "config": config, "streaming": flag or None}
    same = {key: value for key, value in same.items() if value is not None}
    evaluation = {"eval_dataset": {**same, "split": test}} if evaluates else {}
    return {"dataset": {**same, **({"split": train} if train else {})}} | evaluation


def _mixture_part(item: Any) -> Values:
    if not isinstance(item, Mapping):
        return {"id": item}
    part = dict(cast("Mapping[str, Any]", item))
    renamed = {"path": "id", "name": "config"}
    if isinstance(part.get("columns"), list):
        renamed["columns"] = "keep_columns"
    return {renamed.get(key, key): value for key, value in part.items() if value is not None}


def _lora(spec: type[TrainSpec], rest: Values, problems: list[Problem], notes: list[Note]) -> Values:
    said = [theirs for theirs in LORA if theirs in rest]
    given = {LORA[theirs]: rest.pop(theirs) for theirs in said}
    task, used = rest.pop("lora_task_type", None), rest.pop("use_peft", None)
    if task not in (None, "CAUSAL_LM", spec.METHOD.lora_task):
        why = f"{spec.METHOD.label} trains adapters of the type {spec.METHOD.lora_task}: remove it"
        problems.append(Problem("LOAD005", "lora_task_type", why))
    if used is None and given:
        why = f"{', '.join(said)} without use_peft: TRL would train all weights; add use_peft, or remove them"
        problems.append(Problem("LOAD005", "lora", why))
    if not used:
        _idle(notes, said if used is not None else (), "it counts only with use_peft")
        return {}
    targets = given.get("target_modules")
    if isinstance(targets, list) and len(cast("list[str]", targets)) == 1:
        given["target_modules"] = targets[0]  # as TRL does, for "all-linear" and regular expressions
    return {"lora": {key: value for key, value in given.items() if value is not None}}


def _quantization(rest: Values, problems: list[Problem], notes: list[Note]) -> Values:
    said = [name for name in _OF_FOUR_BITS if rest.get(name)]
    four, eight = rest.pop("load_in_4bit", None), rest.pop("load_in_8bit", None)
    options = {
        "quant_type": rest.pop("bnb_4bit_quant_type", None),
        "use_double_quant": rest.pop("use_bnb_nested_quant", None),
        "quant_storage": rest.pop("bnb_4bit_quant_storage", None),
    }
    if four and eight:
        problems.append(Problem("SPEC007", "load_in_4bit", "load_in_8bit is also given: give one of them"))
    if four:
        return {"quantization": {"bits": "4bit", **{key: value for key, value in options.items() if value is not None}}}
    _idle(notes, said, "it counts only with load_in_4bit")
    return {"quantization": "8bit"} if eight else {}


def _rewards(spec: type[TrainSpec], rest: Values, problems: list[Problem]) -> Values:
    if "reward_funcs" not in spec.model_fields:
        return {}
    model, named = rest.pop("reward_model_name_or_path", None), rest.pop("reward_funcs", None) or list[Any]()
    functions = cast("list[Any]", named if isinstance(named, list) else [named])
    rewards: list[Any] = [model.removeprefix(_PIPELINE) if isinstance(model, str) else model] if model else []
    for item in functions:
        if isinstance(item, str) and item not in BUILTIN_REWARDS and "." in item and "/" not in item:
            try:
                rewards.append(_import_reward(item))
            except FAILURES as error:  # of the module's own code
                why = f"{item} cannot be imported from here, but perhaps in the folder of its module: {error}"
                problems.append(Problem("LOAD005", "reward_funcs", why))
                rewards.append(item)
        else:
            rewards.append(item)
    return {"reward_funcs": rewards} if rewards else {}


def _import_reward(dotted: str) -> RewardFunction:
    """The function that ``module.name`` names; as with ``trl``, the module may lie in the working directory."""
    module, _, name = dotted.rpartition(".")
    folder = str(Path.cwd())
    sys.path.insert(0, folder)
    try:
        return capture(getattr(importlib.import_module(module), name))
    finally:
        sys.path.remove(folder)


def _hardware(rest: Values, problems: list[Problem], read_yaml: ReadYAML, notes: list[Note]) -> Values:
    wanted: Values = {}
    profile = rest.pop("accelerate_config", None) or rest.pop("config_file", None)
    if isinstance(profile, str) and profile:
        file = file_at(profile)
        if profile in PROFILES and not is_file(file):
            wanted["strategy"] = PROFILES[profile]
        elif is_file(file):
            config = read_yaml(file)
            said = cast("Mapping[str, Any]", config) if isinstance(config, Mapping) else dict[str, Any]()
            found, lost = read_accelerate_config(said)
            wanted |= found
            problems += lost
            notes += idle_settings(said)
            _deepspeed_file(rest, wanted, config_file_of(said), read_yaml)
        else:
            why = f"{profile} is neither a file nor one of {', '.join(PROFILES)}"
            problems.append(Problem("LOAD005", "accelerate_config", why))
    if rest.pop("multi_gpu", None):
        wanted["strategy"] = "ddp"
    stage, version = rest.pop("zero_stage", None), rest.pop("fsdp_version", None)
    if rest.pop("use_deepspeed", None):
        wanted["strategy"] = f"zero{stage or 2}"
    if rest.pop("use_fsdp", None):
        wanted["strategy"] = f"fsdp{version or 1}"
    _deepspeed_file(rest, wanted, rest.pop("deepspeed_config_file", None), read_yaml)
    said = {name: rest.pop(name) for name in [*rest] if name.startswith(_OF_A_STRATEGY) and name != "fsdp_config"}
    problems += lost_settings(said)
    notes += idle_settings(said)
    if rest.pop("cpu", None):
        rest["use_cpu"] = True
    for theirs, ours in (("num_processes", "num_gpus"), ("num_machines", "nodes")):
        if theirs in rest:
            wanted[ours] = rest.pop(theirs)
    for name in [name for name in ("machine_rank", "main_process_ip", "rdzv_backend") if name in rest]:
        rest.pop(name)
        problems.append(Problem("LOAD005", name, "remove it: each machine finds its own rank"))
    nodes, processes = wanted.get("nodes") or 1, wanted.get("num_gpus")
    if nodes == 1:
        wanted.pop("nodes", None)
    elif isinstance(nodes, int) and isinstance(processes, int):
        if processes % nodes:
            more = nodes * (processes // nodes + 1)
            why = f"{processes} processes cannot be spread evenly over {nodes} machines; {more} can"
            problems.append(Problem("LOAD005", "num_processes", why))
        wanted["num_gpus"] = max(1, processes // nodes)
    if not wanted:
        return {}
    ours = rest.pop("hardware", {})
    given = {"flavor": ours} if isinstance(ours, str) else cast("object", ours)
    # anything else is the spec's to refuse
    return {"hardware": {**wanted, **cast("Mapping[str, Any]", given)} if isinstance(given, Mapping) else given}


def _deepspeed_file(rest: Values, wanted: Values, name: Any, read_yaml: ReadYAML) -> None:
    """A file of DeepSpeed, embedded: it is the strategy then."""
    if isinstance(name, str) and name:
        rest["deepspeed"] = read_yaml(file_at(name))
        wanted.pop("strategy", None)


def embedded(values: Mapping[str, Any], read_yaml: ReadYAML) -> Values:
    """The same with the files that ``deepspeed``, ``fsdp_config`` and ``accelerator_config`` name in their place.

    Args:
        values: Fields of a spec; those of ``hardware`` may be in a group, or flat.
        read_yaml: Reads a file.
    """
    found: Values = dict(values)
    for name in ("deepspeed", "fsdp_config", "accelerator_config"):
        value = found.get(name)
        if isinstance(value, str) and value.strip()[:1] not in ("{", ""):
            found[name] = read_yaml(file_at(value))
        elif value == "":
            del found[name]
    if isinstance(group := found.get("hardware"), Mapping):
        inner = cast("Mapping[str, Any]", group)
        found["hardware"] = embedded({key: value for key, value in inner.items() if key != "hardware"}, read_yaml)
    return found


def annotation_of(spec: type[TrainSpec], name: str) -> Any:
    """Type of an argument, by which its text is converted; ``None`` if there is no such argument."""
    if name in TYPES:
        return TYPES[name]
    field = spec.model_fields.get(name)
    return field.annotation if field else names.FOLDED_TYPES.get(name)


def parse_json(value: Any) -> Any:
    """The object or list that a text holds as JSON, as TRL's dict arguments take it; any other value as it is."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return json.loads(value)
        except (ValueError, RecursionError):
            return value
    return value
