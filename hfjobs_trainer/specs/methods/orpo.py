"""Odds ratio preference optimisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.registry import method
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

    method: Literal["orpo"] = "orpo"

    if TYPE_CHECKING:

        def __init__(self, **fields: Unpack[ORPOFields]) -> None: ...

    def dataset_formats(self) -> tuple[tuple[str, ...], ...]:
        """Sets of columns of which the dataset must have one, the usual one first."""
        return (("chosen", "rejected"),)
