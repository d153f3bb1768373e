"""Pydantic's errors in our words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from pydantic import BaseModel, ValidationError

from hfjobs_trainer.errors import SpecError
from hfjobs_trainer.problems import Problem
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.fixes import REMOVE, assign, group_of
from hfjobs_trainer.specs.group import Group
from hfjobs_trainer.specs.groups import LoRA


def explain_group(error: ValidationError, data: Mapping[str, Any], group: type[Group]) -> list[Problem]:
    """Pydantic's errors on a group that was constructed on its own."""
    return explain(error, data, group, group.__name__)


def explain(error: ValidationError, data: Any, kind: type[BaseModel], subject: str) -> list[Problem]:
    """Pydantic's errors as problems, one for each field that is wrong.

    Args:
        error: What pydantic raised.
        data: What it was given.
        kind: The class of spec, or the group, that was to be made of it.
        subject: What to call it in a message.
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
        by_path.setdefault(path, []).append(_one(item, path, data, kind, subject))
    return [_most_telling(problems) for problems in by_path.values()]


def _one(item: Any, path: str, data: Any, of: type[BaseModel], subject: str) -> Problem:
    kind, message = item["type"], item["msg"]
    if kind == "given_twice":
        return Problem("SPEC007", path, f"{message}: give one of them")
    if kind == "one_of_several":
        return Problem("SPEC003", path, message, assign(of, data, {path: item["ctx"]["first"]}))
    if kind == "missing":
        return required(path)
    value = _lookup(data, path)
    if kind == "extra_forbidden":
        parent, _, leaf = path.rpartition(".")
        fields = list(_group_fields(parent) if parent else _fields_of(of))
        close = closest(leaf, fields)
        known = f"; its fields are {', '.join(fields)}" if fields else ""
        fix = (
            assign(of, data, {path: REMOVE, f"{parent}.{close}": value} if parent else {close: value}) if close else ""
        )
        return Problem("SPEC004", path, f"not a field of {parent or subject}{known}", fix)
    if kind == "literal_error":
        expected = item["ctx"]["expected"]
        choices = [part.strip("' ") for part in expected.replace(" or ", ", ").split(", ")]
        close = "no" if value is False and "no" in choices else closest(str(value), choices, 0.5)
        fix = assign(of, data, {path: close}) if close else ""
        if path in _MAY_BE_NONE:
            expected = f"{expected.replace(' or ', ', ')} or None"
            fix = assign(of, data, {path: None}) if str(value).lower() in _OFF else fix
        return Problem("SPEC003", path, f"must be {expected}", fix)
    if isinstance(value, str) and item["type"] in _NUMBERS and (number := _number(value, item["type"])) is not None:
        return Problem("SPEC003", path, f"{_NUMBERS[item['type']]}, not a str", assign(of, data, {path: number}))
    if kind == "too_long" and isinstance(value, list | dict):
        return Problem("SPEC003", path, f"has {len(cast('Any', value)):,} items: at most {item['ctx']['max_length']:,}")
    own = message.startswith("Value error, ")
    message = message.removeprefix("Value error, ").replace("Input should be", "must be")
    message = message if own else message[:1].lower() + message[1:]
    got = f", not {article(type(value).__name__)}" if kind.endswith("_type") and value is not None else ""
    return Problem("SPEC003", path, message + got)


def required(path: str) -> Problem:
    """What to say of a field that is missing."""
    why, fix = _EXAMPLES.get(path, ("", ""))
    return Problem("SPEC002", path, f"is required{why}", fix)


# What to say of a field that is missing, and an example of it.
_EXAMPLES = {
    "model": ("", 'model="Qwen/Qwen2.5-0.5B"'),
    "dataset": ("", 'dataset="trl-lib/Capybara"'),
    "reward_funcs": (": functions of yours, or TRL's by name", 'reward_funcs="accuracy_reward"'),
    "reward_model": (": a model such as hft.Reward trains", ""),
    "teacher_model": (": a larger model with the same vocabulary", ""),
}
_OFF = ("false", "none", "no", "off", "null", "")
# Choices of which None is one that says something.
_MAY_BE_NONE = ("output.checkpoints", "checkpoints")
# Nobody misspells a name as one that is longer; comparing those takes long.
_LONGEST_NAME = 100
_NUMBERS = {
    "int_type": "must be a valid integer",
    "float_type": "must be a valid number",
    "bool_type": "must be a valid boolean",
}


def _number(text: str, kind: str) -> int | float | bool | None:
    """The number, or the truth value, that a text is; ``None`` if it is none of this kind."""
    try:
        if kind == "bool_type":
            return {"true": True, "false": False}.get(text.strip().lower())
        return int(text) if kind == "int_type" else float(text)
    except ValueError:
        return None


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
    group = group_of(field.annotation) if field else None
    return _fields_of(group) if group else {}


def _fields_of(kind: type[BaseModel]) -> dict[str, Any]:
    return dict(kind.model_fields) | (kind.ALIASES if issubclass(kind, Group) else {})


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
        elif isinstance(data, list | tuple) and part.isdecimal() and int(part) < len(cast("list[Any]", data)):
            data = cast("list[Any]", data)[int(part)]
        else:
            return None
    return data


def closest(typed: str, known: Iterable[str], likeness: float = 0.6) -> str:
    """What was meant, or an empty text."""
    import difflib

    if len(typed) > _LONGEST_NAME:
        return ""
    return next(iter(difflib.get_close_matches(typed, known, 1, likeness)), "")


def article(noun: str) -> str:
    """The noun with its article."""
    vowel = noun[:1].lower() in "aeio" or (noun[:2].isupper() and noun[:1] in "FSRLMNX")
    return f"{'an' if vowel else 'a'} {noun}"
