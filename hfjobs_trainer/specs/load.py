"""A spec from a file (YAML, JSON, a script that this package rendered) or from a ``trl`` command line."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from hfjobs_trainer.contents import find_kept, split_pin
from hfjobs_trainer.errors import SpecError
from hfjobs_trainer.facts import Facts
from hfjobs_trainer.problems import Problem
from hfjobs_trainer.specs import earlier, launchers, names, openai_job, recipes, trl_cli
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.blocks import opens_block
from hfjobs_trainer.specs.explain import article
from hfjobs_trainer.specs.fixes import keywords
from hfjobs_trainer.specs.flags import lay_over
from hfjobs_trainer.specs.given import is_a, kind_of, listed, take_fields
from hfjobs_trainer.specs.inputs import inputs
from hfjobs_trainer.specs.locations import hub_address, is_valid_repo_id
from hfjobs_trainer.specs.notes import DEFAULTS, LEFT_OUT, Note
from hfjobs_trainer.specs.parse import parse
from hfjobs_trainer.specs.registry import METHODS
from hfjobs_trainer.specs.script import Script
from hfjobs_trainer.specs.shell_words import split_command_line
from hfjobs_trainer.specs.source import is_file, parse_text, path_of, read_spec
from hfjobs_trainer.specs.texts import class_of, convert, convert_all, group_of

CODES: dict[str, str] = {
    "LOAD001": "The file cannot be read.",
    "LOAD002": "The file is not valid YAML or JSON, or is a script without a spec.",
    "LOAD003": "The command line is not a training command, or cannot be split into words.",
    "LOAD004": "The file has no training method, or another one.",
    "LOAD005": "An argument of TRL's command line that a spec does not support.",
    "LOAD006": "A local model or dataset that the spec names by its content is not on this machine.",
    "LOAD007": "With strict=True: a word of earlier TRL, or of another tool, for which today's would be taken.",
}
"""The problems that loading itself finds, by code."""

# Linux itself takes at most 131,072 characters for one word, and about 2 MB for all.
_LONGEST_COMMAND, _MOST_WORDS = 200_000, 10_000
_FILES = frozenset({".yaml", ".yml", ".json", ".py"})

STORED = "hft_spec.json"
"""The file beside a model's weights that holds the spec, with its digest."""


def load(
    source: str | os.PathLike[str] | Sequence[str],
    *,
    method: str | None = None,
    strict: bool = False,
    flags: Sequence[str] = (),
    **fields: Any,
) -> TrainSpec | Script:
    """Read a spec from a file, or from the command line of a training; ``Client.load`` documents it.

    Raises:
        SpecError: The source cannot be read or is not a valid spec, or local data that it names by their content are
            not on this machine; ``.problems`` has all problems.
    """
    given, refused = take_fields(fields)
    if refused:
        raise SpecError(refused)
    words = _words(source)
    if words is not None:
        written = _of_command(words, method)
    else:
        file = _path(source)
        file = file / STORED if is_file(file / STORED) else file
        raw = read_spec(file)
        if not isinstance(raw, Mapping):
            return _spec(raw, file.name)
        written = _of_mapping(file, dict(cast("Mapping[str, Any]", raw)), method, given)
    return _load(_with_flags(written, flags), given, strict=strict)


def load_text(text: str, *, flags: Sequence[str] = ()) -> TrainSpec | Script:
    """The spec in a text: YAML, JSON or a rendered script.

    Args:
        text: The text.
        flags: As for ``load``.

    Raises:
        SpecError: As for ``load``.
    """
    is_script = opens_block(text, "hfjobs-trainer") or opens_block(text, "script")
    file = Path("standard input").with_suffix(".py" if is_script else ".yaml")
    raw = parse_text(file, text)
    if not isinstance(raw, Mapping):
        return _spec(raw, file.stem)
    written = _of_mapping(file, dict(cast("Mapping[str, Any]", raw)), None, {})
    return _load(_with_flags(written, flags), {}, strict=False)


def repository_in(source: object) -> tuple[str, str | None] | None:
    """The model on the Hub that a source names, by id or address, and the revision; ``None`` if it is none.

    A file or folder of this name comes first.
    """
    if not isinstance(source, str) or type(source) is not str or len(source) > _LONGEST_COMMAND:
        return None
    if found := hub_address(source, "model"):
        return found["id"], found.get("revision")
    is_id = source.count("/") == 1 and is_valid_repo_id(source) and Path(source).suffix not in _FILES
    return (source, None) if is_id and not Path(source).exists() else None


def load_stored(
    name: str, text: str, *, strict: bool = False, flags: Sequence[str] = (), **fields: Any
) -> TrainSpec | Script:
    """The spec that a model's ``hft_spec.json`` holds.

    Args:
        name: What to call it in a message.
        text: Its text.
        strict: As for ``load``.
        flags: As for ``load``.
        **fields: As for ``load``.

    Raises:
        SpecError: As for ``load``.
    """
    raw = parse_text(Path(name, STORED), text)
    values = dict(cast("Mapping[str, Any]", raw)) if isinstance(raw, Mapping) else {}
    return _load(_with_flags(_Written(name, values.pop("method", None), values), flags), fields, strict=strict)


@dataclass(frozen=True, slots=True)
class _Written:
    """What a file or a command line says.

    Attributes:
        name: What to call it in a message.
        method: Training method; ``None`` if it does not say.
        values: What it says, by name.
        fields: Fields of a spec that it says beside, which take precedence.
        notes: What was taken for what already.
        problems: What was not understood.
        is_command: Whether its words are those of TRL's command line, whichever they are.
    """

    name: str
    method: str | None
    values: Mapping[str, Any]
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])
    notes: Sequence[Note] = ()
    problems: Sequence[Problem] = ()
    is_command: bool = False


def _words(source: str | os.PathLike[str] | Sequence[str]) -> list[str] | None:
    """The words of a command line; ``None`` if it is a path."""
    if is_a(source, list) or is_a(source, tuple):
        return _listed(cast("Sequence[object]", source))
    if not is_a(source, str):
        return None
    text = str.__str__(cast("str", source))
    if len(text) > _LONGEST_COMMAND:
        why = f"a path or a command line of {len(text):,} characters: at most {_LONGEST_COMMAND:,} are allowed"
        raise _failure("LOAD003", why)
    if not launchers.is_command_line(text):
        return None
    try:
        words = split_command_line(text)
    except ValueError as error:
        raise _failure("LOAD003", f"the command line cannot be read: {error}") from None
    if len(words) > _MOST_WORDS:
        raise _failure("LOAD003", f"a command line of {len(words):,} words: at most {_MOST_WORDS:,} are allowed")
    return words


def _listed(words: Sequence[object]) -> list[str]:
    """The words of a command line that are a list already."""
    taken = [*listed(words)]
    if len(taken) > _MOST_WORDS:
        raise _failure("LOAD003", f"a command line of {len(taken):,} words: at most {_MOST_WORDS:,} are allowed")
    wrong = next((index for index, word in enumerate(taken) if not _is_word(word)), None)
    if wrong is not None:
        raise _failure("LOAD003", f"word {wrong} of the command line is {article(kind_of(taken[wrong]))}, not text")
    texts = [str.__str__(word) if isinstance(word, str) else str(word) for word in taken]
    if (length := sum(map(len, texts))) > _LONGEST_COMMAND:
        raise _failure("LOAD003", f"a command line of {length:,} characters: at most {_LONGEST_COMMAND:,} are allowed")
    return texts


def _is_word(word: object) -> bool:
    if is_a(word, str) or type(word) is bool or type(word) is float:
        return True
    return (type(word) is int and word.bit_length() < 64) or type(word) is type(Path())


def _path(source: object) -> Path:
    path = path_of(source)
    if path is None:
        why = f"load takes a path, a command line or the id of a model, not {article(kind_of(source))}"
        raise _failure("LOAD001", why)
    return path


def _of_mapping(file: Path, values: dict[str, Any], method: str | None, given: Mapping[str, Any]) -> _Written:
    is_theirs = openai_job.is_openai_job(values)
    return _of_openai(file, values, given) if is_theirs else _of_file(file, values, method)


def _with_flags(written: _Written, words: Sequence[str]) -> _Written:
    """The same with options of a command line, which take precedence."""
    if not words:
        return written
    said, problems = trl_cli.read_flags(words)
    method = said.pop("method", written.method)
    fields = {**written.fields, **({"dataset": said.pop("dataset")} if "dataset" in said else {})}
    spec = class_of(method)

    def shorthand_of(name: str) -> str | None:
        group = group_of(spec.model_fields[name].annotation) if spec and name in spec.model_fields else None
        return group.SHORTHAND if group else None

    values = lay_over(written.values, said, shorthand_of)
    problems = [*written.problems, *problems]
    return replace(written, method=method, values=values, fields=fields, problems=problems, is_command=True)


def _of_file(file: Path, values: dict[str, Any], method: str | None) -> _Written:
    said = values.pop("method", None) or method or _method_in(file)
    notes: list[Note] = []
    if said is None and (said := _method_named(str(values.get("output_dir", "")))):
        notes.append(Note("method", said, f"output_dir: {values['output_dir']}", "output_dir"))
    if method not in (None, said):
        raise _failure("LOAD004", f"{file.name} says method: {said}, not {method}", f'method="{said}"')
    if said is None and trl_cli.is_config(values):
        known = ", ".join(METHODS)
        why = f"{file.name} is written for the trl command, but for which: one of {known}?"
        raise _failure("LOAD004", why, 'method="sft"')
    return _Written(file.name, said, values, notes=notes)


def _of_openai(file: Path, job: dict[str, Any], given: Mapping[str, Any]) -> _Written:
    def find(id: str) -> str | None:
        places = (file.parent / name for name in (f"{id}.jsonl", id))
        return next((str(place if place.is_absolute() else f"./{place}") for place in places if is_file(place)), None)

    method, values, notes, problems = openai_job.read_openai_job(job, given, find)
    if method is None:
        raise SpecError(problems, "file")
    return _Written(file.name, method, values, notes=notes, problems=problems)


def _of_command(words: list[str], method: str | None) -> _Written:
    command = launchers.read_command(words)
    if isinstance(command, Problem) or method not in (None, command.method):
        why = command.why if isinstance(command, Problem) else f"it is a command for {command.method}, not {method}"
        raise _failure("LOAD003", why)
    flags, problems = trl_cli.read_flags(command.words)
    path, notes = flags.pop("config", None), list(command.notes)
    config: Any = read_spec(trl_cli.file_at(path)) if isinstance(path, str) else dict[str, Any]()
    if not isinstance(config, Mapping):
        raise _failure("LOAD002", f"{path} holds no mapping")
    values: Mapping[str, Any] = cast("Mapping[str, Any]", config)
    if flags.keys() & {"dataset_name", "dataset", "datasets"}:
        values, more = recipes.without_dataset(values, whole=False)
        notes += more
    values = {**values, **command.values, **flags}
    problems = [*command.problems, *problems]
    return _Written(f"trl {command.method}", command.method, values, command.fields, notes, problems, True)


def _load(written: _Written, given: Mapping[str, Any], *, strict: bool) -> TrainSpec | Script:
    """The spec of what is written, with fields that take precedence."""
    fields = {**written.fields, **given}
    values = {name: value for name, value in written.values.items() if fields.get(name, ...) is not None}
    fields = {name: value for name, value in fields.items() if value is not None}
    spec = METHODS.get(written.method) if isinstance(written.method, str) else None
    if spec is None:
        method = {} if written.method is None else {"method": written.method}
        typed = {**convert_all({**values, **method}), **fields}
        return _spec(method if written.problems else typed, written.name, written.problems)
    notes = list(written.notes)
    is_config = written.is_command or trl_cli.is_config(values)
    if "dataset" in fields:
        values, more = recipes.without_dataset(values, whole=True)
        notes += more
        if is_config and isinstance(fields["dataset"], str):
            values["dataset_name"] = fields.pop("dataset")
    values, translated = earlier.translate(spec, values)
    values, taken, problems = recipes.take(spec, values)
    if is_config or not values.keys().isdisjoint(trl_cli.MARKS):
        named = trl_cli.negated(spec, values)
        named = trl_cli.embedded(named, read_spec)
        typed = {key: convert(trl_cli.annotation_of(spec, key), value) for key, value in named.items()}
        values, more = trl_cli.to_fields(spec, typed, read_spec, translated)
        problems += more
    values = convert_all({**trl_cli.embedded(values, read_spec), "method": written.method})
    for name in fields:
        flat = [key for key, (group, _) in names.FOLDED.items() if group == name]
        values = {key: value for key, value in values.items() if key not in flat}
    problems = [*written.problems, *problems]
    problems = [problem for problem in problems if problem.path.split(".")[0] not in fields]
    notes = [note for note in (*notes, *taken, *translated) if note.path.split(".")[0] not in fields]
    if strict:
        problems += [_refused(note) for note in notes]
    loaded = _spec({**values, **fields}, written.name, problems)
    return loaded.with_notes(notes)


def _refused(note: Note) -> Problem:
    sets = note.value != LEFT_OUT and "." not in note.path and note.path != DEFAULTS
    return Problem("LOAD007", note.word, f"{note.why}", keywords({note.path: note.value}) if sets else "")


def _spec(raw: object, name: str, problems: Sequence[Problem] = ()) -> TrainSpec | Script:
    spec, found, subject = parse(raw)
    if spec is None or problems:
        told = {problem.path for problem in problems}
        raise SpecError([*problems, *(each for each in found if each.path not in told)], f"{subject} ({name})")
    if isinstance(spec, TrainSpec) and (missing := [*_missing(spec)]):
        raise SpecError(missing, f"{subject} ({name})")
    return spec


def _missing(spec: TrainSpec) -> Iterator[Problem]:
    """A problem for each input that is named by its content and is neither at its path nor in the cache."""
    for item in inputs(spec, Facts()):
        path, digest = split_pin(item.id)
        place = path_of(path)
        if digest is not None and not (place and os.path.exists(place)) and find_kept(digest) is None:  # noqa: PTH110 - it raises nothing
            why = f"{path} with the SHA-256 {digest} is not on this machine: copy it to {place}"
            yield Problem("LOAD006", item.id_path, why)


def _failure(code: str, why: str, fix: str = "") -> SpecError:
    return SpecError([Problem(code, "", why, fix)], "file" if code in ("LOAD001", "LOAD002") else "spec")


def _method_in(file: Path) -> str | None:
    """The method in a file's name, such as ``"dpo"`` for ``"my-dpo_config"``, else a folder's name."""
    folders = (folder for folder in reversed(file.parent.parts) if folder in METHODS)
    return _method_named(file.stem) or next(folders, None)


def _method_named(text: str) -> str | None:
    words = f"_{re.sub(r'[^a-z0-9]+', '_', text.lower())}_"
    return max((name for name in METHODS if f"_{name}_" in words), key=len, default=None)
