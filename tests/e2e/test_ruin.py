"""Runs that are of no use: planted, told at the step at which they show, and stopped."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.methods import Inputs, Warm, render_to

QUIET: dict[str, Any] = {"eval_fraction": None, "eval_strategy": "no", "eval_steps": None}


@dataclass(frozen=True)
class Ended:
    """How a script ended: its exit code, its events, and the steps at which it saved."""

    status: int
    events: list[dict[str, Any]]

    def named(self, name: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["event"] == f"hft.{name}"]

    @property
    def told(self) -> list[tuple[str, int, str]]:
        """What was found: the kind of event, step, sign."""
        found = [event for event in self.events if event["event"] in ("hft.ruin", "hft.warning")]
        return [(event["event"][4:], event["step"], event["what"]) for event in found]

    @property
    def saved(self) -> list[int]:
        return [event["step"] for event in self.named("saved")]


class Bench:
    """Runs scripts in which something was planted."""

    def __init__(self, inputs: Inputs, warm: Warm, folder: Path) -> None:
        self.inputs, self.warm, self.folder = inputs, warm, folder

    def run(
        self,
        method: str,
        steps: int,
        planted: dict[str, str],
        env: dict[str, str] | None = None,
        processes: int = 1,
        **changes: Any,
    ) -> Ended:
        """Render a script, put text in place of other text, and run it."""
        fields = self.inputs.fields(method, max_steps=steps, **QUIET, **changes)
        script = render_to(self.folder, method, fields)
        text = script.read_text("utf-8")
        for old, new in planted.items():
            assert old in text
            text = text.replace(old, new, 1)
        script.write_text(text, "utf-8")
        variables = {"HFT_FLUSH_SECONDS": "0", "HFT_RUN_ID": self.folder.name, **(env or {})}
        status = self.warm.start(script, processes=processes, **variables)
        lines = (self.folder / "out-0.txt").read_text("utf-8").splitlines()
        return Ended(status, [json.loads(line) for line in lines if line.startswith('{"event": "hft.')])


@pytest.fixture
def bench(inputs: Inputs, warm: Warm, tmp_path: Path) -> Bench:
    return Bench(inputs, warm, tmp_path)


def before_training(lines: str) -> dict[str, str]:
    return {"    stop = Stop(": f"{lines}    stop = Stop("}


NOT_FINITE = "loss, gradients or weights are not finite"


def test_a_run_that_diverges_is_told_at_once_and_stopped_after_five_steps(bench: Bench) -> None:
    ended = bench.run("dpo", 12, {"learning_rate=0.001": "learning_rate=1e30"})
    assert ended.status == 77
    assert ended.told == [("ruin", 2, NOT_FINITE)]
    # its weights were still numbers then, and nothing after it was kept
    assert ended.saved == [1]
    (stopped,) = ended.named("stopped")
    assert (stopped["step"], stopped["code"], stopped["reason"]) == (6, 77, "ruin")
    assert "5 steps in a row" in stopped["message"]
    assert not ended.named("end")


def test_weights_that_the_last_step_broke_are_not_kept(bench: Bench) -> None:
    broken = """\
    from transformers import TrainerCallback

    class Break(TrainerCallback):
        def on_optimizer_step(self, args, state, control, **kwargs):
            if state.global_step == 1:
                next(kwargs["model"].parameters()).data.view(-1)[0] = float("nan")

    trainer.add_callback(Break())
"""
    ended = bench.run("sft", 2, before_training(broken))
    assert ended.status == 77
    assert ended.saved == [1]
    assert ended.told == [("ruin", 2, NOT_FINITE), ("ruin", 2, "the weights are not finite")]
    assert not list(bench.folder.glob("*/model.safetensors"))
    assert list(bench.folder.glob("*/checkpoint-1/model.safetensors"))


def test_single_steps_that_fp16_skips_are_no_ruin_and_only_long_rows_of_no_gradient_are(bench: Bench) -> None:
    planted = """\
    accelerator, norm = type(trainer.accelerator), trainer._get_grad_norm
    accelerator.optimizer_step_was_skipped = property(lambda _: trainer.state.global_step < 4)
    trainer._get_grad_norm = lambda *given, **named: (
        norm(*given, **named) if trainer.state.global_step > 2 else float("inf")
    )
    collate = trainer.data_collator

    def mask(rows):
        batch = collate(rows)
        if trainer.state.global_step > 7:
            batch["labels"][:] = -100
        return batch

    trainer.data_collator = mask
"""
    ended = bench.run("sft", 60, before_training(planted), gradient_accumulation_steps=1, save_steps=50)
    # batches are collated one step ahead of what is trained
    ((kind, step, what),) = ended.told
    assert (kind, what) == ("ruin", "loss and gradients are 0")
    (stopped,) = ended.named("stopped")
    assert stopped["step"] == step + 15
    # the weights are as good as ever
    assert ended.saved == [stopped["step"] - 1]
    assert ended.status == 77


def test_what_reward_functions_return_counts(bench: Bench) -> None:
    rewards = """\

    def nan(completions, **_):
        wrong = int(os.environ["RANK"]) == 1 and trainer.state.global_step > 0
        return [float("nan") if wrong else len(str(each)) for each in completions]

    async def of_some(completions, **_):
        return [None if n % 2 else 1.0 for n, _ in enumerate(completions)]

    trainer.reward_funcs[:] = [nan, of_some]
    trainer.reward_func_names[:] = ["nan", "of_some"]
    from trl.trainer.utils import start_event_loop_in_daemon

    trainer.async_loop_thread, trainer.async_loop, ready = start_event_loop_in_daemon()
    ready.wait()
"""
    ended = bench.run("grpo", 9, before_training(rewards), processes=2)
    # the second process alone has it; None is no fault
    assert ended.told == [("ruin", 2, "a reward is not finite")]
    (ruin,) = ended.named("ruin")
    assert "nan returned NaN" in ruin["meaning"]
    assert ended.named("stopped")[0]["step"] == 6
    assert ended.saved == [1, 2, 3, 4, 5]


def test_a_model_that_can_write_no_more_is_ruined(bench: Bench) -> None:
    ended = bench.run("grpo", 6, {"learning_rate=0.001": "learning_rate=1e30"})
    assert ended.status == 77
    assert ended.told == [("ruin", 2, "no answer can be drawn")]
    assert ended.named("stopped")[0]["reason"] == "ruin"


def deadline(seconds: float, **more: str) -> dict[str, str]:
    """Environment of a run whose machine is taken away so soon."""
    return {"HFT_TIMEOUT": str(seconds), "HFT_DEADLINE": str(time.time() + seconds), **more}


PLAN = 'flavor="l4x1", seconds_per_step=(10.0, 20.0), tokens_per_second=(0.0, 1e9), rest=30, usd_per_hour=36.0'


def test_a_run_that_will_not_be_done_in_time_says_so_and_stops_if_asked_to(bench: Bench) -> None:
    slow = """\
    collate = trainer.data_collator
    trainer.data_collator = lambda rows: (time.sleep(0.02), collate(rows))[1]
"""
    planted = before_training(slow)
    planted["check_pace(trainer, stop)"] = f"check_pace(trainer, stop, {PLAN}, stop_if_over=True)"
    ended = bench.run("sft", 100_000, planted, save_steps=100_000, env=deadline(600, ACCELERATOR="a100x8"))
    # another machine than planned: time counts, price and plan do not
    (pace,) = ended.named("pace")
    assert (pace["planned"], pace["usd"]) == ({"seconds": [0, 600], "usd": [0, None]}, 0)
    assert pace["seconds"] > 1000
    (stopped,) = ended.named("stopped")
    assert (stopped["step"], stopped["code"], stopped["reason"]) == (20, 77, "over")
    assert re.search(r"seconds \d[\d.e+]*, planned 0 to 600", stopped["message"])
    assert ended.saved == [20]
    assert ended.status == 77


def test_its_first_steps_are_held_against_the_plan_and_a_standstill_is_told_once(bench: Bench) -> None:
    nap = """\
    collate = trainer.data_collator
    naps = iter([0, 0, 1.0])
    trainer.data_collator = lambda rows: (time.sleep(next(naps, 0)), collate(rows))[1]
"""
    planted = before_training(nap) | {"IDLE_SECONDS = 900.0": "IDLE_SECONDS = 0.4"}
    planted["check_pace(trainer, stop)"] = f"check_pace(trainer, stop, {PLAN}, max_usd=1.0)"
    ended = bench.run("sft", 22, planted, save_steps=100, env=deadline(3000, ACCELERATOR="l4x1"))
    (pace,) = ended.named("pace")
    assert pace["step"] == 20
    assert 0 < pace["seconds_per_step"] < 5
    assert pace["tokens_per_second"] > 0
    assert pace["planned"]["seconds_per_step"] == [10, 20]
    assert "planned 10 to 20" in pace["message"]
    assert "tokens_per_second" not in pace["message"]
    assert 30 < pace["seconds"] < 90
    assert pace["usd"] == pytest.approx(pace["seconds"] / 100, rel=0.01)
    (warning,) = ended.named("warning")
    assert re.fullmatch(r"No step for .* minutes after \d", warning["message"])
    assert ended.status == 0
