"""Rules about the columns of the datasets."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence

from hfjobs_trainer.problems import Found, need, rule
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.context import Context
from hfjobs_trainer.specs.inputs import DataInput, data_inputs, need_columns

# What people call the columns that TRL knows, the usual first.
_CALLED: Mapping[str, tuple[str, ...]] = {
    "prompt": ("question", "instruction", "query", "input", "problem", "user", "context"),
    "completion": ("answer", "response", "output", "solution", "assistant", "target", "answers"),
    "messages": ("conversation", "chat", "dialogue", "dialog", "turns"),
    "text": ("content", "document", "sentence", "story"),
    "chosen": ("accepted", "preferred", "positive", "winner", "better", "good"),
    "rejected": ("refused", "dispreferred", "negative", "loser", "worse", "bad"),
}
_SIMILAR = 0.75


def mapping_for(wanted: Sequence[str], columns: Sequence[str]) -> dict[str, str] | None:
    """A ``columns=`` mapping that gives ``columns`` the ``wanted`` names; ``None`` if one of them resembles nothing."""
    free = [name for name in columns if name not in wanted]
    mapping: dict[str, str] = {}
    for name in (name for name in wanted if name not in columns):
        found = _closest(name, free)
        if found is None:
            return None
        free.remove(found)
        mapping[found] = name
    return mapping


def _closest(name: str, columns: Sequence[str]) -> str | None:
    plain = {column.lower().strip("_ "): column for column in columns}
    for called in (name, *_CALLED.get(name, ())):
        if called in plain:
            return plain[called]
    close = difflib.get_close_matches(name, list(plain), 1, _SIMILAR)
    close = close or [column for column in plain if name in column.split("_")]
    return plain[close[0]] if close else None


def _in_words(formats: Iterable[Sequence[str]]) -> str:
    sets = [" and ".join(names) for names in formats]
    return sets[0] if len(sets) == 1 else f"{', '.join(sets[:-1])} or {sets[-1]}"


@rule("DATA004")
def columns_fit_the_method(context: Context[TrainSpec]) -> Iterator[Found]:
    """The dataset has the columns that the method needs.

    What it does:
        Compares the columns, renamed as `columns=` says, with the formats that the method takes, and proposes a
        renaming where the names resemble them.

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
    known = [data for data in data_inputs(context) if data.exists is not False]
    for data in known:
        columns = data.columns
        if columns is not None and not any(set(names) <= set(columns) for names in formats):
            label = type(context.spec).METHOD.label
            why = f"{label} needs {_in_words(formats)}; {data.id} has {', '.join(columns) or 'no columns'}"
            yield Found(data.path, f"{why}{_hint(columns, formats)}", _rename(data, columns, formats))
    for data in known:
        need_columns(data)


def _rename(data: DataInput, columns: Sequence[str], formats: Sequence[Sequence[str]]) -> str:
    mappings = [mapping for names in formats if (mapping := mapping_for(names, columns))]
    if not mappings:
        return "another dataset, or one whose columns you have built"
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
    """Columns that are renamed exist.

    What it does:
        Refuses `columns=` that renames a column which the dataset does not have, or gives two columns one name.

    Why:
        `rename_columns` raises a `ValueError` on the machine. The mapping goes from the dataset's name to TRL's, and
        is easily written the wrong way round.

    Example:
        ```python
        hft.Dataset(id="openai/gsm8k", config="main", columns={"prompt": "question"})
        ```

    Use instead:
        ```python
        hft.Dataset(id="openai/gsm8k", config="main", columns={"question": "prompt"})
        ```
    """
    renaming = [data for data in data_inputs(context) if data.dataset.columns and data.exists is not False]
    for data in renaming:
        mapping, path = data.dataset.columns, f"{data.path}.columns"
        twice = sorted({name for name in mapping.values() if list(mapping.values()).count(name) > 1})
        if twice:
            yield Found(path, f"two columns would be called {twice[0]}", "give each column a name of its own")
        columns = data.facts.columns
        if columns is None:
            continue
        for name, new in mapping.items():
            if name not in columns:
                close = difflib.get_close_matches(name, columns, 1)
                pair = (new, name) if new in columns else (close[0], new) if close else None
                fix = f'columns={{"{pair[0]}": "{pair[1]}"}}' if pair else f"one of {', '.join(columns)}"
                yield Found(path, f"{data.id} has no column {name}; it has {', '.join(columns)}", fix)
            elif new in columns and new not in mapping and new != name:
                fix = f'columns={{"{new}": "old_{new}", "{name}": "{new}"}}'
                yield Found(path, f"{data.id} has a column {new} already", fix)
    for data in renaming:
        need(data.facts.columns, f"the columns of {data.id}")
