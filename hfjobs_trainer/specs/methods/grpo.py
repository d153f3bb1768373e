"""Group relative policy optimization."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field

from hfjobs_trainer.problems import Found, rule
from hfjobs_trainer.specs import names
from hfjobs_trainer.specs.environments import environments_of
from hfjobs_trainer.specs.extras import ActingSpec, RewardedSpec, group_answers, judges, taken_by_rewards
from hfjobs_trainer.specs.registry import method
from hfjobs_trainer.specs.rewards import RewardFuncs
from hfjobs_trainer.specs.training import Passes, Training
from hfjobs_trainer.specs.trl_args.grpo import GRPOArgs

if TYPE_CHECKING:
    from typing import Unpack

    from hfjobs_trainer.planning.context import Context
    from hfjobs_trainer.submitters import GRPOFields


def _passes(spec: GRPO) -> Passes:
    # the policy of before is asked only where it may differ from the one that is trained
    before = spec.num_iterations > 1 or spec.steps_per_generation is not None or spec.use_vllm
    return Passes(frozen=(float(before) + float(bool(spec.beta))) / spec.num_iterations)


@method("grpo", label="GRPO", trainer="GRPOTrainer", config="GRPOConfig")
class GRPO(GRPOArgs, RewardedSpec, ActingSpec):
    """Group relative policy optimization with ``trl.GRPOTrainer``: the model's own completions, scored by rewards."""

    reward_funcs: RewardFuncs = Field(
        default=[],
        description="A built-in reward of TRL by name, a reward model by Hub id, a Python function, or a list of "
        "these; none where an environment has `get_reward`.",
    )

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
        recipe="grpo",
    )

    FORMER_NAMES: ClassVar[names.Former] = {**names.ANSWERS, **names.REWARDS, **names.POLICY, **names.NO_LIGER}
    FORMER_DEFAULTS: ClassVar[names.FormerDefaults] = {
        "beta": (0.04, "0.19"),
        "loss_type": ("bnpo", "0.22"),
        "max_completion_length": (256, "1.16"),
        "temperature": (0.9, "0.18"),
        "vllm_mode": ("server", "1.0"),
    }

    method: Literal["grpo"] = "grpo"

    if TYPE_CHECKING:

        def __init__(self, **fields: Unpack[GRPOFields]) -> None: ...

    @classmethod
    def missing(cls, given: Mapping[str, Any]) -> tuple[str, ...]:
        """The rewards, where there is no environment, which may score the answers itself."""
        return () if given.keys() & {"reward_funcs", "environment_factory"} else ("reward_funcs",)

    def dataset_formats(self) -> tuple[tuple[str, ...], ...]:
        """Sets of columns of which the dataset must have one, the usual one first."""
        factory = self.environment_factory
        named = ("environment",) if isinstance(factory, dict) else ()
        # what reset returns is appended to an empty prompt where rows have none
        asked = factory is not None and all(item.asks for item in environments_of(factory))
        return (("prompt", *named), named) if asked else (("prompt", *named),)

    def taken_columns(self, columns: Sequence[str], *, conversational: bool) -> Mapping[str, str]:
        """Columns whose names the arguments of reward functions have."""
        return taken_by_rewards(self)


@rule("GRPO015", methods=["grpo"])
def options_of_grpo_fit(context: Context[GRPO]) -> Iterator[Found]:
    """Options of GRPO fit each other.

    What it does:
        Refuses `log_completions_hub_repo` without `log_completions`, bounds of vLLM's importance sampling that leave
        nothing between them, a `*_truncate` mode without any bound, and the loss `vespo` with a mode for sequences.

    Why:
        TRL refuses them: the config at the start of the script, the loss once the model is loaded.

    Example:
        ```python
        hft.GRPO(model=..., dataset=..., reward_funcs=..., log_completions_hub_repo="me/completions")
        ```

    Use instead:
        ```python
        hft.GRPO(model=..., dataset=..., reward_funcs=..., log_completions_hub_repo="me/completions",
                 log_completions=True)
        ```
    """
    spec = context.spec
    if spec.log_completions_hub_repo is not None and not spec.log_completions:
        yield Found("log_completions_hub_repo", "no completions are logged", "log_completions=True")
    low, high = spec.vllm_importance_sampling_clip_min, spec.vllm_importance_sampling_clip_max
    # the older name wins (TRL 1.16: trainer/grpo_config.py)
    high = high if spec.vllm_importance_sampling_cap is None else spec.vllm_importance_sampling_cap
    mode, corrects = spec.vllm_importance_sampling_mode, spec.vllm_importance_sampling_correction
    if low is not None and high is not None and low >= high:
        why = f"{low:g} is not below the upper bound, {high:g}"
        yield Found("vllm_importance_sampling_clip_min", why, "vllm_importance_sampling_clip_min=None")
    if corrects and mode.endswith("_truncate") and low is None and high is None:
        why = f'mode "{mode}" needs a bound'
        yield Found("vllm_importance_sampling_clip_max", why, "vllm_importance_sampling_clip_max=3.0")
    if spec.loss_type == "vespo" and spec.use_vllm and corrects and mode.startswith("sequence_"):
        why = 'the loss "vespo" corrects token by token'
        path = "vllm_importance_sampling_mode"
        yield Found(path, why, f'{path}="{mode.replace("sequence", "token")}"')
