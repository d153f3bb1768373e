"""Signs of ruin: when each is told, and when it ends a run."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Callable
from importlib import import_module
from types import SimpleNamespace
from typing import Any

import pytest

from hfjobs_trainer.rendering.runtime.rewarded import describe, last_metric, watch_answers, watch_rewards
from hfjobs_trainer.rendering.runtime.ruin import BROKEN, OFTEN, has_finite_weights
from hfjobs_trainer.rendering.runtime.ruin_ppo import watch_losses
from hfjobs_trainer.rendering.runtime.stopping import RUIN, Stop


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)


def told(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_a_sign_is_told_once_and_ends_the_run_only_if_it_stays(capsys: pytest.CaptureFixture[str]) -> None:
    stop = Stop()
    for step, there in enumerate([True, False, True, True, True, False, True], start=1):
        assert stop.see("it smokes", there, step, "fire", tell=2, end=4) is (step == 5)
    assert stop.code == 0
    for step in (8, 9, 10):
        stop.see("it smokes", True, step, "fire", tell=2, end=4)
    assert (stop.code, stop.saves) == (RUIN, False)
    assert stop.why == "it smokes, for 4 steps in a row: fire"
    (event,) = told(capsys)
    assert (event["event"], event["step"], event["what"], event["meaning"]) == ("hft.ruin", 4, "it smokes", "fire")


def test_a_sign_that_ends_nothing_is_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    stop = Stop()
    for step in range(1, 40):
        stop.see("it is dull", True, step, "sleep", tell=3)
    (event,) = told(capsys)
    assert (event["event"], event["step"], event["message"]) == ("hft.warning", 3, "it is dull: sleep")
    assert stop.code == 0


def test_arguments_are_told_without_their_content() -> None:
    assert describe([[{"role": "user", "content": "secret"}]]) == "list[1] of list[1] of dict[2]"
    assert describe(["secret", "x"]) == "list[2] of str[6]"
    assert describe(7) == "int"
    assert describe([]) == "list[0]"


def gives(*values: Any) -> Callable[..., list[Any]]:
    def give(completions: list[str], **_: Any) -> list[Any]:
        assert len(completions) == len(values)
        return [*values]

    return give


def gives_nothing(**_: Any) -> None:
    return None


class Rewarded:
    """What ``watch_rewards`` needs of a trainer."""

    def __init__(self, **functions: Any) -> None:
        self.reward_funcs, self.reward_func_names = [*functions.values()], [*functions]
        self.state = SimpleNamespace(global_step=0)
        self.control = SimpleNamespace(should_save=False)
        self.callbacks: list[Any] = []
        self.stop = Stop()
        watch_rewards(self, self.stop)

    def add_callback(self, callback: Any) -> None:
        self.callbacks.append(callback)

    def step(self, count: int = 2, times: int = 1) -> list[Any]:
        """Take steps, and give what the functions returned in the last one."""
        given: list[Any] = []
        for _ in range(times):
            texts = [str(n) for n in range(count)]
            given = [function(completions=texts, answer=texts) for function in self.reward_funcs]
            self.state.global_step += 1
            self.callbacks[0].on_step_end(None, self.state, self.control)
        return given


@pytest.mark.torch
def test_what_a_function_returns_is_what_the_trainer_gets(capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    class Scorer:
        """A callable with a state."""

        def __init__(self) -> None:
            self.calls = 0

        def __call__(self, completions: list[str], **_: Any) -> list[float]:
            self.calls += 1
            return [float(len(each) + n) for n, each in enumerate(completions)]

    def lazy(completions: list[str], **_: Any) -> Any:
        return (float(n) for n, _ in enumerate(completions))

    def some(completions: list[str], **_: Any) -> list[Any]:
        return [None, *(1 for _ in completions[1:])]

    def tensor(completions: list[str], **_: Any) -> Any:
        return torch.arange(len(completions))

    scorer = Scorer()
    trainer = Rewarded(scorer=scorer, lazy=lazy, some=some, tensor=tensor)
    assert trainer.step() == [[1.0, 2.0], [0.0, 1.0], [None, 1], [0, 1]]
    assert scorer.calls == 1
    assert [getattr(each, "__name__", "") for each in trainer.reward_funcs[1:]] == ["lazy", "some", "tensor"]
    trainer.step(times=OFTEN + 5)
    assert told(capsys) == []
    assert trainer.stop.code == 0


@pytest.mark.torch
def test_an_async_function_stays_one() -> None:
    utils: Any = import_module("trl.trainer.utils")

    async def slow(completions: list[str], **_: Any) -> list[float]:
        await asyncio.sleep(0)
        return [1.0 for _ in completions]

    trainer = Rewarded(slow=slow)
    (function,) = trainer.reward_funcs
    assert utils.is_async_callable(function)
    assert asyncio.run(function(completions=["a", "b"])) == [1.0, 1.0]


@pytest.mark.torch
def test_a_model_scores_as_before_and_its_scores_count(capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    class Judge(torch.nn.Module):
        """Gives NaN."""

        def forward(self, completions: list[str], **_: Any) -> Any:
            return SimpleNamespace(logits=torch.full((len(completions), 1), math.nan))

    judge = Judge()
    trainer = Rewarded(judge=judge)
    assert trainer.reward_funcs == [judge]
    trainer.step(times=BROKEN)
    (event,) = told(capsys)
    assert (event["step"], event["what"]) == (1, "a reward is not finite")
    assert event["meaning"].startswith("judge returned NaN")
    assert trainer.stop.code == RUIN


@pytest.mark.torch
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_ends_the_run_after_it_was_saved(value: float, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = Rewarded(good=gives(0.0, 1.0), bad=gives(1.0, value))
    trainer.step(times=BROKEN - 1)
    assert trainer.control.should_save
    assert trainer.stop.code == 0
    trainer.step()
    assert (trainer.stop.code, trainer.stop.saves) == (RUIN, False)
    (event,) = told(capsys)
    assert event["meaning"].startswith("bad returned NaN or infinity")


@pytest.mark.torch
def test_answers_that_no_function_scores_are_a_fault_and_rewards_that_never_vary_a_warning(
    capsys: pytest.CaptureFixture[str],
) -> None:
    none = Rewarded(one=gives(None, None), other=gives(None, None))
    none.step(times=BROKEN)
    (event,) = told(capsys)
    assert (event["step"], event["what"], none.stop.code) == (1, "no answer got a reward", RUIN)

    equal = Rewarded(one=gives(1.0, None), other=gives(0.0, 0.0))
    equal.step(times=OFTEN - 1)
    assert told(capsys) == []
    equal.step(times=OFTEN)
    (event,) = told(capsys)
    assert (event["event"], event["step"], event["what"]) == ("hft.warning", OFTEN, "rewards do not vary")
    assert equal.stop.code == 0


@pytest.mark.torch
def test_trl_knows_better_whether_the_answers_to_a_prompt_differ(capsys: pytest.CaptureFixture[str]) -> None:
    trainer: Any = Rewarded(by_prompt=gives(0.0, 1.0))
    trainer._metrics = {"train": {"frac_reward_zero_std": [0.5, 1.0], "entropy": [3.0, 1e-6]}}
    assert last_metric(trainer, "entropy") == 1e-6
    trainer.step(times=OFTEN)
    found = [(event["event"], event["step"], event["what"]) for event in told(capsys)]
    assert found == [
        ("hft.warning", BROKEN, "the entropy is 0"),
        ("hft.warning", OFTEN, "rewards do not vary"),
    ]


@pytest.mark.torch
def test_a_function_that_raises_is_named_and_raises(capsys: pytest.CaptureFixture[str]) -> None:
    def raising(completions: list[str], **_: Any) -> list[float]:
        raise KeyError("hf_secret")

    trainer = Rewarded(raising=raising)
    with pytest.raises(KeyError, match="hf_secret"):
        trainer.step()
    (event,) = told(capsys)
    assert (event["event"], event["step"], event["what"]) == ("hft.ruin", 1, "the reward raising failed")
    assert event["meaning"] == "it raised KeyError"
    assert event["given"] == {"completions": "list[2] of str[1]", "answer": "list[2] of str[1]"}
    assert "secret" not in json.dumps(event)
    with pytest.raises(TypeError):
        Rewarded(nothing=gives_nothing).step()
    assert told(capsys)[0]["what"] == "the reward nothing failed"
    with pytest.raises(ValueError, match="returned 1 rewards for 2 answers") as error:
        Rewarded(few=lambda **_: [1.0]).step()
    assert error.value.__notes__ == ["It was raised by the reward few"]


@pytest.mark.torch
def test_another_failure_of_a_step_is_left_alone() -> None:
    def training_step(*_: Any, **__: Any) -> None:
        raise RuntimeError("CUDA out of memory")

    trainer: Any = SimpleNamespace(training_step=training_step)
    watch_answers(trainer, Stop())
    with pytest.raises(RuntimeError, match="out of memory"):
        trainer.training_step()


@pytest.mark.torch
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e30])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_weights_are_looked_at_where_they_are_trained(value: float, dtype: str) -> None:
    import torch

    model = torch.nn.Linear(4, 3).to(getattr(torch, dtype))
    model.register_parameter("empty", torch.nn.Parameter(torch.empty(0)))
    trainer = SimpleNamespace(model=model)
    assert has_finite_weights(trainer)
    model.weight.data[2, 3] = value
    is_finite = bool(torch.tensor(value, dtype=model.weight.dtype).isfinite())
    assert has_finite_weights(trainer) is is_finite
    model.weight.requires_grad = False
    assert has_finite_weights(trainer)


@pytest.mark.torch
def test_of_ppo_the_logged_losses_are_looked_at(capsys: pytest.CaptureFixture[str]) -> None:
    callbacks: list[Any] = []
    trainer, stop = SimpleNamespace(add_callback=callbacks.append), Stop()
    watch_losses(trainer, stop)
    (callback,) = callbacks
    control = SimpleNamespace(should_save=True)
    for step in range(1, BROKEN + 2):
        logs = {"loss/policy_avg": 0.1 if step == 1 else math.nan, "loss/value_avg": 1.0, "eval_reward": math.nan}
        state = SimpleNamespace(global_step=step)
        callback.on_log(None, state, control, logs=logs)
        callback.on_log(None, state, control, logs={"eval_reward": math.nan})
        callback.on_step_end(None, state, control)
        assert control.should_save is (step == 1)
    (event,) = told(capsys)
    assert (event["step"], event["what"]) == (2, "the loss is not finite")
    assert (stop.code, stop.suspect) == (RUIN, True)
