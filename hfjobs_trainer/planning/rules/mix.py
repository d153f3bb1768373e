"""Rules about datasets that are mixed."""

from __future__ import annotations

from collections.abc import Iterator

from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.problems import Found, rule
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.fixes import REMOVE, change
from hfjobs_trainer.specs.groups import Dataset


def _mixtures(spec: TrainSpec) -> Iterator[tuple[str, Dataset]]:
    yield "dataset", spec.dataset
    if spec.eval_dataset is not None:
        yield "eval_dataset", spec.eval_dataset


@rule("MIX001")
def fractions_for_all_or_none(context: Context[TrainSpec]) -> Iterator[Found]:
    """A mixture gives a fraction to each of its datasets, or to none.

    What it does:
        Refuses `fraction` for some of the datasets that are mixed but not for the others, and for a dataset
        that stands alone.

    Why:
        Fractions are shares in proportion to each other, so a dataset without one has no defined size beside
        those that have one; TRL refuses it once the run starts. Without fractions, all rows of all datasets are
        taken.

    Example:
        ```python
        hft.SFT(model=..., dataset=[hft.Dataset(id="me/chat", fraction=0.7), "me/code"])
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=[hft.Dataset(id="me/chat", fraction=0.7), hft.Dataset(id="me/code", fraction=0.3)])
        ```
    """
    for path, dataset in _mixtures(context.spec):
        without = [part.id for part in dataset.parts if part.fraction is None]
        if not dataset.mixed_with and not without:
            why = "is a share of a mixture, and there is only one dataset; num_samples takes the first rows"
            yield Found(f"{path}.fraction", why, _without(context.spec, path, dataset, "fraction"))
        elif without and len(without) < len(dataset.parts):
            why = f"is set for some datasets of the mixture, but not for {', '.join(without)}"
            yield Found(f"{path}.fraction", why, _without(context.spec, path, dataset, "fraction"))


@rule("MIX002")
def no_fractions_of_a_stream(context: Context[TrainSpec]) -> Iterator[Found]:
    """Streams are mixed with streams, and without fractions.

    What it does:
        Refuses `fraction` in a mixture with a streamed dataset, and `streaming=True` for some of its datasets
        only.

    Why:
        A fraction takes knowing how many rows a dataset has, which a stream does not say; and a stream cannot
        be appended to a table.

    Example:
        ```python
        hft.SFT(model=..., dataset=[hft.Dataset(id="me/web", streaming=True), "me/chat"], max_steps=1000)
        ```

    Use instead:
        ```python
        web, chat = (hft.Dataset(id=name, streaming=True) for name in ("me/web", "me/chat"))
        hft.SFT(model=..., dataset=[web, chat], max_steps=1000)
        ```
    """
    for path, dataset in _mixtures(context.spec):
        streamed = [part.id for part in dataset.parts if part.streaming]
        if streamed and any(part.fraction is not None for part in dataset.parts):
            why = "needs the number of rows, which is unknown for a streamed dataset"
            yield Found(f"{path}.fraction", why, _without(context.spec, path, dataset, "fraction"))
        elif streamed and len(streamed) < len(dataset.parts):
            why = f"is set for {', '.join(streamed)} only; a stream cannot be appended to a table"
            yield Found(f"{path}.streaming", why, _without(context.spec, path, dataset, "streaming"))


@rule("MIX003")
def one_level_of_mixing(context: Context[TrainSpec]) -> Iterator[Found]:
    """A mixture is one list of datasets.

    What it does:
        Refuses `mixed_with` in a dataset that is itself part of a mixture.

    Why:
        All rows end up in one table, so a mixture within a mixture would mean nothing that one list does not
        say.

    Example:
        ```python
        inner = hft.Dataset(id="me/b", mixed_with=["me/c"])
        hft.SFT(model=..., dataset=["me/a", inner])
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=["me/a", "me/b", "me/c"])
        ```
    """
    for path, dataset in _mixtures(context.spec):
        for index, part in enumerate(dataset.mixed_with):
            if part.mixed_with:
                why = f"{part.id} is itself a mixture"
                flat = [item for other in dataset.mixed_with for item in _flat(other)]
                fix = change(context.spec, {f"{path}.mixed_with": flat})
                yield Found(f"{path}.mixed_with.{index}", why, fix)


def _flat(dataset: Dataset) -> list[Dataset]:
    """The dataset without those that it is mixed with, and these after it."""
    fields = {name: getattr(dataset, name) for name in dataset.model_fields_set if name != "mixed_with"}
    return [Dataset(**fields), *(item for other in dataset.mixed_with for item in _flat(other))]


def _without(spec: TrainSpec, path: str, dataset: Dataset, name: str) -> str:
    """The fix that takes an option away from every dataset of a mixture."""
    places = ["", *(f"mixed_with.{index}." for index in range(len(dataset.mixed_with)))]
    return change(spec, {f"{path}.{place}{name}": REMOVE for place in places})
