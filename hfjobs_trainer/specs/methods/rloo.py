"""REINFORCE leave-one-out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from hfjobs_trainer.specs import names
from hfjobs_trainer.specs.extras import RewardedSpec, group_answers, judges, taken_by_rewards
from hfjobs_trainer.specs.registry import method
from hfjobs_trainer.specs.training import Passes, Training
from hfjobs_trainer.specs.trl_args.rloo import RLOOArgs

if TYPE_CHECKING:
    from typing import Unpack

    from hfjobs_trainer.submitters import RLOOFields


def _passes(spec: RLOO) -> Passes:
    return Passes(frozen=(1.0 + float(bool(spec.beta))) / spec.num_iterations)


@method("rloo", label="RLOO", trainer="RLOOTrainer", config="RLOOConfig")
class RLOO(RLOOArgs, RewardedSpec):
    """REINFORCE leave-one-out with ``trl.RLOOTrainer``: the model's own completions, scored by rewards."""

    TRAINING: ClassVar[Training] = Training(
        sequences=1,
        head="fused",
        reference="beta",
        passes=_passes,
        answers=group_answers,
        side_models=judges,
        free_batch=True,
        least_per_device=1,
        recomputes=True,
        resumes=True,
        evaluates_loss=False,
        evaluates_at_start=True,
        packs=False,
        long_rows=None,
        refuses_streams=False,
        bf16_adapter=True,
        reads_images=True,
        renders="prompts",
        simulated_step="policy_gradient",
        recipe="rloo",
    )

    FORMER_NAMES: ClassVar[names.Former] = {
        **names.ANSWERS,
        **names.REWARDS,
        **names.POLICY,
        "sft_model_path": "model",
        "rloo_k": "num_generations",
        "normalize_reward": "normalize_advantages",
        "normalize_advantage": "normalize_advantages",
        "token_level_kl": names.gone("the penalty is on whole answers"),
        "missing_eos_penalty": names.gone("mask_truncated_completions leaves out answers that do not end"),
        "stop_token": names.gone("an answer ends with the EOS token", "eos"),
        "num_sample_generations": names.idle("log_completions=True shows answers"),
        "local_rollout_forward_batch_size": names.idle("TRL chooses it"),
    }
    FORMER_DEFAULTS: ClassVar[names.FormerDefaults] = {
        "max_completion_length": (256, "1.16"),
        "vllm_mode": ("server", "1.0"),
    }

    method: Literal["rloo"] = "rloo"

    if TYPE_CHECKING:

        def __init__(self, **fields: Unpack[RLOOFields]) -> None: ...

    def dataset_formats(self) -> tuple[tuple[str, ...], ...]:
        """Sets of columns of which the dataset must have one, the usual one first."""
        return (("prompt",),)

    def taken_columns(self, columns: Sequence[str], *, conversational: bool) -> Mapping[str, str]:
        """Columns whose names the arguments of reward functions have."""
        return taken_by_rewards(self)
