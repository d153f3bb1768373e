"""Group relative policy optimisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from hfjobs_trainer.specs.extras import RewardedSpec
from hfjobs_trainer.specs.registry import method
from hfjobs_trainer.specs.trl_args.grpo import GRPOArgs

if TYPE_CHECKING:
    from typing import Unpack

    from hfjobs_trainer.submitters import GRPOFields


@method("grpo", label="GRPO", trainer="GRPOTrainer", config="GRPOConfig")
class GRPO(GRPOArgs, RewardedSpec):
    """Group relative policy optimisation with ``trl.GRPOTrainer``: the model's own answers, scored by rewards."""

    method: Literal["grpo"] = "grpo"

    if TYPE_CHECKING:

        def __init__(self, **fields: Unpack[GRPOFields]) -> None: ...

    def dataset_formats(self) -> tuple[tuple[str, ...], ...]:
        """Sets of columns of which the dataset must have one, the usual one first."""
        return (("prompt",),)
