"""Rules about which datasets a run reads, and how."""

from __future__ import annotations

import math
from collections.abc import Iterator

from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.planning.shipping import missing
from hfjobs_trainer.problems import Found, need, rule
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.groups import Dataset
from hfjobs_trainer.specs.inputs import data_inputs, inputs
from hfjobs_trainer.specs.locations import data_suffix
from hfjobs_trainer.specs.splits import split_names


@rule("DATA001")
def evaluation_needs_a_dataset(context: Context[TrainSpec]) -> Iterator[Found]:
    """Evaluation needs an evaluation set.

    What it does:
        Refuses `eval_strategy` other than `"no"`, `eval_on_start` and `load_best_model_at_end` where neither
        `eval_dataset` nor `eval_fraction` is given.

    Why:
        The trainer raises a `ValueError`, but only once the model is loaded and the dataset tokenized: minutes into a
        job that is paid for.

    Example:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-0.5B", dataset="trl-lib/Capybara", eval_strategy="steps")
        ```

    Use instead:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-0.5B", dataset="trl-lib/Capybara", eval_strategy="steps", eval_fraction=0.1)
        ```
    """
    spec = context.spec
    if (setting := spec.needs_eval_dataset) and not spec.evaluates:
        path = setting.split("=")[0]
        yield Found(path, f"{setting} needs an evaluation set: give eval_dataset or eval_fraction", "eval_fraction=0.1")


@rule("DATA002")
def one_evaluation_set(context: Context[TrainSpec]) -> Iterator[Found]:
    """The evaluation set comes from one place.

    What it does:
        Refuses `eval_dataset` together with `eval_fraction`.

    Why:
        Only one set can be evaluated on, and it is unclear which of the two is meant.

    Example:
        ```python
        hft.SFT(model=..., dataset="me/train", eval_dataset="me/test", eval_fraction=0.1)
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset="me/train", eval_dataset="me/test")
        ```
    """
    if context.spec.eval_dataset is not None and context.spec.eval_fraction is not None:
        yield Found("eval_fraction", "eval_dataset is also given", "remove one of eval_fraction and eval_dataset")


@rule("DATA003", severity="warning")
def evaluation_on_other_rows(context: Context[TrainSpec]) -> Iterator[Found]:
    """Evaluation uses rows that are not trained on.

    What it does:
        Warns where the evaluation set is the training set, or a part of the split that is trained on in full.

    Why:
        A model that has seen the answers scores well on them whatever it has learned.

    Example:
        ```python
        hft.SFT(model=..., dataset="me/data", eval_dataset=hft.Dataset(id="me/data", split="train[:10%]"))
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset="me/data", eval_fraction=0.1)
        ```
    """
    trained, evaluated = context.spec.dataset, context.spec.eval_dataset
    if evaluated is None or _identity(trained) != _identity(evaluated):
        return
    in_full = "[" not in trained.split and trained.num_samples is None
    shared = set(split_names(trained.split)) & set(split_names(evaluated.split))
    if trained.split == evaluated.split or (in_full and shared):
        yield Found("eval_dataset", "the model is trained on these rows", "eval_fraction=0.1, or another split")


def _identity(dataset: Dataset) -> tuple[str, str | None, str | None]:
    return dataset.id, dataset.config, dataset.revision


@rule("DATA006")
def local_files_exist(context: Context[TrainSpec]) -> Iterator[Found]:
    """Local models and datasets exist.

    What it does:
        On the local backend, refuses paths of models and datasets that lead nowhere.

    Why:
        The script would fail once it opens them. A name that starts with `/`, `./`, `../` or `~`, or that ends like a
        data file, is a path; everything else is a Hub id.

    Example:
        ```python
        hft.submit_sft(model="./no-such-model", dataset="train.jsonl", backend="local")
        ```

    Use instead:
        ```python
        hft.submit_sft(model="./my-model", dataset="data/train.jsonl", backend="local")
        ```
    """
    if not context.backend.absolute_paths:
        return
    local = [item for item in inputs(context.spec, context.facts) if item.is_local]
    for item in local:
        if item.exists is False:
            yield missing(item)
    for item in local:
        need(item.exists, f"whether {item.id} exists")


@rule("DATA007")
def streaming_needs_max_steps(context: Context[TrainSpec]) -> Iterator[Found]:
    """A streamed dataset needs `max_steps`.

    What it does:
        Refuses `streaming=True` for the training dataset where `max_steps` is not given.

    Why:
        A stream has no length, so the trainer cannot work out the number of steps, and says so only once the model is
        loaded.

    Example:
        ```python
        hft.SFT(model=..., dataset=hft.Dataset(id="HuggingFaceFW/fineweb", streaming=True))
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=hft.Dataset(id="HuggingFaceFW/fineweb", streaming=True), max_steps=1000)
        ```
    """
    if context.spec.dataset.streaming and context.spec.max_steps <= 0:
        yield Found(
            "max_steps",
            "the length of a streamed dataset is unknown, so the number of steps is required",
            "max_steps=1000",
        )


@rule("DATA008")
def streams_cannot_be_split(context: Context[TrainSpec]) -> Iterator[Found]:
    """A streamed dataset cannot be split.

    What it does:
        Refuses `eval_fraction` where the training dataset is streamed.

    Why:
        Rows are held out at random, which takes knowing how many there are; a stream does not.

    Example:
        ```python
        hft.SFT(model=..., dataset=hft.Dataset(id="me/data", streaming=True), max_steps=1000, eval_fraction=0.1)
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=hft.Dataset(id="me/data", streaming=True), max_steps=1000,
                eval_dataset=hft.Dataset(id="me/data", split="test"))
        ```
    """
    dataset = context.spec.dataset
    if dataset.streaming and context.spec.eval_fraction is not None:
        fix = f'eval_dataset=hft.Dataset(id="{dataset.id}", split="test"), or streaming=False'
        yield Found("eval_fraction", "rows cannot be held out of a streamed dataset", fix)


@rule("DATA009")
def options_fit_the_source(context: Context[TrainSpec]) -> Iterator[Found]:
    """A dataset's options fit where it comes from.

    What it does:
        Refuses `config`, `revision`, `data_dir` and `data_files` for local datasets, those of a mixture included; for
        folders of `Dataset.save_to_disk` also `streaming` and slices of a split.

    Why:
        A local path is one file or one folder, without configurations or history, and a saved folder is loaded whole,
        its splits by name: the options would be ignored, or end in a `KeyError`.

    Example:
        ```python
        hft.Dataset(id="./saved", split="train[:10%]")
        ```

    Use instead:
        ```python
        hft.Dataset(id="./saved", split="train", num_samples=1000)
        ```
    """
    for data in data_inputs(context.spec, context.facts):
        if data.is_local:
            yield from _options_of_a_path(data.path, data.dataset, is_saved=data.facts.saved is not False)


def _options_of_a_path(path: str, dataset: Dataset, *, is_saved: bool) -> Iterator[Found]:
    for name, given in (("config", dataset.config), ("revision", dataset.revision)):
        if given is not None:
            yield Found(f"{path}.{name}", "only datasets on the Hub have one", f"remove {name}")
    for name, given in (("data_dir", dataset.data_dir), ("data_files", dataset.data_files)):
        if given is not None:
            yield Found(f"{path}.{name}", f"{dataset.id} is a local path", "set id to the path of the file")
    if data_suffix(dataset.id) is None and is_saved:
        if dataset.streaming:
            yield Found(f"{path}.streaming", "a saved folder is loaded whole", "remove streaming")
        if "[" in dataset.split or "+" in dataset.split:
            why = f'a saved folder gives whole splits by name, not "{dataset.split}"'
            name = next(iter(split_names(dataset.split)), "train")
            yield Found(f"{path}.split", why, f'split="{name}", with num_samples=... for the first rows')


@rule("DATA010")
def splits_exist(context: Context[TrainSpec]) -> Iterator[Found]:
    """A dataset has the split that is asked for.

    What it does:
        Refuses a split that the dataset does not have, and text that names no split.

    Why:
        `load_dataset` fails on it, but only on the machine.

    Example:
        ```python
        hft.Dataset(id="trl-lib/Capybara", split="validation")  # it has train and test
        ```

    Use instead:
        ```python
        hft.Dataset(id="trl-lib/Capybara", split="test")
        ```
    """
    for data in data_inputs(context.spec, context.facts):
        names = split_names(data.dataset.split)
        if not names:
            why = f'"{data.dataset.split}" names no split'
            yield Found(f"{data.path}.split", why, 'split="train", or a part of it such as "train[:10%]"')
        known = data.facts.splits
        missing = [name for name in names if known is not None and name not in known and name != "all"]
        if missing:
            why = f'{data.id} has no split "{missing[0]}"; it has {", ".join(known or ())}'
            yield Found(f"{data.path}.split", why, f'split="{(known or ("train",))[0]}"')
    for data in data_inputs(context.spec, context.facts):
        if data.exists is not False and not _has_no_splits(data.dataset, data.facts.num_rows):
            need(data.facts.splits, f"the splits of {data.id}")


@rule("DATA012")
def there_are_rows(context: Context[TrainSpec]) -> Iterator[Found]:
    """There are rows to train on, and to evaluate on.

    What it does:
        Refuses a split without rows, and an `eval_fraction` that leaves no row to train on.

    Why:
        `train_test_split` rounds the rows that are held out up and raises a `ValueError` where none is left; without
        any rows the trainer fails once the model is loaded.

    Example:
        ```python
        hft.SFT(model=..., dataset=hft.Dataset(id="me/data", num_samples=10), eval_fraction=0.95)
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=hft.Dataset(id="me/data", num_samples=10), eval_fraction=0.5)
        ```
    """
    for data in data_inputs(context.spec, context.facts):
        if data.facts.num_rows == 0:
            why = f'{data.id} has no rows in the split "{data.dataset.split}"'
            yield Found(data.path, why, "another split, or another dataset")
    spec, known = context.spec, context.facts.dataset.num_rows
    if spec.eval_fraction is None or spec.dataset.streaming or known == 0:
        return
    rows = need(known, f"the rows of {spec.dataset.id}")
    if spec.dataset.num_samples is not None and not spec.dataset.mixed_with:
        rows = min(rows, spec.dataset.num_samples)
    held = math.ceil(spec.eval_fraction * rows)
    if held >= rows:
        why = f"holds out {held} of {rows} row{'s' if rows > 1 else ''}, which leaves none for training"
        fix = f"eval_fraction={math.floor(100 * (rows - 1) / rows) / 100:g} or less, or " if rows > 1 else ""
        yield Found("eval_fraction", why, f"{fix}eval_dataset=...")


def _has_no_splits(dataset: Dataset, num_rows: int | None) -> bool:
    """Whether it is one saved dataset without splits: its rows are known although no splits are."""
    return data_suffix(dataset.id) is None and num_rows is not None
