"""Where a model or dataset is, told from how it is written: a Hub id or a path on this machine. Nothing is opened."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal

from hfjobs_trainer.contents import split_pin

LOADERS: Mapping[str, str] = MappingProxyType(
    {
        ".jsonl": "json",
        ".ndjson": "json",
        ".json": "json",
        ".csv": "csv",
        ".tsv": "csv",
        ".txt": "text",
        ".parquet": "parquet",
        ".arrow": "arrow",
    }
)
"""Endings of the data files that a spec takes, each with its loader in ``datasets``; the text formats also with
``.gz``."""
TEMPLATES = (".jinja", ".j2")
"""How the name of a file ends that ``chat_template_path`` takes (TRL 1.16: trainer/sft_trainer.py)."""
_BINARY = (".parquet", ".arrow")

_WINDOWS_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_PATH_PREFIXES = ("/", "./", "../", "~", ".\\", "..\\", "\\\\")

_NAME = r"\w(?:[\w\-.]{0,94}\w)?"
_REPO_ID = re.compile(rf"(?:{_NAME}/)?{_NAME}", re.ASCII)


_ADDRESS = re.compile(
    r"(?:https?://(?:www\.)?(?:huggingface\.co|hf\.co)|hf:/)/(?P<kind>models/|datasets/)?(?P<id>[^/?#@]+(?:/[^/?#@]+)?)"
    r"(?:/tree/(?P<revision>[^/?#]+)|/viewer(?:/(?P<config>[^/?#]+)(?:/(?P<split>[^/?#]+))?)?)?/?(?:[?#].*)?"
)


def hub_address(text: str, kind: Literal["model", "dataset"]) -> dict[str, str] | None:
    """What the address of a page of the Hub means: ``id``, and ``revision``, ``config`` and ``split`` if it has them.

    ``None`` if it is no address of a model, or of a dataset, as a whole.
    """
    found = _ADDRESS.fullmatch(text)
    if found is None or (found["kind"] == "datasets/") != (kind == "dataset") or not is_valid_repo_id(found["id"]):
        return None
    if found["kind"] is None and found["id"].split("/")[0] in ("spaces", "docs", "papers", "collections", "blog"):
        return None
    parts = {name: part for name, part in found.groupdict().items() if part is not None and name != "kind"}
    return {name: part for name, part in parts.items() if (name, part) != ("revision", "main")}


def data_suffix(name: str) -> str | None:
    """The data format in which a file of this name is, as one of ``LOADERS``; ``None`` for any other file."""
    lowered = split_pin(name)[0].lower()
    unpacked = lowered.removesuffix(".gz")
    found = next((suffix for suffix in LOADERS if unpacked.endswith(suffix)), None)
    return None if found in _BINARY and unpacked != lowered else found


def is_local_path(text: str) -> bool:
    """Whether ``text`` means a path on this machine; everything else means a repository on the Hub.

    A path starts with ``/``, ``./``, ``../``, ``~`` or a Windows drive, or ends like a data file (``train.jsonl``), or
    with the digest of what is there (``rows@sha256:...``). A folder beside the script is therefore written
    ``./my-model``.
    """
    return (
        text in {".", ".."}
        or text.startswith(_PATH_PREFIXES)
        or _WINDOWS_DRIVE.match(text) is not None
        or data_suffix(text) is not None
        or split_pin(text)[1] is not None
    )


# As git has it (git check-ref-format), and no longer than a file's name.
_NO_REVISION = re.compile(r"[\x00-\x20\x7f~^:?*\[\\\ud800-\udfff]|\.\.|//|@\{|(?:^|/)\.|^[/-]|[/.]$|\.lock(?:/|$)|^@$")
_LONGEST_REVISION = 255


def revision_of(text: str | None) -> str | None:
    """The same, if a branch, a tag or a commit can have this name.

    Raises:
        ValueError: None can.
    """
    if text is not None and (len(text) > _LONGEST_REVISION or _NO_REVISION.search(text)):
        raise ValueError("no branch, tag or commit can have this name")
    return text


def is_valid_repo_id(text: str) -> bool:
    """Whether the Hub could have a repository of this name: ``"name"`` or ``"namespace/name"``.

    Each part has at most 96 ASCII letters, digits, ``-``, ``_`` and ``.``, with neither ``-`` nor ``.`` at an end and
    without ``--`` and ``..``; the whole does not end in ``.git``. The Hub's own client applies the same rule.
    """
    return _REPO_ID.fullmatch(text) is not None and "--" not in text and ".." not in text and not text.endswith(".git")
