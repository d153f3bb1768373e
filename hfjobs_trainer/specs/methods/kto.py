"""Kahneman-Tversky optimisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.registry import method
from hfjobs_trainer.specs.trl_args.kto import KTOArgs

if TYPE_CHECKING:
    from typing import Unpack

    from hfjobs_trainer.submitters import KTOFields


@method("kto", label="KTO", trainer="KTOTrainer", config="KTOConfig")
class KTO(KTOArgs, TrainSpec):
    """Kahneman-Tversky optimisation with ``trl.KTOTrainer``: answers marked as good or bad, each on its own."""

    method: Literal["kto"] = "kto"

    if TYPE_CHECKING:

        def __init__(self, **fields: Unpack[KTOFields]) -> None: ...

    def dataset_formats(self) -> tuple[tuple[str, ...], ...]:
        """Sets of columns of which the dataset must have one, the usual one first."""
        return (("prompt", "completion", "label"), ("chosen", "rejected"))
