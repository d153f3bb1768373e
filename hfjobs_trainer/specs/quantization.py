"""bitsandbytes' configuration as a spec."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from hfjobs_trainer.errors import SpecError
from hfjobs_trainer.problems import Problem
from hfjobs_trainer.specs.values import plain

# Field of hft.Quantization -> option of 4 bits and its default; transformers 5.23: utils/quantization_config.py.
_OF_FOUR_BITS: dict[str, tuple[str, Any]] = {
    "quant_type": ("bnb_4bit_quant_type", "fp4"),
    "use_double_quant": ("bnb_4bit_use_double_quant", False),
    "compute_dtype": ("bnb_4bit_compute_dtype", "float32"),
}
# Options that a spec does not have, and their defaults; same place.
_OTHERS: dict[str, Any] = {
    "quant_method": "bitsandbytes",
    "llm_int8_threshold": 6.0,
    "llm_int8_skip_modules": None,
    "llm_int8_enable_fp32_cpu_offload": False,
    "llm_int8_has_fp16_weight": False,
}
_STORAGE = "bnb_4bit_quant_storage"
_KINDS = ("load_in_4bit", "load_in_8bit")


def quantization_of(config: object, path: str) -> dict[str, Any]:
    """Fields of ``hft.Quantization`` that say what a ``BitsAndBytesConfig`` says, or a mapping with its options.

    Args:
        config: The object or the mapping; what it leaves out is bitsandbytes' default, not ours.
        path: What to call it in a problem.

    Raises:
        SpecError: It is for another library, or has an option that a spec does not.
    """
    value = plain(config)
    given = dict(cast("Mapping[str, Any]", value)) if isinstance(value, dict) else {}
    bits = [name.removeprefix("load_in_") for name in _KINDS if given.get(name) is True]
    if len(bits) != 1 or given.get("quant_method", "bitsandbytes") != "bitsandbytes":
        why = "only bitsandbytes with one of load_in_4bit and load_in_8bit can be trained on"
        raise SpecError([Problem("SPEC003", path, why, 'quantization="4bit"')], "spec")
    own = {*_KINDS, _STORAGE, *(f"_{name}" for name in _KINDS), *(option for option, _ in _OF_FOUR_BITS.values())}
    # None stands for the default
    lost = [name for name, item in given.items() if name not in own and item not in (None, _OTHERS.get(name))]
    if lost:
        why = f"a spec does not have {', '.join(lost)}"
        raise SpecError([Problem("SPEC006", path, why, f'quantization="{bits[0]}"')], "spec")
    if bits == ["8bit"]:
        return {"bits": "8bit"}
    found = {field: given.get(option) for field, (option, _) in _OF_FOUR_BITS.items()}
    stored = given.get(_STORAGE)
    return {
        **({"quant_storage": stored} if stored not in (None, "uint8") else {}),
        "bits": "4bit",
        **{field: _OF_FOUR_BITS[field][1] if item is None else item for field, item in found.items()},
    }
