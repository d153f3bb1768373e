"""Lines that the user is told on the way."""

from __future__ import annotations

import io
import sys

import pytest

from hfjobs_trainer.told import tell


def test_it_is_one_line_with_the_name_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    tell("the Hub asks to wait\n25 s")
    assert capsys.readouterr().err == "hft: the Hub asks to wait 25 s\n"


@pytest.mark.parametrize("stream", [None, "closed"])
def test_without_stderr_nothing_is_said(stream: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = None
    if stream == "closed":
        gone = io.StringIO()
        gone.close()
    monkeypatch.setattr(sys, "stderr", gone)
    tell("nobody hears this")


def test_a_terminal_without_unicode_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(raw, encoding="ascii"))
    tell("3 s \N{MULTIPLICATION SIGN} 2")
    assert raw.getvalue() == b"hft: 3 s \\xd7 2\n"
