"""A spec from a file: YAML, JSON, or a script that this package rendered."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast, get_args

from pydantic import TypeAdapter, ValidationError

from hfjobs_trainer.errors import SpecError
from hfjobs_trainer.problems import Problem
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.groups import Group
from hfjobs_trainer.specs.parse import parse
from hfjobs_trainer.specs.registry import METHODS

CODES: dict[str, str] = {
    "LOAD001": "The file cannot be read.",
    "LOAD002": "The file is no YAML, no JSON, or a script without a spec in its header.",
}
"""The problems that loading itself finds, by code."""

# The block of PEP 723, as its reference implementation finds it.
_HEADER = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")


def load(path: str | os.PathLike[str]) -> TrainSpec:
    """Read a spec from a ``.yaml``, ``.yml``, ``.json`` or ``.py`` file.

    A script carries the spec that it was rendered from. In YAML, text is converted to the type of its field, since YAML
    reads ``2e-5`` as text.

    Raises:
        SpecError: The file cannot be read, or does not hold a spec; all problems at once.
    """
    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        text = isinstance(error, UnicodeDecodeError)
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text" if text else str(error)
        raise SpecError(
            [Problem("LOAD001", "", f"{file} cannot be read: {reason}", "check the path")], "file"
        ) from None
    raw = _read(file, text)
    spec, problems, subject = parse(_typed(cast("Mapping[str, Any]", raw)) if isinstance(raw, Mapping) else raw)
    if spec is None:
        raise SpecError(problems, f"{subject} ({file.name})")
    return spec


def _read(file: Path, text: str) -> Any:
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
    raise SpecError([Problem("LOAD002", "", f"{file.name} is no spec file: the name must end in {known}", "")], "file")


def _spec_of_script(text: str) -> str:
    import tomllib

    blocks = [match for match in _HEADER.finditer(text.replace("\r\n", "\n")) if match["type"] == "script"]
    if len(blocks) != 1:
        raise ValueError("the script has no header of its own" if not blocks else "the script has more than one header")
    content = "".join(
        line[2:] if line.startswith("# ") else line[1:] for line in blocks[0]["content"].splitlines(keepends=True)
    )
    try:
        spec = tomllib.loads(content)["tool"]["hfjobs-trainer"]["spec"]
    except (tomllib.TOMLDecodeError, KeyError, TypeError):
        spec = None
    if not isinstance(spec, str):
        raise ValueError("the script's header has no [tool.hfjobs-trainer] table with a spec")
    return spec


def _typed(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Convert text to the type of the field that it stands for, where it is not text itself."""
    name = raw.get("method")
    spec = METHODS[name] if isinstance(name, str) and name in METHODS else None
    if spec is None:
        return dict(raw)
    return {
        key: _convert(spec.model_fields[key].annotation, value) if key in spec.model_fields else value
        for key, value in raw.items()
    }


def _convert(annotation: Any, value: Any) -> Any:
    if isinstance(value, Mapping):
        group = _group_of(annotation)
        if group is None:
            return cast("Any", value)
        fields = group.model_fields
        items = cast("Mapping[str, Any]", value).items()
        converted: dict[str, Any] = {}
        for key, item in items:
            field = fields.get(group.ALIASES.get(key, key))
            converted[key] = _convert(field.annotation, item) if field else item
        return converted
    if not isinstance(value, str):
        return value
    adapter = TypeAdapter[Any](annotation)
    try:
        return adapter.validate_python(value, strict=True)
    except ValidationError:
        pass
    try:
        converted_text = adapter.validate_python(value, strict=False)
    except ValidationError:
        return value
    return converted_text if isinstance(converted_text, bool | int | float | None) else value


def _group_of(annotation: Any) -> type[Group] | None:
    if isinstance(annotation, type):
        return annotation if issubclass(annotation, Group) else None
    return next((group for member in get_args(annotation) if (group := _group_of(member))), None)
