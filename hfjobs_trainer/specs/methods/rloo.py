"""REINFORCE leave-one-out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from hfjobs_trainer.specs.extras import RewardedSpec
from hfjobs_trainer.specs.registry import method
from hfjobs_trainer.specs.trl_args.rloo import RLOOArgs

if TYPE_CHECKING:
    from typing import Unpack

    from hfjobs_trainer.submitters import RLOOFields


@method("rloo", label="RLOO", trainer="RLOOTrainer", config="RLOOConfig")
class RLOO(RLOOArgs, RewardedSpec):
    """REINFORCE leave-one-out with ``trl.RLOOTrainer``: the model's own answers, scored by rewards."""

    method: Literal["rloo"] = "rloo"

    if TYPE_CHECKING:

        def __init__(self, **fields: Unpack[RLOOFields]) -> None: ...

    def dataset_formats(self) -> tuple[tuple[str, ...], ...]:
        """Sets of columns of which the dataset must have one, the usual one first."""
        return (("prompt",),)
