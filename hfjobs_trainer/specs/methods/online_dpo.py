"""Online DPO."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from hfjobs_trainer.specs import names
from hfjobs_trainer.specs.extras import (
    COUNTED,
    RewardedSpec,
    judges,
    taken_by_rewards,
)
from hfjobs_trainer.specs.referenced import ReferencedSpec, own_reference
from hfjobs_trainer.specs.registry import method
from hfjobs_trainer.specs.training import Answers, Passes, SideModel, Training
from hfjobs_trainer.specs.trl_args.online_dpo import OnlineDPOArgs

if TYPE_CHECKING:
    from typing import Unpack

    from hfjobs_trainer.submitters import OnlineDPOFields


def _passes(spec: OnlineDPO) -> Passes:
    return Passes(frozen=0.0 if spec.ref_model else 1.0)


def _side_models(spec: OnlineDPO) -> tuple[SideModel, ...]:
    return (*own_reference(spec, 1.0), *judges(spec))


def _answers(spec: OnlineDPO) -> Answers:
    return Answers("max_new_tokens", spec.max_new_tokens, within_max_length=True, per_example=2, batches=1)


@method(
    "online_dpo",
    label="OnlineDPO",
    trainer="OnlineDPOTrainer",
    config="OnlineDPOConfig",
    module="trl.experimental.online_dpo",
    device_map=True,
)
class OnlineDPO(OnlineDPOArgs, RewardedSpec, ReferencedSpec):
    """DPO with TRL's experimental ``OnlineDPOTrainer`` on pairs of the model's own completions, ranked by rewards."""

    TRAINING: ClassVar[Training] = Training(
        sequences=2,
        head="full",
        reference="kept",
        passes=_passes,
        answers=_answers,
        side_models=_side_models,
        free_batch=False,
        least_per_device=1,
        recomputes=True,
        resumes=True,
        evaluates_loss=False,
        evaluates_at_start=True,
        packs=False,
        long_rows=None,
        refuses_streams=False,
        bf16_adapter=False,
        reads_images=False,
        renders="prompts",
        simulated_step=None,
        recipe="online_dpo",
    )

    LOGS_FROM_REWARDS: ClassVar[bool] = False

    FORMER_NAMES: ClassVar[names.Former] = {
        **names.REWARDS,
        "max_completion_length": "max_new_tokens",
        "response_length": "max_new_tokens",
        "gpu_memory_utilization": "vllm_gpu_memory_utilization",
    }
    FORMER_DEFAULTS: ClassVar[names.FormerDefaults] = {"vllm_mode": ("server", "1.0")}

    method: Literal["online_dpo"] = "online_dpo"

    if TYPE_CHECKING:

        def __init__(self, **fields: Unpack[OnlineDPOFields]) -> None: ...

    def dataset_formats(self) -> tuple[tuple[str, ...], ...]:
        """Sets of columns of which the dataset must have one, the usual one first."""
        return (("prompt",),)

    def taken_columns(self, columns: Sequence[str], *, conversational: bool) -> Mapping[str, str]:
        """Columns whose names the arguments of reward functions have."""
        return {"input_ids": COUNTED} | taken_by_rewards(self, "completion_ids", "self")
