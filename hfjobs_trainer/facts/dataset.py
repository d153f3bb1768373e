"""Facts about a dataset."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DatasetFacts:
    """A dataset as its files or the Hub describe it; ``None`` where unknown.

    Attributes:
        path: Absolute path of a local file or folder; ``None`` for a dataset on the Hub.
        exists: Whether the Hub or the disk has it.
        private: Whether reading it needs a token because the repository is private.
        gated: Whether reading it needs a token whose owner has accepted the terms.
        sha: Commit of the revision that was read.
        columns: Column names of the split, before any renaming by the spec.
        num_rows: Rows of the split.
        splits: Names of the splits.
        mixed_with: Facts about the datasets that are mixed with this one, in the spec's order.
    """

    path: str | None = None
    exists: bool | None = None
    private: bool | None = None
    gated: bool | None = None
    sha: str | None = None
    columns: tuple[str, ...] | None = None
    num_rows: int | None = None
    splits: tuple[str, ...] | None = None
    mixed_with: tuple[DatasetFacts, ...] = ()
