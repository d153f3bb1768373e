"""On-policy distillation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from hfjobs_trainer.specs.extras import CallingSpec, TaughtSpec
from hfjobs_trainer.specs.registry import method
from hfjobs_trainer.specs.trl_args.distillation import DistillationArgs

if TYPE_CHECKING:
    from typing import Unpack

    from hfjobs_trainer.submitters import DistillationFields


@method("distillation", label="Distillation", trainer="DistillationTrainer", config="DistillationConfig")
class Distillation(DistillationArgs, TaughtSpec, CallingSpec):
    """On-policy distillation with ``trl.DistillationTrainer``: a teacher corrects the model's own answers."""

    method: Literal["distillation"] = "distillation"

    if TYPE_CHECKING:

        def __init__(self, **fields: Unpack[DistillationFields]) -> None: ...

    def dataset_formats(self) -> tuple[tuple[str, ...], ...]:
        """Sets of columns of which the dataset must have one, the usual one first."""
        return (("prompt",),)
