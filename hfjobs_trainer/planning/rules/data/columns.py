"""Rules about the columns of the datasets."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Sequence

from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.problems import Found, need, rule
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.columns import mapping_for
from hfjobs_trainer.specs.groups import Dataset
from hfjobs_trainer.specs.inputs import DataInput, data_inputs, need_columns


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
    known = [data for data in data_inputs(context.spec, context.facts) if data.exists is not False]
    for data in known:
        columns = data.columns
        if columns is not None and not any(set(names) <= set(columns) for names in formats):
            label = type(context.spec).METHOD.label
            has = "has" if data.dataset.keep_columns is None else "keeps"
            why = f"{label} needs {_in_words(formats)}; {data.id} {has} {', '.join(columns) or 'no columns'}"
            fix = _keep(data, formats) or _rename(data, columns, formats)
            yield Found(data.path, f"{why}{_hint(columns, formats)}", fix)
    for data in known:
        need_columns(data)


def _keep(data: DataInput, formats: Sequence[Sequence[str]]) -> str:
    """What to keep where the columns that are needed are there, but dropped; empty if they are not."""
    mapping, kept = data.dataset.columns, data.dataset.keep_columns or []
    originals = {mapping.get(name, name): name for name in data.facts.columns or ()}
    for names in formats:
        if set(names) <= originals.keys():
            return f"keep_columns={_listed(dict.fromkeys([*kept, *(originals[name] for name in names)]))}"
    return ""


def _rename(data: DataInput, columns: Sequence[str], formats: Sequence[Sequence[str]]) -> str:
    mappings = [mapping for names in formats if (mapping := mapping_for(names, columns))]
    if not mappings:
        return "another dataset, or one with these columns"
    # the one that uses most of what is there
    mapping = max(mappings, key=len)
    originals = {renamed: name for name, renamed in data.dataset.columns.items()}
    merged = data.dataset.columns | {originals.get(name, name): new for name, new in mapping.items()}
    pairs = ", ".join(f'"{name}": "{new}"' for name, new in merged.items())
    return f'{data.path}=hft.Dataset(id="{data.id}", columns={{{pairs}}})'


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


@rule("DATA005")
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
        yield from _kept_columns(data)
        yield from _renamed_columns(data)
    for data in named:
        need(data.facts.columns, f"the columns of {data.id}")


def _names_columns(dataset: Dataset) -> bool:
    return bool(dataset.columns) or dataset.keep_columns is not None


def _kept_columns(data: DataInput) -> Iterator[Found]:
    kept, path, columns = data.dataset.keep_columns, f"{data.path}.keep_columns", data.facts.columns
    if kept is None:
        return
    for name in kept:
        if columns is not None and name not in columns:
            original = {new: old for old, new in data.dataset.columns.items()}.get(name)
            close = [original] if original in columns else difflib.get_close_matches(name, columns, 1)
            right = [close[0] if item == name else item for item in kept] if close else []
            fix = f"keep_columns={_listed(right)}" if right else f"some of {', '.join(columns)}"
            yield Found(path, f"{data.id} has no column {name}; it has {', '.join(columns)}", fix)
    for name in data.dataset.columns:
        # one that the dataset lacks is told of as such
        if name not in kept and (columns is None or name in columns):
            yield Found(path, f"drops {name}, which is renamed", f"keep_columns={_listed([*kept, name])}")


def _renamed_columns(data: DataInput) -> Iterator[Found]:
    mapping, path, columns = data.dataset.columns, f"{data.path}.columns", data.facts.columns
    twice = sorted({name for name in mapping.values() if list(mapping.values()).count(name) > 1})
    if twice:
        yield Found(path, f"two columns would be named {twice[0]}", "give each column a name of its own")
    if columns is None:
        return
    kept = data.dataset.keep_columns
    for name, new in mapping.items():
        if name not in columns:
            close = difflib.get_close_matches(name, columns, 1)
            pair = (new, name) if new in columns else (close[0], new) if close else None
            fix = f'columns={{"{pair[0]}": "{pair[1]}"}}' if pair else f"one of {', '.join(columns)}"
            yield Found(path, f"{data.id} has no column {name}; it has {', '.join(columns)}", fix)
        elif new in columns and new not in mapping and new != name and (kept is None or new in kept):
            fix = f'columns={{"{new}": "old_{new}", "{name}": "{new}"}}'
            yield Found(path, f"{data.id} has a column {new} already", fix)


def _listed(names: Iterable[str]) -> str:
    return f"[{', '.join(f'{chr(34)}{name}{chr(34)}' for name in names)}]"
