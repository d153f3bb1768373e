"""Starting values by method, from published recipes: what they say of a field of a spec, and where from."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from hfjobs_trainer.planning.run import Run
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.training import Training


@dataclass(frozen=True, slots=True)
class Cell:
    """What the sources say of one field, for some runs.

    Attributes:
        field: Dotted path of the field, such as ``"lora.r"``; ``global_batch_size`` counts examples here.
        value: The value to start with; ``None`` if it follows from the rows.
        range: The lowest and the highest value of the sources; of words, each that they use.
        why: The reason for the value, or what it is for.
        sources: Their names in ``data/recipes.json``.
        weak: Whether there is but one source, or that of a neighbouring method.
        tuning: Whether it holds for all weights or for an adapter; ``None`` for both.
        above, upto: Parameters from which and up to which it holds, 10^9.
        rows_from, rows_below: Training rows from which and below which it holds.
        batch_from: Examples per optimizer step from which it holds.
        when: Paths of other fields, each with the values of which it must have one.
        unless_set: Paths of fields of which none may have a value.
        warn_below, warn_from: Bounds beyond which a rule warns.
        share_of_rows: Share of the rows that stays whole, from 0 to 1.
    """

    field: str
    value: Any = None
    range: tuple[Any, ...] = ()
    why: str = ""
    sources: tuple[str, ...] = ()
    weak: bool = False
    tuning: Literal["full", "adapter"] | None = None
    above: float = 0.0
    upto: float = float("inf")
    rows_from: int | None = None
    rows_below: int | None = None
    batch_from: int = 0
    when: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    unless_set: tuple[str, ...] = ()
    warn_below: int | None = None
    warn_from: float | None = None
    share_of_rows: float | None = None

    @property
    def has_size(self) -> bool:
        """Whether it holds for some sizes of the model alone."""
        return self.above > 0 or self.upto < float("inf")

    @property
    def source(self) -> str:
        """Its sources in words."""
        return ", ".join(self.sources) + (" (weak)" if self.weak else "")


@dataclass(frozen=True, slots=True)
class Recipe:
    """The starting values of a method.

    Attributes:
        unit: What a batch of it is made of: ``"sequences"``, ``"pairs"``, ``"prompts"``, ``"answers"``.
        sources: Names of its sources.
        notes: What the sources say beyond single fields.
        cells: What they say of each field; of those for one field, the first that holds counts.
    """

    unit: str
    sources: tuple[str, ...]
    notes: tuple[str, ...]
    cells: tuple[Cell, ...]

    @property
    def fields(self) -> tuple[str, ...]:
        """Paths of its fields, each once; those of groups last."""
        return tuple(sorted(dict.fromkeys(cell.field for cell in self.cells), key=lambda path: "." in path))


@dataclass(frozen=True, slots=True)
class Situation:
    """That of a run on which its starting values depend.

    Attributes:
        tuning: Whether all weights are trained or an adapter, on quantized weights or not.
        billions: Parameters of the model, 10^9; ``None`` if unknown.
        rows: Training rows; ``None`` if unknown.
        values: Values of the spec by path, as they are or will be.
        batch: Examples per optimizer step.
    """

    tuning: Literal["full", "adapter"]
    billions: float | None
    rows: float | None
    values: Mapping[str, Any]
    batch: float = 0.0

    def find(self, recipe: Recipe, name: str) -> Cell | None:
        """What the recipe says of a field in this situation; ``None`` for nothing."""
        return next((cell for cell in self._of(recipe, name) if self._has_size_of(cell)), None)

    def bounds(self, recipe: Recipe, name: str) -> tuple[float, float] | None:
        """The lowest and the highest value of a number; of a model of unknown size, for all sizes."""
        cell = self.find(recipe, name)
        if cell is None:
            return None
        found = [cell.range] if self.billions is not None else [each.range for each in self._of(recipe, name)]
        return min(each[0] for each in found), max(each[-1] for each in found)

    def _of(self, recipe: Recipe, name: str) -> Iterator[Cell]:
        return (cell for cell in recipe.cells if cell.field == name and self._allows(cell))

    def _has_size_of(self, cell: Cell) -> bool:
        if self.billions is None:
            return not cell.has_size
        return cell.above <= self.billions <= cell.upto

    def _allows(self, cell: Cell) -> bool:
        rows = self.rows
        return (
            cell.tuning in (None, self.tuning)
            and (cell.rows_from is None or (rows is not None and rows >= cell.rows_from))
            and (cell.rows_below is None or (rows is not None and rows < cell.rows_below))
            and self.batch >= cell.batch_from
            and all(self.values.get(name) in accepted for name, accepted in cell.when)
            and all(self.values.get(name) is None for name in cell.unless_set)
        )


def situation_of(spec: TrainSpec, run: Run, batch: float | None = None) -> Situation:
    """The situation of a spec.

    Args:
        spec: The spec.
        run: What it and the facts mean.
        batch: Examples per optimizer step; default: those of the spec, on one GPU.
    """
    sequences = run.batch.global_size or run.batch.per_device * run.batch.accumulation
    return Situation(
        tuning="full" if spec.lora is None else "adapter",
        billions=None if run.num_parameters is None else run.num_parameters / 1e9,
        rows=run.rows.trained,
        values=_Values(spec),
        batch=batch or sequences / (run.answers.group if run.answers else 1),
    )


class _Values(Mapping[str, Any]):
    """The values of a spec by dotted path; a field that it has not is ``None``."""

    def __init__(self, spec: TrainSpec) -> None:
        self._spec = spec

    def __getitem__(self, path: str) -> Any:
        return value_at(self._spec, path)

    def __iter__(self) -> Iterator[str]:
        return iter(type(self._spec).model_fields)

    def __len__(self) -> int:
        return len(type(self._spec).model_fields)


def step_size(examples: float, group: int, unit: int, rows: float | None) -> int:
    """Sequences of an optimizer step of about ``examples`` examples.

    Args:
        examples: Examples wanted.
        group: Sequences per example.
        unit: Sequences of which there must be a whole multiple.
        rows: Training rows, one an example, which the step does not exceed if that is possible; ``None`` if unknown.
    """
    unit = math.lcm(group, unit)
    if rows is not None and unit * math.ceil(examples * group / unit) > rows * group:
        return unit * max(1, math.floor(rows * group / unit))
    return unit * math.ceil(examples * group / unit)


def value_at(spec: TrainSpec, path: str) -> Any:
    """The value of a field by its dotted path; ``None`` if there is no such field or group."""
    name, _, rest = path.partition(".")
    value = getattr(spec, name) if name in type(spec).model_fields else None
    return getattr(value, rest, None) if rest else value


def is_set_at(spec: TrainSpec, path: str) -> bool:
    """Whether the user set a field, by its dotted path."""
    name, _, rest = path.partition(".")
    if not rest:
        return spec.is_set(name)
    group: Any = value_at(spec, name)
    return group is not None and rest in group.model_fields_set


def has_field(spec: TrainSpec, path: str) -> bool:
    """Whether the spec has a field, and the group that it is in."""
    name, _, rest = path.partition(".")
    group: Any = value_at(spec, name)
    return name in type(spec).model_fields and (not rest or (group is not None and hasattr(group, rest)))


def as_source(value: Any) -> str:
    """A value as people type it: ``5e-6``, and not ``5e-06``."""
    if isinstance(value, float):
        if 0 < abs(value) < 0.01:
            digits, _, exponent = f"{value:e}".partition("e")
            return f"{digits.rstrip('0').rstrip('.')}e{int(exponent)}"
        return f"{value:g}"
    return f'"{value}"' if isinstance(value, str) else repr(value)


def span(values: Sequence[Any]) -> str:
    """A range as people write it: ``5e-6 to 1e-5``, ``"cosine" or "linear"``; empty without values."""
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    words = dict.fromkeys(as_source(value) for value in values)
    return (" to " if numbers else " or ").join(words)


def recipe_of(training: Training) -> Recipe | None:
    """The recipe of a method; ``None`` if no source gives starting values for it."""
    return None if training.recipe is None else recipes()[training.recipe]


@cache
def recipes() -> Mapping[str, Recipe]:
    """All recipes, by their key in ``data/recipes.json``."""
    return {
        key: Recipe(
            unit=entry["unit"],
            sources=tuple(entry["sources"]),
            notes=tuple(entry.get("notes", ())),
            cells=(*(_cell(cell, entry["sources"]) for cell in entry["cells"]), *shared_cells()),
        )
        for key, entry in _data()["recipes"].items()
    }


@cache
def shared_cells() -> tuple[Cell, ...]:
    """What holds for every method that has a recipe, after its own cells."""
    return tuple(_cell(cell, ()) for cell in _data()["shared"])


def recipe_sources() -> Mapping[str, str]:
    """Where each source is, by its name."""
    return _data()["sources"]


def smallest_model() -> float:
    """Parameters, 10^9, below which no source trains: ranges say nothing of smaller models."""
    return _data()["smallest_model_billions"]


@cache
def _data() -> Any:
    return json.loads(files("hfjobs_trainer.data").joinpath("recipes.json").read_text(encoding="utf-8"))


def _cell(entry: Mapping[str, Any], sources: Sequence[str]) -> Cell:
    given: dict[str, Any] = {"sources": sources, **entry, "above": entry.get("from", 0.0)}
    given.pop("from", None)
    given["when"] = tuple((name, tuple(accepted)) for name, accepted in entry.get("when", {}).items())
    given |= {name: tuple(given[name]) for name in ("range", "sources", "unless_set") if name in given}
    return Cell(**given)
