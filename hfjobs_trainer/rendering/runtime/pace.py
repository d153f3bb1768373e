"""The pace of a run: its first steps against plan, deadline and cap; and standstill."""

import os
import time
from threading import Event, Thread
from typing import Any

from hfjobs_trainer.rendering.runtime.clock import seconds_left
from hfjobs_trainer.rendering.runtime.events import report
from hfjobs_trainer.rendering.runtime.stopping import RUIN, Stop

# Steps that do not count, since they compile and warm up, and the last that counts.
WARM_UP = 5
MEASURED = 20
IDLE_SECONDS = 900.0


def check_pace(trainer: Any, stop: Stop, flavor: str = "", **plan: Any) -> None:
    """Hold the first steps against the plan and the time left; tell of a standstill.

    Args:
        trainer: The trainer.
        stop: What may end the run early.
        flavor: The machine that `plan` is for; on another, only the time left counts.
        plan: Bounds of `seconds_per_step`, `tokens_per_second`, `memory_gib`; `rest`,
            the seconds beside steps; `usd_per_hour`; `max_usd`; `stop_if_over`.
    """
    from torch import cuda
    from transformers import TrainerCallback

    known = plan if os.environ.get("ACCELERATOR") == flavor else {}
    timeout, over = float(os.environ.get("HFT_TIMEOUT") or "inf"), Event()

    class Pace(TrainerCallback):
        done = steps = seconds = tokens = sign = 0.0
        mark: tuple[float, float] | None = None

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.sign = time.time()
            Thread(target=self.watch, args=(state,), daemon=True).start()

        def watch(self, state: Any) -> None:
            while not over.wait(IDLE_SECONDS / 60):
                if (sign := self.sign) and time.time() - sign > IDLE_SECONDS:
                    self.sign = 0.0  # it is told once
                    said = f"No step for {IDLE_SECONDS / 60:g} minutes: the last was"
                    at = time.strftime("%H:%M:%S UTC", time.gmtime(sign))
                    said += f" step {state.global_step}, the last sign of life at {at}"
                    report("warning", step=state.global_step, message=said)

        def on_prediction_step(self, *_: Any, **__: Any) -> None:
            self.sign = time.time()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            over.set()

        def on_save(self, *_: Any, **__: Any) -> None:
            self.mark = None  # the step that follows takes longer

        on_evaluate = on_save

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.sign, seen = time.time(), getattr(trainer, "_total_train_tokens", 0)
            self.done += 1
            if self.mark and self.done > WARM_UP:
                self.steps += 1
                self.seconds += self.sign - self.mark[0]
                self.tokens += seen - self.mark[1]
            self.mark = self.sign, seen
            if self.done == MEASURED and self.steps:
                self.judge(state.global_step, state.max_steps)

        def judge(self, step: int, most: int) -> None:
            found = {"seconds_per_step": self.seconds / self.steps}
            if self.tokens:
                found["tokens_per_second"] = self.tokens / self.seconds
            if cuda.is_available():
                found["memory_gib"] = cuda.max_memory_allocated() / 2**30
            told: list[str] = []
            for name, value in found.items():
                low, high = known.get(name, (value, value))
                if not low <= value <= high:
                    told.append(f"{name} {value:.3g}, planned {low:.3g} to {high:.3g}")
            left = seconds_left()
            ahead = (most - step) * found["seconds_per_step"] + known.get("rest", 0)
            needs = timeout - left + ahead
            usd = needs / 3600 * known.get("usd_per_hour", 0)
            late, dear = ahead > left, usd > known.get("max_usd", float("inf"))
            if late:
                told.append(f"it takes {needs:.0f} s, its timeout is {timeout:.0f} s")
            if dear:
                told.append(f"it costs ${usd:.2f}, max_usd is {known['max_usd']:g}")
            text = "; ".join(told) or "as planned"
            if known or late:
                numbers = {"seconds": needs, "timeout": timeout, "usd": usd}
                numbers |= {**found, "planned": known}
                report("pace", step=step, max_steps=most, **numbers, message=text)
            if plan.get("stop_if_over") and (late or dear):
                stop.ask(RUIN, text)

    trainer.add_callback(Pace())
