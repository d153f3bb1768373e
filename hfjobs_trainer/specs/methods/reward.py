"""Reward modelling."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.registry import method
from hfjobs_trainer.specs.trl_args.reward import RewardArgs

if TYPE_CHECKING:
    from typing import Unpack

    from hfjobs_trainer.submitters import RewardFields


@method("reward", label="Reward", trainer="RewardTrainer", config="RewardConfig", lora_task="SEQ_CLS")
class Reward(RewardArgs, TrainSpec):
    """Reward modelling with ``trl.RewardTrainer``: a model that scores answers, from pairs of them."""

    method: Literal["reward"] = "reward"

    if TYPE_CHECKING:

        def __init__(self, **fields: Unpack[RewardFields]) -> None: ...

    def dataset_formats(self) -> tuple[tuple[str, ...], ...]:
        """Sets of columns of which the dataset must have one, the usual one first."""
        return (("chosen", "rejected"),)
