"""How the rules about rows speak of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hfjobs_trainer.facts.values import Finding, ValueFacts, ValueKind
from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.problems import need
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.inputs import DataInput


def findings(context: Context[TrainSpec], *kinds: ValueKind) -> Iterator[tuple[DataInput, ValueFacts, Finding]]:
    """What was found of these kinds, dataset by dataset; in the end, the rule is unchecked if one was not looked at.

    What was found in a column that is dropped or renamed by now counts no longer.
    """
    for data in context.datasets:
        for finding in data.facts.values.of(*kinds) if data.facts.values else ():
            if data.columns is None or set(finding.columns) <= set(data.columns):
                assert data.facts.values
                yield data, data.facts.values, finding
    need_rows(context)


def need_rows(context: Context[TrainSpec]) -> None:
    """End the rule as unchecked if the rows of a dataset were not looked at, though its columns are right."""
    formats = context.spec.dataset_formats()
    for data in context.datasets:
        # of rows that the method does not take, other rules tell
        if data.columns is None or any(set(names) <= set(data.columns) for names in formats):
            need(data.facts.values, f"the rows of {data.id}", data.path)


def trained_on(context: Context[TrainSpec], *kinds: ValueKind) -> Iterator[tuple[ValueFacts, Finding]]:
    """What was found of these kinds in the rows that are trained on, as far as they were looked at."""
    for data in context.datasets:
        if data.path.split(".")[0] == "dataset" and data.facts.values:
            for finding in data.facts.values.of(*kinds):
                yield data.facts.values, finding


def where(finding: Finding, values: ValueFacts) -> str:
    """Which rows it is, in words."""
    if finding.count == 1:
        return f"row {finding.row} of the {values.sampled} looked at"
    return f"row {finding.row} is the first of {finding.count} in the {values.sampled} looked at"


def quoted(finding: Finding) -> str:
    """The excerpt, where there is one."""
    return f" ({finding.excerpt})" if finding.excerpt else ""


def named(columns: Sequence[str]) -> str:
    """Columns in words."""
    return columns[0] if len(columns) == 1 else f"{', '.join(columns[:-1])} and {columns[-1]}"


def share(finding: Finding, values: ValueFacts) -> float:
    """The share of the rows in which it is."""
    return finding.count / values.sampled


def original(data: DataInput, column: str) -> str:
    """The dataset's own name of a column."""
    return next((name for name, new in data.dataset.columns.items() if new == column), column)
