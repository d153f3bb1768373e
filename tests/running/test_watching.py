"""What is shown of a watched run: pure parts, without a screen and without a clock."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Iterable
from datetime import UTC, datetime

import pytest
from rich.cells import cell_len
from rich.console import Console

from hfjobs_trainer.running.backends.base import Gpu, JobRecord, JobStatus, Usage
from hfjobs_trainer.running.planned import PLAN, TIMEOUT, Planned, read_planned
from hfjobs_trainer.running.watching.figures import (
    ASCII,
    POINTS,
    UNICODE,
    Curve,
    Marks,
    duration,
    number,
    rough,
    short_id,
    span,
    sparkline,
)
from hfjobs_trainer.running.watching.markup import markup
from hfjobs_trainer.running.watching.plain import PlainLog
from hfjobs_trainer.running.watching.progress import Progress
from hfjobs_trainer.running.watching.screen import marks_for
from hfjobs_trainer.running.watching.terminal import panel
from tests.running.places import event_line

START = 1767225600.0
NOW = START + 600
PLANNED = Planned("dpo-beta-0-1", 840, 1080, 3600, 1, 5.0, "alice/dpo-model", "trackio", "dpo", "alice/trackio")
JOB = JobRecord(
    "alice/687f911eaea852de79c4a50a",
    "https://huggingface.co/jobs/alice/687f911eaea852de79c4a50a",
    {"method": "dpo"},
    "a10g-large",
    planned=PLANNED,
)


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(START + seconds, UTC)


def step_lines(first: int, last: int, most: int, every: int = 10) -> Iterable[str]:
    """Steps of a second each, from a minute on, with the trainer's own line beside each event."""
    for step in range(first, last + 1, every):
        metrics = {"loss": 1 / step, "rewards/accuracies": 0.75, "num_tokens": 1000.0 * step}
        yield event_line("log", START + 60 + step, step=step, max_steps=most, metrics=metrics)
        yield str({name: f"{value:.4g}" for name, value in metrics.items()} | {"epoch": "0.1"})


STARTED = event_line("start", START + 60, method="dpo", device="cuda", gpu="NVIDIA A10G", world_size=1)


def running(record: JobRecord = JOB, price: float | None = 1.5) -> Progress:
    progress = Progress(record, price)
    progress.see_status(JobStatus("RUNNING", None, at(-60), at(0)))
    for line in ["Installed 93 packages in 20s", STARTED, *step_lines(10, 300, 1000), "a line that is no event"]:
        progress.see_line(line)
    return progress


def drawn(progress: Progress, width: int = 80, marks: Marks = UNICODE, height: int | None = None) -> list[str]:
    console = Console(width=width, file=io.StringIO(), record=True)
    console.print(panel(progress, NOW, width, marks, height))
    return console.export_text().splitlines()


def test_the_panel_says_all_that_one_wants_to_know():
    progress = running()
    progress.see_usage(0, Usage((Gpu(93, 18.2, 22.5),), 12, 6.1, 46))
    for _ in range(3):
        progress.see_line(event_line("warning", NOW, message="the Space is asleep"))
    progress.see_line(event_line("kept", NOW, step=200, place="/hft/checkpoints"))
    shown = "\n".join(drawn(progress))
    for told in (
        "dpo-beta-0-1 · 79c4a50a · a10g-large",
        "RUNNING 10m 00s  training",
        "300/1,000  30%",
        "eta 12m   22m in all   planned 14-18m   checkpoint of step 200",
        "0.1 → 0.003333",
        "accuracy 0.75",
        "1 s/step   1,000 tokens/s",
        "GPU 93% · 18.2 of 22.5 GiB   CPU 12%   RAM 6.1 of 46 GiB",
        "$0.25 so far   about $0.55 at the end   at most $1.50 (timeout)",
        "the Space is asleep (×3)",
        "Installed 93 packages in 20s",
        "a line that is no event",
        "https://huggingface.co/alice/dpo-model (to be pushed)",
        "https://huggingface.co/spaces/alice/trackio",
        "https://huggingface.co/jobs/alice/687f911eaea852de79c4a50a",
    ):
        assert told in shown
    assert shown.count("687f911e") == 1  # the long id is in the link alone
    assert "{'loss'" not in shown


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("marks", [UNICODE, ASCII])
def test_it_fits_every_screen(width: int, marks: Marks):
    progress = running()
    progress.see_line("日本語 " * 60)
    progress.see_line(event_line("warning", NOW, message="long words " * 60))
    lines = drawn(progress, width, marks)
    assert {cell_len(line) for line in lines} == {min(width, 120)}
    assert (marks is UNICODE) or all(line.isascii() for line in lines)
    short = drawn(progress, width, marks, height=15)
    assert len(short) <= 14
    assert any("300/1,000" in line for line in short)


def test_where_colors_are_not_wanted_there_are_none(monkeypatch: pytest.MonkeyPatch):
    def written() -> str:
        console = Console(width=80, file=io.StringIO(), force_terminal=True, color_system="standard")
        with console.capture() as captured:
            console.print(panel(running(), NOW, 80, UNICODE))
        return captured.get()

    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[36m" in written()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not any(f"[3{color}m" in written() for color in range(8))


@pytest.mark.parametrize(
    ("encoding", "marks"), [("utf-8", UNICODE), ("ascii", ASCII), ("latin-1", ASCII), (None, ASCII)]
)
def test_an_encoding_has_its_characters(encoding: str | None, marks: Marks):
    assert marks_for(encoding) is marks


def test_a_job_that_waits_says_why_and_since_when():
    progress = Progress(JOB, 1.5)
    progress.see_status(JobStatus("SCHEDULING", "no a10g-large is free", at(470)))
    shown = "\n".join(drawn(progress))
    assert "SCHEDULING 2m 10s  no a10g-large is free" in shown
    assert "planned 14-18m" in shown
    assert "$0.00 so far   at most $1.50 (timeout)" in shown


def test_the_end_says_how_and_after_how_long():
    progress = running()
    for line in [*step_lines(310, 1000, 1000), event_line("pushed", NOW, url="https://huggingface.co/alice/dpo-model")]:
        progress.see_line(line)
    progress.see_usage(0, Usage(cpu_percent=1))
    progress.see_status(JobStatus("COMPLETED", None, at(-60), at(0), at(1100)))
    shown = "\n".join(drawn(progress))
    assert "COMPLETED after 18m 20s" in shown
    assert "1,000/1,000  100%" in shown
    assert " eta " not in shown
    assert "CPU" not in shown
    assert "to be pushed" not in shown
    assert "no event" not in shown  # of a run that went well, nobody reads the log
    progress.see_status(JobStatus("ERROR", "Job timeout", at(-60), at(0), at(1100)))
    assert "ERROR after 18m 20s  Job timeout" in "\n".join(drawn(progress))
    assert "no event" in "\n".join(drawn(progress))


def test_each_node_is_shown():
    progress = running(dataclasses.replace(JOB, members=("alice/a", "alice/b")))
    node = JobStatus("RUNNING", None, at(-60), at(0))
    progress.see_status(JobStatus("RUNNING", None, at(-60), at(0), members=(node, node)))
    progress.see_usage(1, Usage(tuple(Gpu(percent, 70, 140) for percent in (80, 90))))
    progress.see_line("[node 0] {'loss': '0.5', 'epoch': '0.1'}")
    progress.see_line("[node 1] something")
    shown = "\n".join(drawn(progress))
    assert "nodes    2, all RUNNING" in shown
    assert "node 1   2 GPUs 85% · 70 of 140 GiB each" in shown
    assert "$0.50 so far" in shown
    assert "[node 1] something" in shown
    assert "{'loss'" not in shown
    progress.see_status(JobStatus("RUNNING", members=(node, JobStatus("SCHEDULING"))))
    assert "0 RUNNING, 1 SCHEDULING" in "\n".join(drawn(progress))


def test_a_resumed_job_goes_on_where_the_one_before_was():
    before = running()
    progress = Progress(JOB, 1.5, 0.25, before)
    progress.see_status(JobStatus("RUNNING", None, at(500), at(540)))
    assert "0.1 → 0.003333" in "\n".join(drawn(progress))
    progress.see_line(STARTED)
    progress.see_line(event_line("resumed", NOW, step=300, path="/hft/checkpoints"))
    assert "goes on after step 300" in "\n".join(drawn(progress))
    for line in [*step_lines(310, 320, 1000), STARTED]:
        progress.see_line(line)
    shown = "\n".join(drawn(progress))
    assert "320/1,000" in shown
    assert "went on after step 300" in shown
    assert "(attempt 2)" in shown
    assert " eta " not in shown  # the pace is that of this attempt
    assert "$0.28 so far, with $0.25 of the jobs before" in shown


def test_what_went_wrong_is_told_in_its_words():
    progress = running()
    told = [
        event_line("replaced", what="precision", planned="bf16", used="fp32", why="it is a CPU"),
        event_line("ruin", step=7, what="loss is not finite", meaning="learning_rate is too high"),
        event_line("rescued", place="/model", command="hf upload a b"),
        event_line("stopped", step=9, reason="deadline", message="stopped at the deadline at step 9"),
    ]
    for line in told:
        progress.see_line(line)
    assert [alert.kind for alert in progress.alerts] == ["warning", "error", "error", "warning"]
    assert progress.alerts[0].text == "precision: fp32 instead of bf16, since it is a CPU"
    assert progress.alerts[1].text == "step 7: loss is not finite: learning_rate is too high"
    progress.see_line(event_line("pace", step=20, memory_gib=7.5, message="as planned"))
    assert len(progress.alerts) == 4
    assert "7.5 GiB at its peak" in "\n".join(drawn(progress))


def test_metrics_that_are_not_finite_are_shown_as_such():
    progress = running()
    progress.see_line(event_line("log", NOW, step=301, max_steps=1000, metrics={"loss": None, "grad_norm": None}))
    shown = "\n".join(drawn(progress))
    assert "loss     not finite" in shown
    assert "grad_norm not finite" in shown


def test_a_script_without_events_has_its_last_lines():
    progress = Progress(dataclasses.replace(JOB, planned=Planned()), 1.5)
    progress.see_status(JobStatus("RUNNING", None, at(-60), at(0)))
    for index in range(9):
        progress.see_line(f"line {index}")
    progress.see_line("{'loss': 0.5, 'epoch': 1}")
    lines = drawn(progress)
    shown = [line.split()[-2] for line in lines if " line " in line]
    assert shown == ["5", "6", "7", "8"]
    assert any("{'loss': 0.5, 'epoch': 1}" in line for line in lines)  # no event says it
    assert any("$0.25 so far" in line for line in lines)


def test_nothing_of_a_log_reaches_the_screen_as_more_than_text():
    progress = running()
    progress.see_line("\x1b[31mred\x1b[0m \x1b]0;title\x07and\x1b[2J [bold]markup[/bold]\tend\x08")
    assert progress.lines[-1] == "red and [bold]markup[/bold] end\\x08"
    progress.see_line("<script>alert(1)</script>")
    progress.see_line(event_line("pushed", NOW, url="javascript:alert(1)\x1b[2J"))
    progress.see_status(JobStatus("RUNNING", "why\x1b[2J", at(-60), at(0)))
    shown = "\n".join(drawn(progress))
    assert "[bold]markup[/bold]" in shown
    assert "\x1b" not in shown
    page = markup(progress, NOW, "<b>")
    assert "<script>" not in page
    assert "<b>" not in page
    assert "href='javascript" not in page
    assert "\x1b" not in page


def test_the_page_of_a_notebook_is_small_and_says_the_same():
    progress = running()
    page = markup(progress, NOW, "job goes on")
    assert len(page) < 6000
    assert "href='https://huggingface.co/jobs/alice/687f911eaea852de79c4a50a'" in page
    assert all(told in page for told in ("dpo-beta-0-1", "300/1,000", "planned 14-18m", "tokens/s", "job goes on"))


def test_plain_lines_say_each_thing_once(capsys: pytest.CaptureFixture[str]):
    progress, log = Progress(JOB, 1.5), PlainLog()
    news = [JobStatus("SCHEDULING", "no a10g-large is free", at(-60)), JobStatus("RUNNING", None, at(-60), at(0))]
    for status in [*news, news[-1]]:
        progress.see_status(status)
        log.see(progress, START)
    warning = event_line("warning", START + 80, message="the Space is asleep")
    for line in ["noise", STARTED, *step_lines(1, 20, 1000, 1), warning, warning, *step_lines(21, 1000, 1000, 1)]:
        progress.see_line(line)
        log.see(progress, NOW)
    log.close(progress, NOW, "the end")
    out = capsys.readouterr().out
    lines = [line.split(" ", 1)[-1] if line[2:3] == ":" else line for line in out.splitlines()]
    assert lines[:6] == [
        "job alice/687f911eaea852de79c4a50a: dpo-beta-0-1 on a10g-large",
        "https://huggingface.co/jobs/alice/687f911eaea852de79c4a50a",
        "SCHEDULING: no a10g-large is free",
        "RUNNING",
        "loading on NVIDIA A10G",
        "step 1/1000, loss 1, accuracy 0.75, $0.05 so far",
    ]
    assert lines.count("warning: the Space is asleep") == 1
    assert "step 11/1000, loss 0.09091, accuracy 0.75, eta 16m (planned 14-18m), $0.05 so far" in lines
    assert lines[-3:] == ["step 1000/1000, loss 0.001, accuracy 0.75, $0.45 so far", "saving the model", "the end"]
    assert sum(line.startswith("step ") for line in lines) <= 102
    assert "{'loss'" not in out
    assert "\x1b" not in out


def test_plain_lines_need_no_unicode(monkeypatch: pytest.MonkeyPatch):
    raw = io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(raw, encoding="ascii"))
    progress = running()
    progress.see_line(event_line("warning", message="日本語"))
    PlainLog().close(progress, NOW, "the end")
    assert b"warning: ???" in raw.getvalue()


def test_a_curve_has_bounded_space():
    curve = Curve()
    for value in range(10_000):
        curve.add(float(value))
    curve.add(None)
    assert len(curve.points) < POINTS
    assert curve.points == sorted(curve.points)
    assert curve.last is None
    assert sparkline(curve.points, 8, UNICODE.heights) == "▁▂▃▄▅▆▇█"


@pytest.mark.parametrize(
    ("values", "drawn"), [([], ""), ([1.0], "▅"), ([2.0, 2.0], "▅▅"), ([0.0, 1.0], "▁█"), ([0, 0, 1, 1, 0, 0], "▁█▁")]
)
def test_a_sparkline_shows_the_shape(values: list[float], drawn: str):
    assert sparkline(values, 3, UNICODE.heights) == drawn


@pytest.mark.parametrize(
    ("seconds", "said", "estimated"),
    [
        (-1, "0s", "0s"),
        (0.4, "0s", "0s"),
        (59, "59s", "59s"),
        (60, "1m 00s", "1m 00s"),
        (200, "3m 20s", "3m"),
        (7500, "2h 05m", "2h 05m"),
        (3590, "59m 50s", "59m 50s"),
        (273600, "3d 04h", "3d 04h"),
    ],
)
def test_durations_are_said_as_people_say_them(seconds: float, said: str, estimated: str):
    assert (duration(seconds), rough(seconds)) == (said, estimated)


def test_figures_are_short():
    assert [span(840, 1080), span(50, 120), span(840, 845), span(3000, 9000)] == [
        "14-18m",
        "50s to 2m",
        "14m",
        "50m to 2h 30m",
    ]
    assert [*map(number, (0.43214, 12345.6, 5e-7, None, 0.0))] == ["0.4321", "12,346", "5e-07", "not finite", "0"]
    assert short_id("alice/687f911eaea852de79c4a50a") == "79c4a50a"
    assert short_id("local/20261130T120000Z-sft-tiny-ab12cd") == "ab12cd"


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"low": "x", "name": 3}', '{"low": null}', "[" * 100_000])
def test_a_plan_that_cannot_be_read_is_none(text: str):
    assert read_planned({PLAN: text}) == Planned()


def test_the_timeout_of_a_resumed_job_is_its_own():
    env = {PLAN: json.dumps(dataclasses.asdict(PLANNED))}
    assert read_planned(env) == PLANNED
    assert read_planned({**env, TIMEOUT: "7200"}).timeout == 7200
