"""Reward modelling."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from hfjobs_trainer.specs import names
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.registry import method
from hfjobs_trainer.specs.training import Training, one_pass
from hfjobs_trainer.specs.trl_args.reward import RewardArgs

if TYPE_CHECKING:
    from typing import Unpack

    from hfjobs_trainer.submitters import RewardFields


@method("reward", label="Reward", trainer="RewardTrainer", config="RewardConfig", lora_task="SEQ_CLS")
class Reward(RewardArgs, TrainSpec):
    """Reward modeling with ``trl.RewardTrainer``: trains a model that scores completions, on preference pairs."""

    TRAINING: ClassVar[Training] = Training(
        sequences=2,
        head="none",
        reference="none",
        passes=one_pass,
        answers=None,
        side_models=None,
        free_batch=True,
        least_per_device=1,
        recomputes=True,
        resumes=True,
        evaluates_loss=True,
        evaluates_at_start=True,
        packs=False,
        long_rows="dropped",
        refuses_streams=False,
        bf16_adapter=True,
        reads_images=False,
        renders="scores",
        simulated_step="scores",
        recipe="reward",
    )

    FORMER_NAMES: ClassVar[names.Former] = names.ONE_LENGTH
    FORMER_DEFAULTS: ClassVar[names.FormerDefaults] = {"learning_rate": (5e-5, "0.24"), "max_length": (None, "0.14")}

    method: Literal["reward"] = "reward"

    if TYPE_CHECKING:

        def __init__(self, **fields: Unpack[RewardFields]) -> None: ...

    def dataset_formats(self) -> tuple[tuple[str, ...], ...]:
        """Sets of columns of which the dataset must have one, the usual one first."""
        return (("chosen", "rejected"),)
