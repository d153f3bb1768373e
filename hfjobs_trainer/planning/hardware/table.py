"""Tables of text cells, for a terminal and for a notebook."""

from __future__ import annotations

import html
from collections.abc import Collection, Iterable, Sequence


def as_text(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str, *, right: Collection[str]) -> str:
    """Aligned columns under a header, those named in ``right`` to the right; the caption is the last line."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]

    def aligned(line: Sequence[str]) -> str:
        cells = zip(header, line, widths, strict=True)
        padded = [cell.rjust(width) if name in right else cell.ljust(width) for name, cell, width in cells]
        return "  ".join(padded).rstrip()

    return "\n".join([*map(aligned, lines), caption])


def as_html(header: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    """The same as an HTML table."""

    def row(tag: str, cells: Iterable[str]) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    head, body = row("th", header), "".join(row("td", cells) for cells in rows)
    return f"<table><caption>{html.escape(caption)}</caption><thead>{head}</thead><tbody>{body}</tbody></table>"
