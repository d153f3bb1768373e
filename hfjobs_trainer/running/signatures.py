"""The signatures of failures, read from ``data/failures.json``, and how one is found in a log."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any, Literal, get_args

from hfjobs_trainer.display import visible
from hfjobs_trainer.running.failing import traceback_before, users_line
from hfjobs_trainer.tokens import masked

Kind = Literal["told", "cause", "wrapper", "follow_on", "exit"]
"""What a signature is, the best evidence first: a line of our own script, a cause, an error around another one, an echo
of what happened elsewhere, an exit code alone. A later kind is told only where no earlier one is found."""
KINDS: tuple[Kind, ...] = get_args(Kind)

_MODULE = r"(?:[A-Za-z_][\w.]{0,120}\.)?"  # of an exception
_ANYTHING = re.compile(r"^\.\{0,\d+\}\??")  # what may stand before a pattern in its line
_NAME = re.compile(r"\{(\w+)\}")
_LONGEST_VALUE, _NAMED_WITHIN, _TRIES = 160, 30, 50

# Modules that are called otherwise on the package index.
_PACKAGES: Mapping[str, str] = {
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "dotenv": "python-dotenv",
    "google.protobuf": "protobuf",
    "flash_attn_interface": "flash-attn",
    "liger_kernel": "liger-kernel",
    "PIL": "pillow",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "yaml": "pyyaml",
}


@dataclass(frozen=True, slots=True, eq=False)
class Signature:
    """One way to fail, and how it is recognized.

    Attributes:
        code: Such as ``"RUN101"``; several signatures may share it.
        title: What it is, for tables.
        kind: What it is evidence of.
        patterns: Regular expressions, matched from the beginning of a line, perhaps into the next ones; each with one
            that is found wherever it matches, and quickly.
        near: What the traceback must have that ends with that line; ``None``: anything.
        far: What it must not have.
        exit_codes: Exit codes that are enough by themselves where the log says nothing.
        status: Expressions for the backend's explanation of the end, such as ``"Job timeout"``.
        cause, fix: Templates; the first one whose names are all known is told.
        source: URL or document.
    """

    code: str
    title: str
    kind: Kind
    patterns: tuple[tuple[re.Pattern[str], re.Pattern[str]], ...]
    near: re.Pattern[str] | None
    far: re.Pattern[str] | None
    exit_codes: tuple[int, ...]
    status: tuple[re.Pattern[str], ...]
    cause: tuple[str, ...]
    fix: tuple[str, ...]
    source: str


@dataclass(frozen=True, slots=True)
class Found:
    """A signature in a log.

    Attributes:
        signature: Which one.
        place: Number of the line; -1 for what the status says.
        values: What its texts may name.
    """

    signature: Signature
    place: int
    values: Mapping[str, str]


@cache
def signatures() -> tuple[Signature, ...]:
    """All of them, in the order in which they are looked for."""
    data = json.loads(files("hfjobs_trainer.data").joinpath("failures.json").read_text(encoding="utf-8"))
    return tuple(_signature(entry) for entry in data["failures"])


def _signature(entry: Mapping[str, Any]) -> Signature:
    def compiled(name: str) -> re.Pattern[str] | None:
        return re.compile(entry[name], re.MULTILINE) if name in entry else None

    def texts(name: str) -> tuple[str, ...]:
        return (entry[name],) if isinstance(entry[name], str) else tuple(entry[name])

    kind = entry.get("kind", "cause")
    if kind not in KINDS:
        raise ValueError(f"data/failures.json: {entry['code']} has the unknown kind {kind!r}")
    return Signature(
        code=entry["code"],
        title=entry["title"],
        kind=kind,
        patterns=tuple(_compiled(pattern) for pattern in entry.get("patterns", ())),
        near=compiled("near"),
        far=compiled("far"),
        exit_codes=tuple(entry.get("exit_codes", ())),
        status=tuple(re.compile(pattern) for pattern in entry.get("status", ())),
        cause=texts("cause"),
        fix=texts("fix"),
        source=entry["source"],
    )


def _compiled(pattern: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    anywhere = re.compile(_ANYTHING.sub("", pattern), re.MULTILINE)
    return re.compile(f"{_MODULE}(?:{pattern})", re.MULTILINE), anywhere


def find(lines: Sequence[str]) -> list[Found]:
    """The signatures in these lines, each at its first line; of several for one line, the first.

    An error often names in a later line what it is about: that is taken from the next 30 lines.
    """
    found: dict[Signature, Found] = {}
    unfit: Counter[Signature] = Counter()
    text, start = "\n".join(lines), 0  # a pattern may go on in the next lines
    possible = [
        (signature, patterns)
        for signature in signatures()
        if (patterns := [strict for strict, anywhere in signature.patterns if anywhere.search(text)])
    ]
    for number, line in enumerate(lines):
        for signature, patterns in possible:
            known = found.get(signature)
            if unfit[signature] > _TRIES or (known is not None and number > known.place + _NAMED_WITHIN):
                continue
            match = next((match for pattern in patterns if (match := pattern.match(text, start))), None)
            if match is None:
                continue
            told = traceback_before(lines, number)
            if not _fits(signature, "\n".join(told) if signature.near or signature.far else ""):
                unfit[signature] += 1
                continue
            values = {name: value for name, value in match.groupdict().items() if value}
            where = users_line(told)
            values = ({"line": where} if where else {}) | values
            if known is not None:
                found[signature] = replace(known, values=values | dict(known.values))
            elif all(number != other.place for other in found.values()):
                found[signature] = Found(signature, number, values)
        start += len(line) + 1
    return list(found.values())


def _fits(signature: Signature, traceback: str) -> bool:
    near, far = signature.near, signature.far
    return (near is None or near.search(traceback) is not None) and (far is None or far.search(traceback) is None)


def fill(templates: Sequence[str], values: Mapping[str, str], derive: Callable[[str], str | None]) -> str:
    """The first template whose names are all known, with their values; else the last one's known part.

    Args:
        templates: Texts with ``{name}``.
        values: What is known.
        derive: Gives the value of any other name, or ``None``.
    """

    def value(name: str) -> str | None:
        known = values.get(name)
        return derive(name) if known is None else known

    for template in templates:
        known = {name: value(name) for name in _NAME.findall(template)}
        if None not in known.values():
            return _NAME.sub(lambda match, known=known: _short(known[match[1]] or ""), template)
    return _NAME.sub("...", templates[-1])


def package_of(module: str) -> str:
    """The package that one installs for a module, as far as it has another name."""
    top = module.split(".")[0]
    return _PACKAGES.get(module) or _PACKAGES.get(top) or top.replace("_", "-")


def _short(value: str) -> str:
    """A value fit for a message: of one line, short, and without secrets."""
    plain = visible(masked(" ".join(value.split()))).rstrip(".")
    return plain if len(plain) <= _LONGEST_VALUE else f"{plain[: _LONGEST_VALUE - 4]} ..."
