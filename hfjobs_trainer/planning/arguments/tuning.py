"""What is trained: all weights, an adapter, or an adapter on quantized weights; and what is saved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hfjobs_trainer.facts import ModelFacts
from hfjobs_trainer.planning.model.adapters import ALL_LINEAR, Lora, adapter_on, default_targets
from hfjobs_trainer.planning.model.modules import expert_names, family_of, linear_names
from hfjobs_trainer.planning.plan import Decision
from hfjobs_trainer.planning.shipping import location
from hfjobs_trainer.rendering.page import Adapter
from hfjobs_trainer.specs.groups import LoRA, Quantization

# Fields of hft.LoRA that peft.LoraConfig does not have.
_OURS = {"adapter", "adapter_revision", "merge_first"}

MERGE_DTYPE = "bfloat16"
"""dtype of a merged model, if the user set none."""


def complete(lora: LoRA | None, model: ModelFacts, *, own_code: bool) -> tuple[LoRA | None, tuple[Decision, ...]]:
    """The adapter with what the user left open filled in, and what was decided for it.

    Where no target is named, a new adapter is on every linear layer: ``"all-linear"``, or their names where PEFT takes
    nothing else (and none if they are not known, which a rule tells). An adapter that is continued has its own targets,
    and ``target_parameters`` are targets.

    Args:
        lora: As in the spec.
        model: The model.
        own_code: Whether the model's repository has its own code, so that its type tells nothing.
    """
    if lora is None or lora.continues:
        return lora, ()
    decisions: list[Decision] = []
    targets, kind = lora.target_modules, None if own_code else model.model_type
    if leaves_targets(lora):
        names = linear_names(kind) if lora.narrows_layers else None
        targets = names if lora.narrows_layers else ALL_LINEAR
        if targets is not None:
            decisions.append(Decision("lora.target_modules", targets, _why(lora, kind, model)))
    adapter = None if own_code else adapter_on(model, replace(narrowed(lora), r=lora.r, targets=frozen(targets)))
    holds_parameters = bool(lora.target_parameters) or (adapter is not None and adapter.experts)
    if holds_parameters and "lora_dropout" not in lora.model_fields_set:
        why = "PEFT has no dropout for parameters outside linear layers, such as those of experts"
        decisions.append(Decision("lora.lora_dropout", 0.0, why))
    made = {decision.path.removeprefix("lora."): decision.value for decision in decisions}
    return lora.model_copy(update=made), tuple(decisions)


def leaves_targets(lora: LoRA) -> bool:
    """Whether it is a new adapter for which the user named no target."""
    return not lora.continues and lora.target_modules is None and not lora.target_parameters


def _why(lora: LoRA, kind: str | None, model: ModelFacts) -> str:
    why = "every linear layer but the head"
    if lora.narrows_layers:
        return f"{why}, by name: beside layers_to_transform, PEFT takes nothing else"
    family, usual = family_of(kind), default_targets(kind)
    if usual is not None:
        why += f"; by itself, PEFT would adapt {' and '.join(usual)} alone"
    elif kind is not None:
        why += f"; PEFT has no default for {kind}"
    if model.is_vision:
        why += "; the vision tower too"
    if expert_names(kind):
        return f"{why}; it adapts the experts and their router as well"
    held = family is not None and family.experts and model.num_experts
    return f"{why}; the experts are parameters, not linear layers, and get no adapter" if held else why


def narrowed(lora: LoRA) -> Lora:
    """The fields besides ``r`` and ``target_modules`` that decide what is adapted."""
    layers, tokens = lora.layers_to_transform, lora.trainable_token_indices or []
    lists = list(tokens.values()) if isinstance(tokens, dict) else [tokens]
    return Lora(
        layers=(layers,) if isinstance(layers, int) else tuple(layers) if layers else None,
        excluded=frozen(lora.exclude_modules),
        parameters=tuple(lora.target_parameters or ()),
        ranks=tuple(lora.rank_pattern.items()),
        tokens=sum(map(len, lists)),
    )


def frozen(targets: list[str] | str | None) -> tuple[str, ...] | str | None:
    """The same names, hashable."""
    return targets if targets is None or isinstance(targets, str) else tuple(targets)


def lora_arguments(lora: LoRA | None, task_type: str) -> dict[str, Any] | None:
    """Arguments of ``peft.LoraConfig``: what was set or decided, and TRL's defaults where they differ from PEFT's.

    ``None`` without an adapter, and if training continues an existing one, with its own configuration.
    """
    if lora is None or lora.continues:
        return None
    defaults = {"r": lora.r, "lora_alpha": lora.lora_alpha, "lora_dropout": lora.lora_dropout}
    return defaults | lora.model_dump(exclude_unset=True, exclude=_OURS) | {"task_type": task_type}


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
        **({"bnb_4bit_quant_storage": quantization.quant_storage} if quantization.quant_storage is not None else {}),
    }
