"""Options of a command line over what a file says: ``--learning_rate 1e-5``, ``--lora.r 32``, TRL's own flags."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from hfjobs_trainer.specs import names
from hfjobs_trainer.specs.trl_cli import LORA

_OURS: dict[str, str] = {
    "model_name_or_path": "model",
    "torch_dtype": "dtype",
    "dataset_name": "dataset.id",
    "dataset_config": "dataset.config",
    "dataset_train_split": "dataset.split",
    "dataset_streaming": "dataset.streaming",
    **{theirs: f"lora.{ours}" for theirs, ours in LORA.items()},
    **{flat: f"{group}.{key}" for flat, (group, key) in names.FOLDED.items()},
}
"""Where a spec has what TRL's names mean."""

_THEIRS: dict[str, str] = {ours: theirs for theirs, ours in _OURS.items()}


def lay_over(
    values: Mapping[str, Any], flags: Mapping[str, Any], shorthand_of: Callable[[str], str | None]
) -> dict[str, Any]:
    """What a file says, with the flags in its place; each setting under one name, TRL's or ours, as the file has it.

    Args:
        values: What the file says, by name.
        flags: What the flags say; a name with a dot is a field of a group.
        shorthand_of: The field that a text in place of a group stands for; ``None`` if there is none.
    """
    found = dict(values)
    for name, value in flags.items():
        theirs, ours = _THEIRS.get(name, name), _OURS.get(name, name)
        group, _, key = ours.partition(".")
        if theirs != ours and theirs in found:
            found[theirs] = value
        elif key and ("." in name or group in found):
            found[group] = {**_written(found.get(group), shorthand_of(group)), key: value}
        else:
            found[ours if ours in found else name] = value
    return found


def _written(group: Any, short: str | None) -> dict[str, Any]:
    """The fields of a group that may be written as a text, or not at all."""
    if isinstance(group, Mapping):
        return dict(cast("Mapping[str, Any]", group))
    return {short: group} if short is not None and group is not None else {}
