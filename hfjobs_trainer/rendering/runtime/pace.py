"""The pace of a run: its first steps against plan, deadline and cap; and standstill."""

import os
import time
from threading import Event, Thread
from typing import Any

from hfjobs_trainer.rendering.runtime.clock import seconds_left
from hfjobs_trainer.rendering.runtime.events import report
from hfjobs_trainer.rendering.runtime.stopping import RUIN, Stop

WARM_UP = 5  # steps that do not count, since they compile
MEASURED = 20  # steps, these included
IDLE_SECONDS = 900.0


def check_pace(trainer: Any, stop: Stop, flavor: str = "", **plan: Any) -> None:
    """Hold the first steps against the plan for a flavor and the time that is left."""
    from torch import cuda
    from transformers import TrainerCallback

    known, inf = plan if os.environ.get("ACCELERATOR") == flavor else {}, float("inf")
    timeout = float(os.environ.get("HFT_TIMEOUT") or inf)
    bounds = {**known, "seconds": (0, timeout), "usd": (0, known.get("max_usd", inf))}
    laps, alive = list[tuple[float, float]](), Event()

    def await_standstill() -> None:
        while alive.wait(IDLE_SECONDS):
            alive.clear()
        if not trainer.control.should_training_stop:
            step, minutes = trainer.state.global_step, f"{IDLE_SECONDS / 60:g} minutes"
            report("warning", step=step, message=f"No step for {minutes} after {step}")

    class Pace(TrainerCallback):
        mark: Any = None

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.mark = time.time(), 0
            Thread(target=await_standstill, daemon=True).start()

        def on_prediction_step(self, *_: Any, **__: Any) -> None:
            alive.set()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            alive.set()
            now = time.time(), getattr(trainer, "_total_train_tokens", 0)
            if self.mark and len(laps) < MEASURED:
                laps.append((now[0] - self.mark[0], now[1] - self.mark[1]))
                if len(laps) == MEASURED:
                    judge(state.global_step, state.max_steps)
            pauses = control.should_save or control.should_evaluate
            self.mark = None if pauses else now  # what follows takes longer

    def judge(step: int, steps: int) -> None:
        seconds, tokens = (sum(each) for each in zip(*laps[WARM_UP:], strict=True))
        pace = seconds / (MEASURED - WARM_UP)
        needs = timeout - seconds_left() + (steps - step) * pace + known.get("rest", 0)
        found = {
            "seconds_per_step": pace,
            "tokens_per_second": tokens / seconds,
            "memory_gib": cuda.max_memory_allocated() / 2**30,
            "seconds": needs,
            "usd": needs / 3600 * known.get("usd_per_hour", 0),
        }
        told = dict[str, str]()
        for name, value in found.items():
            low, high = bounds.get(name, (0, inf))
            if value and (value < low or value > high):
                told[name] = f"{name} {value:.4g}, planned {low:g} to {high:g}"
        text = "; ".join(told.values()) or "as planned"
        if known or told:
            report("pace", step=step, **found, planned=bounds, message=text)
        if plan.get("stop_if_over") and told.keys() & {"seconds", "usd"}:
            stop.ask(RUIN, text)

    trainer.add_callback(Pace())
