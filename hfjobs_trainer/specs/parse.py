"""From what the user typed to a spec, or to every problem with it.

Pydantic stops at the first layer that fails; here all problems come at once. Names are sorted out first (old, refused,
folded, misspelt), then types are validated, and if anything was wrong the rules still run on what did parse.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast

from pydantic import BaseModel, TypeAdapter, ValidationError

from hfjobs_trainer.errors import SpecError
from hfjobs_trainer.facts.backends import ANYWHERE, BackendTraits
from hfjobs_trainer.problems import Problem
from hfjobs_trainer.specs import names
from hfjobs_trainer.specs.base import JobSpec, TrainSpec
from hfjobs_trainer.specs.explain import article, closest, explain, required
from hfjobs_trainer.specs.fixes import assign, group_of, keywords
from hfjobs_trainer.specs.given import Unreadable, is_a, is_mapping, kind_of, reading, take_fields
from hfjobs_trainer.specs.locations import hub_address
from hfjobs_trainer.specs.registry import METHODS
from hfjobs_trainer.specs.unparsed import check_parsed
from hfjobs_trainer.specs.values import plain, unwritable

if TYPE_CHECKING:
    from hfjobs_trainer.specs.script import Script

S = TypeVar("S", bound=JobSpec)

CODES: dict[str, str] = {
    "SPEC001": "This is not a spec: pass a spec, or a mapping with the key `method`.",
    "SPEC002": "A required field is missing.",
    "SPEC003": "A value has the wrong type, or is not one of the allowed values.",
    "SPEC004": "Neither an argument of this method in the pinned TRL, nor another field of its spec.",
    "SPEC005": "The name is an old one, or that of another library; the fix says what to use.",
    "SPEC006": "An argument of TRL that a spec does not accept; the message says why.",
    "SPEC007": "The same setting is given twice with different values: under TRL's name and in its group.",
}
"""The problems that parsing itself finds, by code."""

DEFECT = "SPEC008"
"""Code of a failure of this package's own; a test holds that nothing that is known leads to it."""

_QUANTIZED = {"load_in_4bit": "4bit", "load_in_8bit": "8bit"}
"""Switches of TRL's command line, and the quantization that they mean."""
_MOST_GUESSES = 20
"""Names for which a likely one is sought: with more, the whole is something else, and the search would take long."""
_ALMOST = 0.85
"""Likeness from which a name is taken for a misspelt one even if its value does not fit."""

_PLACEHOLDERS: dict[str, Any] = {
    "model": "placeholder/model",
    "dataset": "placeholder/dataset",
    "reward_funcs": ["accuracy_reward"],
    "reward_model": "placeholder/reward-model",
    "teacher_model": "placeholder/teacher",
    "script": "https://placeholder/script.py",
}


def build(spec: JobSpec, fields: Mapping[str, Any]) -> None:
    """Fill ``spec`` from ``fields``; raise ``SpecError`` with every problem if that cannot be."""
    taken, refused = take_fields(fields)
    if problems := _fill(spec, taken, refused):
        label = type(spec).METHOD.label
        raise SpecError([*problems, *_check_rest(type(spec), taken, problems, ANYWHERE)], f"{label} spec")


def parse(raw: object, *, backend: BackendTraits = ANYWHERE) -> tuple[TrainSpec | Script | None, list[Problem], str]:
    """A spec from a mapping that carries ``method``, all problems, and what to call it in a message.

    On problems the spec is ``None``, and what the rules say of the fields that did parse is among them. A spec that is
    one already is returned as it is.

    Args:
        raw: A spec, or a mapping that carries ``method``.
        backend: Where it would run: problems of a remote run are reported where a machine is rented.
    """
    from hfjobs_trainer.specs.script import Script

    if is_a(raw, TrainSpec) or is_a(raw, Script):
        spec = cast("TrainSpec | Script", raw)
        return spec, [], f"{type(spec).METHOD.label} spec"
    if not is_mapping(raw):
        got = "None" if raw is None else article(kind_of(raw))
        why = f"a spec is needed, or a mapping with the key method, not {got}"
        return None, [Problem("SPEC001", "", why)], "spec"
    fields, refused = take_fields(cast("Mapping[object, Any]", raw))
    name = fields.pop("method", None)
    if any(problem.path == "method" for problem in refused):
        return None, refused, "spec"
    if not isinstance(name, str) or (name not in METHODS and name != "script"):
        from hfjobs_trainer.specs.dropped import instead

        known = ", ".join(f'"{method}"' for method in METHODS)
        why = f"must be one of {known}" if name is not None else f"is missing: one of {known}"
        said = name if isinstance(name, str) else ""
        if said.lower() not in METHODS and (hint := instead(said)):
            return None, [Problem("SPEC001", "method", f'"{said}" is not one of {known}: {hint}')], "spec"
        close = closest(said.lower(), METHODS)
        return None, [Problem("SPEC001", "method", why, f'method="{close}"' if close else "")], "spec"
    spec_class: Any = Script if name == "script" else METHODS[name]
    subject = f"{spec_class.METHOD.label} spec"
    spec: TrainSpec | Script = spec_class.__new__(spec_class)
    problems = _fill(spec, fields, refused)
    if not problems:
        return spec, [], subject
    return None, [*problems, *_check_rest(spec_class, fields, problems, backend)], subject


def defect(error: Exception) -> Problem:
    """A failure of this package's own, as a problem; where it happened, and nothing of what the spec says."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" at {PurePath(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else ""
    why = f"checking failed with {kind_of(error)}{where}: a defect of hfjobs_trainer; please report it with the spec"
    return Problem(DEFECT, "", why)


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


def _fill(spec: JobSpec, fields: Mapping[str, Any], refused: list[Problem]) -> list[Problem]:
    data, problems = _sort_names(type(spec), fields)
    problems += [required(name) for name in type(spec).missing(data)]
    try:
        type(spec).__pydantic_validator__.validate_python(data, self_instance=spec)
    except ValidationError as error:
        problems += explain(error, data, type(spec), _subject(type(spec)))
        free: dict[str, Any] = {name: value for name, value in data.items() if isinstance(value, Mapping)}
    else:
        free = {name: getattr(spec, name) for name in spec.model_fields_set}
    told = {problem.path for problem in problems}
    for name, value in free.items():
        problems += [item for item in unwritable(value, name) if told.isdisjoint(_above(item.path))]
    left_out = {problem.path.split(".")[0] for problem in refused}
    return [*refused, *(item for item in problems if item.code != "SPEC002" or item.path not in left_out)]


def _above(path: str) -> list[str]:
    """A path, and those of what it is in."""
    parts = path.split(".")
    return [".".join(parts[:end]) for end in range(1, len(parts) + 1)]


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
    return check_parsed(remaining, broken, place)


# -- names


def _subject(spec: type[JobSpec]) -> str:
    return f"{spec.METHOD.config} in TRL" if spec.METHOD.config else f"hft.{spec.__name__}"


def _sort_names(spec: type[JobSpec], fields: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Split off the names that are not fields: fold each, or say what is wrong with it."""
    if not issubclass(spec, TrainSpec):
        return {name: value for name, value in fields.items() if name != "method"}, []
    method = spec.METHOD
    unknown = f"not an argument of {method.config} (TRL {spec.TRL_VERSION})"
    data: dict[str, Any] = {}
    folded: list[tuple[str, str, str, Any]] = []
    problems: list[Problem] = []
    strange = 0
    for name, value in fields.items():
        if name == "method":
            if value != method.name:
                problems.append(
                    Problem("SPEC003", name, f"this is {article(method.label)} spec", f'method="{method.name}"')
                )
        elif name in spec.model_fields:
            data[name] = value
        elif name in names.FOLDED:
            group, key = names.FOLDED[name]
            folded.append((name, group, key, _only_item(value) if name == "report_to" else value))
        elif names.FOLDED_FIELDS.get(name) in spec.model_fields:
            folded.append((name, names.FOLDED_FIELDS[name], "", value))
        elif name in _QUANTIZED and isinstance(value, bool):
            bits = _QUANTIZED[name]
            if value and _bits(fields.get("quantization")) != bits:
                folded.append((name, "quantization", "", bits))
        elif name == "trackio_static_space_id":
            if value is not False:
                why = "remove it: a static Space is always public, so the script never creates one"
                problems.append(Problem("SPEC006", name, why))
        elif name in names.REFUSED:
            problems.append(Problem("SPEC006", name, *names.REFUSED[name]))
        elif name in spec.TRAINER_ARGUMENTS and name in names.TRAINER:
            why = f"an argument of {method.trainer} that a spec does not take: {names.TRAINER[name]}"
            problems.append(Problem("SPEC006", name, why))
        elif today := names.renamed(spec.FORMER_NAMES, name):
            problems.append(_renamed(spec, fields, name, today, unknown))
        else:
            strange += 1
            guessed = strange <= _MOST_GUESSES
            problems.append(_misspelt(spec, name, value, unknown) if guessed else Problem("SPEC004", name, unknown))
    if data.get("chat_template") is not None and data.get("chat_template_path") is not None:
        why = "chat_template is given as well, which it would replace: give one of them"
        problems.append(Problem("SPEC007", "chat_template_path", why, "chat_template_path=None"))
    _take_as_meant(spec, data)
    _fold_model_init(data, folded, problems)
    for name, group, key, value in folded:
        _fold(data, problems, name, group, key, value)
    return data, problems


def _bits(quantization: Any) -> Any:
    written = _written_out("quantization", quantization)
    return cast("Mapping[str, Any]", written).get("bits") if isinstance(written, Mapping) else None


def _take_as_meant(spec: type[TrainSpec], data: dict[str, Any]) -> None:
    """Replace what has one meaning only: an adapter that is switched on or off, and pages of models on the Hub."""
    if data.get("lora") is True:
        data["lora"] = {}
    elif data.get("lora") is False:
        del data["lora"]
    for name in [name for name in data if f"{name}_revision" in spec.model_fields and isinstance(data[name], str)]:
        found = hub_address(data[name], "model")
        if found is not None and found.keys() <= {"id", "revision"}:
            data[name] = found["id"]
            data.update({f"{name}_revision": found["revision"]} if "revision" in found else {})
    if data.get("reward_funcs") == [] and data.get("environment_factory") is not None:
        del data["reward_funcs"]
    rewards = data.get("reward_funcs")
    items = cast("list[Any]", rewards if isinstance(rewards, list) else [rewards])
    pages = [hub_address(item, "model") if isinstance(item, str) else None for item in items]
    if any(pages):
        data["reward_funcs"] = [page["id"] if page else item for page, item in zip(pages, items, strict=True)]


def _renamed(spec: type[TrainSpec], fields: Mapping[str, Any], name: str, today: names.Today, unknown: str) -> Problem:
    if not today.path:
        return Problem("SPEC005", name, f"{unknown}: {today.note}; remove it")
    note = f", {today.note}" if today.note else ""
    why = f"{unknown}: it is {today.path} today{note}"
    try:
        with reading(name):
            value = plain(fields[name]) if today.value is None else today.value
    except Unreadable as error:
        return Problem("SPEC005", name, f"{why}; {error}")
    fits = value is not names.UNSAID and ("." in today.path or accepts(spec, today.path, value))
    return Problem("SPEC005", name, why, assign(spec, fields, {today.path: value}) if fits else "")


def _misspelt(spec: type[TrainSpec], name: str, value: Any, unknown: str) -> Problem:
    """What may be meant: a field that takes the value, or else one that is spelt almost the same."""
    close = closest(name, [*spec.model_fields, *names.FOLDED], 0.7)
    # YAML reads 2e-5 as text
    for meant in (value, *_number_in(value)) if close else ():
        if close and accepts(spec, close, meant):
            return Problem("SPEC004", name, f"{unknown}; {close} is", keywords({close: meant}))
    close = closest(name, [*spec.model_fields, *names.FOLDED], _ALMOST)
    return Problem("SPEC004", name, f"{unknown}; {close} is" if close else unknown)


def _number_in(value: Any) -> list[float]:
    try:
        number = float(value) if isinstance(value, str) else math.nan
    except ValueError:
        return []
    return [number] if math.isfinite(number) else []


def accepts(spec: type[TrainSpec], name: str, value: Any) -> bool:
    """Whether a field, or a folded name, takes this value."""
    kind: Any = names.FOLDED_TYPES.get(name)
    if name in spec.model_fields:
        field = spec.model_fields[name]
        kind = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    try:
        TypeAdapter[Any](kind).validate_python(value, strict=True)
    except (ValidationError, SpecError):
        return False
    return True


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
    dtype = rest.pop("torch_dtype", None)
    placed = rest.pop("device_map", None)
    kept = {"model_init_kwargs": rest or None}
    if dtype is not None:
        why = "TRL silently ignores it and loads float32; dtype is what it means"
        said = plain(dtype)
        fix = keywords(kept | {"dtype": said.removeprefix("torch.")}) if isinstance(said, str) else ""
        problems.append(Problem("SPEC005", "model_init_kwargs.torch_dtype", why, fix))
    if placed is not None:
        why = "the script places the model itself, one copy on each GPU"
        problems.append(Problem("SPEC006", "model_init_kwargs.device_map", why, keywords(kept)))
    for key, field in names.FOLDED_MODEL_INIT.items():
        if key not in rest:
            continue
        name, value = f"model_init_kwargs.{key}", rest.pop(key)
        if key == "quantization_config" and value is not None:
            from hfjobs_trainer.specs.quantization import quantization_of

            try:
                with reading(name, SpecError):
                    value = quantization_of(value, name)
            except SpecError as error:
                problems += error.problems
                continue
            except Unreadable as error:
                problems.append(Problem("SPEC003", name, str(error)))
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
        why = f"{path} is given as well, with another value: give one of them"
        problems.append(Problem("SPEC007", name, why))
    elif key:
        data[owner][key] = value
    else:
        data[owner] = value


def _written_out(owner: str, group: Any) -> Any:
    """A group as a mapping of what was set in it, if it is one: ``hardware="a10g-large"`` stands for its flavor."""
    if isinstance(group, str):
        known = group_of(TrainSpec.model_fields[owner].annotation)
        return {known.SHORTHAND: group} if known and known.SHORTHAND else group
    return group.model_dump(exclude_unset=True) if isinstance(group, BaseModel) else group
