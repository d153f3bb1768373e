"""What a run reads: its model and datasets, each with what is known of it."""

from __future__ import annotations

from dataclasses import dataclass

from hfjobs_trainer.facts import DatasetFacts, ModelFacts
from hfjobs_trainer.problems import need
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.context import Context
from hfjobs_trainer.specs.extras import ScoredSpec, TaughtSpec
from hfjobs_trainer.specs.groups import Dataset
from hfjobs_trainer.specs.locations import is_local_path


@dataclass(frozen=True, slots=True)
class Input:
    """A model or a dataset of a spec.

    Attributes:
        path: Field of the spec, such as ``"eval_dataset"`` or ``"lora.adapter"``.
        kind: ``"model"`` or ``"dataset"``.
        id: Hub id or local path, as the spec gives it.
        exists: Whether the Hub or the disk has it; ``None`` where unknown.
    """

    path: str
    kind: str
    id: str
    exists: bool | None

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine."""
        return is_local_path(self.id)

    @property
    def id_path(self) -> str:
        """Path of its id in the spec."""
        return self.path if self.kind == "model" else f"{self.path}.id"


@dataclass(frozen=True, slots=True)
class DataInput(Input):
    """A dataset of a spec.

    Attributes:
        dataset: The spec's part.
        facts: What is known.
    """

    dataset: Dataset
    facts: DatasetFacts

    @property
    def columns(self) -> tuple[str, ...] | None:
        """Its columns once ``columns=`` has renamed them; ``None`` where unknown."""
        if self.facts.columns is None:
            return None
        return tuple(self.dataset.columns.get(name, name) for name in self.facts.columns)


def data_inputs(context: Context[TrainSpec]) -> list[DataInput]:
    """The training dataset, and the evaluation dataset if the spec names one."""
    spec, facts = context.spec, context.facts
    pairs = [("dataset", spec.dataset, facts.dataset)]
    if spec.eval_dataset is not None:
        pairs.append(("eval_dataset", spec.eval_dataset, facts.eval_dataset or DatasetFacts()))
    return [DataInput(path, "dataset", dataset.id, known.exists, dataset, known) for path, dataset, known in pairs]


def inputs(context: Context[TrainSpec]) -> list[Input]:
    """The models, the adapter to start from, and the datasets."""
    spec, facts = context.spec, context.facts
    models: list[tuple[str, str | None, ModelFacts | None]] = [("model", spec.model, facts.model)]
    if isinstance(spec, TaughtSpec):
        models.append(("teacher_model", spec.teacher_model, facts.teacher))
    if isinstance(spec, ScoredSpec):
        models.append(("reward_model", spec.reward_model, facts.reward_model))
        models.append(("value_model", spec.value_model, facts.value_model))
    if spec.lora is not None:
        models.append(("lora.adapter", spec.lora.adapter, facts.adapter))
    found = [Input(path, "model", id, known.exists if known else None) for path, id, known in models if id is not None]
    return [*found, *data_inputs(context)]


def need_columns(data: DataInput) -> tuple[str, ...]:
    """The columns after renaming, or end the rule as unchecked."""
    return need(data.columns, f"the columns of {data.id}")
