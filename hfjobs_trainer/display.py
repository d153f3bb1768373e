"""Tables and sections, as text and as HTML: how everything that a notebook or a terminal shows is laid out.

The HTML has no style sheet and no script, so that it looks like its surroundings and survives in a saved notebook.
"""

from __future__ import annotations

import dataclasses
import html
import textwrap
import warnings
from collections.abc import Collection, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

WIDTH = 110
"""Columns of a table that is wrapped, where nothing says how wide the screen is."""
GAP = "  "


def visible(text: str) -> str:
    """The text with what would move the cursor or hide spelt out: names are anyone's."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def shown(text: str, most: int = 80) -> str:
    """The text in quotes, its end left out if it is long: for a message about what somebody has given."""
    return repr(text) if len(text) <= most else f"{text[:most]!r}..."


def text_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], caption: str = "", *, right: Collection[str] = ()
) -> str:
    """Aligned columns under a header, those named in ``right`` to the right; the caption is the last line."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]

    def aligned(line: Sequence[str]) -> str:
        cells = zip(header, line, widths, strict=True)
        padded = [cell.rjust(width) if name in right else cell.ljust(width) for name, cell, width in cells]
        return GAP.join(padded).rstrip()

    return "\n".join([*map(aligned, lines), *([caption] if caption else [])])


def wrapped_table(header: Sequence[str], rows: Sequence[Sequence[str]], below: Sequence[str] = ()) -> list[str]:
    """Lines of a table whose last column is wrapped to ``WIDTH``.

    Args:
        header: Names of the columns.
        rows: The cells.
        below: For each row a line under its last cell, which is not wrapped, so that it can be copied; empty for none.
    """
    widths = [max(len(line[column]) for line in [header, *rows]) for column in range(len(header) - 1)]
    indent = sum(widths) + len(GAP) * len(widths)
    room = max(40, WIDTH - indent)

    def start(line: Sequence[str]) -> str:
        return "".join(cell.ljust(width) + GAP for cell, width in zip(line[:-1], widths, strict=True))

    lines = [start(header) + header[-1]]
    for index, row in enumerate(rows):
        first, *rest = textwrap.wrap(row[-1], room, break_long_words=False, break_on_hyphens=False) or [""]
        lines += [start(row) + first, *(" " * indent + line for line in rest)]
        if index < len(below) and below[index]:
            lines.append(" " * indent + below[index])
    return [line.rstrip() for line in lines]


def html_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "", *, right: Collection[str] = ()
) -> str:
    """The table as HTML, the columns named in ``right`` to the right; a cell keeps its line breaks."""
    # on each cell, since notebooks align every cell to the right
    styles = [f"style='text-align:{'right' if name in right else 'left'}'" for name in header]

    def row(tag: str, cells: Sequence[str]) -> str:
        aligned = zip(cells, styles, strict=True)
        return "<tr>" + "".join(f"<{tag} {style}>{text(cell)}</{tag}>" for cell, style in aligned) + "</tr>"

    head, body = row("th", header), "".join(row("td", cells) for cells in rows)
    named = f"<caption>{text(caption)}</caption>" if caption else ""
    return f"<table>{named}<thead>{head}</thead><tbody>{body}</tbody></table>"


def html_pairs(rows: Mapping[str, str | Sequence[str]]) -> str:
    """Names and what they are, one below the other; several lines of a value, too."""
    cells: list[str] = []
    for name, value in rows.items():
        lines = [value] if isinstance(value, str) else value
        told = "<br>".join(text(line) for line in lines)
        cells.append(f"<tr><th style='text-align:left'>{text(name)}</th><td style='text-align:left'>{told}</td></tr>")
    return f"<table><tbody>{''.join(cells)}</tbody></table>"


def html_section(title: str, body: str, *, is_open: bool = False) -> str:
    """A section that opens and closes by a click on its title; ``body`` is HTML."""
    return f"<details{' open' if is_open else ''}><summary>{text(title)}</summary>{body}</details>"


def html_code(code: str) -> str:
    """A text in the font of a terminal, in a box that scrolls."""
    return f"<pre style='max-height:30em;overflow:auto;font-family:monospace'>{html.escape(code)}</pre>"


def html_link(url: str | None, label: str) -> str:
    """A link where there is a URL that a browser may follow, else its label."""
    if url is None or not url.startswith(("https://", "http://")):
        return text(label)
    return f"<a href='{html.escape(url)}' target='_blank' rel='noopener'>{text(label)}</a>"


def text(value: str) -> str:
    """Any text as HTML that shows it."""
    return "<br>".join(html.escape(visible(line)) for line in value.split("\n"))


def given_fields(item: Any) -> str:
    """A dataclass as text, with those of its shown fields alone that have another value than their default."""
    shown: list[str] = []
    for field in dataclasses.fields(item):
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        if field.repr and (value := getattr(item, field.name)) != default:
            shown.append(f"{field.name}={value!r}")
    return f"{type(item).__name__}({', '.join(shown)})"


def within(text: str, most: int) -> str:
    """The text, of at most so many characters; what is cut off is counted in its place."""
    if len(text) <= most:
        return text
    note = f"... ({len(text):,} characters)"
    return text[: most - len(note)] + note


def plural(count: int, noun: str) -> str:
    """A count with its noun: ``"1 problem"``, ``"2 problems"``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


@contextmanager
def without_widget_warning() -> Generator[None]:
    """For an import of tqdm: in a notebook without its widgets, bars are plain, of which it warns."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="IProgress not found")
        yield
