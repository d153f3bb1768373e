"""Attention, and where its kernels come from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.requirements import package_names


def needs_kernels(spec: TrainSpec) -> bool:
    """Whether transformers loads kernels from the Hub, for which the script needs the package ``kernels``.

    It takes them for ``flash_attention_2`` and the like too, where flash-attn is not installed (transformers 5.23:
    modeling_flash_attention_utils.py). A version in ``extra_dependencies`` is the user's.
    """
    brought = package_names(spec.extra_dependencies)
    if "kernels" in brought:
        return False
    given = [getattr(spec, name) for name in type(spec).model_fields if name.endswith("model_init_kwargs")]
    options = [cast("Mapping[str, Any]", item) for item in given if isinstance(item, Mapping)]
    asked = [spec.attn_implementation, *(item.get("attn_implementation") for item in options)]
    names = [name for name in asked if isinstance(name, str)]
    flash = any(name.startswith("flash_attention") for name in names) and "flash-attn" not in brought
    return flash or any("/" in name for name in names) or any(item.get("use_kernels") for item in options)
