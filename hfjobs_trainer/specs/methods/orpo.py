"""Odds ratio preference optimisation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from hfjobs_trainer.problems import Found, rule
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.context import Context
from hfjobs_trainer.specs.inputs import data_inputs
from hfjobs_trainer.specs.registry import method
from hfjobs_trainer.specs.training import Training, one_pass
from hfjobs_trainer.specs.trl_args.orpo import ORPOArgs

if TYPE_CHECKING:
    from typing import Unpack

    from hfjobs_trainer.submitters import ORPOFields


@method(
    "orpo",
    label="ORPO",
    trainer="ORPOTrainer",
    config="ORPOConfig",
    module="trl.experimental.orpo",
    device_map=True,
)
class ORPO(ORPOArgs, TrainSpec):
    """Odds ratio preference optimisation with TRL's experimental ``ORPOTrainer``: pairs, and no reference model."""

    TRAINING: ClassVar[Training] = Training(
        sequences=2,
        head="full",
        reference="none",
        passes=one_pass,
        answers=None,
        side_models=None,
        free_batch=True,
        least_per_device=1,
        recomputes=True,
        evaluates_loss=False,
        packs=False,
        drops_long_rows=False,
        bf16_adapter=False,
        reads_images=False,
        simulated_step=None,
    )

    method: Literal["orpo"] = "orpo"

    if TYPE_CHECKING:

        def __init__(self, **fields: Unpack[ORPOFields]) -> None: ...

    def dataset_formats(self) -> tuple[tuple[str, ...], ...]:
        """Sets of columns of which the dataset must have one, the usual one first."""
        return (("chosen", "rejected"),)


@rule("ORPO001", methods=["orpo", "cpo"])
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
    for data in data_inputs(context):
        if data.dataset.streaming:
            yield Found(
                f"{data.path}.streaming", f"{type(context.spec).METHOD.trainer} takes no stream", "leave it out"
            )


@rule("ORPO002", methods=["orpo", "cpo"])
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
        why = f"{type(spec).METHOD.trainer} logs the samples as a table of W&B, which would not be installed"
        yield Found("generate_during_eval", why, 'tracking=hft.Tracking(report_to="wandb"), or leave it out')
