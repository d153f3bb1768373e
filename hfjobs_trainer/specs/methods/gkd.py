"""Generalized knowledge distillation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from hfjobs_trainer.specs.extras import TaughtSpec
from hfjobs_trainer.specs.registry import method
from hfjobs_trainer.specs.trl_args.gkd import GKDArgs

if TYPE_CHECKING:
    from typing import Unpack

    from hfjobs_trainer.submitters import GKDFields


@method(
    "gkd",
    label="GKD",
    trainer="GKDTrainer",
    config="GKDConfig",
    module="trl.experimental.gkd",
)
class GKD(GKDArgs, TaughtSpec):
    """Generalized knowledge distillation with TRL's experimental ``GKDTrainer``: on a teacher's and own answers."""

    method: Literal["gkd"] = "gkd"

    if TYPE_CHECKING:

        def __init__(self, **fields: Unpack[GKDFields]) -> None: ...

    def dataset_formats(self) -> tuple[tuple[str, ...], ...]:
        """Sets of columns of which the dataset must have one, the usual one first."""
        return (("messages",),)
