"""What the generated parts of pages are made of."""

from __future__ import annotations

from collections.abc import Iterable


def text_block(printed: str) -> str:
    """What is printed, as a block of a page."""
    return f"```text\n{printed}\n```"


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table; a bar in a cell is escaped."""
    header = list(header)
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |" for line in lines)
