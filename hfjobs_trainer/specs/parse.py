"""From what the user typed to a spec, or to every problem with it.

Pydantic stops at the first layer that fails; here all problems come at once. Names are sorted out first (old, refused,
folded, misspelt), then types are validated, and if anything was wrong the rules still run on what did parse.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, TypeVar, cast, get_args

from pydantic import BaseModel, ValidationError

from hfjobs_trainer.errors import SpecError
from hfjobs_trainer.facts.backends import LOCAL, BackendTraits
from hfjobs_trainer.problems import Problem, run_rules
from hfjobs_trainer.specs import names
from hfjobs_trainer.specs.base import JobSpec, TrainSpec
from hfjobs_trainer.specs.context import Context
from hfjobs_trainer.specs.dropped import instead
from hfjobs_trainer.specs.groups import Dataset, Group, LoRA
from hfjobs_trainer.specs.quantization import quantization_of
from hfjobs_trainer.specs.registry import METHODS
from hfjobs_trainer.specs.script import Script
from hfjobs_trainer.specs.values import unwritable

S = TypeVar("S", bound=JobSpec)

CODES: dict[str, str] = {
    "SPEC001": "What was given is no spec: a mapping with the key `method` is needed.",
    "SPEC002": "A required field is missing.",
    "SPEC003": "A value has the wrong type, or is none of the allowed values.",
    "SPEC004": "The name is no argument of this method in the pinned TRL, and no field of ours.",
    "SPEC005": "The name was valid in an earlier TRL or transformers; the problem tells today's.",
    "SPEC006": "The name is an argument of TRL that a spec does not take; the problem tells why.",
    "SPEC007": "The same thing was given twice, under TRL's name and in its group, with different values.",
}
"""The problems that parsing itself finds, by code."""

_PLACEHOLDERS: dict[str, Any] = {
    "model": "placeholder/model",
    "dataset": Dataset(id="placeholder/dataset"),
    "reward_funcs": ["accuracy_reward"],
    "reward_model": "placeholder/reward-model",
    "teacher_model": "placeholder/teacher",
    "script": "https://placeholder/script.py",
}


def build(spec: JobSpec, fields: Mapping[str, Any]) -> None:
    """Fill ``spec`` from ``fields``; raise ``SpecError`` with every problem if that cannot be."""
    if problems := _fill(spec, fields):
        label = type(spec).METHOD.label
        # where it would run is not known yet: only what is wrong everywhere
        raise SpecError([*problems, *_check_rest(type(spec), fields, problems, LOCAL)], f"{label} spec")


def parse(raw: object, *, backend: BackendTraits = LOCAL) -> tuple[TrainSpec | Script | None, list[Problem], str]:
    """A spec from a mapping that carries ``method``, all problems, and what to call it in a message.

    On problems the spec is ``None``, and what the rules say of the fields that did parse is among them. A spec that is
    one already is returned as it is.

    Args:
        raw: A spec, or a mapping that carries ``method``.
        backend: Where it would run: problems of a remote run are told where a machine is rented.
    """
    if isinstance(raw, TrainSpec | Script):
        return raw, [], f"{type(raw).METHOD.label} spec"
    if not isinstance(raw, Mapping):
        got = "None" if raw is None else _article(type(raw).__name__)
        why = f"a spec is needed, or a mapping with the key method, not {got}"
        return None, [Problem("SPEC001", "", why, "hft.SFT(model=..., dataset=...)")], "spec"
    fields = {str(key): value for key, value in cast("Mapping[object, Any]", raw).items()}
    name = fields.pop("method", None)
    if not isinstance(name, str) or (name not in METHODS and name != "script"):
        known = ", ".join(f'"{method}"' for method in METHODS)
        why = f"must be one of {known}" if name is not None else f"is missing: one of {known}"
        if str(name).lower() not in METHODS and (hint := instead(str(name))):
            return None, [Problem("SPEC001", "method", f'"{name}" is none of them, which are {known}', hint)], "spec"
        close = difflib.get_close_matches(str(name).lower(), list(METHODS), 1)
        return None, [Problem("SPEC001", "method", why, f'method="{close[0]}"' if close else "")], "spec"
    spec_class: Any = _class_of(name)
    subject = f"{spec_class.METHOD.label} spec"
    spec: TrainSpec | Script = spec_class.__new__(spec_class)
    problems = _fill(spec, fields)
    if not problems:
        return spec, [], subject
    return None, [*problems, *_check_rest(spec_class, fields, problems, backend)], subject


def merged(spec: JobSpec, changes: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that were set in ``spec`` with ``changes`` on top, ready for its class."""
    fields: dict[str, Any] = {name: getattr(spec, name) for name in spec.model_fields_set if name != "method"}
    for name, value in changes.items():
        if name in names.FOLDED and name in spec.FOLDED:
            group, key = names.FOLDED[name]
            if group not in changes:
                # without the old value, of which the new one would otherwise be a contradiction
                kept: dict[str, Any] = fields[group] if isinstance(fields.get(group), dict) else {}
                kept = kept or getattr(spec, group).model_dump(exclude_unset=True)
                fields[group] = {item: old for item, old in kept.items() if item != key}
        elif value is None and not _none_means_something(type(spec), name):
            fields.pop(name, None)
            continue
        fields[name] = value
    return fields


def _none_means_something(spec: type[JobSpec], name: str) -> bool:
    field = spec.model_fields.get(name)
    return field is None or (field.default is not None and type(None) in getattr(field.annotation, "__args__", ()))


def _fill(spec: JobSpec, fields: Mapping[str, Any]) -> list[Problem]:
    data, problems = _sort_names(type(spec), fields)
    try:
        type(spec).__pydantic_validator__.validate_python(data, self_instance=spec)
    except ValidationError as error:
        problems += explain(error, data, _subject(type(spec)))
        free: dict[str, Any] = {name: value for name, value in data.items() if isinstance(value, Mapping)}
    else:
        free = {name: getattr(spec, name) for name in spec.model_fields_set}
    told = {problem.path for problem in problems}
    for name, value in free.items():
        problems += [problem for problem in unwritable(value, name) if problem.path not in told]
    return problems


def _check_rest(
    spec: type[S], fields: Mapping[str, Any], problems: list[Problem], place: BackendTraits
) -> list[Problem]:
    broken = {problem.path.split(".")[0] for problem in problems}
    data, _ = _sort_names(spec, {name: value for name, value in fields.items() if name not in broken})
    rest = {name: value for name, value in data.items() if name not in broken}
    for name, field in spec.model_fields.items():
        if field.is_required() and name not in rest:
            broken.add(name)
            rest[name] = _PLACEHOLDERS[name]
    remaining = spec.__new__(spec)
    try:
        spec.__pydantic_validator__.validate_python(rest, self_instance=remaining)
    except ValidationError:
        return []
    values: dict[str, Any] = vars(remaining)
    for name in broken:
        # not the placeholder or default: what a rule would say of that is no problem of the user's
        values.pop(name, None)
    context = Context(remaining, backend=place.name)
    found, _ = run_rules(context, method=spec.METHOD.name, stage="spec", skip_paths=broken)
    return [problem for problem in found if problem.scope == "script" or place.rents]


# -- names


def _class_of(name: str) -> type[TrainSpec | Script]:
    return Script if name == "script" else METHODS[name]


def _subject(spec: type[JobSpec]) -> str:
    return f"{spec.METHOD.config} in TRL" if spec.METHOD.config else f"hft.{spec.__name__}"


def _sort_names(spec: type[JobSpec], fields: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Split off what is no field: fold it, or say what is wrong with it."""
    if not issubclass(spec, TrainSpec):
        return {name: value for name, value in fields.items() if name != "method"}, []
    method = spec.METHOD
    data: dict[str, Any] = {}
    folded: list[tuple[str, str, str, Any]] = []
    problems: list[Problem] = []
    for name, value in fields.items():
        if name == "method":
            if value != method.name:
                problems.append(
                    Problem("SPEC003", name, f"this is {_article(method.label)} spec", f'method="{method.name}"')
                )
        elif name in spec.model_fields:
            data[name] = value
        elif name in names.FOLDED:
            group, key = names.FOLDED[name]
            folded.append((name, group, key, _only_item(value) if name == "report_to" else value))
        elif names.FOLDED_FIELDS.get(name) in spec.model_fields:
            folded.append((name, names.FOLDED_FIELDS[name], "", value))
        elif name == "trackio_static_space_id":
            if value is not False:
                why = "a static Space is always public; the script never makes one"
                problems.append(Problem("SPEC006", name, why, "leave it out"))
        elif name in names.REFUSED:
            problems.append(Problem("SPEC006", name, *names.REFUSED[name]))
        elif today := names.renamed(method.name, name):
            gone = today.startswith("nothing")
            fix = "leave it out" + today.removeprefix("nothing") if gone else f"use {today}"
            problems.append(Problem("SPEC005", name, f"is no argument of {method.config} in TRL today", fix))
        else:
            close = difflib.get_close_matches(name, [*spec.model_fields, *names.FOLDED], 1, 0.7)
            why = f"is no argument of {method.config} in the pinned TRL, and no field of {spec.__name__}"
            problems.append(Problem("SPEC004", name, why, close[0] if close else ""))
    _fold_model_init(data, folded, problems)
    for name, group, key, value in folded:
        _fold(data, problems, name, group, key, value)
    return data, problems


def _only_item(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    items = cast("list[Any]", value)
    return items[0] if len(items) == 1 else items


def _fold_model_init(data: dict[str, Any], folded: list[tuple[str, str, str, Any]], problems: list[Problem]) -> None:
    given = data.get("model_init_kwargs")
    if not isinstance(given, Mapping):
        return
    rest = dict(cast("Mapping[str, Any]", given))
    if "torch_dtype" in rest:
        rest.pop("torch_dtype")
        why = "TRL ignores it in silence and loads float32"
        problems.append(Problem("SPEC005", "model_init_kwargs.torch_dtype", why, 'use dtype="bfloat16"'))
    if "device_map" in rest:
        rest.pop("device_map")
        why = "the script places the model itself, one copy on each GPU"
        problems.append(Problem("SPEC006", "model_init_kwargs.device_map", why, "leave it out"))
    for key, field in names.FOLDED_MODEL_INIT.items():
        if key not in rest:
            continue
        name, value = f"model_init_kwargs.{key}", rest.pop(key)
        if key == "quantization_config" and value is not None:
            try:
                value = quantization_of(value, name)
            except SpecError as error:
                problems += error.problems
                continue
        folded.append((name, field, "", value))
    if rest:
        data["model_init_kwargs"] = rest
    else:
        del data["model_init_kwargs"]


def _fold(data: dict[str, Any], problems: list[Problem], name: str, owner: str, key: str, value: Any) -> None:
    path = f"{owner}.{key}" if key else owner
    if not key:
        current, has = data.get(owner), owner in data
        if isinstance(value, Mapping):
            current = _written_out(owner, current)
    else:
        group = _written_out(owner, data.get(owner, {}))
        if not isinstance(group, Mapping):
            return
        data[owner] = group = dict(cast("Mapping[str, Any]", group))
        current, has = group.get(key), key in group
    if has and current != value:
        why = f"{path} is given as well, with another value"
        problems.append(Problem("SPEC007", name, why, f"give one of {name} and {path}"))
    elif key:
        data[owner][key] = value
    else:
        data[owner] = value


def _written_out(owner: str, group: Any) -> Any:
    """A group as a mapping of what was set in it, if it is one: ``hardware="a10g-large"`` stands for its flavor."""
    if isinstance(group, str):
        known = _group_of(TrainSpec.model_fields[owner].annotation)
        return {known.SHORTHAND: group} if known and known.SHORTHAND else group
    return group.model_dump(exclude_unset=True) if isinstance(group, BaseModel) else group


# -- pydantic's errors in our words


def explain_group(error: ValidationError, data: Mapping[str, Any], group: type[Group]) -> list[Problem]:
    """Pydantic's errors on a group that was constructed on its own."""
    return explain(error, data, group.__name__, _fields_of(group))


def explain(error: ValidationError, data: Any, subject: str, known: Mapping[str, Any] | None = None) -> list[Problem]:
    """Pydantic's errors as problems, one for each field that is wrong.

    Args:
        error: What pydantic raised.
        data: What it was given.
        subject: What to call it in a message.
        known: Its fields, to name them where one is unknown.
    """
    by_path: dict[str, list[Problem]] = {}
    for item in error.errors(include_url=False, include_input=False):
        inner = item.get("ctx", {}).get("error")
        path = _path(item["loc"], data, item["type"])
        if isinstance(inner, SpecError):
            for problem in inner.problems:
                nested = f"{path}.{problem.path}" if problem.path else path
                by_path.setdefault(nested, []).append(Problem(problem.code, nested, problem.why, problem.fix))
            continue
        by_path.setdefault(path, []).append(_one(item, path, data, subject, known or {}))
    return [_most_telling(problems) for problems in by_path.values()]


def _one(item: Any, path: str, data: Any, subject: str, top: Mapping[str, Any]) -> Problem:
    kind, message = item["type"], item["msg"]
    if kind == "given_twice":
        return Problem("SPEC007", path, message, "give one of them")
    if kind == "missing":
        return Problem("SPEC002", path, "is required", _EXAMPLES.get(path, ""))
    if kind == "extra_forbidden":
        parent, _, leaf = path.rpartition(".")
        fields = list(_group_fields(parent) if parent else top)
        close = difflib.get_close_matches(leaf, fields, 1, 0.6)
        known = f"; known are {', '.join(fields)}" if fields else ""
        return Problem("SPEC004", path, f"is no field of {parent or subject}{known}", close[0] if close else "")
    value = _lookup(data, path)
    if kind == "literal_error":
        expected = item["ctx"]["expected"]
        choices = [part.strip("' ") for part in expected.replace(" or ", ", ").split(", ")]
        close = difflib.get_close_matches(str(value), choices, 1, 0.5)
        return Problem("SPEC003", path, f"must be {expected}", f'"{close[0]}"' if close else "")
    own = message.startswith("Value error, ")
    message = message.removeprefix("Value error, ").replace("Input should be", "must be")
    message = message if own else message[:1].lower() + message[1:]
    got = f", not {_article(type(value).__name__)}" if kind.endswith("_type") and value is not None else ""
    return Problem("SPEC003", path, message + got)


_EXAMPLES = {
    "model": 'model="Qwen/Qwen2.5-0.5B"',
    "dataset": 'dataset="trl-lib/Capybara"',
    "reward_funcs": 'reward_funcs="accuracy_reward", or a function of yours',
    "reward_model": 'reward_model="your-name/reward-model", which hft.Reward trains',
    "teacher_model": 'teacher_model="Qwen/Qwen2.5-7B-Instruct", a larger model with the same vocabulary',
}


def _most_telling(problems: list[Problem]) -> Problem:
    """One problem of a field for which each member of a union complained."""
    if len(problems) == 1:
        return problems[0]
    whys = list(dict.fromkeys(problem.why for problem in problems))
    first = problems[0]
    alternatives = [why.removeprefix("must be ").split(", not ")[0] for why in whys]
    fix = next((problem.fix for problem in problems if problem.fix), "")
    return Problem(first.code, first.path, "must be " + ", or ".join(alternatives), fix)


def _group_fields(name: str) -> dict[str, Any]:
    """Fields of the group that a field of the spec holds, its aliases among them."""
    field = TrainSpec.model_fields.get(name)
    group = _group_of(field.annotation) if field else None
    return _fields_of(group) if group else {}


def _fields_of(group: type[Group]) -> dict[str, Any]:
    return dict(group.model_fields) | group.ALIASES


def _group_of(annotation: Any) -> type[Group] | None:
    if isinstance(annotation, type):
        return annotation if issubclass(annotation, Group) else None
    return next((group for member in get_args(annotation) if (group := _group_of(member))), None)


def _path(location: tuple[int | str, ...], data: Any, kind: str) -> str:
    """Dotted path of an error; pydantic's names of union members are left out."""
    parts: list[str] = []
    current = data
    for index, part in enumerate(location):
        if isinstance(current, Mapping) and part not in current:
            # as it was typed: r may have been given as lora_r
            given = (alias for alias, field in LoRA.ALIASES.items() if field == part and alias in current)
            part = next(given, part)
        if isinstance(current, Mapping) and part in current:
            current = cast("Mapping[Any, Any]", current)[part]
        elif isinstance(part, int) and isinstance(current, list | tuple):
            items = cast("list[Any]", current)
            current = items[part] if part < len(items) else None
        elif not (index == 0 or (kind == "missing" and index == len(location) - 1)):
            continue
        else:
            current = None
        parts.append(str(part))
    return ".".join(parts)


def _lookup(data: Any, path: str) -> Any:
    for part in path.split("."):
        if isinstance(data, Mapping):
            data = cast("Mapping[Any, Any]", data).get(part)
        elif isinstance(data, list | tuple) and part.isdigit() and int(part) < len(cast("list[Any]", data)):
            data = cast("list[Any]", data)[int(part)]
        else:
            return None
    return data


def _article(noun: str) -> str:
    vowel = noun[:1].lower() in "aeio" or (noun[:2].isupper() and noun[:1] in "FSRLMNX")
    return f"{'an' if vowel else 'a'} {noun}"
