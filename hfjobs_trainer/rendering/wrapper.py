"""The wrapper of a script that exists already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hfjobs_trainer.rendering.page import Header


@dataclass(frozen=True, slots=True)
class Wrapper:
    """Everything that is rendered around a script.

    Attributes:
        header: The PEP 723 block.
        origin: URL or path that it was read from.
        sha256: SHA-256 of what was read.
        name: Name of its file.
        source: Its text.
        arguments: Arguments of its command line.
        num_gpus: GPUs that were planned for, 0 for none in particular.
        max_gpus: The most GPUs that are to train, 0 for all.
        launches: Whether it is started once per GPU; if not, it is left alone.
        tracker: Name of the tracker, ``"none"`` without one.
        tracks_files: Whether the tracker only writes files: it is told neither of the run nor of its end.
        tracking: Arguments of ``track``, or ``None``.
        tracked: Values of the user's own in the tracked run's config.
    """

    header: Header
    origin: str
    sha256: str
    name: str
    source: str
    arguments: Sequence[str] = ()
    num_gpus: int = 0
    max_gpus: int = 0
    launches: bool = True
    tracker: str = "none"
    tracks_files: bool = False
    tracking: Mapping[str, Any] | None = field(default=None)
    tracked: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def method(self) -> str:
        """Name of its template."""
        return "script"
