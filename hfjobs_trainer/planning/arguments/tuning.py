"""What is trained: all weights, an adapter, or an adapter on quantized weights; and what is saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hfjobs_trainer.facts import ModelFacts
from hfjobs_trainer.planning.shipping import location
from hfjobs_trainer.rendering.page import Adapter
from hfjobs_trainer.specs.groups import LoRA, Quantization

# Fields of hft.LoRA that peft.LoraConfig does not have.
_OURS = {"adapter", "adapter_revision", "merge_first"}

MERGE_DTYPE = "bfloat16"
"""dtype of a merged model, if the user set none."""


ALL_LINEAR = "all-linear"
"""PEFT's name for every linear layer but the head."""


def lora_arguments(lora: LoRA | None, task_type: str, *, all_linear: bool = False) -> dict[str, Any] | None:
    """Arguments of ``peft.LoraConfig``: what was set, and TRL's defaults where they differ from PEFT's.

    With ``all_linear``, every linear layer is adapted.

    ``None`` without an adapter, and if training continues an existing one, with its own configuration.
    """
    if lora is None or lora.continues:
        return None
    # PEFT has no dropout for parameters outside modules
    dropout = 0.0 if lora.target_parameters else lora.lora_dropout
    defaults: dict[str, Any] = {"r": lora.r, "lora_alpha": lora.lora_alpha, "lora_dropout": dropout}
    if all_linear:
        defaults["target_modules"] = ALL_LINEAR
    given = lora.model_dump(exclude_unset=True, exclude=_OURS | ({"target_modules"} if all_linear else set()))
    return defaults | given | {"task_type": task_type}


def adapter_to_load(lora: LoRA | None, known: ModelFacts | None, *, absolute: bool) -> Adapter | None:
    """The existing adapter that a run continues; a local one by its absolute path if ``absolute``."""
    if lora is None or lora.adapter is None:
        return None
    options = {"revision": lora.adapter_revision} if lora.adapter_revision is not None else {}
    return Adapter(location(lora.adapter, known, absolute=absolute), options, merged=lora.merge_first)


def load_options(task: str, model_init: Mapping[str, Any], *, trusts: bool) -> dict[str, Any]:
    """Arguments of ``from_pretrained`` besides the dtype, if the script loads the model and not the trainer.

    Args:
        task: PEFT's task type of the method's adapters.
        model_init: The trainer's ``model_init_kwargs``.
        trusts: Whether ``trust_remote_code`` is set.
    """
    options = {key: value for key, value in model_init.items() if value is not None and key != "device_map"}
    if task == "SEQ_CLS":
        options["num_labels"] = 1
    if trusts:
        options["trust_remote_code"] = True
    return options


def quantization_arguments(quantization: Quantization | None, dtype: str | None) -> dict[str, Any] | None:
    """Arguments of ``BitsAndBytesConfig``, or ``None``; without a compute dtype if the machine decides it.

    Args:
        quantization: The user's settings.
        dtype: dtype of the weights if the user set it, else ``None``.
    """
    if quantization is None:
        return None
    if quantization.bits == "8bit":
        return {"load_in_8bit": True}
    compute = quantization.compute_dtype or dtype
    return {
        "load_in_4bit": True,
        "bnb_4bit_quant_type": quantization.quant_type,
        **({"bnb_4bit_use_double_quant": True} if quantization.use_double_quant else {}),
        **({"bnb_4bit_compute_dtype": compute} if compute is not None else {}),
    }
