"""Rules about columns whose names TRL's trainers use for themselves."""

from __future__ import annotations

from collections.abc import Iterator

from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.problems import Found, need, rule
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.fixes import change


@rule("DATA028")
def names_are_free(context: Context[TrainSpec]) -> Iterator[Found]:
    """No column has a name that the trainer uses for something else.

    What it does:
        Refuses columns such as `completions` where rewards get every column by its name, `labels` for SFT on texts, or
        `messages` beside the conversations of ORPO and CPO.

    Why:
        TRL hands on its own values under these names, or takes the column for them: `TypeError: got multiple values for
        keyword argument 'completions'` at the first step, or a `KeyError` once the model is loaded.

    Example:
        ```python
        hft.GRPO(model=..., dataset="me/graded", reward_funcs=correct)  # columns prompt, completions and answer
        ```

    Use instead:
        ```python
        hft.GRPO(model=..., dataset=hft.Dataset(id="me/graded", columns={"completions": "old_completions"}),
                 reward_funcs=correct)
        ```
    """
    spec = context.spec
    for data in context.datasets:
        columns = data.columns or ()
        talks = data.facts.values.conversational if data.facts.values else None
        taken = spec.taken_columns(columns, conversational=bool(talks))
        # where no format is there, a renaming is for DATA004 to propose
        fits = any(set(names) <= set(columns) for names in spec.dataset_formats())
        wrong = [name for name in columns if name in taken and fits]
        # together, so that one fix frees them all
        renamed = data.renaming({name: f"old_{name}" for name in wrong})
        for name in wrong:
            why = f"{data.id} has a column {name}, {taken[name]}"
            yield Found(data.path, why, change(spec, {f"{data.path}.columns": renamed}))
    for data in context.datasets:
        columns = need(data.columns, f"the columns of {data.id}", data.path)
        unclear = data.facts.values is None or data.facts.values.conversational is None
        if unclear and set(spec.taken_columns(columns, conversational=True)) & set(columns):
            need(data.facts.values, f"the rows of {data.id}", data.path)
