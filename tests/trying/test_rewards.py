"""Trials of rewards without a trainer: what is asked, which probes there are, and how a result looks."""

from __future__ import annotations

from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.trying.modes import reward_calls
from hfjobs_trainer.trying.modes import rewards as mode
from hfjobs_trainer.trying.reward_findings import CODES
from hfjobs_trainer.trying.reward_trial import share_without_variance
from hfjobs_trainer.trying.rewards import listed_completions, read_trial

PROMPT = [{"role": "user", "content": "2 + 2?"}]
ANSWER = [{"role": "assistant", "content": "4"}]


def planned(**fields: Any) -> Any:
    spec: dict[str, Any] = {"method": "grpo", "model": "org/model", "dataset": "org/data", "max_steps": 1}
    return hft.plan({**spec, "reward_funcs": has_digit, **fields}, facts=hft.Facts())


def has_digit(completions: Any, **_: Any) -> list[float]:
    return [float(any(letter.isdigit() for letter in str(completion))) for completion in completions]


def found(**changes: Any) -> dict[str, Any]:
    function: Any = {"name": "has_digit", "weight": 1.0, "seconds": 0.5, "failures": [], "wrong": "", "is_same": True}
    rows = [{"prompt": "a", "completions": ["1", "x"]}, {"prompt": "b", "completions": ["2", "<b>\x1b[31m"]}]
    result: dict[str, Any] = {"functions": [{**function, "values": [[1.0, 0.0], [1.0, 1.0]]}], "rows": rows}
    return {**result, "names": ["reference", "empty"], "calling": [], "done": True, "columns": ["answer"], **changes}


@pytest.mark.parametrize(
    ("given", "listed"),
    [
        (["4", "5"], [["4"], ["5"]]),
        ([["4", "5"], "6"], [["4", "5"], ["6"]]),
        ([ANSWER, [ANSWER, "5"]], [[ANSWER], [ANSWER, "5"]]),
        ([ANSWER[0]], [[ANSWER]]),
        (("4",), [["4"]]),
    ],
)
def test_completions_come_one_for_a_row_or_several(given: Any, listed: Any) -> None:
    assert listed_completions(given) == listed


REFUSED: list[tuple[Any, str]] = [
    ("4", "for each row"),
    ([], "for each row"),
    ([[]], "there is none for row 1"),
    (["4", 5], "row 2 has 5, which is neither a text nor a list of messages"),
    ([[["4"]]], "row 1 has "),
    ([[{"content": "no role"}]], "row 1 has "),
]


@pytest.mark.parametrize(("given", "told"), REFUSED)
def test_what_is_no_completion_is_refused_before_anything_runs(given: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        hft.try_rewards({"method": "grpo"}, given)


@pytest.mark.parametrize(("method", "told"), [("sft", "SFT has no reward functions"), ("ppo", "by a model alone")])
def test_a_method_without_reward_functions_is_refused(method: str, told: str) -> None:
    spec: dict[str, Any] = {"method": method, "model": "org/model", "dataset": "org/data"}
    with pytest.raises(hft.SpecError, match=told) as error:
        hft.try_rewards(spec | ({"reward_model": "org/reward"} if method == "ppo" else {}), facts=hft.Facts())
    assert [problem.code for problem in error.value.problems] == ["REWARD007"]


def test_rows_and_scripts_are_refused_where_they_cannot_be_tried() -> None:
    with pytest.raises(ValueError, match="rows=0: must be at least 1"):
        hft.try_rewards({"method": "grpo"}, rows=0)


def test_reward_models_alone_are_not_called() -> None:
    trial = hft.try_rewards(planned(reward_funcs=["org/judge"]), facts=hft.Facts(), offline=True)
    assert (trial.ok, trial.not_called) == (True, ("org/judge",))
    assert "reward models alone" in str(trial)


@pytest.mark.parametrize(
    ("row", "answer", "final"),
    [
        ({"answer": "12 + 3 = 15\n#### 15"}, "12 + 3 = 15\n#### 15", "15"),
        ({"solution": "So it is $\\boxed{\\frac{1}{2}}$."}, "So it is $\\boxed{\\frac{1}{2}}$.", "\\frac{1}{2}"),
        ({"ground_truth": 7, "answer": None}, "7", "7"),
        ({"completion": ANSWER}, "4", "4"),
        ({"answer": "a\nb"}, "a\nb", ""),
        ({"label": "yes", "answer": True}, "", ""),
    ],
)
def test_the_reference_answer_of_a_row(row: dict[str, Any], answer: str, final: str) -> None:
    assert mode.reference_of(row) == answer
    assert mode.final_answer(answer) == final
    probes = mode.probes_of({"prompt": PROMPT, **row}, answer)
    assert ("reference" in probes, "boxed" in probes) == (bool(answer), bool(answer))
    assert [*probes][-3:] == ["empty", "prompt", "long"]
    assert probes["prompt"] == "2 + 2?"
    if final:
        assert str(probes["boxed"]).endswith(f"\\boxed{{{final}}}.")
        assert f"<answer>\n{final}\n</answer>" in str(probes["tags"])


def test_conversations_that_are_more_than_a_text_are_passed_as_they_are() -> None:
    call: Any = [{"role": "assistant", "content": "", "tool_calls": []}, {"role": "tool", "content": "4"}]
    assert mode.whole_conversation(call) == call
    assert mode.whole_conversation(ANSWER) is None
    assert mode.whole_conversation("4") is None


def test_shares_without_variance_count_rows_with_several_values() -> None:
    assert share_without_variance([[1.0, 1.0], [1.0, 2.0], [None, 1.0], []]) == 0.5
    assert share_without_variance([[1.0], [None, None]]) is None


def test_a_result_is_shown_without_what_acts() -> None:
    trial = read_trial(found(), planned(), seconds=1.0)
    assert trial.ok
    assert trial.without_variance == 0.5
    assert trial.rewards[0].without_variance == 0.5
    assert [row.totals for row in trial.rows] == [(1.0, 0.0), (1.0, 1.0)]
    assert repr(trial) == "<RewardTrial: GRPO, 1 reward function, 2 rows with 2 completions each, no problems>"
    assert str(trial).splitlines()[1:3] == [
        "reward     weight  reference  empty  flat  seconds",
        "has_digit       1          1    0.5   50%    0.500",
    ]
    html = trial._repr_html_()  # pyright: ignore[reportPrivateUsage]
    assert "<b>\\x1b" not in html
    assert "&lt;b&gt;\\x1b[31m" in html
    assert "\x1b" not in html


@pytest.mark.parametrize(
    ("ended", "told"),
    [
        ("it ran longer than 30 s", "has_digit did not end: it ran longer than 30 s"),
        (
            "it took more than 12 GiB of memory",
            "has_digit did not end: it took more than 12 GiB of memory",
        ),
        ("signal 11", "has_digit ended the process, with signal 11: a reward function must return"),
    ],
)
def test_a_function_that_meets_a_limit_is_named(ended: str, told: str) -> None:
    (function,) = found()["functions"]
    result = found(functions=[{**function, "seconds": None}], calling=["has_digit"], done=False)
    trial = read_trial(result, planned(), seconds=1.0, ended=ended)
    assert [(problem.code, problem.why) for problem in trial.problems] == [("REWARD004", told)]
    assert trial.notes == ()


def test_codes_are_of_one_area() -> None:
    assert all(code.startswith("REWARD") for code in CODES)


def test_values_that_torch_would_not_take_are_never_looked_at_twice() -> None:
    assert reward_calls.wrong_result(None, None, 2, repr) == "nothing"
    assert reward_calls.wrong_result({"a": 1.0}, ["a"], 1, repr) == "a dict"
    assert reward_calls.wrong_result([1.0, 2.0], [1.0, 2.0], 1, repr) == "2 values for 1 completion"
    assert reward_calls.wrong_result(0.5, None, 2, repr) == "one value for all completions, 0.5"
