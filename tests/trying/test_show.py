"""How a preview looks: what is trained is marked, and no text of a dataset acts."""

from __future__ import annotations

import io
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest

from hfjobs_trainer.trying.preview import (
    Preview,
    PreviewPart,
    PreviewRow,
    PreviewTotals,
    histogram,
    packing_waste,
    padding_share,
)
from hfjobs_trainer.trying.show import FIRST, LAST


def part(text: str, *spans: tuple[int, int], name: str = "text", whole: int | None = None) -> PreviewPart:
    """A sequence with a token for each character."""
    trained = tuple(any(first <= at < last for first, last in spans) for at in range(len(text)))
    count = len(text) if whole is None else whole
    return PreviewPart(name, text, tuple(map(ord, text)), trained, spans, count, count > len(text))


def preview(*rows: PreviewRow, **changes: Any) -> Preview:
    sizes = [len(row.token_ids) for row in rows]
    totals = PreviewTotals(
        rows=len(rows),
        source_rows=len(rows),
        tokens=sum(sizes),
        trained_tokens=sum(sum(row.trained) for row in rows),
        truncated_rows=sum(row.truncated for row in rows),
        dropped_rows=0,
        untrained_rows=0,
        cut_tokens=0,
        histogram=histogram(sizes),
        batch_size=4,
        padding=0.125,
        packing=0.5,
    )
    shown = Preview(tuple(rows), totals, "SFT", 64, packed=False, generates=False, seconds=1.0)
    return replace(shown, **changes)


HOSTILE = "ask\x1b[31m<script>alert(1)</script>\r\x07\u202e  end \n\tok </pre><img src=x onerror=y>"


def test_what_is_trained_is_in_brackets_where_nothing_is_colored(capsys: pytest.CaptureFixture[str]) -> None:
    print(preview(PreviewRow((part("a question\nan answer", (11, 20)),))))
    text = capsys.readouterr().out
    assert "row 1: 20 tokens, 9 trained\na question↵\n⟦an answer⟧\n" in text
    assert "\x1b" not in text
    assert "What is trained on is in ⟦ ⟧." in text
    assert re.search(r"padding in batches of 4 +12\.5%", text)
    assert re.search(r"left empty with packing +50\.0%", text)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_has_color_unless_it_does_not_want_it(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = preview(PreviewRow((part("a question\nan\nanswer", (11, 20)),)))
    monkeypatch.setattr(sys, "stdout", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    text = str(shown)
    assert "\x1b[32man↵\x1b[0m\n\x1b[32manswer\x1b[0m\n" in text
    assert "⟦" not in text
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in str(shown)
    assert "⟦an↵\nanswer⟧" in str(shown)


def test_no_text_acts_and_white_space_is_seen() -> None:
    shown = preview(PreviewRow((part(HOSTILE, (3, len(HOSTILE))),)))
    text = str(shown)
    assert "ask⟦\\x1b[31m<script>alert(1)</script>\\r\\x07\\u202e··end·↵\n⇥ok </pre>" in text
    page = shown._repr_html_()
    assert "\x1b" not in page
    tags: set[str] = set()

    class Tags(HTMLParser):
        def handle_starttag(self, tag: str, attrs: Any) -> None:
            tags.add(tag)

    Tags().feed(page)
    assert tags == {"b", "pre", "mark", "table", "tbody", "tr", "th", "td", "p"}
    assert "<mark style='background:#b7e4c7;color:inherit'>\\x1b[31m&lt;script&gt;" in page
    assert repr(shown) == f"<Preview: SFT, 1 row of a sample, {len(HOSTILE)} tokens, 96% trained>"


def test_the_middle_of_a_long_text_is_left_out_and_marks_stay_right() -> None:
    text = "q" * 1000 + "A" * 5000 + "z" * 100
    shown = str(preview(PreviewRow((part(text, (1000, 6000)),))))
    assert (
        f"{'q' * 1000}⟦{'A' * (FIRST - 1000)}⟧ ... {6100 - FIRST - LAST:,} characters ... ⟦{'A' * (LAST - 100)}⟧"
        in shown
    )
    assert len(preview(PreviewRow((part(text, (1000, 6000)),)))._repr_html_()) < 5000


def test_both_sides_a_label_and_a_cut_are_told() -> None:
    pair = PreviewRow((part("p yes", (2, 5), name="chosen"), part("p n", (2, 3), name="rejected", whole=9)))
    rated = PreviewRow((part("p bad", (2, 5), name="completion"),), label=False)
    text = str(preview(pair, rated))
    assert "row 1, chosen: 5 tokens, 3 trained\np ⟦yes⟧" in text
    assert "row 1, rejected: 3 tokens, 1 trained, cut from 9 at max_length=64\np ⟦n⟧" in text
    assert "row 2, a bad answer: 5 tokens" in text
    assert pair.truncated
    assert pair.text == "p yesp n"
    assert pair.chosen == pair.parts[0]
    assert pair.rejected == pair.parts[1]
    assert (rated.chosen, rated.rejected, rated.truncated) == (None, None, False)


def test_prompts_alone_have_nothing_that_is_trained() -> None:
    text = str(preview(PreviewRow((part("ask", name="prompt"),)), generates=True))
    assert "row 1, prompt: 3 tokens\nask" in text
    assert "the model writes what it is trained on itself" in text
    assert "without trained" not in text


def test_a_preview_of_no_rows_is_shown() -> None:
    assert "rows" in str(preview())
    assert "rows" in preview()._repr_html_()


def test_bars_have_every_row_once() -> None:
    sizes = [3, 3, 4, 90, 17, 55]
    bars = histogram(sizes)
    assert len(bars) <= 8
    assert sum(bar.rows for bar in bars) == 6
    assert (bars[0].first, bars[-1].last) == (3, 90)
    assert all(a.last + 1 == b.first for a, b in pairwise(bars))
    assert [(bar.first, bar.last, bar.rows) for bar in histogram([5, 5])] == [(5, 5, 2)]


def test_padding_goes_by_the_batches_and_packing_by_what_fits() -> None:
    rows = [[10], [20], [30], [40]]
    assert padding_share(rows, [0, 1, 2, 3], 2, None) == pytest.approx(1 - 100 / 120)
    assert padding_share(rows, [0, 3, 1, 2], 2, None) == pytest.approx(1 - 100 / 140)
    assert padding_share(rows, [0, 1, 2, 3], 4, 64) == pytest.approx(1 - 100 / 256)
    assert padding_share([[10, 20]], [0], 1, None) == pytest.approx(0.25)
    # 40 + 10, 30 + 20: of two full packs one counts
    assert packing_waste([10, 20, 30, 40], 50) == 0
    assert packing_waste([45, 45, 10], 50) == pytest.approx(0.1)
    assert packing_waste([10], 50) is None
