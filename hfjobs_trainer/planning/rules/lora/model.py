"""What is known of the modules of the model."""

from __future__ import annotations

from collections.abc import Sequence

from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.planning.model.modules import expert_names, family_of, weight_modules
from hfjobs_trainer.problems import need
from hfjobs_trainer.specs.base import TrainSpec


def model_type_of(context: Context[TrainSpec]) -> str:
    """The model's type; ends the rule if it is not known what it means."""
    own_code = context.spec.trust_remote_code
    what = f"the names of the modules of {context.spec.model}"
    return need(None if own_code else context.facts.model.model_type, what, "model")


def modules_of(context: Context[TrainSpec]) -> tuple[str, tuple[str, ...]]:
    """The model's type and the paths of its modules; ends the rule if they are not known.

    What PEFT takes for the experts counts as a module.
    """
    model, what = context.facts.model, f"the names of the modules of {context.spec.model}"
    model_type = model_type_of(context)
    modules = need(weight_modules(model), what, "model")
    family = family_of(model_type)
    experts = [path for path in modules if family and family.experts and path.endswith(f".{family.experts}")]
    return model_type, (*modules, *(f"{path}.{name}" for path in experts for name in expert_names(model_type)))


def quoted(names: Sequence[str], last: str) -> str:
    """The names as a list in a sentence; ``last`` stands before the last of them, such as ``" or "``."""
    named = [f'"{name}"' for name in names]
    return last.join((", ".join(named[:-1]), named[-1])) if len(named) > 1 else named[0]
