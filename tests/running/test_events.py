from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hfjobs_trainer.rendering.runtime import events as runtime
from hfjobs_trainer.running.events import Event, parse_event, read_events, visible_lines
from tests.running.places import GOOD_RUN, event_line

LOG = event_line("log", 12.5, step=2, max_steps=10, epoch=0.2, metrics={"loss": 0.5, "grad_norm": None})
BAR = " 20%|██        | 2/10 [00:01<00:04,  1.9it/s]"


def test_an_event_holds_what_the_line_says():
    (event,) = read_events([LOG])
    assert (event.kind, event.time, event.step, event.max_steps) == ("log", 12.5, 2, 10)
    assert event.metrics == {"loss": 0.5, "grad_norm": None}
    assert event.data["epoch"] == 0.2


def test_events_are_found_in_the_order_of_the_log():
    kinds = [event.kind for event in read_events(GOOD_RUN)]
    assert kinds == ["start", "log", "log", "saved", "log", "pushed", "end"]


@pytest.mark.parametrize(
    "line",
    [
        f"{BAR}{LOG}",
        f"{BAR}\r{LOG}",
        f"{LOG}\r{BAR}",
        f"{LOG}{BAR}",
        f"12it [00:03,  4.0it/s]{LOG}",
        f"Map:  40%|████      | 4/10 [00:00<00:00]{LOG}",
        f"  {LOG}  ",
        f"{LOG}\n",
    ],
)
def test_a_progress_bar_on_the_same_line_does_not_hide_an_event(line: str):
    assert [event.step for event in read_events([line])] == [2]


@pytest.mark.parametrize(
    "line",
    [
        "",
        BAR,
        LOG[:-1],
        LOG[5:],
        f"[rank1]: {LOG}",
        f"INFO said {LOG}",
        f"{LOG} and more",
        '{"event": "hft.log"}',
        '{"event": "hft.log", "time": "noon"}',
        '{"event": "hft.log", "time": true}',
        '{"event": "hft.log", "time": ' + "9" * 400 + "}",
        '{"event": "hft.log", "time": ' + "9" * 5000 + "}",
        '{"event": "hft.log", "time": NaN}',
        '{"event": "other.log", "time": 1}',
        '{"event": 7, "time": 1}',
        '["event", "hft.log"]',
        '{"event": "hft.log", "x": ' + "[" * 100_000,
        "\x00\x1b[31m\ufffd",
    ],
)
def test_what_is_no_event_is_passed_over(line: str):
    assert list(read_events([line, LOG])) == list(read_events([LOG]))
    assert parse_event(line) is None


@pytest.mark.parametrize("metrics", [None, 3, [], "loss"])
def test_metrics_of_another_shape_are_none_at_all(metrics: object):
    (event,) = read_events([event_line("log", step="two", metrics=metrics)])
    assert (event.metrics, event.step, event.max_steps) == ({}, None, None)


def test_a_metric_that_is_no_number_is_left_out():
    (event,) = read_events([event_line("log", metrics={"loss": 1, "note": "x", "flag": True})])
    assert event.metrics == {"loss": 1}


@settings(deadline=None)
@given(st.text())
def test_no_text_upsets_the_reader(text: str):
    assert all(isinstance(event, Event) for event in read_events([text, '{"event": "hft.' + text]))


@settings(deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists))
def test_whatever_a_field_holds_the_event_is_read(value: object):
    line = json.dumps({"event": "hft.log", "time": 1, "value": value, "step": value, "metrics": {"m": value}})
    (event,) = read_events([line])
    assert event.kind == "log"
    assert all(name == "m" for name in event.metrics)
    assert event.step is None or isinstance(event.step, int)


def test_what_the_runtime_block_reports_is_read_back(capfd: pytest.CaptureFixture[str]):
    runtime.report("log", step=3, max_steps=9, metrics={"loss": float("nan"), "reward": 0.25})
    (event,) = read_events(capfd.readouterr().out.splitlines())
    assert (event.kind, event.step, event.max_steps) == ("log", 3, 9)
    assert event.metrics == {"loss": None, "reward": 0.25}


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("plain", ["plain"]),
        ("", [""]),
        ("\r", [""]),
        (" 10%|#\r 20%|##\r 30%|###", [" 30%|###"]),
        ("windows\r", ["windows"]),
        (f"{LOG}\r{BAR}", [LOG, BAR]),
    ],
)
def test_overwritten_text_is_not_shown_but_its_events_are(line: str, shown: list[str]):
    assert visible_lines(line) == shown
