"""Files that hold a spec, and files that a spec names: read and parsed within bounds, whatever they turn out to be."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, cast

from hfjobs_trainer.errors import SpecError
from hfjobs_trainer.problems import Problem
from hfjobs_trainer.specs.blocks import opens_block, read_block
from hfjobs_trainer.specs.given import FAILURES, take_fields

LARGEST = 4_000_000
"""Bytes of the largest file: a rendered script has some 60,000."""
LARGEST_YAML = 500_000
"""Bytes of the largest YAML, of which PyYAML reads about half a megabyte in a second."""


def path_of(source: object) -> Path | None:
    """The path that a text or an object means, in which a leading ``~/`` is the home folder; ``None`` if it is none."""
    try:
        path = Path(str.__str__(source) if isinstance(source, str) else os.fspath(cast("os.PathLike[str]", source)))
    except FAILURES:  # of an object's own __fspath__
        return None
    with contextlib.suppress(RuntimeError):  # where there is no home
        return path.expanduser() if path.parts[:1] == ("~",) else path
    return path


def is_file(path: Path) -> bool:
    """Whether a file is there; ``False`` for what cannot be the name of one."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def read_text(path: Path, most: int = LARGEST) -> str:
    """The text of a file of this machine, of at most so many bytes.

    Nothing is waited for: a pipe, a device or a folder is refused before it is read.

    Raises:
        OSError: It cannot be opened or read; ``strerror`` says why.
        ValueError: It is no file, too large, or not UTF-8.
    """
    data = read_bytes(path, most)
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None


def read_bytes(path: Path, most: int = LARGEST) -> bytes:
    """The bytes of a file of this machine; raises as ``read_text`` does."""
    with open_file(path) as stream:
        # what the system makes up as it is read (/proc) says that it is empty
        # and nothing where one would have to wait for more
        data = (stream.read(most + 1) or b"") if os.fstat(stream.fileno()).st_size <= most else None
    if data is None or len(data) > most:
        raise ValueError(f"it has more than {most:,} bytes")
    return data


def open_file(path: Path) -> BinaryIO:
    """A file of this machine, to be read.

    Raises:
        OSError: It cannot be opened, or is a folder.
        ValueError: It is a pipe, a socket or a device.
    """
    # without waiting for who writes into a pipe
    flags = (getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOCTTY", "O_BINARY", "O_CLOEXEC"))
    number = os.open(path, os.O_RDONLY | sum(flags))
    mode = os.fstat(number).st_mode
    if stat.S_ISREG(mode):
        return os.fdopen(number, "rb")
    os.close(number)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    raise ValueError(f"it is {_kind(mode)}, not a file")


def _kind(mode: int) -> str:
    kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def read_spec(file: Path) -> Any:
    """What a file holds: a mapping, if it is a spec.

    Raises:
        SpecError: It cannot be read, or is not what its name says.
    """
    try:
        text = read_text(file, LARGEST_YAML if file.suffix in _YAML else LARGEST)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SpecError([Problem("LOAD001", "", f"{file} cannot be read: {reason}")], "file") from None
    return parse_text(file, text)


_YAML = (".yaml", ".yml")


def parse_text(file: Path, text: str) -> Any:
    """The same of the text of a file.

    Raises:
        SpecError: It is not what the file's name says.
    """
    try:
        if file.suffix == ".py":
            return _bounded(_parse_json(_spec_of_script(text)))
        if file.suffix == ".json":
            return _bounded(_unwrapped(_parse_json(text)))
        if file.suffix in _YAML:
            from hfjobs_trainer.specs.yaml_text import parse_yaml

            return _bounded(parse_yaml(text))
    except RecursionError:
        raise _not_valid(f"{file.name}: it is nested too deeply") from None
    except ValueError as error:
        raise _not_valid(f"{file.name}: {error}") from None
    known = '.yaml, .yml, .json, or .py of a rendered script; a model on the Hub is "namespace/name"'
    raise _not_valid(f"{file.name} is not a spec file: the name must end in {known}")


def _bounded(raw: Any) -> Any:
    if not isinstance(raw, Mapping):
        return raw
    fields, refused = take_fields(cast("Mapping[Any, Any]", raw))
    if refused:
        raise ValueError("; ".join(f"{item.path} {item.why}".lstrip() for item in refused[:5]))
    return fields


def _not_valid(why: str) -> SpecError:
    return SpecError([Problem("LOAD002", "", why)], "file")


def _parse_json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_distinct)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for index, name in enumerate(names) if name in names[:index])
        raise ValueError(f"the key {twice!r:.60} comes twice")
    return found


def _unwrapped(raw: Any) -> Any:
    """The spec of what lies beside a model's weights; anything else as it is."""
    fields: dict[str, Any] = dict(cast("Mapping[str, Any]", raw)) if isinstance(raw, Mapping) else {}
    return fields["spec"] if fields.keys() == {"digest", "spec"} else cast("object", raw)


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
