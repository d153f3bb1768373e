"""Starting values for what a spec leaves open: beside what it has now, and filled in."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Literal

from hfjobs_trainer.display import html_table, plural, wrapped_table
from hfjobs_trainer.facts import Facts
from hfjobs_trainer.facts.backends import HUB, BackendTraits
from hfjobs_trainer.planning.arguments.packing import COUNTED, LEAST_STEPS, most_packed
from hfjobs_trainer.planning.arguments.recipes import (
    Cell,
    Recipe,
    as_source,
    has_field,
    is_set_at,
    recipe_of,
    situation_of,
    span,
    step_size,
    value_at,
)
from hfjobs_trainer.planning.assemble import Draft, draft
from hfjobs_trainer.planning.duration.lengths import LENGTH_STEP, prompt_lengths, tokens_per_row
from hfjobs_trainer.planning.run import Run
from hfjobs_trainer.specs.base import TrainSpec

BATCH = "global_batch_size"
_LENGTH, _PACKING, _EPOCHS, _SAVES = "max_length", "packing", "num_train_epochs", "save_steps"
_UNHEATED = "constant"
"""The schedule that has no warm-up."""


@dataclass(frozen=True, slots=True)
class StartingValue:
    """One row of a recommendation.

    Attributes:
        field: Dotted path of the field, such as ``"learning_rate"`` or ``"lora.r"``.
        now: Its value as the spec stands.
        whose: Who set that: ``"yours"``, ``"TRL's default"``, or ``"planned"`` by this package.
        recommended: The value to start with.
        range: The lowest and the highest value of the sources; of words, each that they use; empty if there is none.
        why: The reason for it; and if it is not filled in though unset, why not.
        source: Where it is from.
        filled: Whether the recommended spec has it because the spec left it open.
    """

    field: str
    now: Any
    whose: Literal["yours", "TRL's default", "planned"]
    recommended: Any
    range: tuple[Any, ...]
    why: str
    source: str
    filled: bool = False


@dataclass(frozen=True, slots=True, repr=False)
class Recommendation:
    """What ``hft.recommend`` returns; it prints as a table.

    Attributes:
        rows: The starting values, field by field; empty if no source has any for the method.
        spec: The spec with these values where it was silent; what the user set is as it was.
        subject: What they are for, such as ``"DPO, LoRA, 0.5B parameters"``.
        notes: What the sources say beyond single fields, and what was not known.
    """

    rows: tuple[StartingValue, ...]
    spec: TrainSpec
    subject: str
    notes: tuple[str, ...] = ()

    HEADER = ("field", "now", "recommended", "range", "why", "source")

    def _cells(self) -> list[tuple[str, ...]]:
        return [
            (
                row.field,
                f"{as_source(row.now)} ({row.whose})",
                as_source(row.recommended) + (" (filled in)" if row.filled else ""),
                span(row.range),
                row.why,
                row.source,
            )
            for row in self.rows
        ]

    @property
    def _caption(self) -> str:
        kept = ["what you set stays as it is; .spec has the rest filled in"] if self.rows else []
        return "\n".join([self.subject, *kept, *self.notes])

    def __repr__(self) -> str:
        filled = sum(row.filled for row in self.rows)
        return f"Recommendation({self.subject!r}, {plural(len(self.rows), 'field')}, {filled} filled in)"

    def __str__(self) -> str:
        if not self.rows:
            return self._caption
        *header, why, source = self.HEADER
        cells = [(*rest, f"{why} ({source})") for *rest, why, source in self._cells()]
        return "\n".join([*wrapped_table((*header, f"{why} ({source})"), cells), self._caption])

    def _repr_html_(self) -> str:
        return html_table(self.HEADER if self.rows else (), self._cells(), self._caption)


def recommend(spec: TrainSpec, facts: Facts, *, backend: str | BackendTraits = HUB) -> Recommendation:
    """Starting values for what ``spec`` leaves open. A pure function.

    What would bring a new problem, such as a batch that the machine cannot divide, is shown but not filled in.

    Args:
        spec: What the user wants.
        facts: Facts about model, dataset, hardware and account.
        backend: Where it will run.
    """
    label, recipe = type(spec).METHOD.label, recipe_of(type(spec).TRAINING)
    if recipe is None:
        return Recommendation((), spec, f"no source gives starting values for {label}: nothing is recommended")
    before = draft(spec, facts, backend=backend)
    filled, planned, wanted, kept, notes = spec, before, dict[str, _Wanted](), dict[str, str](), list[str]()
    while True:
        search = _Search(filled, planned, recipe)
        search.look()
        left = search.open()
        wanted |= {name: found for name, found in search.wanted.items() if name in left or name not in wanted}
        notes = notes or search.notes
        # what is filled in may change the machine, and with it what else fits
        changed, planned, kept = _fill(filled, left, planned, lambda made: draft(made, facts, backend=backend))
        if changed == filled:
            break
        filled = changed
    rows = [_row(spec, before, wanted[name], filled, kept) for name in recipe.fields if name in wanted]
    return Recommendation(tuple(rows), filled, _subject(label, before.run), (*notes, *recipe.notes))


# -- what is wanted


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the sources want a field to be: the cell with the value and the range for this run."""

    cell: Cell
    value: Any
    range: tuple[Any, ...]
    blocked: str = ""


class _Search:
    """The starting values of one spec, each found in the light of those before it."""

    def __init__(self, spec: TrainSpec, before: Draft, recipe: Recipe) -> None:
        self.spec, self.run, self.recipe = spec, before.run, recipe
        self.world = before.machine.world_size
        self.wanted: dict[str, _Wanted] = {}
        self.notes: list[str] = []
        self.situation = situation_of(spec, before.run)

    def look(self) -> None:
        """Find all: first those on which others depend."""
        self._plain("num_generations")
        if self.run.max_steps is None:
            self._plain(_EPOCHS)
        self._lengths()
        self._batch()
        batch = self.value(BATCH)
        self.situation = situation_of(self.spec, self.run, batch and batch / self._group())
        for name in self.recipe.fields:
            if name not in (_LENGTH, _PACKING, BATCH, "num_generations", _EPOCHS, "warmup_steps", _SAVES):
                self._plain(name)
        if self.value("lr_scheduler_type") != _UNHEATED:
            self._plain("warmup_steps")
        saves, steps = self.situation.find(self.recipe, _SAVES), self._steps()
        if saves and steps is not None and saves.value * steps < type(self.spec).model_fields[_SAVES].default:
            self._plain(_SAVES)

    def open(self) -> Mapping[str, Any]:
        """Those that the spec leaves open, by path."""
        return {
            name: found.value
            for name, found in self.wanted.items()
            if not found.blocked and not is_set_at(self.spec, name)
        }

    def value(self, name: str) -> Any:
        """The value that the field will have."""
        found = self.wanted.get(name)
        if found is None or found.blocked or is_set_at(self.spec, name):
            return value_at(self.spec, name)
        return found.value

    def _plain(self, name: str) -> None:
        cell = self.situation.find(self.recipe, name)
        continues = self.spec.lora is not None and self.spec.lora.continues
        # an adapter that is continued has the shape that it has
        if cell is not None and has_field(self.spec, name) and not (continues and name.startswith("lora.")):
            self.wanted[name] = _Wanted(cell, copy(cell.value), cell.range)

    def _group(self) -> int:
        """Sequences of the batch per example."""
        return self.value("num_generations") if has_field(self.spec, "num_generations") else 1

    def _lengths(self) -> None:
        cell = self.situation.find(self.recipe, _LENGTH)
        if cell is None or not has_field(self.spec, _LENGTH) or self.run.sees:
            return
        enough = self._enough_tokens()
        default = type(self.spec).model_fields[_LENGTH].default
        packed = self.value(_PACKING) if is_set_at(self.spec, _PACKING) else False
        tokens = self._at_most_context(max(enough or 0, default))
        own = value_at(self.spec, _LENGTH) if self.spec.is_set(_LENGTH) else None
        if self._may_pack(own or tokens):
            self._plain(_PACKING)
            packed = self.value(_PACKING)
        if packed:
            cell = replace(cell, why="a packed sequence holds several rows, and 99% of them whole")
            enough = enough and tokens
        if enough is not None:
            self.wanted[_LENGTH] = _Wanted(cell, enough, ())

    def _enough_tokens(self) -> int | None:
        """Tokens that almost no row exceeds, completions that are generated included; ``None`` if unknown."""
        lengths, answers, training = self.run.rows.lengths, self.run.answers, self.run.training
        cell = self.situation.find(self.recipe, _LENGTH)
        if lengths is None or cell is None:
            self.notes.append("max_length: the lengths of the rows are not known")
            return None
        if lengths.unit != "tokens":
            self.notes.append("max_length: the rows were counted in characters; pip install tokenizers counts tokens")
            return None
        tokens = lengths.p99
        if training.long_rows is None:
            prompts = prompt_lengths(lengths)
            if prompts is None or answers is None or answers.most is None:
                return None
            tokens = prompts.p99 + answers.most
        return self._at_most_context(LENGTH_STEP * math.ceil(tokens / LENGTH_STEP))

    def _at_most_context(self, tokens: int) -> int:
        return min(tokens, self.run.model.max_position_embeddings or tokens)

    def _may_pack(self, max_length: int) -> bool:
        """Whether the rows may be packed, and enough steps are left: as where the planner packs by itself."""
        run, cell = self.run, self.situation.find(self.recipe, _PACKING)
        counted = any(self.spec.is_set(name) for name in COUNTED if name != _PACKING)
        if cell is None or not run.training.packs or run.rows.streamed or counted:
            return False
        batch = self.situation.find(self.recipe, BATCH)
        return bool(
            most_packed(
                model_type=run.model.model_type,
                lengths=run.rows.lengths,
                rows=run.rows.trained,
                max_length=max_length,
                epochs=self.value(_EPOCHS),
                per_device=batch.range[0] if batch else run.batch.per_device,
                flash="flash" in (run.attention or ""),
            )
        )

    def _batch(self) -> None:
        cell, batch = self.situation.find(self.recipe, BATCH), self.run.batch
        if cell is None:
            return
        group, rows = self._group(), self._sequences()
        low, high = cell.range
        examples = cell.value
        if rows is not None and self.run.max_steps is None:
            # few rows: more steps are worth more than a larger batch
            examples = examples if rows * self.value(_EPOCHS) >= LEAST_STEPS * examples else low
        unit = self.world * (batch.per_device if batch.per_device_is_set else 1)
        size = step_size(examples, group, unit, rows)
        self.wanted[BATCH] = _Wanted(
            cell if group == 1 else replace(cell, why=f"{size // group} prompts x {group} answers; {cell.why}"),
            size,
            (low * group, high * group),
            "gradient_accumulation_steps is yours" if batch.accumulation_is_set else "",
        )

    def _steps(self) -> float | None:
        """Optimizer steps of the run; ``None`` if unknown."""
        if self.run.max_steps is not None:
            return self.run.max_steps
        batch, rows = self.value(BATCH), self._sequences()
        sequences = batch or self.run.batch.per_device * self.run.batch.accumulation * self.world
        return None if rows is None else rows * self.value(_EPOCHS) * self._group() / sequences

    def _sequences(self) -> float | None:
        """Training sequences of one epoch: rows, or what they are packed into; ``None`` if unknown."""
        rows, lengths = self.run.rows.trained, self.run.rows.lengths
        if rows is None or lengths is None or not self.value(_PACKING):
            return rows
        length = self.value(_LENGTH)
        return rows * min(1.0, tokens_per_row(lengths)[1] / length) if length else rows


# -- what is filled in


def _fill(
    spec: TrainSpec, fields: Mapping[str, Any], before: Draft, plan: Callable[[TrainSpec], Draft]
) -> tuple[TrainSpec, Draft, dict[str, str]]:
    """The spec with these fields, its plan, and why any of them was left out: it would bring a new problem."""
    if not fields:
        return spec, before, {}
    known = {(problem.code, problem.path) for problem in before.problems}
    refused = {problem.path for problem in before.problems if problem.severity == "error"}

    def trouble(planned: Draft) -> str:
        # a warning in place of an error is an improvement
        new = [item for item in planned.problems if (item.code, item.path) not in known]
        new = [item for item in new if item.severity == "error" or item.path not in refused]
        return f"{new[0].code} would be told" if new else ""

    left: Mapping[str, Any] = fields
    while True:
        together = _with(spec, left)
        planned = plan(together)
        if not trouble(planned):
            return together, planned, {}
        kept: dict[str, str] = {}
        for name, value in left.items():
            changed = _with(spec, {name: value})
            planned = plan(changed)
            if why := trouble(planned):
                kept[name] = why
            else:
                spec, before = changed, planned
        if len(kept) in (0, len(left)):
            return spec, before, kept
        # what did not fit before the others may fit with them
        left = {name: left[name] for name in kept}


def _with(spec: TrainSpec, fields: Mapping[str, Any]) -> TrainSpec:
    flat = {path: value for path, value in fields.items() if "." not in path}
    inner = {path.partition(".")[2]: value for path, value in fields.items() if path.startswith("lora.")}
    if inner and spec.lora is not None:
        flat["lora"] = type(spec.lora)(**spec.lora.model_dump(exclude_unset=True), **inner)
    return spec.replace(**flat)


def _row(spec: TrainSpec, before: Draft, wanted: _Wanted, filled: TrainSpec, kept: Mapping[str, str]) -> StartingValue:
    cell = wanted.cell
    path, is_set = cell.field, is_set_at(spec, cell.field)
    now, whose = _now(spec, before, path)
    blocked = wanted.blocked or kept.get(path, "")
    why = f"{cell.why}; left as it is, since {blocked}" if blocked and not is_set else cell.why
    is_filled = not is_set and is_set_at(filled, path)
    return StartingValue(path, now, whose, wanted.value, wanted.range, why, cell.source, is_filled)


def _now(spec: TrainSpec, before: Draft, path: str) -> tuple[Any, Literal["yours", "TRL's default", "planned"]]:
    if is_set_at(spec, path):
        return value_at(spec, path), "yours"
    if path == BATCH:
        layout, batch = before.layout, before.run.batch
        per_device = layout.per_device_train_batch_size if layout else batch.per_device
        steps = layout.gradient_accumulation_steps if layout else batch.accumulation
        told = batch.per_device_is_set and batch.accumulation_is_set
        return per_device * steps * before.machine.world_size, "yours" if told else "planned"
    planned = {decision.path: decision.value for decision in before.decided.decisions}
    if path in planned:
        return planned[path], "planned"
    return value_at(spec, path), "TRL's default"


# -- words


def _subject(label: str, run: Run) -> str:
    size = "size unknown" if run.num_parameters is None else f"{run.num_parameters / 1e9:.2g}B parameters"
    tuning = "all weights" if run.lora is None else "QLoRA" if run.quantization is not None else "LoRA"
    return f"{label}, {tuning}, {size}"
