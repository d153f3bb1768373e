"""Rewards as they were returned: TRL logs None, NaN and nothing at all alike."""

import math
import re
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial, wraps
from importlib import import_module
from typing import Any

from hfjobs_trainer.rendering.runtime.events import report
from hfjobs_trainer.rendering.runtime.ruin import BROKEN, OFTEN
from hfjobs_trainer.rendering.runtime.stopping import Stop, agree

EQUAL_GROUPS = "frac_reward_zero_std"  # share of prompts whose answers are all equal

NO_ENTROPY = 1e-4  # mean of all tokens, nats


def watch_rewards(trainer: Any, stop: Stop) -> None:
    """Look at what each reward function returns; None is "not applicable", no fault."""
    from torch.nn import Module
    from transformers import TrainerCallback

    is_async: Any = import_module("trl.trainer.utils").is_async_callable
    see, names = stop.see, trainer.reward_func_names
    returned: list[tuple[int, list[float | None]]] = []
    last: dict[int, float] = {}

    def keep(number: int, output: Any, count: int | None = None) -> list[Any]:
        values = list(output)
        if count not in (None, len(values)):
            told = f"{names[number]} returned {len(values)} rewards"
            raise ValueError(f"{told} for {count} answers")
        numbers = [None if each is None else float(each) for each in values]
        returned.append((number, numbers))
        return values

    @contextmanager
    def telling(name: str, given: dict[str, Any]) -> Generator[None]:
        try:
            yield
        except Exception as error:
            step, what = trainer.state.global_step + 1, f"the reward {name} failed"
            why = f"it raised {type(error).__name__}"
            shapes = {key: describe(value) for key, value in given.items()}
            told = {"step": step, "what": what, "meaning": why, "given": shapes}
            report("ruin", **told, message=f"{what}: {why}")
            error.add_note(f"It was raised by the reward {name}")
            raise

    def wrap(number: int, function: Callable[..., Any]) -> Callable[..., Any]:
        async def call_async(**given: Any) -> Any:
            with telling(names[number], given):
                return keep(number, await function(**given), count_answers(given))

        def call(**given: Any) -> Any:
            with telling(names[number], given):
                return keep(number, function(**given), count_answers(given))

        return wraps(function)(call_async if is_async(function) else call)

    def score(_model: Any, _given: Any, output: Any, number: int) -> None:
        keep(number, output.logits[:, 0].tolist())

    class Rewards(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if not returned:  # answers of an earlier step were used again
                return
            wrong, scored, differ, step = 0, 0, 0, state.global_step
            for number, values in returned:
                for value in (each for each in values if each is not None):
                    scored = 1
                    if not math.isfinite(value):
                        wrong = number + 1
                    elif last.setdefault(number, value) != value:
                        differ, last[number] = 1, value
            returned.clear()
            wrong, scored, differ = agree(wrong), agree(scored), agree(differ)
            why = f"{names[wrong - 1]} returned NaN or infinity; it should return None"
            why += " where an answer has no reward"
            ends = see("a reward is not finite", wrong, step, why, end=BROKEN)
            why = "each function returned None for all: answers or columns are not as"
            why += " they expect, or are cut before they end"
            what = "no answer got a reward"
            ends |= see(what, not scored, step, why, end=BROKEN)
            if ends and not stop.suspect:
                control.should_save = True  # the weights are as good as ever
            same = scored and not (differ and last_metric(trainer, EQUAL_GROUPS) != 1)
            why = "all answers fail, all succeed, or are cut before they end"
            see("rewards do not vary", same, step, why, OFTEN)
            entropy = last_metric(trainer, "entropy")
            flat = entropy is not None and entropy < NO_ENTROPY
            why = "the model has only one answer left: learning_rate may be too high"
            see("the entropy is 0", flat, step, why, BROKEN)

    for number, function in enumerate(trainer.reward_funcs):
        if isinstance(function, Module):
            function.register_forward_hook(partial(score, number=number))
        else:
            trainer.reward_funcs[number] = wrap(number, function)
    trainer.add_callback(Rewards())


def watch_answers(trainer: Any, stop: Stop) -> None:
    """Tell a model that cannot write any more, its logits not being finite."""
    take_step = trainer.training_step

    def training_step(*given: Any, **named: Any) -> Any:
        try:
            return take_step(*given, **named)
        except RuntimeError as error:
            # on a GPU, nothing else can be computed from then on
            if not re.search("probability tensor|device-side assert", str(error)):
                raise
            step: int = trainer.state.global_step
            why = "its logits are not finite, learning_rate is too high"
            why = f"{why} ({error!s:.80})"
            stop.see("no answer can be drawn", True, step + 1, why, end=1)
            stop.suspect, stop.step = True, step
            stop.leave(trainer)

    trainer.training_step = training_step


def count_answers(given: dict[str, Any]) -> int | None:
    """Count the answers that a reward function is given."""
    answers = given.get("completions")
    return None if answers is None else len(answers)


def describe(value: Any) -> str:
    """Tell the kind and length of an argument and of its first row, no content."""
    kind = type(value).__name__
    if kind not in ("list", "tuple", "str", "dict"):
        return kind
    first = f" of {describe(value[0])}" if kind == "list" and value else ""
    return f"{kind}[{len(value)}]{first}"


def last_metric(trainer: Any, name: str) -> float | None:
    """Give the newest value of a metric that TRL has not logged yet."""
    values = getattr(trainer, "_metrics", {}).get("train", {}).get(name)
    return values[-1] if values else None
