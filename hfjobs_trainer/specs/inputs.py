"""What a run reads: its model and datasets, each with what is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hfjobs_trainer.contents import Content
from hfjobs_trainer.facts import DatasetFacts, Facts, ModelFacts
from hfjobs_trainer.facts.shape import Shape
from hfjobs_trainer.problems import need
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.groups import Dataset
from hfjobs_trainer.specs.locations import is_local_path
from hfjobs_trainer.specs.rewards import RewardFunction
from hfjobs_trainer.specs.training import SideModel


@dataclass(frozen=True, slots=True)
class Input:
    """A model or a dataset of a spec.

    Attributes:
        path: Field of the spec, such as ``"eval_dataset"`` or ``"lora.adapter"``.
        kind: ``"model"`` or ``"dataset"``.
        id: Hub id or local path, as the spec gives it.
        exists: Whether the Hub or the disk has it; ``None`` where unknown.
        place: Absolute path of what is on this machine.
        content: Of what is on this machine and travels with the job, what it is.
        known: All that is known of it.
        revision: The branch, tag or commit that is asked for.
    """

    path: str
    kind: str
    id: str
    exists: bool | None
    place: str | None
    content: Content | None
    known: ModelFacts | DatasetFacts
    revision: str | None

    @property
    def lacks_revision(self) -> bool:
        """Whether it is there, but not the revision that is asked for."""
        return self.known.lacks_revision

    @property
    def found_as(self) -> str | None:
        """What the Hub has of this name, if it is of another kind."""
        return self.known.found_as

    @property
    def revision_path(self) -> str:
        """Path of its revision in the spec."""
        return f"{self.path}.revision" if self.kind == "dataset" else f"{self.path}_revision"

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
    def given_columns(self) -> tuple[str, ...] | None:
        """Its columns before any is kept or renamed; ``None`` where unknown, as those that ``map`` makes are."""
        return self.facts.columns if self.dataset.map is None else None

    @property
    def about_columns(self) -> str:
        """What is unknown where its columns are, in words."""
        if self.dataset.map is None:
            return f"the columns of {self.id}"
        made = f"the columns that {self.dataset.map.name} makes of {self.id}"
        return f"{made} (hft.preview shows them, keep_columns declares them)"

    @property
    def columns(self) -> tuple[str, ...] | None:
        """Its columns as TRL will get them: kept, renamed and converted; ``None`` where unknown."""
        return columns_left(self.dataset, self.facts)

    @property
    def shape(self) -> Shape | None:
        """How its rows, once renamed, become those that the method takes."""
        return shape_of(self.dataset, self.facts)

    def need_columns(self) -> tuple[str, ...]:
        """The columns that are left, or end the rule as unchecked."""
        return need(self.columns, self.about_columns, self.path)

    def renaming(self, mapping: Mapping[str, str]) -> dict[str, str]:
        """A value of ``columns=`` that renames what ``mapping`` says as well, given the names as they are now."""
        originals = {new: old for old, new in self.dataset.columns.items()}
        return self.dataset.columns | {originals.get(name, name): new for name, new in mapping.items()}


def columns_left(dataset: Dataset, facts: DatasetFacts) -> tuple[str, ...] | None:
    """The columns that a dataset is trained with: those that are kept and renamed, then converted."""
    if dataset.map is not None:
        # what a function makes is known only where it is declared
        made = dataset.keep_columns
        return None if made is None else tuple(dataset.columns.get(name, name) for name in made)
    named, shape = _named(dataset, facts), shape_of(dataset, facts)
    return shape.columns_after(named) if named and shape else named


def shape_of(dataset: Dataset, facts: DatasetFacts) -> Shape | None:
    """The shape of the rows of a dataset; ``None`` if the spec has other columns than those that were looked at."""
    named = _named(dataset, facts)
    is_meant = facts.shape is not None and dataset.map is None and (named is None or facts.shape.fits(named))
    return facts.shape if is_meant else None


def _named(dataset: Dataset, facts: DatasetFacts) -> tuple[str, ...] | None:
    if facts.columns is None:
        return None
    kept = [name for name in facts.columns if dataset.keep_columns is None or name in dataset.keep_columns]
    return tuple(dataset.columns.get(name, name) for name in kept)


def data_inputs(spec: TrainSpec, facts: Facts) -> list[DataInput]:
    """The training dataset, and the evaluation dataset if the spec names one; of a mixture each part."""
    found = training_inputs(spec, facts)
    if spec.eval_dataset is not None:
        found += _parts("eval_dataset", spec.eval_dataset, facts.eval_dataset or DatasetFacts())
    return found


def training_inputs(spec: TrainSpec, facts: Facts) -> list[DataInput]:
    """The training dataset; of a mixture each part, the first with the number and lengths of all rows."""
    return _parts("dataset", spec.dataset, facts.dataset)


def _parts(path: str, dataset: Dataset, facts: DatasetFacts) -> list[DataInput]:
    others, exists = facts.mixed_with, facts.exists
    if exists is False and any(part.exists is False for part in others):
        # the facts say of a mixture that it exists if all its parts do
        exists = True if facts.columns or facts.splits or facts.sha else None
    parts = [(path, dataset, facts, exists)]
    for index, part in enumerate(dataset.mixed_with):
        known = others[index] if index < len(others) else DatasetFacts()
        parts.append((f"{path}.mixed_with.{index}", part, known, known.exists))
    return [
        DataInput(path, "dataset", part.id, exists, known.path, known.content, known, part.revision, part, known)
        for path, part, known, exists in parts
    ]


def row_maps(spec: TrainSpec) -> list[RewardFunction]:
    """The functions that make rows, each once."""
    parts = [part for data in (spec.dataset, spec.eval_dataset) if data is not None for part in data.parts]
    found: list[RewardFunction] = []
    for part in parts:
        if part.map is not None and part.map not in found:
            found.append(part.map)
    return found


def inputs(spec: TrainSpec, facts: Facts) -> list[Input]:
    """The models, the adapter to start from, and the datasets."""
    models: list[tuple[str, str, str | None, ModelFacts | None]] = [
        ("model", spec.model, spec.model_revision, facts.model)
    ]
    models += [
        (side.field, side.id, side.revision, known) for side, known in side_models(spec, facts) if side.id is not None
    ]
    if spec.processing_class is not None:
        revision = spec.processing_class_revision
        models.append(("processing_class", spec.processing_class, revision, facts.processing_class))
    if spec.lora is not None and spec.lora.adapter is not None:
        models.append(("lora.adapter", spec.lora.adapter, spec.lora.adapter_revision, facts.adapter))
    found = [
        Input(path, "model", id, known.exists, known.path, known.content, known, revision)
        for path, id, revision, known in (
            (path, id, revision, known or ModelFacts()) for path, id, revision, known in models
        )
    ]
    return [*found, *data_inputs(spec, facts)]


def side_models(spec: TrainSpec, facts: Facts) -> list[tuple[SideModel, ModelFacts | None]]:
    """The models beside the one that is trained, each with what is known of it."""
    declared = type(spec).TRAINING.side_models
    return [(side, _known(facts, side)) for side in (declared(spec) if declared else ())]


def _known(facts: Facts, side: SideModel) -> ModelFacts | None:
    if side.index is None:
        return getattr(facts, side.fact)
    several: tuple[ModelFacts, ...] = getattr(facts, side.fact)
    return several[side.index] if side.index < len(several) else None
