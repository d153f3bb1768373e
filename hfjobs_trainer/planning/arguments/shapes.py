"""What makes the rows of the datasets those that the method takes, as decisions."""

from __future__ import annotations

from hfjobs_trainer.facts import Facts
from hfjobs_trainer.planning.plan import Decision
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.inputs import data_inputs


def decide_shapes(spec: TrainSpec, facts: Facts) -> tuple[Decision, ...]:
    """The conversions that the script does, each with what becomes what."""
    found: list[Decision] = []
    for data in data_inputs(spec, facts):
        for step in data.shape.conversions if data.shape else ():
            if step.function:
                found.append(Decision(data.path, ", ".join((*step.makes, *step.renames.values())), step.why))
            elif step.renames:
                found.append(Decision(f"{data.path}.columns", dict(step.renames), step.why))
            else:
                found.append(Decision(data.path, f"without {', '.join(step.drops)}", step.why))
    return tuple(found)
