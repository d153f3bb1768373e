"""What to type instead of an adapter."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from hfjobs_trainer.problems import Found
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.fixes import REMOVE, change


def instead(spec: TrainSpec, **changes: Any) -> str:
    """The spec's adapter with these changes; ``None`` leaves a field out."""
    return change(spec, {f"lora.{name}": REMOVE if value is None else value for name, value in changes.items()})


def mended(spec: TrainSpec, *wrong: tuple[str, str, dict[str, Any]]) -> Iterator[Found]:
    """What is wrong with fields of the adapter, each with the one fix that mends all of it.

    Args:
        spec: The spec with the adapter.
        *wrong: For each thing that is wrong the field, the reason, and what to change.
    """
    changes = {name: value for _, _, more in wrong for name, value in more.items()}
    for field, why, _ in wrong:
        yield Found(f"lora.{field}", why, instead(spec, **changes))
