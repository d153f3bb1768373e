"""Rules about the columns of the datasets."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence

from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.problems import Found, need, rule
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.columns import mapping_for
from hfjobs_trainer.specs.fixes import REMOVE, change
from hfjobs_trainer.specs.groups import Dataset
from hfjobs_trainer.specs.inputs import DataInput, data_inputs


def _in_words(formats: Iterable[Sequence[str]]) -> str:
    sets = [" and ".join(names) for names in formats]
    return sets[0] if len(sets) == 1 else f"{', '.join(sets[:-1])} or {sets[-1]}"


@rule("DATA004")
def columns_fit_the_method(context: Context[TrainSpec]) -> Iterator[Found]:
    """The dataset has the columns that the method needs.

    What it does:
        Compares the columns, kept as `keep_columns=` and renamed as `columns=` says, with the formats that the method
        takes, and proposes what to keep, or a renaming where the names resemble them.

    Why:
        TRL raises a bare `KeyError: 'chosen'` once the model is loaded; GRPO even at its first step.

    Example:
        ```python
        hft.GRPO(model=..., dataset="openai/gsm8k", reward_funcs=...)  # its columns are question and answer
        ```

    Use instead:
        ```python
        hft.GRPO(model=..., dataset=hft.Dataset(id="openai/gsm8k", config="main", columns={"question": "prompt"}),
                 reward_funcs=...)
        ```
    """
    formats = context.spec.dataset_formats()
    for data in context.datasets:
        columns = data.columns
        if columns is not None and not any(set(names) <= set(columns) for names in formats):
            label = type(context.spec).METHOD.label
            has = "has" if data.dataset.keep_columns is None else "keeps"
            why = f"{label} needs {_in_words(formats)}; {data.id} {has} {', '.join(columns) or 'no columns'}"
            fix = _keep(context.spec, data, formats) or _rename(context.spec, data, columns, formats)
            yield Found(data.path, f"{why}{_hint(columns, formats)}", fix)
    for data in context.datasets:
        data.need_columns()


# Columns of texts or conversations.
_SAID = frozenset(("text", "messages", "conversations", "prompt", "completion", "chosen", "rejected"))


def _keep(spec: TrainSpec, data: DataInput, formats: Sequence[Sequence[str]]) -> str:
    """What to keep where the columns that are needed are there, but dropped; empty if they are not."""
    mapping, kept = data.dataset.columns, data.dataset.keep_columns or []
    originals = {mapping.get(name, name): name for name in data.given_columns or ()}
    for names in formats:
        if set(names) <= originals.keys():
            wanted = dict.fromkeys([*kept, *(originals[name] for name in names)])
            return change(spec, {f"{data.path}.keep_columns": [*wanted]})
    return ""


def _rename(spec: TrainSpec, data: DataInput, columns: Sequence[str], formats: Sequence[Sequence[str]]) -> str:
    found = [mapping for names in formats if (mapping := mapping_for(names, columns))]
    odd = data.facts.neither_text_nor_talk
    mappings = [mapping for mapping in found if not any(old in odd and new in _SAID for old, new in mapping.items())]
    if not mappings:
        return ""
    # the one that uses most of what is there
    mapping = max(mappings, key=len)
    return change(spec, {f"{data.path}.columns": data.renaming(mapping)})


def _hint(columns: Sequence[str], formats: Sequence[Sequence[str]]) -> str:
    wanted = {name for names in formats for name in names}
    talks = [name for name in ("messages", "conversations") if name in columns]
    if talks and "prompt" in wanted and "messages" not in wanted:
        return f". Build prompt from {talks[0]}: the conversation without its last answer"
    if talks and "chosen" in wanted:
        return f". {talks[0]} holds one answer; preferences need two, a better and a worse one"
    if {"instruction", "input"} <= set(columns):
        return ". Only one column can become the prompt: join instruction and input first where both matter"
    return ""


@rule("DATA005", first=True)
def renamed_columns_exist(context: Context[TrainSpec]) -> Iterator[Found]:
    """Columns that are kept or renamed exist.

    What it does:
        Refuses `keep_columns=` and `columns=` with a column that the dataset does not have, a renamed column that is
        not kept, and two columns of one name.

    Why:
        `select_columns` and `rename_columns` raise a `ValueError` on the machine. The mapping goes from the dataset's
        name to TRL's, and is easily written the wrong way round; columns are kept by the dataset's names, before any
        is renamed.

    Example:
        ```python
        hft.Dataset(id="openai/gsm8k", config="main", columns={"prompt": "question"})
        ```

    Use instead:
        ```python
        hft.Dataset(id="openai/gsm8k", config="main", columns={"question": "prompt"})
        ```
    """
    named = [
        data
        for data in data_inputs(context.spec, context.facts)
        if _names_columns(data.dataset) and data.exists is not False
    ]
    for data in named:
        yield from _kept_columns(context.spec, data)
        yield from _renamed_columns(context.spec, data)
    for data in named:
        need(data.given_columns, data.about_columns, data.path)


def _names_columns(dataset: Dataset) -> bool:
    return bool(dataset.columns) or dataset.keep_columns is not None


def _kept_columns(spec: TrainSpec, data: DataInput) -> Iterator[Found]:
    kept, path, columns = data.dataset.keep_columns, f"{data.path}.keep_columns", data.given_columns
    if kept is None:
        return
    originals = {new: old for old, new in data.dataset.columns.items()}
    # one that the dataset lacks is told of as such
    dropped = [name for name in data.dataset.columns if name not in kept and (columns is None or name in columns)]
    meant = {name: _meant(name, columns, originals) for name in kept if columns is not None and name not in columns}
    right = dict.fromkeys([*(meant.get(name, name) for name in kept), *dropped])
    fix = change(spec, {path: [name for name in right if name is not None]}) if None not in meant.values() else ""
    for name in meant:
        yield Found(path, f"{data.id} has no column {name}; it has {', '.join(columns or ())}", fix)
    for name in dropped:
        yield Found(path, f"drops {name}, which is renamed", fix)


def _meant(name: str, columns: Sequence[str] | None, originals: Mapping[str, str]) -> str | None:
    """The column that is meant by one that there is not: the one that gets this name, or what is spelt like it."""
    original = originals.get(name)
    return (
        original if original in (columns or ()) else next(iter(difflib.get_close_matches(name, columns or (), 1)), None)
    )


def _renamed_columns(spec: TrainSpec, data: DataInput) -> Iterator[Found]:
    mapping, path, columns = data.dataset.columns, f"{data.path}.columns", data.given_columns
    kept, told, right = data.dataset.keep_columns, list[str](), dict[str, str]()
    read = {name for names in spec.dataset_formats() for name in names}
    for name, new in mapping.items():
        pair: tuple[str, str] | None = (name, new)
        if columns is not None and name not in columns:
            close = difflib.get_close_matches(name, columns, 1)
            # the other way round, unless that would take away what is trained on
            swaps = new in columns and (name in read or new not in read)
            pair = (new, name) if swaps else (close[0], new) if close and close[0] != new else None
            told.append(f"{data.id} has no column {name}; it has {', '.join(columns)}")
        elif (
            columns is not None and new in columns and new not in mapping and new != name and (not kept or new in kept)
        ):
            right[new] = f"old_{new}"
            told.append(f"{data.id} has a column {new} already")
        if pair is not None and pair[1] in right.values():
            told.append(f"two columns would be named {pair[1]}")
        elif pair is not None:
            right[pair[0]] = pair[1]
    for why in dict.fromkeys(told):
        yield Found(path, why, change(spec, {path: right or REMOVE}))
