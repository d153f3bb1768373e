"""Rules about which datasets a run reads, and how."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Sequence

from hfjobs_trainer.contents import split_pin
from hfjobs_trainer.display import plural
from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.planning.shipping import missing
from hfjobs_trainer.problems import Found, need, rule
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.fixes import REMOVE, change, keywords
from hfjobs_trainer.specs.groups import Dataset
from hfjobs_trainer.specs.inputs import DataInput, data_inputs, inputs
from hfjobs_trainer.specs.locations import data_suffix
from hfjobs_trainer.specs.splits import split_names
from hfjobs_trainer.specs.unparsed import Unparsed

EVALUATED = ("validation", "valid", "dev", "test")
"""Splits that are there to evaluate on, the best first."""
HELD_OUT = ("test", "val", "dev", "eval")
"""Parts of the names of splits on which nothing is trained."""


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
        why = f"{setting} needs an evaluation set: give eval_dataset or eval_fraction"
        yield Found(path, why, _held_out(context))


def _held_out(context: Context[TrainSpec], **more: object) -> str:
    """The fix that gives an evaluation set: a tenth of the rows; of a stream, which has no tenth, another split."""
    splits = context.facts.dataset.splits or ()
    try:
        dataset = context.spec.dataset
    except Unparsed:
        dataset = None
    if dataset is None or not dataset.streaming:
        return keywords({**more, "eval_fraction": 0.1})
    trained = split_names(dataset.split)
    other = next((name for name in EVALUATED if name in splits and name not in trained), None)
    if other is None:
        return ""
    return keywords({**more, "eval_dataset": dataset.model_copy(update={"split": other})})


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
        yield Found("eval_fraction", "eval_dataset is also given", "eval_fraction=None")


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
    if evaluates_trained_rows(context.spec):
        yield Found("eval_dataset", "the model is trained on these rows", _held_out(context, eval_dataset=None))


def evaluates_trained_rows(spec: TrainSpec) -> bool:
    """Whether, by their names alone, the evaluation set is the training set or a part of it."""
    trained, evaluated = spec.dataset, spec.eval_dataset
    if evaluated is None or _identity(trained) != _identity(evaluated):
        return False
    in_full = "[" not in trained.split and trained.num_samples is None
    shared = set(split_names(trained.split)) & set(split_names(evaluated.split))
    return trained.split == evaluated.split or (in_full and bool(shared))


def _identity(dataset: Dataset) -> tuple[str, str | None, str | None]:
    return dataset.id, dataset.config, dataset.revision


@rule("DATA006", first=True)
def local_files_exist(context: Context[TrainSpec]) -> Iterator[Found]:
    """Local models and datasets exist.

    What it does:
        On the local backend, refuses paths of models, datasets and chat templates that lead nowhere.

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
    template = context.facts.chat_template
    if template is not None and template.exists is False:
        text = context.field("chat_template_path", str)
        yield Found("chat_template_path", f"{text} does not exist on this machine")
    for item in local:
        need(item.exists, f"whether {item.id} exists", item.path)


@rule("DATA007", first=True)
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
        fix = _held_out(context, eval_fraction=None) or change(context.spec, {"dataset.streaming": REMOVE})
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
            yield from _options_of_a_path(context.spec, data)


def _options_of_a_path(spec: TrainSpec, data: DataInput) -> Iterator[Found]:
    path, dataset, is_saved = data.path, data.dataset, data.facts.saved is not False
    whys: dict[str, str] = {}
    right: dict[str, object] = {}
    for name, given in (("config", dataset.config), ("revision", dataset.revision)):
        if given is not None:
            whys[name], right[f"{path}.{name}"] = "only datasets on the Hub have one", REMOVE
    for name, given in (("data_dir", dataset.data_dir), ("data_files", dataset.data_files)):
        if given is not None:
            whys[name] = f"{dataset.id} is a local path: id is the path of the file itself"
            right[f"{path}.{name}"] = REMOVE
            if isinstance(given, str) and "*" not in given and split_pin(dataset.id)[1] is None:
                right[f"{path}.id"] = f"{dataset.id.rstrip('/')}/{given}"
    if data_suffix(dataset.id) is None and is_saved:
        if dataset.streaming:
            whys["streaming"], right[f"{path}.streaming"] = "a saved folder is loaded whole", REMOVE
        if "[" in dataset.split or "+" in dataset.split:
            why = f'a saved folder gives whole splits by name, not "{dataset.split}"; num_samples takes the first rows'
            whys["split"], right[f"{path}.split"] = why, next(iter(split_names(dataset.split)), "train")
    for name, why in whys.items():
        yield Found(f"{path}.{name}", why, change(spec, right))


@rule("DATA010", first=True)
def splits_exist(context: Context[TrainSpec]) -> Iterator[Found]:
    """A dataset has the configuration and the split that are asked for.

    What it does:
        Refuses a configuration or a split that the dataset does not have, text that names no split, and a dataset with
        several configurations of which none is named and none is the default. Training rows are never proposed from a
        split that is there to test on.

    Why:
        `load_dataset` fails on it, but only on the machine.

    Example:
        ```python
        hft.SFT(model=..., dataset=hft.Dataset(id="trl-lib/Capybara", split="validation"))  # it has train and test
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=hft.Dataset(id="trl-lib/Capybara", split="train"))
        ```
    """
    spec, wrong = context.spec, set[str]()
    for data in data_inputs(spec, context.facts):
        for found in (*_configuration(spec, data), *_split(spec, data)):
            wrong.add(data.path)
            yield found
    for data in data_inputs(spec, context.facts):
        if data.path not in wrong and not _has_no_splits(data.dataset, data.facts.num_rows):
            need(data.facts.splits, f"the splits of {data.id}", data.path)


def _configuration(spec: TrainSpec, data: DataInput) -> Iterator[Found]:
    path, asked, known = f"{data.path}.config", data.dataset.config, data.facts.configs
    if known is None or asked in known:
        return
    listed = ", ".join(known)
    if asked is not None:
        close = difflib.get_close_matches(asked, known, 1) or known[:1]
        yield Found(path, f'{data.id} has no configuration "{asked}"; it has {listed}', change(spec, {path: close[0]}))
    elif data.facts.needs_config:
        why = f"{data.id} has several configurations, and none is the default: {listed}"
        yield Found(path, why, change(spec, {path: known[0]}))


def _split(spec: TrainSpec, data: DataInput) -> Iterator[Found]:
    path, text, known = f"{data.path}.split", data.dataset.split, data.facts.splits
    names = split_names(text)
    missing = [name for name in names if known is not None and name not in known and name != "all"]
    if names and not missing:
        return
    why = f'{data.id} has no split "{missing[0]}"; it has {", ".join(known or ())}' if names else ""
    good = _meant_split(missing[0] if names else text, known or ("train",), data.path.startswith("eval_dataset"))
    fix = change(spec, {path: good}) if good else ""
    yield Found(path, why or f'"{text}" names no split', fix)


def _meant_split(asked: str, known: Sequence[str], evaluates: bool) -> str | None:
    """The split that is meant; for training never one that is there to test on, which may leave none."""
    held_out = [name for name in known if any(part in name.lower() for part in HELD_OUT)]
    usable = known if evaluates else [name for name in known if name not in held_out]
    close = difflib.get_close_matches(asked, usable, 1)
    usual = [*held_out, *known] if evaluates else [name for name in usable if name.startswith("train")] or usable
    return next(iter([*close, *usual]), None)


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
            yield Found(data.path, f'{data.id} has no rows in the split "{data.dataset.split}"')
    spec, known = context.spec, context.facts.dataset.num_rows
    if spec.eval_fraction is None or spec.dataset.streaming or known == 0:
        return
    rows = need(known, f"the rows of {spec.dataset.id}", "dataset")
    if spec.dataset.num_samples is not None and not spec.dataset.mixed_with:
        rows = min(rows, spec.dataset.num_samples)
    held = spec.held_out(rows)
    if held >= rows:
        why = f"holds out {held} of {plural(rows, 'row')}, which leaves none for training"
        fix = f"eval_fraction={math.floor(100 * (rows - 1) / rows) / 100:g}" if rows > 1 else ""
        yield Found("eval_fraction", why, fix)


def _has_no_splits(dataset: Dataset, num_rows: int | None) -> bool:
    """Whether it is one saved dataset without splits: its rows are known although no splits are."""
    return data_suffix(dataset.id) is None and num_rows is not None
