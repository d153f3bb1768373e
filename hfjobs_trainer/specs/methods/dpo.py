"""Direct preference optimisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.registry import method
from hfjobs_trainer.specs.trl_args.dpo import DPOArgs

if TYPE_CHECKING:
    from typing import Unpack

    from hfjobs_trainer.submitters import DPOFields


@method("dpo", label="DPO", trainer="DPOTrainer", config="DPOConfig")
class DPO(DPOArgs, TrainSpec):
    """Direct preference optimisation with ``trl.DPOTrainer`` on pairs of a chosen and a rejected answer."""

    method: Literal["dpo"] = "dpo"

    if TYPE_CHECKING:

        def __init__(self, **fields: Unpack[DPOFields]) -> None: ...

    def dataset_formats(self) -> tuple[tuple[str, ...], ...]:
        """Sets of columns of which the dataset must have one, the usual one first."""
        return (("chosen", "rejected"),)
