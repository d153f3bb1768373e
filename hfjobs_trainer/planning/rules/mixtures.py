"""Rules about datasets that are mixed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hfjobs_trainer.problems import Found, rule
from hfjobs_trainer.specs.context import Context
from hfjobs_trainer.specs.groups import Dataset


def _mixtures(context: Context[Any]) -> Iterator[tuple[str, Dataset]]:
    for path in ("dataset", "eval_dataset"):
        dataset = getattr(context.spec, path)
        if dataset is not None:
            yield path, dataset


@rule("MIX001")
def fractions_for_all_or_none(context: Context[Any]) -> Iterator[Found]:
    """A mixture gives a fraction to each of its datasets, or to none.

    Fractions are shares in proportion to each other, so a dataset without one has no defined size beside those that
    have one. TRL refuses it when the run starts. Without fractions, all rows of all datasets are taken.
    """
    for path, dataset in _mixtures(context):
        without = [part.id for part in dataset.parts if part.fraction is None]
        if not dataset.mixed_with and not without:
            yield Found(f"{path}.fraction", "is a share of a mixture, and there is one dataset", "num_samples=...")
        elif without and len(without) < len(dataset.parts):
            why = f"is set for some datasets of the mixture, and not for {', '.join(without)}"
            yield Found(f"{path}.fraction", why, "give a fraction to each, or to none")


@rule("MIX002")
def no_fractions_of_a_stream(context: Context[Any]) -> Iterator[Found]:
    """A fraction needs to know how many rows a dataset has, which a streamed one does not say.

    All datasets of a mixture are streamed, or none: the two kinds cannot be concatenated.
    """
    for path, dataset in _mixtures(context):
        streamed = [part.id for part in dataset.parts if part.streaming]
        if streamed and any(part.fraction is not None for part in dataset.parts):
            why = "needs the number of rows, which a streamed dataset does not tell"
            yield Found(f"{path}.fraction", why, "leave out streaming, or the fractions")
        elif streamed and len(streamed) < len(dataset.parts):
            why = f"is set for {', '.join(streamed)} only; a stream cannot be appended to a table"
            yield Found(f"{path}.streaming", why, "stream all datasets of the mixture, or none")


@rule("MIX003")
def one_level_of_mixing(context: Context[Any]) -> Iterator[Found]:
    """A mixture is one list of datasets: a dataset in it is not itself a mixture."""
    for path, dataset in _mixtures(context):
        for index, part in enumerate(dataset.mixed_with):
            if part.mixed_with:
                why = f"{part.id} is a mixture of its own"
                yield Found(f"{path}.mixed_with.{index}", why, "put all datasets into one list")


@rule("MIX004")
def files_of_a_hub_dataset(context: Context[Any]) -> Iterator[Found]:
    """``config``, ``data_dir`` and ``data_files`` pick parts of a Hub dataset; a local path is one file already."""
    from hfjobs_trainer.specs.locations import is_local_path

    for path, dataset in _mixtures(context):
        for part in dataset.parts:
            if is_local_path(part.id):
                for name in ("data_dir", "data_files"):
                    if getattr(part, name) is not None:
                        yield Found(f"{path}.{name}", f"{part.id} is a local path", "name the file itself as id")
