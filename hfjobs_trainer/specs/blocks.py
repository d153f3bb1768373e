"""The metadata blocks of a script, as PEP 723 has them: ``# /// TYPE``, comment lines, ``# ///``."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any

_OPENING = re.compile(r"# /// ([a-zA-Z0-9-]+)")
_CLOSING = "# ///"


def find_blocks(text: str) -> Iterator[tuple[str, str]]:
    """Type and content of each block, in one pass over the lines.

    As in the reference implementation of PEP 723, a block reaches to the last ``# ///`` of the comment lines that
    follow its opening one another; one that is not closed is none.
    """
    run: list[str] = []
    for line in [*text.replace("\r\n", "\n").split("\n"), ""]:
        if line == "#" or line.startswith("# "):
            run.append(line)
            continue
        opened = next((index for index, item in enumerate(run) if _OPENING.fullmatch(item)), None)
        closed = next((index for index in range(len(run) - 1, -1, -1) if run[index] == _CLOSING), None)
        if opened is not None and closed is not None and closed > opened + 1:
            yield run[opened].removeprefix("# /// "), "\n".join(item[2:] for item in run[opened + 1 : closed])
        run = []


def read_block(text: str, kind: str) -> dict[str, Any] | None:
    """The TOML of a script's block of this type; ``None`` if it has none.

    Raises:
        ValueError: There is more than one, or it is not valid TOML.
    """
    found = [content for name, content in find_blocks(text) if name == kind]
    if len(found) > 1:
        raise ValueError("there is more than one")
    return tomllib.loads(found[0]) if found else None


def opens_block(text: str, kind: str) -> bool:
    """Whether a line of the text opens a block of this type, be it closed or not."""
    return any(line.rstrip() == f"# /// {kind}" for line in text.split("\n"))
