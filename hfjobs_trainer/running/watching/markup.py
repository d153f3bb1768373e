"""The panel in a notebook, as HTML that needs no style sheet: it follows the notebook's own colors, and stays in it."""

from __future__ import annotations

import html
from collections.abc import Iterable

from hfjobs_trainer.display import visible
from hfjobs_trainer.running.watching.figures import UNICODE
from hfjobs_trainer.running.watching.progress import Progress
from hfjobs_trainer.running.watching.view import LABEL, Row, Span, Style, view

# Colors that can be read on white as on black.
STYLES: dict[Style, str] = {
    "": "",
    "strong": "font-weight:bold",
    "dim": "opacity:.65",
    "good": "color:#2a9d4e",
    "warn": "color:#b7791f",
    "bad": "color:#d64550",
    "accent": "color:#2f8bd8",
}
WIDTH = 92
"""Columns of a row."""
BOX = (
    "font-family:monospace;font-size:13px;line-height:1.45;white-space:pre;overflow-x:auto;background:transparent;"
    "color:inherit;border:1px solid rgba(128,128,128,.4);border-radius:6px;padding:8px 14px;margin:4px 0;"
    f"box-sizing:border-box;width:calc({WIDTH}ch + 32px);max-width:100%"
)


def markup(progress: Progress, now: float, parting: str = "") -> str:
    """The panel of a run.

    Args:
        progress: What is known of it.
        now: Seconds since the epoch.
        parting: What is said below it.
    """
    seen = view(progress, now, WIDTH, UNICODE)
    parts = [part for part in (seen.rows, seen.lines, seen.links) if part]
    told = "\n\n".join("\n".join(map(_line, part)) for part in parts)
    below = f"<div style='margin:4px 2px;white-space:pre-wrap'>{html.escape(parting)}</div>" if parting else ""
    return f"<pre style='{BOX}'>{_spans(seen.title)}\n\n{told}</pre>{below}"


def _line(row: Row) -> str:
    return _spans([Span(row.label.ljust(LABEL), row.style), *row.spans])


def _spans(spans: Iterable[Span]) -> str:
    return "".join(_span(each) for each in spans if each.text)


def _span(each: Span) -> str:
    text = html.escape(visible(each.text))
    if each.link is not None and each.link.startswith(("https://", "http://")):
        where = f"href='{html.escape(each.link)}' target='_blank' rel='noopener'"
        return f"<a style='{STYLES['accent']}' {where}>{text}</a>"
    return f"<span style='{STYLES[each.style]}'>{text}</span>" if STYLES[each.style] else text
