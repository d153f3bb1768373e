"""What is trained of a model: all of it, an adapter, an adapter on quantized weights; and what is saved of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hfjobs_trainer.rendering.page import Adapter
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.groups import LoRA, Quantization
from hfjobs_trainer.specs.locations import is_local_path

# Methods whose trainer turns an adapter on quantized weights into bfloat16 (TRL 1.16: trainer/sft_trainer.py and the
# others; GKD's is a subclass of SFT's).
_BF16_ADAPTERS = frozenset({"sft", "dpo", "kto", "grpo", "rloo", "reward", "distillation", "gkd"})

# Fields of hft.LoRA that peft.LoraConfig does not have.
_OURS = {"adapter", "adapter_revision", "merge_first"}

MERGE_DTYPE = "bfloat16"
"""dtype of a merged model, where the user set none."""


ALL_LINEAR = "all-linear"
"""What PEFT calls every linear layer but the head."""


def lora_arguments(lora: LoRA | None, task_type: str, *, all_linear: bool = False) -> dict[str, Any] | None:
    """Arguments of ``peft.LoraConfig``: what was set, and TRL's defaults where PEFT's are others.

    With ``all_linear``, every linear layer is adapted.

    ``None`` without an adapter, and where an existing one is trained on, whose own configuration holds.
    """
    if lora is None or lora.continues:
        return None
    # PEFT has no dropout for bare parameters
    dropout = 0.0 if lora.target_parameters else lora.lora_dropout
    defaults: dict[str, Any] = {"r": lora.r, "lora_alpha": lora.lora_alpha, "lora_dropout": dropout}
    if all_linear:
        defaults["target_modules"] = ALL_LINEAR
    given = lora.model_dump(exclude_unset=True, exclude=_OURS | ({"target_modules"} if all_linear else set()))
    return defaults | given | {"task_type": task_type}


def adapter_to_load(lora: LoRA | None, *, absolute: bool) -> Adapter | None:
    """The existing adapter that a run starts from; a local one by its absolute path, if so asked."""
    if lora is None or lora.adapter is None:
        return None
    local = absolute and is_local_path(lora.adapter)
    location = str(Path(lora.adapter).expanduser().absolute()) if local else lora.adapter
    options = {"revision": lora.adapter_revision} if lora.adapter_revision is not None else {}
    return Adapter(location, options, merged=lora.merge_first)


def load_options(spec: TrainSpec, model_init: Mapping[str, Any]) -> dict[str, Any]:
    """What ``from_pretrained`` takes beside the dtype, where the script loads the model and not the trainer."""
    options = {key: value for key, value in model_init.items() if value is not None and key != "device_map"}
    if type(spec).METHOD.lora_task == "SEQ_CLS":
        options["num_labels"] = 1
    if spec.trust_remote_code:
        options["trust_remote_code"] = True
    return options


def quantization_arguments(quantization: Quantization | None, dtype: str | None) -> dict[str, Any] | None:
    """Arguments of ``BitsAndBytesConfig``, or ``None``; without a compute dtype where the machine's is to be used.

    Args:
        quantization: What the user asked for.
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


def trains_weights(spec: TrainSpec) -> bool:
    """Whether weights of the model itself are trained, in the dtype in which they are loaded.

    PEFT keeps the adapter's own in float32, but not those that ``modules_to_save`` and ``bias`` name, nor the head of
    a sequence classifier, which it trains in full (PEFT 0.21: peft_model.py).
    """
    lora = spec.lora
    if lora is None or type(spec).METHOD.lora_task == "SEQ_CLS":
        return True
    return not lora.continues and bool(lora.modules_to_save or lora.bias != "none")


def adapter_is_bf16(spec: TrainSpec) -> bool:
    """Whether the adapter is trained in bfloat16, whatever the precision of the arithmetic."""
    return spec.quantization is not None and type(spec).METHOD.name in _BF16_ADAPTERS


def merges(spec: TrainSpec) -> str:
    """What is saved of an adapter: ``""`` itself, ``"only"`` the model it is merged into, ``"both"``."""
    if spec.lora is None or not spec.output.merge_adapter:
        return ""
    return "both" if spec.output.merge_adapter == "both" else "only"
