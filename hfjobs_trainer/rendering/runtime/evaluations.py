"""The model as it was and as it became: an evaluation before training and one after."""

import re
from typing import Any

from hfjobs_trainer.rendering.runtime.events import report


def evaluation_callback() -> Any:
    """Make the trainer callback that evaluates after training as well as before."""
    from transformers import TrainerCallback

    class Evaluations(TrainerCallback):
        compares = False

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.compares = args.eval_on_start
            # What is resumed is no longer the untouched model, which was evaluated.
            args.eval_on_start = self.compares and state.global_step == 0

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if self.compares and state.global_step >= state.max_steps:
                control.should_evaluate = True

        def on_evaluate(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step == 0:
                before = compare_evaluations(args, state)[1]
                report("evaluated", when="before", step=0, metrics=before)

        def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            step, _, after = compare_evaluations(args, state)
            if step:
                report("evaluated", when="after", step=step, metrics=after)

    return Evaluations()


def compare_evaluations(args: Any, state: Any) -> tuple[int, Any, Any]:
    """Give the step of the model that is kept, and evaluations before and of that."""
    found: dict[int, dict[str, float]] = {0: {}}
    for entry in state.log_history:
        for name in entry:
            if re.match(r"eval_(?!.*(runtime|per_second)$)", name):
                found.setdefault(entry["step"], {})[name] = entry[name]
    best = state.best_global_step if args.load_best_model_at_end else None
    step = best if best in found else max(found)
    return step, found[0], found[step]
