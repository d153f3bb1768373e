"""Rules that ORPO and CPO share, in TRL's same words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.problems import Found, rule
from hfjobs_trainer.specs.fixes import REMOVE, change
from hfjobs_trainer.specs.inputs import data_inputs

if TYPE_CHECKING:
    from hfjobs_trainer.specs.methods.orpo import ORPO


@rule("ORPO001", traits=["refuses_streams"])
def pairs_are_loaded_whole(context: Context[ORPO]) -> Iterator[Found]:
    """ORPO and CPO take datasets that are loaded whole.

    What it does:
        Refuses a streamed dataset for ORPO and CPO.

    Why:
        Their trainers prepare rows with `map(..., num_proc=...)`, which a stream does not take: a `TypeError` once the
        model is loaded.

    Example:
        ```python
        hft.ORPO(model=..., dataset=hft.Dataset(id="me/pairs", streaming=True), max_steps=100)
        ```

    Use instead:
        ```python
        hft.ORPO(model=..., dataset="me/pairs", max_steps=100)
        ```
    """
    for data in data_inputs(context.spec, context.facts):
        if data.dataset.streaming:
            path, why = f"{data.path}.streaming", f"{type(context.spec).METHOD.trainer} does not take streamed datasets"
            yield Found(path, why, change(context.spec, {path: REMOVE}))


@rule("ORPO002", fields=["generate_during_eval"])
def generated_samples_have_a_table(context: Context[ORPO]) -> Iterator[Found]:
    """Samples that are generated in an evaluation go to W&B.

    What it does:
        Refuses `generate_during_eval=True` for ORPO and CPO, unless W&B is the tracker.

    Why:
        Their trainers log the samples as a table of W&B or Comet, and refuse to start where neither is installed.

    Example:
        ```python
        hft.ORPO(model=..., dataset=..., eval_fraction=0.1, eval_strategy="epoch", generate_during_eval=True)
        ```

    Use instead:
        ```python
        hft.ORPO(model=..., dataset=..., eval_fraction=0.1, eval_strategy="epoch", generate_during_eval=True,
                 tracking=hft.Tracking(report_to="wandb"))
        ```
    """
    spec = context.spec
    brought = any(name.startswith(("wandb", "comet-ml", "comet_ml")) for name in spec.extra_dependencies)
    if spec.generate_during_eval and spec.tracking.report_to != "wandb" and not brought:
        why = f"{type(spec).METHOD.trainer} logs the samples as a table of W&B, which is not installed"
        yield Found("generate_during_eval", why, change(spec, {"tracking.report_to": "wandb"}))
