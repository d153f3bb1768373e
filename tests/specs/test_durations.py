"""Durations as people write them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hfjobs_trainer.specs.durations import format_duration, parse_duration
from tests.specs.building import problems_of, sft


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90m", 5400),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("1 hour and 30 minutes", 5400),
        ("30min", 1800),
        ("2H", 7200),
        ("1.5h", 5400),
        ("2:30:00", 9000),
        ("0:45", 2700),
        ("5400", 5400),
        ("1d", 86400),
        (" 3h ", 10800),
        (5400, 5400),
        (0.5, 1),
        (timedelta(hours=1), 3600),
    ],
)
def test_durations_are_read_generously(text: Any, seconds: int) -> None:
    assert parse_duration(text) == seconds
    assert sft(timeout=text).timeout == seconds


@pytest.mark.parametrize("text", ["", "soon", "3x", "h3", "3h x", "-1h", "0", "0h", "1:2", "nan", "inf", "1h30", "--"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)
    assert problems_of("sft", timeout=text)["timeout"].code == "SPEC003"


@given(st.integers(min_value=1, max_value=10**9))
def test_durations_are_read_as_they_are_written(seconds: int) -> None:
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.integers(min_value=1, max_value=10**6), st.sampled_from([("s", 1), ("m", 60), ("h", 3600), ("d", 86400)]))
def test_units(count: int, unit: tuple[str, int]) -> None:
    assert parse_duration(f"{count}{unit[0]}") == parse_duration(f"{count} {unit[0].upper()}") == count * unit[1]
