"""Supervised fine-tuning."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.registry import method
from hfjobs_trainer.specs.trl_args.sft import SFTArgs

if TYPE_CHECKING:
    from typing import Unpack

    from hfjobs_trainer.submitters import SFTFields


@method("sft", label="SFT", trainer="SFTTrainer", config="SFTConfig")
class SFT(SFTArgs, TrainSpec):
    """Supervised fine-tuning with ``trl.SFTTrainer`` on texts, conversations, or prompts with completions."""

    method: Literal["sft"] = "sft"

    if TYPE_CHECKING:

        def __init__(self, **fields: Unpack[SFTFields]) -> None: ...

    def dataset_formats(self) -> tuple[tuple[str, ...], ...]:
        """Sets of columns of which the dataset must have one, the usual one first."""
        return (("messages",), (self.dataset_text_field,), ("prompt", "completion"), ("conversations",), ("input_ids",))
