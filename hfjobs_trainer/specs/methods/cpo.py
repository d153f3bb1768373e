"""Contrastive preference optimization."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from hfjobs_trainer.specs import names
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.extras import taken_beside_pairs
from hfjobs_trainer.specs.registry import method
from hfjobs_trainer.specs.training import Training, one_pass
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
    """Contrastive preference optimization with TRL's experimental ``CPOTrainer``; SimPO is one of its losses."""

    TRAINING: ClassVar[Training] = Training(
        sequences=2,
        head="full",
        reference="none",
        passes=one_pass,
        answers=None,
        side_models=None,
        free_batch=True,
        least_per_device=1,
        recomputes=True,
        resumes=True,
        evaluates_loss=False,
        evaluates_at_start=True,
        packs=False,
        long_rows="truncated",
        refuses_streams=True,
        bf16_adapter=False,
        reads_images=False,
        renders="ended_pairs",
        simulated_step=None,
        recipe="cpo",
    )

    FORMER_NAMES: ClassVar[names.Former] = {
        **names.KEEPS_START,
        "label_pad_token_id": names.gone("TRL dropped it", -100),
        "padding_value": names.idle("TRL dropped it"),
        "max_prompt_length": names.Today("max_length", "which covers prompt and completion", exact=False),
    }
    FORMER_DEFAULTS: ClassVar[names.FormerDefaults] = {"max_length": (None, "0.14")}

    method: Literal["cpo"] = "cpo"

    if TYPE_CHECKING:

        def __init__(self, **fields: Unpack[CPOFields]) -> None: ...

    def dataset_formats(self) -> tuple[tuple[str, ...], ...]:
        """Sets of columns of which the dataset must have one, the usual one first."""
        return (("chosen", "rejected"),)

    def taken_columns(self, columns: Sequence[str], *, conversational: bool) -> Mapping[str, str]:
        """Columns that its trainer takes for others."""
        return taken_beside_pairs(conversational)
