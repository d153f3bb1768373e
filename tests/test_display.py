"""What objects show of themselves: small as text, readable as HTML, and never a script at full length unasked."""

from __future__ import annotations

import html
import traceback
from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import hubsim
import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.display import wrapped_table
from hfjobs_trainer.facts import DatasetFacts, Facts, ModelFacts
from hfjobs_trainer.problems import Problem
from hfjobs_trainer.running.backends.base import JobStatus
from hfjobs_trainer.running.job import JobResult
from tests.planning.known_models import LLAMA_8B
from tests.running.places import GOOD_RUN, InProcessPlace, LocalPlace

LONGEST = 400
HOSTILE = "<script>alert(1)</script>\x1b[2J\u202e"


def spec(**fields: Any) -> hft.SFT:
    given: dict[str, Any] = {"model": "org/model", "dataset": "org/data", "lora": hft.LoRA(), **fields}
    return hft.SFT(**given)


def as_html(shown: Any) -> str:
    return shown._repr_html_()


def as_traceback(error: Any) -> list[str]:
    return error._render_traceback_()


def facts() -> Facts:
    return Facts(model=LLAMA_8B, dataset=DatasetFacts(exists=True, num_rows=1000, columns=("text",)))


def objects() -> Mapping[str, Any]:
    plan, choice = hft.plan(spec(), facts=facts()), hft.pick_flavor(spec(), facts=facts())
    return {
        "spec": spec(),
        "plan": plan,
        "request": plan.request,
        "run": plan.run,
        "estimate": plan.estimate,
        "memory": plan.estimate and plan.estimate.memory,
        "duration": plan.estimate and plan.estimate.duration,
        "choice": choice,
        "comparison": hft.compare_flavors(spec(), facts=facts()),
        "table": hft.hardware_table(offline=True),
        "report": hft.check(spec(), facts=facts()),
        "recommendation": hft.recommend(spec(), facts=facts()),
        "result": JobResult(metrics={f"metric {n}": 1.0 for n in range(50)}),
        "status": JobStatus("ERROR", "no " * 999, members=(JobStatus("RUNNING"),) * 8, resumable=True),
    }


class Tags(HTMLParser):
    """Checks that what opens closes, and remembers the tags."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("name", objects())
def test_a_repr_is_a_line_or_two(name: str) -> None:
    assert len(repr(objects()[name])) <= LONGEST


@pytest.mark.parametrize(
    "name",
    [
        "plan",
        "report",
        "estimate",
        "memory",
        "duration",
        "choice",
        "comparison",
        "table",
        "result",
        "status",
        "recommendation",
    ],
)
def test_a_notebook_gets_whole_html(name: str) -> None:
    tags = Tags(as_html(objects()[name]))
    assert "table" in tags.seen or name == "report"


def test_a_plan_folds_its_script_and_opens_its_problems() -> None:
    plan = hft.plan(spec(eval_fraction=0.1), facts=facts())
    shown = as_html(plan)
    assert "<details><summary>the script, " in shown
    assert html.escape(plan.script) in shown
    assert "<details open><summary>" in shown
    for decision in plan.decisions:
        assert decision.path in shown
    assert "def main" not in repr(plan) + str(plan)


def test_a_name_cannot_become_html_or_move_the_cursor() -> None:
    plan = hft.plan(spec(tracking=hft.Tracking(project=HOSTILE, name=HOSTILE)), facts=facts())
    shown = as_html(plan)
    body = shown[: shown.index("the script, ")]
    assert "<script>" not in shown
    assert "alert(1)" in body
    assert "\x1b" not in body + repr(plan)
    assert "\u202e" not in body


def test_a_report_lists_problems_and_folds_what_was_not_checked() -> None:
    report = hft.check(spec(eval_strategy="steps"), facts=Facts(model=ModelFacts(), dataset=DatasetFacts()))
    shown = as_html(report)
    assert "DATA001" in shown
    assert "eval_fraction=0.1" in shown
    assert f"{len(report.unchecked)} rules not checked" in shown


def test_a_notebook_shows_an_error_as_a_table_without_our_frames() -> None:
    with pytest.raises(hft.SpecError) as caught:
        hft.plan(spec(eval_strategy="steps", model=""), facts=facts())
    lines = "\n".join(as_traceback(caught.value)).split("\n")
    told = "\n".join(lines)
    assert lines[0].startswith(f"{__file__}:")
    assert "SpecError: 2 problems in this SFT spec; nothing was submitted" in lines
    assert "hfjobs_trainer/" not in told
    assert any(line.strip() == "fix: eval_fraction=0.1" for line in lines)


def test_a_long_reason_is_wrapped_and_a_fix_is_not() -> None:
    fix = "fix: " + "x" * 200
    lines = wrapped_table(("code", "what is wrong"), [("DATA001", "a word " * 60)], [fix])
    assert max(len(line) for line in lines[:-1]) <= 110
    assert lines[-1].strip() == fix


@pytest.mark.parametrize("message", ["Job timeout", None])
def test_the_last_line_of_a_failure_says_what_failed_and_where_its_log_is(message: str | None) -> None:
    error = hft.JobFailed("me/1", JobStatus("ERROR", message), ["a", "b"])
    last = traceback.format_exception(error)[-1].rstrip().split("\n")[-1]
    assert "job me/1 ended in ERROR" in last
    assert last.endswith("hft.Job.from_id('me/1').logs() ends with: b")


def test_a_problem_of_any_text_is_shown_as_it_is() -> None:
    error = hft.SpecError([Problem("DATA001", "a", HOSTILE, HOSTILE, "warning")])
    assert any("(warning)" in line for line in as_traceback(error))


def test_wait_and_watch_return_the_job_which_says_how_it_is() -> None:
    place = InProcessPlace()
    waited, watched = place.start(GOOD_RUN), place.start(["oops"], exit_code=1)
    assert waited.wait() is waited
    assert watched.watch() is watched
    assert (waited.stage, waited.succeeded, waited.is_terminal, waited.message) == ("COMPLETED", True, True, None)
    assert (watched.stage, watched.succeeded, watched.is_terminal) == ("ERROR", False, True)
    assert watched.message == "Job failed with exit code: 1"
    running = place.start(exit_code=None)
    assert (running.stage, running.is_terminal) == ("RUNNING", False)
    running.cancel()
    assert (running.stage, running.is_terminal) == ("CANCELED", True)


def test_a_job_shows_its_stage_and_cost_or_why_they_are_unknown(hub: hubsim.Hub) -> None:
    job = InProcessPlace().start(GOOD_RUN)
    assert "COMPLETED" in as_html(job)
    backend = hft.HubBackend(token="hf_alice_write", namespace="alice", endpoint=hub.endpoint)
    lost = hft.Job(hft.Job(_record("alice/" + "0" * 24), backend).record, backend)
    assert "unknown: " in as_html(lost)


def _record(job_id: str) -> Any:
    from hfjobs_trainer.running.backends.base import JobRecord

    return JobRecord(job_id, url="javascript:alert(1)")


@pytest.fixture
def local_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], hft.Job]:
    monkeypatch.setenv("HFT_HOME", str(tmp_path))
    labels = {"sdk": "hfjobs-trainer", "method": "sft", "group": "a"}
    return lambda: LocalPlace(tmp_path / "runs").start(labels=labels).wait(20)


def test_local_runs_are_listed_without_a_token_and_the_list_says_what_it_lacks(
    local_run: Callable[[], hft.Job],
) -> None:
    job = local_run()
    with pytest.warns(RuntimeWarning, match="the Hub was not asked: no Hugging Face token") as told:
        jobs = hft.jobs(group="a")
    assert told[0].filename == __file__
    assert [found.id for found in jobs] == [job.id]
    assert "this machine" in repr(jobs)
    assert "the Hub was not asked" in repr(jobs)
    assert "the Hub was not asked" in as_html(jobs)
    with pytest.warns(RuntimeWarning):
        assert hft.jobs(group="b") == []


def test_a_client_of_an_account_lists_what_is_there(local_run: Callable[[], hft.Job], hub: hubsim.Hub) -> None:
    job = local_run()
    assert hft.Client(token="hf_alice_write", endpoint=hub.endpoint).jobs() == []
    assert [found.id for found in hft.Client(backend="local").jobs()] == [job.id]


def test_without_a_token_a_client_of_an_account_raises(hub: hubsim.Hub) -> None:
    with pytest.raises(hft.AuthError, match="no Hugging Face token"):
        hft.Client(endpoint=hub.endpoint).jobs()
