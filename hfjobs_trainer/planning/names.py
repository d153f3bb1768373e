"""Names that the Hub accepts: labels, job names, repositories."""

from __future__ import annotations

import re

from hfjobs_trainer.contents import split_pin
from hfjobs_trainer.specs.registry import Method

# The Hub documents [A-Za-z0-9._-] up to 100 characters, but a period is refused when the job is created.
LABEL_LENGTH = 100
_KEY = re.compile(r"[A-Za-z0-9_-]{1,100}")
_VALUE = re.compile(r"[A-Za-z0-9_-]{0,100}")


def is_label_key(text: str) -> bool:
    """Whether the Hub accepts this as the key of a label."""
    return _KEY.fullmatch(text) is not None


def is_label_value(text: str) -> bool:
    """Whether the Hub accepts this as the value of a label."""
    return _VALUE.fullmatch(text) is not None


def slug(text: str, length: int = LABEL_LENGTH) -> str:
    """The text with everything but ``[A-Za-z0-9_-]`` replaced by hyphens: ``"beta-0.1"`` is ``"beta-0-1"``."""
    return re.sub(r"-{2,}", "-", re.sub(r"[^A-Za-z0-9_-]", "-", text)).strip("-")[:length].strip("-")


def file_name(text: str) -> str:
    """The text as the name of a repository or folder, with ``[A-Za-z0-9._-]`` only."""
    return re.sub(r"[-.]{2,}", "-", re.sub(r"[^A-Za-z0-9._-]", "-", text)).strip("-.")[:LABEL_LENGTH].strip("-.")


def basename(path: str) -> str:
    """Last part of a repository id or path, without the digest of what is there."""
    path = split_pin(path)[0]
    return path.rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1]


def default_output_dir(model: str, method: Method) -> str:
    """The output folder of a run that names none: after the model and the method."""
    return f"{file_name(basename(model)) or 'model'}-{method.label}"
