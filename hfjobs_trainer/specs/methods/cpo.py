"""Contrastive preference optimisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.registry import method
from hfjobs_trainer.specs.trl_args.cpo import CPOArgs

if TYPE_CHECKING:
    from typing import Unpack

    from hfjobs_trainer.submitters import CPOFields


@method(
    "cpo",
    label="CPO",
    trainer="CPOTrainer",
    config="CPOConfig",
    module="trl.experimental.cpo",
    device_map=True,
)
class CPO(CPOArgs, TrainSpec):
    """Contrastive preference optimisation with TRL's experimental ``CPOTrainer``, SimPO among its losses."""

    method: Literal["cpo"] = "cpo"

    if TYPE_CHECKING:

        def __init__(self, **fields: Unpack[CPOFields]) -> None: ...

    def dataset_formats(self) -> tuple[tuple[str, ...], ...]:
        """Sets of columns of which the dataset must have one, the usual one first."""
        return (("chosen", "rejected"),)
