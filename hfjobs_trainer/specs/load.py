"""A spec from a file (YAML, JSON, a script that this package rendered) or from a ``trl`` command line."""

from __future__ import annotations

import json
import os
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast, get_args

from pydantic import TypeAdapter, ValidationError

from hfjobs_trainer.contents import find_kept, split_pin
from hfjobs_trainer.errors import SpecError
from hfjobs_trainer.facts import Facts
from hfjobs_trainer.problems import Problem
from hfjobs_trainer.specs import trl_cli
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.blocks import opens_block, read_block
from hfjobs_trainer.specs.groups import Group
from hfjobs_trainer.specs.inputs import inputs
from hfjobs_trainer.specs.parse import parse
from hfjobs_trainer.specs.registry import METHODS
from hfjobs_trainer.specs.script import Script

CODES: dict[str, str] = {
    "LOAD001": "The file cannot be read.",
    "LOAD002": "The file is not valid YAML or JSON, or is a script without a spec.",
    "LOAD003": "The command line is not a training command, or cannot be split into words.",
    "LOAD004": "The file has no training method, or another one.",
    "LOAD005": "An argument of TRL's command line that a spec does not support.",
    "LOAD006": "A local model or dataset that the spec names by its content is not on this machine.",
}
"""The problems that loading itself finds, by code."""


def load(source: str | os.PathLike[str] | Sequence[str], *, method: str | None = None) -> TrainSpec | Script:
    """Read a spec from a file, or from a ``trl`` command line.

    A ``.yaml``, ``.yml`` or ``.json`` file has the fields of a spec, or TRL's names as for ``trl --config``, or both. A
    rendered ``.py`` script carries its spec. In YAML and on a command line, text is converted to the type of its field,
    since YAML reads ``2e-5`` as text.

    Args:
        source: A path, or a command line: text that begins with ``trl``, or a list of words: ``hft.load("trl sft
            --config sft.yaml --learning_rate 1e-5")``. Its arguments take precedence over those of the file.
        method: Training method, if the file does not have it; default: from the file's name, as in ``sft_config.yaml``.

    Raises:
        SpecError: The source cannot be read or is not a valid spec, or local data that it names by their content are
            not on this machine; ``.problems`` has all problems.
    """
    if isinstance(source, str) and trl_cli.is_command_line(source):
        try:
            words = trl_cli.split_command_line(source)
        except ValueError as error:
            raise _failure("LOAD003", f"the command line cannot be read: {error}") from None
        return _load_command(words, method)
    if isinstance(source, list | tuple):
        return _load_command([str(word) for word in cast("Sequence[object]", source)], method)
    file = trl_cli.file_at(cast("str | os.PathLike[str]", source))
    raw = _read(file)
    if not isinstance(raw, Mapping):
        return _spec(raw, [], file.name)
    values = dict(cast("Mapping[str, Any]", raw))
    said = values.pop("method", None) or method or _method_in(file.stem)
    if method not in (None, said):
        raise _failure("LOAD004", f"{file.name} says method: {said}, not {method}", f'method="{said}"')
    if not trl_cli.is_config(values):
        return _spec(_typed(values | ({"method": said} if said else {})), [], file.name)
    if said is None:
        known = ", ".join(METHODS)
        why = f"{file.name} is written for the trl command, but for which: one of {known}?"
        raise _failure("LOAD004", why, 'method="sft"')
    return _load_trl(said, values, file.name)


def _load_command(words: list[str], method: str | None) -> TrainSpec | Script:
    command = words[1] if words[:1] == ["trl"] and len(words) > 1 else None
    if command is None or command not in METHODS or method not in (None, command):
        why = (
            f"`{' '.join(words[:2])}` is not a supported training command"
            if command
            else "it is not a trl command line"
        )
        known = ", ".join(f"trl {name}" for name in METHODS)
        raise _failure("LOAD003", f"{why}; there are {known}")
    flags, problems = trl_cli.read_flags(words[2:])
    path = flags.pop("config", None)
    config: Any = _read(trl_cli.file_at(path)) if isinstance(path, str) else None
    if config is None:
        config = dict[str, Any]()
    if not isinstance(config, Mapping):
        raise _failure("LOAD002", f"{path} holds no mapping")
    return _load_trl(command, {**cast("Mapping[str, Any]", config), **flags}, f"trl {command}", problems)


def _load_trl(
    method: str, values: Mapping[str, Any], name: str, problems: Sequence[Problem] = ()
) -> TrainSpec | Script:
    spec = METHODS.get(method)
    if spec is None:
        return _spec({"method": method}, problems, name)
    given = trl_cli.negated(spec, values)
    typed = {key: _convert(trl_cli.annotation_of(spec, key), value) for key, value in given.items()}
    fields, more = trl_cli.to_fields(spec, typed, _read)
    return _spec(_typed({"method": method, **fields}), [*problems, *more], name)


def _spec(raw: object, problems: Sequence[Problem], name: str) -> TrainSpec | Script:
    spec, found, subject = parse(raw)
    if spec is None or problems:
        raise SpecError([*problems, *found], f"{subject} ({name})")
    if isinstance(spec, TrainSpec) and (missing := [*_missing(spec)]):
        raise SpecError(missing, f"{subject} ({name})")
    return spec


def _missing(spec: TrainSpec) -> Iterator[Problem]:
    """A problem for each input that is named by its content and is neither at its path nor in the cache."""
    for item in inputs(spec, Facts()):
        path, digest = split_pin(item.id)
        if digest is not None and not Path(path).expanduser().exists() and find_kept(digest) is None:
            why = f"{path} with the SHA-256 {digest} is not on this machine: copy it to {Path(path).expanduser()}"
            yield Problem("LOAD006", item.id_path, why)


def _failure(code: str, why: str, fix: str = "") -> SpecError:
    return SpecError([Problem(code, "", why, fix)], "file" if code in ("LOAD001", "LOAD002") else "spec")


def _method_in(stem: str) -> str | None:
    """The method in a file's name, such as ``"dpo"`` for ``"my-dpo_config"``."""
    words = f"_{re.sub(r'[^a-z0-9]+', '_', stem.lower())}_"
    return max((name for name in METHODS if f"_{name}_" in words), key=len, default=None)


def _read(file: Path) -> Any:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        text = isinstance(error, UnicodeDecodeError)
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text" if text else str(error)
        raise SpecError([Problem("LOAD001", "", f"{file} cannot be read: {reason}")], "file") from None
    return _parse_text(file, text)


def _parse_text(file: Path, text: str) -> Any:
    try:
        if file.suffix == ".py":
            return json.loads(_spec_of_script(text))
        if file.suffix == ".json":
            return json.loads(text)
        if file.suffix in {".yaml", ".yml"}:
            import yaml

            try:
                return yaml.safe_load(text)
            except yaml.YAMLError as error:
                mark = getattr(error, "problem_mark", None)
                where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
                raise ValueError(f"{where}{getattr(error, 'problem', None) or 'it is no YAML'}") from None
    except (ValueError, RecursionError) as error:
        raise SpecError([Problem("LOAD002", "", f"{file.name}: {error}", "")], "file") from None
    known = ".yaml, .yml, .json, or .py of a rendered script"
    raise SpecError(
        [Problem("LOAD002", "", f"{file.name} is not a spec file: the name must end in {known}", "")], "file"
    )


def _spec_of_script(text: str) -> str:
    """The spec of a rendered script, as JSON: in a block at its end, formerly in a table of its header."""
    damaged = "the script's `# /// hfjobs-trainer` block is damaged"
    try:
        block = read_block(text, "hfjobs-trainer")
    except ValueError as error:
        raise ValueError(f"{damaged}: {error}") from None
    if block is None:
        if opens_block(text, "hfjobs-trainer"):
            raise ValueError(f"{damaged}: no line `# ///` ends it")
        return _spec_of_header(text)
    spec = block.get("spec")
    if not isinstance(spec, str):
        raise ValueError(f"{damaged}: it has no spec")
    try:
        json.loads(spec)
    except ValueError as error:
        raise ValueError(f"{damaged}: the spec is not valid JSON: {error}") from None
    return spec


def _spec_of_header(text: str) -> str:
    missing = "the script's header has no [tool.hfjobs-trainer] table with a spec"
    try:
        header = read_block(text, "script")
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{missing}; it is not valid TOML: {error}") from None
    except ValueError:
        raise ValueError("the script has more than one header") from None
    if header is None:
        raise ValueError("the script has no header of its own, and no `# /// hfjobs-trainer` block with a spec")
    try:
        spec = header["tool"]["hfjobs-trainer"]["spec"]
    except (KeyError, TypeError):
        spec = None
    if not isinstance(spec, str):
        raise ValueError(missing)
    return spec


def _typed(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Convert text to the type of its field, unless that is text itself."""
    name = raw.get("method")
    spec = METHODS[name] if isinstance(name, str) and name in METHODS else None
    if spec is None:
        return dict(raw)
    return {
        key: _convert(spec.model_fields[key].annotation, value) if key in spec.model_fields else value
        for key, value in raw.items()
    }


def _convert(annotation: Any, value: Any) -> Any:
    value = trl_cli.parse_json(value) if _takes(annotation, dict, list) else value
    if isinstance(value, Mapping):
        group = _group_of(annotation)
        if group is None:
            return cast("Any", value)
        fields = group.model_fields
        items = cast("Mapping[str, Any]", value).items()
        converted_items: dict[str, Any] = {}
        for key, item in items:
            field = fields.get(group.ALIASES.get(key, key))
            converted_items[key] = _convert(field.annotation, item) if field else item
        return converted_items
    if annotation is None or not isinstance(value, str | list):
        return value
    given = cast("Any", value)
    candidates = [given, [given]] if isinstance(value, str) and _takes(annotation, list) else [given]
    if value in ("none", "None", "null") and _takes(annotation, type(None)):
        candidates.append(None)
    adapter = TypeAdapter[Any](annotation)
    for strict in (True, False):
        for candidate in candidates:
            try:
                converted: Any = adapter.validate_python(candidate, strict=strict)
            except ValidationError:
                continue
            return cast("Any", converted) if isinstance(converted, bool | int | float | list | None) else given
    return given


def _takes(annotation: Any, *types: type) -> bool:
    members = (annotation, *getattr(annotation, "__args__", ()))
    return any(getattr(member, "__origin__", member) in types for member in members)


def _group_of(annotation: Any) -> type[Group] | None:
    if isinstance(annotation, type):
        return annotation if issubclass(annotation, Group) else None
    return next((group for member in get_args(annotation) if (group := _group_of(member))), None)
