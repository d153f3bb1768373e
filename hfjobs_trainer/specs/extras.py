"""What some methods take beside a model and a dataset: rewards, a teacher."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from hfjobs_trainer.specs import names
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.environments import Environment, EnvironmentFactory, environments_of, factories_of
from hfjobs_trainer.specs.formatted import FormattedSpec
from hfjobs_trainer.specs.locations import is_local_path
from hfjobs_trainer.specs.rewards import BUILTIN_REWARDS, Code, RewardFuncs, RewardFunction, ToolFuncs
from hfjobs_trainer.specs.training import Answers, SideModel


class RewardedSpec(TrainSpec):
    """Base of the methods that score the answers of the model."""

    reward_funcs: RewardFuncs = Field(
        description="A built-in reward of TRL by name, a reward model by Hub id, a Python function, or a list of these."
    )

    LOGS_FROM_REWARDS: ClassVar[bool] = True
    """Whether the trainer hands ``log_extra`` and ``log_metric`` to reward functions."""

    @property
    def reward_models(self) -> tuple[str, ...]:
        """The models among the rewards, in their order: Hub ids and local folders."""
        texts = [item for item in self.reward_funcs if isinstance(item, str) and item not in BUILTIN_REWARDS]
        return tuple(text for text in texts if "/" in text or is_local_path(text))


class CallingSpec(TrainSpec):
    """Base of the methods whose model may call tools while it answers."""

    tools: ToolFuncs = Field(
        default=[],
        description="Python functions that the model may call: annotated, and described in a docstring with Args.",
    )


class ActingSpec(CallingSpec):
    """Base of the methods whose model may act in an environment of each answer's own, by calling its methods."""

    environment_factory: EnvironmentFactory | None = Field(
        default=None,
        description="Class with `reset`, methods that the model may call and, if it scores, `get_reward`; a function "
        "that makes an instance; or several of these by name, chosen by the dataset's column `environment`.",
    )


class TaughtSpec(TrainSpec):
    """Base of the methods that learn from a larger model; it needs the student's vocabulary."""

    FOLDED: ClassVar[dict[str, Any]] = names.FOLDED_TYPES | {"teacher_model_name_or_path": str}

    teacher_model: str = Field(min_length=1, description="Model to learn from: Hub id or local folder.")
    teacher_model_revision: str | None = Field(
        default=None, min_length=1, description="Branch, tag or commit of the teacher."
    )
    teacher_model_init_kwargs: dict[str, Any] | None = Field(
        default=None, description="Keyword arguments of the teacher's `from_pretrained`."
    )


class ScoredSpec(TrainSpec):
    """Base of the methods whose completions one reward model scores, and whose value model predicts the score."""

    FOLDED: ClassVar[dict[str, Any]] = names.FOLDED_TYPES | {"reward_model_path": str}

    reward_model: str = Field(min_length=1, description="Model that scores the answers: Hub id or local folder.")
    reward_model_revision: str | None = Field(
        default=None, min_length=1, description="Branch, tag or commit of the reward model."
    )
    value_model: str | None = Field(
        default=None, min_length=1, description="Model that the value model starts from; unset: the reward model."
    )
    value_model_revision: str | None = Field(
        default=None, min_length=1, description="Branch, tag or commit of the value model."
    )


COUNTED = "whose tokens the trainer counts as they are in the dataset"
"""What becomes of ``input_ids`` where rows reach the training step as they are (transformers 5.23: trainer.py)."""


def taken_by_rewards(spec: RewardedSpec, *more: str) -> dict[str, str]:
    """Columns that a reward function would get twice: under these names it is handed the prompts and the answers.

    Args:
        spec: The spec; reward models get texts alone.
        *more: Further names.
    """
    if not any(not isinstance(item, str) or item in BUILTIN_REWARDS for item in spec.reward_funcs):
        return {}
    return dict.fromkeys(("prompts", "completions", *more), "which reward functions get from the trainer")


def taken_beside_pairs(conversational: bool) -> dict[str, str]:
    """Columns beside which pairs are not taken for pairs (TRL 1.16: data_utils.py, "Invalid keys in the example")."""
    others = ("completion", "label", "messages") if conversational else ()
    return {"input_ids": COUNTED, **dict.fromkeys(others, "beside which TRL does not take conversations for pairs")}


def teacher(spec: TaughtSpec) -> tuple[SideModel, ...]:
    """The model to learn from, as a side model."""
    revision = spec.teacher_model_revision
    return (SideModel("teacher", "teacher_model", spec.teacher_model, "teacher", revision, head=True),)


def judges(spec: RewardedSpec) -> tuple[SideModel, ...]:
    """The reward models among the rewards, which the script loads as it loads the model."""
    return tuple(
        SideModel("reward model", "reward_funcs", id, "reward_models", index=index, held="model")
        for index, id in enumerate(spec.reward_models)
    )


ASSUMED_CALLS = 4
"""Rounds of calls in a completion where nothing bounds them: an assumption, which the plan lists."""


def turns_of(spec: Any) -> tuple[int, str]:
    """How often a model writes in one completion, each time but the first after calls; and what was assumed."""
    if not getattr(spec, "tools", None) and not any(item.may_call for item in environments_in(spec)):
        return 1, ""
    rounds: int | None = spec.max_tool_calling_iterations
    if rounds is not None:
        return 1 + rounds, ""
    return 1 + ASSUMED_CALLS, f"{ASSUMED_CALLS} rounds of calls in each completion"


def group_answers(spec: Any) -> Answers:
    """The groups of answers that GRPO and RLOO compare: TRL counts answers in their batches, and may use them again."""
    turns, assumed = turns_of(spec)
    return Answers(
        "max_completion_length",
        spec.max_completion_length,
        turns=turns,
        assumed=assumed,
        share=1.0 / spec.num_iterations,
        batches=spec.steps_per_generation,
        group=spec.num_generations,
        eval_group=spec.num_generations_eval or spec.num_generations,
        rounds=spec.num_iterations,
    )


def own_code(spec: TrainSpec) -> list[tuple[str, Code]]:
    """The functions and classes of the user's own that travel with a spec, each with its field, rewards first."""
    found: list[tuple[str, Code]] = []
    if isinstance(spec, RewardedSpec):
        found += [("reward_funcs", item) for item in spec.reward_funcs if isinstance(item, RewardFunction)]
    if isinstance(spec, CallingSpec):
        found += [("tools", item) for item in spec.tools]
    if isinstance(spec, FormattedSpec) and spec.formatting_func is not None:
        found.append(("formatting_func", spec.formatting_func))
    if isinstance(spec, ActingSpec):
        found += [("environment_factory", item) for item in factories_of(spec.environment_factory)]
    from hfjobs_trainer.specs.inputs import row_maps  # the facts, which no spec needs

    return found + [("dataset.map", item) for item in row_maps(spec)]


def environments_in(spec: TrainSpec) -> list[Environment]:
    """The environments in which the model acts, as their source shows them."""
    return environments_of(spec.environment_factory) if isinstance(spec, ActingSpec) else []
