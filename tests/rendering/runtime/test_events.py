"""Progress lines are JSON whatever they carry, and come from one process."""

from __future__ import annotations

import json
from datetime import date

import pytest

from hfjobs_trainer.rendering.runtime.events import report


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)


def test_an_event_is_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    report("log", step=3, metrics={"loss": 0.5, "note": "two\nlines"})

    (line,) = capsys.readouterr().out.splitlines()
    event = json.loads(line)
    assert event.pop("time") > 1.7e9
    assert event == {"event": "hft.log", "step": 3, "metrics": {"loss": 0.5, "note": "two\nlines"}}


def test_what_json_cannot_hold_is_null_or_text(capsys: pytest.CaptureFixture[str]) -> None:
    metrics = {"nan": float("nan"), "inf": [float("inf"), -float("inf")], "day": date(2026, 1, 2), 1: True}
    report("log", metrics=metrics)

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    event = json.loads(capsys.readouterr().out, parse_constant=refuse)
    assert event["metrics"] == {"nan": None, "inf": [None, None], "day": "2026-01-02", "1": True}


@pytest.mark.parametrize(("rank", "lines"), [("0", 1), ("1", 0)])
def test_only_the_first_process_speaks(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], rank: str, lines: int
) -> None:
    monkeypatch.setenv("RANK", rank)

    report("start")

    assert len(capsys.readouterr().out.splitlines()) == lines
