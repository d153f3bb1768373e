"""Proximal policy optimisation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from hfjobs_trainer.specs.extras import ScoredSpec
from hfjobs_trainer.specs.registry import method
from hfjobs_trainer.specs.trl_args.ppo import PPOArgs

if TYPE_CHECKING:
    from typing import Unpack

    from hfjobs_trainer.submitters import PPOFields


@method(
    "ppo",
    label="PPO",
    trainer="PPOTrainer",
    config="PPOConfig",
    module="trl.experimental.ppo",
    family="ppo",
    loads_models=True,
)
class PPO(PPOArgs, ScoredSpec):
    """Proximal policy optimisation with ``PPOTrainer`` of TRL 1.12.0, the last that has it.

    Four models take part: the policy that is trained, its copy that it must not stray from, a reward model that scores
    its answers, and a value model that learns to foresee the score. All read the same tokens, so they need the same
    tokenizer.
    """

    method: Literal["ppo"] = "ppo"

    if TYPE_CHECKING:

        def __init__(self, **fields: Unpack[PPOFields]) -> None: ...

    def dataset_formats(self) -> tuple[tuple[str, ...], ...]:
        """Sets of columns of which the dataset must have one, the usual one first."""
        return (("prompt",), ("input_ids",))
