"""A request to the simulating process: the numbers of one run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, cast

Logits = Literal["fused", "now", "shifted", "copied", "half", "recast", "parts", "liger", "none"]

_CHOICES: dict[str, tuple[object, ...]] = {
    "step": ("next_token", "preference", "unpaired", "scores", "policy_gradient"),
    "tuning": ("full", "lora"),
    "quantization": (None, "4bit", "4bit-double"),
    "dtype": ("float32", "bfloat16", "float16"),
    "mixed_precision": (None, "bf16", "fp16"),
    "logits": ("fused", "now", "shifted", "copied", "half", "recast", "parts", "liger", "none"),
    "adapter_dtype": (None, "float32", "bfloat16"),
    "adamw_temporaries": (1, 2),
    "attention": (None, "eager", "flash"),
    "strategy": (None, "fsdp2"),
    "fused_kernels": ("none", "norms", "all"),
}
# Beyond these a number is a mistake; simulated tensors take no memory, but their sizes must stay integers of 64 bits.
_LARGEST = 2**31


@dataclass(frozen=True, slots=True)
class Request:
    """One run on one GPU.

    Attributes:
        model: Numbers and names of the model's ``config.json``.
        num_parameters: Parameters that the built class must have, to 2%; ``None``: unknown.
        step: The training step: a key of ``steps.STEPS``.
        tuning, lora_r, lora_targets, lora_dropout, lora_dora, modules_to_save, quantization, dtype, mixed_precision,
        optim, per_device_train_batch_size, sequence_length, gradient_accumulation_steps, gradient_checkpointing: As
            in ``Workload``.
        attention: ``"eager"``, ``"flash"`` (for models that have no other kernel), or ``None`` (transformers' default).
        padded: Whether the rows of a batch differ in length, so that attention is given a mask.
        logits: How the loss is computed: ``"fused"`` (TRL's tiles), ``"now"`` (transformers 5: a float32 copy of all
            logits), ``"copied"`` (transformers up to 4.47: also a shifted copy, in a loop that keeps the outputs),
            ``"recast"`` (transformers 4.46 to 4.49: a float32 copy of the caller's and its shifted one),
            ``"shifted"`` (a shifted copy in half precision), ``"half"`` (the same without autocast), ``"parts"``
            (litgpt: 128 positions at a time), ``"liger"`` (Liger's head and loss in one), ``"none"`` (a reward model).
        reference_model: Whether a frozen copy of the model is kept and used.
        adapter_dtype: dtype of the adapter; ``None``: the default of PEFT and TRL.
        adamw_temporaries: Values per trained parameter that unfused AdamW holds during its step, 1 or 2.
        strategy: ``"fsdp2"``, or ``None`` for a whole model.
        ranks: GPUs over which FSDP shards.
        reshards: Whether FSDP frees gathered weights between the forward and the backward pass.
        sync_each_batch: Whether FSDP reduces gradients after each batch of a step.
        fused_kernels: What is computed by fused kernels, which save their inputs alone: norms, or gated activations as
            well.
        keeps_inputs: Whether the layers' inputs and their gradients stay until the backward pass ends.
    """

    model: Mapping[str, Any]
    num_parameters: int | None = None
    step: str = "next_token"
    tuning: str = "full"
    lora_r: int = 16
    lora_targets: list[str] | str | None = None
    lora_dropout: float = 0.0
    lora_dora: bool = False
    modules_to_save: list[str] = field(default_factory=list[str])
    quantization: str | None = None
    dtype: str = "float32"
    mixed_precision: str | None = "bf16"
    optim: str = "adamw_torch_fused"
    per_device_train_batch_size: int = 8
    sequence_length: int = 1024
    gradient_accumulation_steps: int = 1
    gradient_checkpointing: bool = True
    attention: str | None = None
    padded: bool = False
    logits: Logits = "fused"
    reference_model: bool = False
    adapter_dtype: str | None = None
    adamw_temporaries: int = 1
    strategy: str | None = None
    ranks: int = 1
    reshards: bool = True
    sync_each_batch: bool = False
    fused_kernels: Literal["none", "norms", "all"] = "none"
    keeps_inputs: bool = False


class BadRequestError(ValueError):
    """The request is invalid; the message lists every problem."""


def parse_request(given: object) -> Request:
    """A request from JSON.

    Raises:
        BadRequestError: A field is unknown, of the wrong type or out of range.
    """
    data = cast("dict[str, Any]", given)
    if not isinstance(given, dict) or not isinstance(data.get("model"), dict):
        raise BadRequestError("a request is a JSON object with an object under 'model'")
    wrong = [f"{name}: unknown field" for name in data if name not in {item.name for item in fields(Request)}]
    for name, allowed in _CHOICES.items():
        if name in data and data[name] not in allowed:
            wrong.append(f"{name}: must be one of {', '.join(map(repr, allowed))}, not {data[name]!r:.80}")
    wrong += [
        f"{name}: must be a whole number from 1 to {_LARGEST}, not {data[name]!r:.80}"
        for name in ("lora_r", "per_device_train_batch_size", "sequence_length", "gradient_accumulation_steps", "ranks")
        if name in data and not _is_count(data[name])
    ]
    for name, value in data["model"].items():
        number = isinstance(value, int) and not isinstance(value, bool)
        if number and not _is_count(value):
            wrong.append(f"model.{name}: must be a whole number from 1 to {_LARGEST}, not {value!r:.80}")
        elif not number and not isinstance(value, (str, bool)):
            wrong.append(f"model.{name}: must be a number, a string or a boolean, not {value!r:.80}")
    wrong += [
        f"{name}: must be true or false, not {data[name]!r:.80}"
        for name in (
            *("gradient_checkpointing", "reference_model", "lora_dora", "padded"),
            *("reshards", "sync_each_batch", "keeps_inputs"),
        )
        if name in data and not isinstance(data[name], bool)
    ]
    if data.get("num_parameters") is not None and not _is_size(data["num_parameters"]):
        wrong.append(f"num_parameters: must be a whole number, not {data['num_parameters']!r:.80}")
    if not isinstance(data.get("optim", ""), str):
        wrong.append(f"optim: must be a string, not {data['optim']!r:.80}")
    dropout = data.get("lora_dropout", 0.0)
    if isinstance(dropout, bool) or not isinstance(dropout, (int, float)) or not 0 <= dropout < 1:
        wrong.append(f"lora_dropout: must be in [0, 1), not {dropout!r:.80}")
    if wrong:
        raise BadRequestError("; ".join(wrong))
    return Request(**data)


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _LARGEST
