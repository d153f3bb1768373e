"""Facts about a dataset."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from hfjobs_trainer.contents import Content
from hfjobs_trainer.facts.shape import Shape
from hfjobs_trainer.facts.values import BrokenFile, ValueFacts

SHARES = tuple(step / 20 for step in range(1, 21))
"""Shares of the rows to which ``LengthFacts.quantiles`` belong: 5%, 10%, up to all."""


@dataclass(frozen=True, slots=True)
class LengthFacts:
    """Lengths of the rows of a dataset, from a sample, before truncation.

    The length of a row is that of its training text: for a conversation the contents of its messages; for a preference
    the prompt and the mean of its two completions; for online methods, the prompt alone. Images and audio do not count.

    Attributes:
        unit: What is counted: tokens of the trained model, with an estimate of what its chat template adds to each
            message; or characters.
        sampled: Number of rows in the sample.
        mean: Mean length of a row, in ``unit``.
        quantiles: For each of ``SHARES``, the length that this share of the rows does not exceed, in ``unit``.
        prompt_mean: Mean length of the prompt, if rows have a separate one, in ``unit``.
        counted_p99: The length that 99% of the rows do not exceed, in ``unit``, where it was counted.
    """

    unit: Literal["tokens", "characters"]
    sampled: int
    mean: float
    quantiles: tuple[float, ...]
    prompt_mean: float | None = None
    counted_p99: float | None = field(default=None, compare=False)

    @property
    def p50(self) -> float:
        """The length that half of the rows do not exceed, in ``unit``."""
        return self.quantiles[9]

    @property
    def p95(self) -> float:
        """The length that 95% of the rows do not exceed, in ``unit``."""
        return self.quantiles[18]

    @property
    def p99(self) -> float:
        """The length that 99% of the rows do not exceed, in ``unit``.

        Where it was not counted, lengths above p95 are taken as evenly distributed.
        """
        if self.counted_p99 is not None:
            return self.counted_p99
        return self.p95 + 0.8 * (self.maximum - self.p95)

    @property
    def maximum(self) -> float:
        """The length of the longest row of the sample, in ``unit``."""
        return self.quantiles[-1]


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """A dataset as its files or the Hub describe it; what is unknown is ``None``.

    Attributes:
        path: Absolute path of a local file or folder; ``None`` for a dataset on the Hub.
        exists: Whether the Hub or the disk has it.
        private: Whether reading it needs a token because the repository is private.
        gated: Whether reading it needs a token whose owner has accepted the terms.
        sha: Commit of the revision that was read.
        columns: Column names of the split, before any renaming by the spec.
        num_rows: Rows of the split.
        splits: Names of the splits.
        configs: Names of the configurations of a dataset on the Hub.
        needs_config: Whether one of them must be named, since there are several and none is the default.
        lengths: Lengths of the rows of the split.
        mixed_with: Facts about the datasets that are mixed with this one, in the spec's order.
        saved: Of a local folder, whether ``save_to_disk`` wrote it; otherwise it holds data files.
        content: Of local data that travel with the job, what they are.
        conversational: Whether the prompts of the sampled rows, as TRL gets them, are messages (or else texts).
        shape: How the rows, once renamed as the spec says, become those that the method takes.
        lacks_revision: Whether it is there, but not the revision that is asked for.
        found_as: If no dataset has this id: ``"model"`` or ``"Space"``, whichever has.
        granted: Of a gated dataset, whether this token may read its files.
        values: What is wrong with the values of the rows, as TRL will get them; ``None`` where none were looked at.
        broken: Of local data files, the first that cannot be read.
        loading_script: Of a repository or a folder, its Python file that ``datasets`` once ran to load it.
        environments: Values of the column ``environment`` in the sampled rows, as TRL gets them, each once and cut to a
            short text; ``None`` among them stands for a row that has none.
        neither_text_nor_talk: Columns, as the method gets them, with a value that is neither text nor a conversation.
    """

    path: str | None = None
    exists: bool | None = None
    private: bool | None = None
    gated: bool | None = None
    sha: str | None = None
    columns: tuple[str, ...] | None = None
    num_rows: int | None = None
    splits: tuple[str, ...] | None = None
    configs: tuple[str, ...] | None = None
    needs_config: bool = False
    lengths: LengthFacts | None = None
    mixed_with: tuple[DatasetFacts, ...] = ()
    saved: bool | None = None
    content: Content | None = None
    conversational: bool | None = None
    shape: Shape | None = None
    lacks_revision: bool = False
    found_as: Literal["model", "Space"] | None = None
    granted: bool | None = None
    values: ValueFacts | None = None
    broken: BrokenFile | None = None
    loading_script: str | None = None
    environments: tuple[str | None, ...] | None = None
    neither_text_nor_talk: tuple[str, ...] = ()
