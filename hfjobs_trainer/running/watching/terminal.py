"""The panel in a terminal, drawn with rich."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.panel import Panel
from rich.style import Style as RichStyle
from rich.text import Text

from hfjobs_trainer.running.watching.figures import ASCII, Marks, fitting
from hfjobs_trainer.running.watching.progress import Progress
from hfjobs_trainer.running.watching.view import LABEL, Row, Span, Style, view

# Of the terminal's own colors, so that they suit it, light or dark.
STYLES: dict[Style, str] = {
    "": "",
    "strong": "bold",
    "dim": "dim",
    "good": "green",
    "warn": "yellow",
    "bad": "red",
    "accent": "cyan",
}
WIDEST = 120
"""Columns of the panel at most: a longer line is harder to read."""
BORDERS = 4


def panel(progress: Progress, now: float, width: int, marks: Marks, height: int | None = None) -> Panel:
    """The panel of a run.

    Args:
        progress: What is known of it.
        now: Seconds since the epoch.
        width: Columns of the screen.
        marks: The characters to draw with.
        height: Lines of the screen; ``None`` for no limit.
    """
    outer = min(width, WIDEST)
    seen = view(progress, now, outer - BORDERS, marks)
    room = 10**6 if height is None else max(1, height - BORDERS)  # and a line for the cursor
    lines = seen.lines[max(0, len(seen.lines) - max(0, room - len(seen.rows) - len(seen.links))) :]
    parts = [part for part in (seen.rows, lines, seen.links) if part]
    gaps = min(len(parts) - 1, room - sum(map(len, parts)))
    rows: list[Row] = []
    for index, part in enumerate(parts):
        rows += [Row("", ()), *part] if index and index <= gaps else part
    text = Text("\n").join(_line(row, marks) for row in rows[:room])
    text.no_wrap, text.overflow = True, "crop" if marks is ASCII else "ellipsis"
    return Panel(
        text,
        title=Text.assemble(" ", _text(seen.title, marks), " ", style="not dim"),
        title_align="left",
        width=outer,
        box=box.ASCII if marks is ASCII else box.ROUNDED,
        border_style="dim",
        padding=(0, 1),
    )


def _line(row: Row, marks: Marks) -> Text:
    return Text.assemble((row.label.ljust(LABEL), STYLES[row.style]), _text(row.spans, marks))


def _text(spans: Sequence[Span], marks: Marks) -> Text:
    text = Text()
    for each in spans:
        text.append(fitting(each.text, marks), RichStyle.parse(STYLES[each.style]) + RichStyle(link=each.link))
    return text
