"""What to type instead of an adapter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from hfjobs_trainer.problems import Found
from hfjobs_trainer.rendering.literals import python_literal
from hfjobs_trainer.specs.groups import LoRA


def instead(lora: LoRA, **changes: Any) -> str:
    """The adapter as the user set it, with these changes; ``None`` leaves a field out."""
    fields = lora.model_dump(exclude_unset=True) | changes
    kept = {name: fields[name] for name in type(lora).model_fields if fields.get(name) is not None}
    return f"lora=hft.LoRA({', '.join(f'{name}={_flat(value)}' for name, value in kept.items())})"


def mended(lora: LoRA, *wrong: tuple[str, str, dict[str, Any]]) -> Iterator[Found]:
    """What is wrong with fields of the adapter, each with the one fix that mends all of it.

    Args:
        lora: The adapter as the user set it.
        *wrong: For each thing that is wrong the field, the reason, and what to change.
    """
    changes = {name: value for _, _, more in wrong for name, value in more.items()}
    for field, why, _ in wrong:
        yield Found(f"lora.{field}", why, instead(lora, **changes))


def _flat(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_flat, cast('list[Any]', value)))}]"
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        return f"{{{', '.join(f'{_flat(key)}: {_flat(item)}' for key, item in items)}}}"
    return python_literal(value)
