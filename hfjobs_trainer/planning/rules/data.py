"""Rules about the datasets."""

from __future__ import annotations

from collections.abc import Iterator

from hfjobs_trainer.problems import Found, rule
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.context import Context


@rule("DATA001")
def evaluation_needs_a_dataset(context: Context[TrainSpec]) -> Iterator[Found]:
    """Evaluation needs an evaluation set.

    What it does:
        Refuses `eval_strategy` other than `"no"`, `eval_on_start` and `load_best_model_at_end` where neither
        `eval_dataset` nor `eval_fraction` is given.

    Why:
        The trainer raises a `ValueError`, but only once the model is loaded and the dataset tokenized: minutes into a
        job that is paid for.

    Example:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-0.5B", dataset="trl-lib/Capybara", eval_strategy="steps")
        ```

    Use instead:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-0.5B", dataset="trl-lib/Capybara", eval_strategy="steps", eval_fraction=0.1)
        ```
    """
    spec = context.spec
    if (setting := spec.needs_eval_dataset) and not spec.evaluates:
        path = setting.split("=")[0]
        yield Found(path, f"{setting} needs an evaluation set: give eval_dataset or eval_fraction", "eval_fraction=0.1")
