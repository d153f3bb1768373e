"""Rules about LoRA adapters."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.planning.model.modules import adaptable, unmatched, weight_modules
from hfjobs_trainer.problems import Found, need, rule
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.fixes import REMOVE, change

_HEAD = "lm_head"


@rule("LORA001")
def no_adapter_on_the_head(context: Context[TrainSpec]) -> Iterator[Found]:
    """An adapter on `lm_head` would not be trained.

    What it does:
        Refuses `target_modules` that name `lm_head`, or are a regular expression that matches it.

    Why:
        TRL multiplies with the weights of `lm_head` itself, past the adapter, and refuses one there once the model is
        loaded.

    Example:
        ```python
        hft.LoRA(target_modules=["q_proj", "v_proj", "lm_head"])
        ```

    Use instead:
        ```python
        hft.LoRA(target_modules=["q_proj", "v_proj"])
        ```
        or, to train the head in full:
        ```python
        hft.LoRA(target_modules=["q_proj", "v_proj"], modules_to_save=["lm_head"])
        ```
    """
    lora = context.spec.lora
    if lora is None or lora.target_modules is None:
        return
    path, targets = "lora.target_modules", lora.target_modules
    if isinstance(targets, list):
        if _HEAD in targets:
            rest = [name for name in targets if name != _HEAD]
            fix = change(context.spec, {path: rest or REMOVE})
            yield Found(path, "TRL does not support an adapter on lm_head", fix)
        return
    try:
        matches = re.fullmatch(targets, _HEAD) is not None
    except re.error as error:
        yield Found(path, f"is not a regular expression: {error}", change(context.spec, {path: "all-linear"}))
        return
    if matches:
        why = "matches lm_head, and TRL does not support an adapter there"
        yield Found(path, why, change(context.spec, {path: "all-linear"}))


def _targets(context: Context[TrainSpec]) -> list[str] | str | None:
    """The targets that the user named, if they are names or a regular expression that is one."""
    targets = context.spec.lora.target_modules if context.spec.lora else None
    if isinstance(targets, str) and targets != "all-linear":
        try:
            re.compile(targets)
        except re.error:
            return None
    return None if targets == "all-linear" else targets


def _modules(context: Context[TrainSpec]) -> tuple[str, tuple[str, ...]]:
    """The model's type and the paths of its modules; ends the rule if they are not known."""
    model, what = context.facts.model, f"the names of the modules of {context.spec.model}"
    own_code = context.spec.trust_remote_code
    model_type = need(None if own_code else model.model_type, what, "model")
    layers = need(model.num_hidden_layers, what, "model")
    return model_type, need(weight_modules(model_type, layers), what, "model")


def _quoted(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


@rule("LORA002")
def targets_are_in_the_model(context: Context[TrainSpec]) -> Iterator[Found]:
    """The adapter has something to adapt.

    What it does:
        Refuses `target_modules` of which the model has none, by the names that transformers gives the modules of its
        type. Models of other types, and those with code of their own, are left unchecked.

    Why:
        Names differ from family to family: what is `q_proj` in one is part of `c_attn` or `qkv_proj` in another. PEFT
        tells, but only when the model has been downloaded and loaded.

    Example:
        ```python
        hft.SFT(model="openai-community/gpt2", dataset=..., lora=hft.LoRA(target_modules=["q_proj", "v_proj"]))
        ```

    Use instead:
        ```python
        hft.SFT(model="openai-community/gpt2", dataset=..., lora=hft.LoRA(target_modules=["c_attn"]))
        ```
        or, for a model of any type:
        ```python
        hft.SFT(model="openai-community/gpt2", dataset=..., lora=hft.LoRA(target_modules="all-linear"))
        ```
    """
    targets = _targets(context)
    if not targets:
        return
    model_type, modules = _modules(context)
    missing = unmatched(targets, modules)
    if len(missing) == (1 if isinstance(targets, str) else len(targets)):
        names = adaptable(model_type)
        missed = " or ".join(_quoted([name]) for name in missing)
        why = f"a {model_type} model has no module {missed}; an adapter can be on {_quoted(names)}"
        # PEFT takes layers only beside names
        lora = context.spec.lora
        by_name = lora is not None and lora.layers_to_transform is not None
        fix = change(context.spec, {"lora.target_modules": names if by_name else "all-linear"})
        yield Found("lora.target_modules", why, fix)


@rule("LORA003", severity="warning")
def every_name_is_in_the_model(context: Context[TrainSpec]) -> Iterator[Found]:
    """Each module that `lora` names is one that the model has.

    What it does:
        Warns of names in `target_modules` and `modules_to_save` that the model does not have, where others are there.
        Models of other types than those whose names are known, and those with code of their own, are left unchecked.

    Why:
        PEFT passes over such a name without a word, and what it was meant for is not trained.

    Example:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-0.5B", dataset=..., lora=hft.LoRA(target_modules=["q_proj", "out_proj"]))
        ```

    Use instead:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-0.5B", dataset=..., lora=hft.LoRA(target_modules=["q_proj", "o_proj"]))
        ```
    """
    targets, saved = _targets(context), context.spec.lora.modules_to_save if context.spec.lora else None
    if not isinstance(targets, list) and not saved:
        return
    model_type, modules = _modules(context)
    named = targets if isinstance(targets, list) else []
    missing = unmatched(named, modules)
    found = [("lora.target_modules", missing)] if len(missing) < len(named) else []
    found.append(("lora.modules_to_save", unmatched(saved or [], modules)))
    given = {"lora.target_modules": named, "lora.modules_to_save": saved or []}
    rest = {path: [name for name in given[path] if name not in names] or REMOVE for path, names in found if names}
    for path, names in found:
        if names:
            them = "it" if len(names) == 1 else "them"
            missing = " or ".join(_quoted([name]) for name in names)
            why = f"a {model_type} model has no module {missing}, so PEFT ignores {them}"
            yield Found(path, why, change(context.spec, rest))


@rule("LORA004")
def some_layers_are_adapted(context: Context[TrainSpec]) -> Iterator[Found]:
    """The adapter is on layers that the model has.

    What it does:
        Refuses an empty list of `target_modules` without `target_parameters`, and `layers_to_transform` that are all
        beyond the layers of the model.

    Why:
        PEFT finds nothing to adapt, and says so once the model is loaded. Layers are counted from 0.

    Example:
        ```python
        hft.LoRA(target_modules=["q_proj"], layers_to_transform=[99])
        ```

    Use instead:
        ```python
        hft.LoRA(target_modules=["q_proj"], layers_to_transform=[22, 23])
        ```
    """
    lora = context.spec.lora
    if lora is None:
        return
    if lora.target_modules == [] and not lora.target_parameters:
        path = "lora.target_modules"
        yield Found(path, "names no module", change(context.spec, {path: REMOVE}))
    layers = lora.layers_to_transform
    numbers = [layers] if isinstance(layers, int) else layers
    if numbers:
        what = f"the number of layers of {context.spec.model}"
        count = need(context.facts.model.num_hidden_layers, what, "model")
        if not any(0 <= number < count for number in numbers):
            why = f"the model has the layers 0 to {count - 1}"
            path = "lora.layers_to_transform"
            yield Found(path, why, change(context.spec, {path: [count - 1]}))
