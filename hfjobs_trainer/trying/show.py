"""How a preview looks: trained text in color where the terminal has it, else in brackets; and as HTML."""

from __future__ import annotations

import html
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from hfjobs_trainer.display import html_pairs, plural, visible

if TYPE_CHECKING:
    from hfjobs_trainer.trying.preview import Preview, PreviewPart, PreviewRow

# Of a text that is longer, its beginning and its end are shown: characters.
FIRST, LAST = 1200, 600
BAR = 30
_OPEN, _CLOSE = "⟦", "⟧"
_GREEN, _BOLD, _PLAIN = "\x1b[32m", "\x1b[1m", "\x1b[0m"
# Spaces that nobody would see: several, or at the end of a line.
_HIDDEN_SPACES = re.compile(r" {2,}| (?=\n|$)")


def headline(preview: Preview) -> str:
    """The totals in a line."""
    totals = preview.totals
    told = [f"{preview.method}, {plural(totals.rows, 'row')} of a sample", f"{totals.tokens:,} tokens"]
    if not preview.generates:
        told.append(f"{totals.trained_tokens / max(1, totals.tokens):.0%} trained")
    return ", ".join(told)


def show(preview: Preview) -> str:
    """The preview as text, for ``print``."""
    colored = sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    mark = _in_color if colored else _in_brackets
    lines: list[str] = []
    for number, row in enumerate(preview.rows, 1):
        for part in row.parts:
            title = f"row {number}{_kind(row, part)}: {_size(preview, part)}"
            lines += [f"{_BOLD}{title}{_PLAIN}" if colored else title, _marked(part, mark), ""]
    width = max((len(name) for name in _facts(preview)), default=0)
    lines += [f"{name.ljust(width)}  {value}" for name, value in _facts(preview).items()]
    lines += ["", "tokens per row", *_bars(preview)]
    how = "in green" if colored else f"in {_OPEN} {_CLOSE}"
    lines.append(f"\n{_legend(preview, how)}")
    return "\n".join(lines)


def show_html(preview: Preview) -> str:
    """The preview for a notebook."""
    blocks: list[str] = []
    for number, row in enumerate(preview.rows, 1):
        for part in row.parts:
            title = html.escape(f"row {number}{_kind(row, part)}: {_size(preview, part)}")
            style = "white-space:pre-wrap;max-height:20em;overflow:auto;margin:0.3em 0 1em"
            blocks.append(f"<b>{title}</b><pre style='{style}'>{_marked(part, _in_html, html.escape)}</pre>")
    bars = html.escape("\n".join(_bars(preview)))
    legend = html.escape(_legend(preview, "highlighted"))
    return f"{''.join(blocks)}{html_pairs(_facts(preview))}<pre>{bars}</pre><p>{legend}</p>"


def _legend(preview: Preview, how: str) -> str:
    if preview.generates:
        return "Prompts are shown: the model writes what it is trained on itself."
    return f"What is trained on is {how}."


def _kind(row: PreviewRow, part: PreviewPart) -> str:
    if row.label is not None:
        return f", a {'good' if row.label else 'bad'} answer"
    return "" if part.name == "text" else f", {part.name}"


def _size(preview: Preview, part: PreviewPart) -> str:
    told = [plural(len(part.token_ids), "token")]
    if not preview.generates:
        told.append(f"{sum(part.trained)} trained")
    if part.truncated:
        whole = "" if preview.packed else f" from {part.whole_tokens}"
        told.append(f"cut{whole} at max_length={preview.max_length}")
    return ", ".join(told)


def _facts(preview: Preview) -> dict[str, str]:
    totals = preview.totals
    facts = {"rows": f"{totals.rows:,}" + (f", packed from {totals.source_rows:,}" if preview.packed else "")}
    facts["tokens"] = f"{totals.tokens:,}"
    if not preview.generates:
        facts["trained tokens"] = f"{totals.trained_tokens:,} ({totals.trained_tokens / max(1, totals.tokens):.1%})"
        facts["rows without trained tokens"] = f"{totals.untrained_rows:,}"
    facts["rows cut"] = f"{totals.truncated_rows:,}"
    facts["rows dropped"] = f"{totals.dropped_rows:,}"
    facts["tokens cut or dropped"] = f"{totals.cut_tokens:,} ({totals.cut_tokens_share:.1%})"
    if totals.padding is not None:
        facts[f"padding in batches of {totals.batch_size}"] = f"{totals.padding:.1%}"
    if totals.packing is not None:
        facts["left empty with packing"] = f"{totals.packing:.1%}"
    return facts


def _bars(preview: Preview) -> list[str]:
    bars = preview.totals.histogram
    most = max((bar.rows for bar in bars), default=1)
    names = [f"{bar.first}-{bar.last}" if bar.last > bar.first else f"{bar.first}" for bar in bars]
    width = max(map(len, names), default=0)
    drawn = ["█" * -(-BAR * bar.rows // max(1, most)) for bar in bars]
    return [f"{n.rjust(width)}  {d} {b.rows}" for n, d, b in zip(names, drawn, bars, strict=True)]


def _marked(part: PreviewPart, mark: Callable[[str], str], escape: Callable[[str], str] = str) -> str:
    """The text with its trained spans marked, its middle left out if it is long, and nothing in it that acts."""
    text = part.text

    def written(start: int, end: int) -> str:
        shown: list[str] = []
        for first, last, is_trained in _pieces(part.spans, len(text)):
            first, last = max(first, start), min(last, end)
            if first < last:
                piece = escape(_seen(text[first:last], text[last : last + 1]))
                shown.append(mark(piece) if is_trained else piece)
        return "".join(shown)

    if len(text) <= FIRST + LAST:
        return written(0, len(text))
    left_out = escape(f" ... {len(text) - FIRST - LAST:,} characters ... ")
    return written(0, FIRST) + left_out + written(len(text) - LAST, len(text))


def _pieces(spans: Sequence[tuple[int, int]], length: int) -> list[tuple[int, int, bool]]:
    """The text as trained and other pieces, in order."""
    pieces: list[tuple[int, int, bool]] = []
    place = 0
    for first, last in spans:
        pieces += [(place, first, False), (first, last, True)]
        place = last
    return [*(piece for piece in pieces if piece[0] < piece[1]), *([(place, length, False)] if place < length else [])]


def _seen(text: str, after: str) -> str:
    """A text whose white space is seen and whose control characters are spelt out."""
    text = _HIDDEN_SPACES.sub(lambda found: "·" * len(found[0]), text + after)
    text = text[: len(text) - len(after)] if after else text
    lines = text.replace("\t", "⇥").split("\n")
    return "↵\n".join(visible(line) for line in lines)


def _in_color(text: str) -> str:
    # a color does not survive the end of a line in every pager
    return "\n".join(f"{_GREEN}{line}{_PLAIN}" if line else "" for line in text.split("\n"))


def _in_brackets(text: str) -> str:
    return f"{_OPEN}{text}{_CLOSE}"


def _in_html(text: str) -> str:
    return f"<mark style='background:#b7e4c7;color:inherit'>{text}</mark>"
