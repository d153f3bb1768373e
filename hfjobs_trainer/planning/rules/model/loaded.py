"""The models that a run loads, and how."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hfjobs_trainer.facts import ModelFacts
from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.problems import need
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.inputs import side_models

SCORING = "SEQ_CLS"
"""PEFT's task of a method that trains a model that scores."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that is loaded.

    Attributes:
        path: Field of the spec that names it.
        id: Hub id or local folder.
        facts: What is known of it.
        scores: Whether it is loaded as one that scores, with one number.
        trained: Whether it is the one that is trained.
        judges: Whether its scores are the rewards.
    """

    path: str
    id: str
    facts: ModelFacts
    scores: bool
    trained: bool
    judges: bool


def loaded_models(context: Context[TrainSpec]) -> Iterator[Loaded]:
    """The model and those beside it, without adapters in a model's place, which HUB006 tells, and what is not there."""
    spec = context.spec
    models = [the_model(context)]
    for side, known in side_models(spec, context.facts):
        if side.id is not None:
            judges = side.fact in ("reward_model", "reward_models")
            scores = judges or side.fact == "value_model"
            models.append(Loaded(side.field, side.id, known or ModelFacts(), scores, trained=False, judges=judges))
    seen = set[tuple[str, str]]()
    for model in models:
        if model.facts.adapts is None and model.facts.exists is not False and (model.path, model.id) not in seen:
            seen.add((model.path, model.id))
            yield model


def the_model(context: Context[TrainSpec]) -> Loaded:
    """The model that is trained."""
    spec = context.spec
    return Loaded("model", spec.model, context.facts.model, trains_a_score(spec), trained=True, judges=False)


def need_look(model: Loaded) -> None:
    """End the rule as unchecked where nothing was read of the model; what is read of one is read at once."""
    facts = model.facts
    looked = facts.model_type or facts.weights or facts.architectures is not None or facts.num_parameters
    need(looked or None, f"the files of {model.id}", model.path)


def trains_a_score(spec: TrainSpec) -> bool:
    """Whether the method trains a model that scores."""
    return type(spec).METHOD.lora_task == SCORING


def trusts(spec: TrainSpec) -> bool:
    """Whether the code of the model's repository is run."""
    return spec.trust_remote_code or bool((spec.model_init_kwargs or {}).get("trust_remote_code"))
