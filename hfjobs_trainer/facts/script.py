"""Facts about an existing script."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class ScriptFacts:
    """A script as it was read, once.

    Attributes:
        text: Its text; ``None`` if it could not be read.
        sha256: SHA-256 of the bytes that were read, hexadecimal.
        problem: Why it could not be read.
        local_files: Arguments of its command line that name a file on this machine, and the file's absolute path.
        modules: Modules that it imports from beside it, as it imports them.
        reads: Literal paths that it reads and that are on this machine, and the absolute path of each.
    """

    text: str | None = None
    sha256: str | None = None
    problem: str | None = None
    local_files: Mapping[str, str] = field(default_factory=dict[str, str])
    modules: tuple[str, ...] = ()
    reads: Mapping[str, str] = field(default_factory=dict[str, str])
