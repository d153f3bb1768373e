"""Online DPO."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from hfjobs_trainer.specs.extras import RewardedSpec
from hfjobs_trainer.specs.registry import method
from hfjobs_trainer.specs.trl_args.online_dpo import OnlineDPOArgs

if TYPE_CHECKING:
    from typing import Unpack

    from hfjobs_trainer.submitters import OnlineDPOFields


@method(
    "online_dpo",
    label="OnlineDPO",
    trainer="OnlineDPOTrainer",
    config="OnlineDPOConfig",
    module="trl.experimental.online_dpo",
    device_map=True,
)
class OnlineDPO(OnlineDPOArgs, RewardedSpec):
    """DPO with TRL's experimental ``OnlineDPOTrainer`` on pairs of the model's own answers, ranked by rewards."""

    method: Literal["online_dpo"] = "online_dpo"

    if TYPE_CHECKING:

        def __init__(self, **fields: Unpack[OnlineDPOFields]) -> None: ...

    def dataset_formats(self) -> tuple[tuple[str, ...], ...]:
        """Sets of columns of which the dataset must have one, the usual one first."""
        return (("prompt",),)
