"""Rules about what an adapter is on."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from hfjobs_trainer.planning.arguments.tuning import leaves_targets
from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.planning.model.adapters import ALL_LINEAR
from hfjobs_trainer.planning.model.modules import linear_names, unmatched
from hfjobs_trainer.planning.model.patterns import fullmatch
from hfjobs_trainer.planning.rules.lora.fix import instead, mended
from hfjobs_trainer.planning.rules.lora.model import modules_of, quoted
from hfjobs_trainer.problems import Found, need, rule
from hfjobs_trainer.specs.base import TrainSpec

_HEAD = "lm_head"
_MATCHED = "which modules lora.target_modules matches, a regular expression that would take too long"


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
            fix = instead(context.spec, target_modules=rest or None)
            yield Found(path, "TRL does not support an adapter on lm_head", fix)
        return
    try:
        matches = need(fullmatch(targets, _HEAD), _MATCHED)
    except re.error as error:
        yield Found(path, f"is not a regular expression: {error}", instead(context.spec, target_modules=None))
        return
    if matches:
        why = "matches lm_head, and TRL does not support an adapter there"
        yield Found(path, why, instead(context.spec, target_modules=ALL_LINEAR))


def _targets(context: Context[TrainSpec]) -> list[str] | str | None:
    """The targets that the user named, if they are names or a regular expression that is one."""
    targets = context.spec.lora.target_modules if context.spec.lora else None
    if not isinstance(targets, str):
        return targets
    try:
        fullmatch(targets, "")
    except re.error:
        return None
    return None if targets.lower() == ALL_LINEAR else targets


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
        hft.SFT(model="openai-community/gpt2", dataset=..., lora=hft.LoRA())
        ```
    """
    targets, lora = _targets(context), context.spec.lora
    if lora is None or not targets:
        return
    model_type, modules = modules_of(context)
    missing = need(unmatched(targets, modules), _MATCHED)
    if len(missing) == (1 if isinstance(targets, str) else len(targets)):
        names = linear_names(model_type) or []
        has = f"its linear layers are {quoted(names, ' and ')}"
        why, meant = f"a {model_type} model has no module {quoted(missing, ' or ')}; {has}", None
        if targets in names:
            meant, whole = [targets], "a regular expression for the whole path of a module"
            why = f'"{targets}" as text is {whole}; a name is an item of a list'
        yield Found("lora.target_modules", why, instead(context.spec, target_modules=meant))


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
    targets, lora = _targets(context), context.spec.lora
    if lora is None or not (isinstance(targets, list) or lora.modules_to_save):
        return
    model_type, modules = modules_of(context)
    wrong: list[tuple[str, str, dict[str, Any]]] = []
    for field, names in (("target_modules", targets), ("modules_to_save", lora.modules_to_save)):
        named = names if isinstance(names, list) else []
        missing = unmatched(named, modules) or []
        left = [name for name in named if name not in missing]
        if missing and (left or field == "modules_to_save"):
            them = "it" if len(missing) == 1 else "them"
            why = f"a {model_type} model has no module {quoted(missing, ' or ')}, so PEFT ignores {them}"
            wrong.append((field, why, {field: left or None}))
    yield from mended(context.spec, *wrong)


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
        yield Found("lora.target_modules", "names no module", instead(context.spec, target_modules=None))
    layers = lora.layers_to_transform
    numbers = [layers] if isinstance(layers, int) else layers
    if numbers:
        what = f"the number of layers of {context.spec.model}"
        count = need(context.facts.model.num_hidden_layers, what, "model")
        if not any(0 <= number < count for number in numbers):
            why = f"the model has the layers 0 to {count - 1}"
            yield Found("lora.layers_to_transform", why, instead(context.spec, layers_to_transform=[count - 1]))


@rule("LORA007")
def some_layers_need_names(context: Context[TrainSpec]) -> Iterator[Found]:
    """An adapter on some layers has the names of its modules.

    What it does:
        Asks for `target_modules` beside `layers_to_transform` and `layers_pattern` where the names of the model's
        linear layers are not known: for types of models without a table, and for those with code of their own.

    Why:
        PEFT takes `"all-linear"` for all layers only, and refuses it beside these once the model is loaded.

    Example:
        ```python
        hft.SFT(model="tiiuae/falcon-7b", dataset=..., lora=hft.LoRA(layers_to_transform=[30, 31]))
        ```

    Use instead:
        ```python
        hft.SFT(
            model="tiiuae/falcon-7b",
            dataset=...,
            lora=hft.LoRA(layers_to_transform=[30, 31], target_modules=["query_key_value", "dense"]),
        )
        ```
    """
    lora = context.spec.lora
    if lora is None or not lora.narrows_layers or not leaves_targets(lora):
        return
    own_code = bool(context.spec.trust_remote_code)
    what = f"the names of the modules of {context.spec.model}"
    model_type = need(context.facts.model.model_type, what, "model")
    if own_code or linear_names(model_type) is None:
        whose = "a model with code of its own" if own_code else f"a {model_type} model"
        why = f"is needed beside layers_to_transform: the names of the linear layers of {whose} are not known"
        yield Found("lora.target_modules", why, "")
