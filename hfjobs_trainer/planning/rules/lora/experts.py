"""Rules about adapters and the experts of a model, which are parameters outside linear layers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from hfjobs_trainer.planning.arguments.tuning import frozen, leaves_targets, narrowed
from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.planning.model.adapters import ALL_LINEAR, adapter_on
from hfjobs_trainer.planning.model.modules import expert_names, family_of
from hfjobs_trainer.planning.rules.lora.fix import instead, mended
from hfjobs_trainer.planning.rules.lora.model import model_type_of, quoted
from hfjobs_trainer.problems import Found, need, rule
from hfjobs_trainer.specs.base import TrainSpec


@rule("LORA005")
def experts_are_adapted_as_peft_can(context: Context[TrainSpec]) -> Iterator[Found]:
    """What PEFT adapts of a layer's experts, it can adapt.

    What it does:
        Where `target_modules` reach the experts of a mixture-of-experts model, refuses dropout and DoRA, and a gate
        without the matrix beside it, or the reverse.

    Why:
        transformers keeps the experts of a layer in parameters of three dimensions. In some families (qwen3_moe,
        mixtral, olmoe, ...), PEFT adapts these where a matrix of an MLP is named, and with `"all-linear"`. For
        parameters it has neither dropout nor DoRA, and gate and input are one of them. It says so once the model is
        loaded.

    Example:
        ```python
        hft.SFT(model="Qwen/Qwen3-30B-A3B", dataset=..., lora=hft.LoRA(lora_dropout=0.1))
        ```

    Use instead:
        ```python
        hft.SFT(model="Qwen/Qwen3-30B-A3B", dataset=..., lora=hft.LoRA())
        ```
        or, for the attention alone:
        ```python
        hft.SFT(
            model="Qwen/Qwen3-30B-A3B",
            dataset=...,
            lora=hft.LoRA(target_modules=["q_proj", "k_proj", "v_proj", "o_proj"], lora_dropout=0.1),
        )
        ```
    """
    lora = context.spec.lora
    if lora is None or lora.continues:
        return
    names, chosen = expert_names(model_type_of(context)), context.run.lora or lora
    targets = chosen.target_modules
    if not names or targets is None:
        return
    wrong: list[tuple[str, str, dict[str, Any]]] = []
    if isinstance(targets, list):
        pair = [name for name, parameter in names.items() if parameter == "gate_up_proj"]
        named = [name for name in pair if any(target.rsplit(".", 1)[-1] == name for target in targets)]
        if len(named) == 1:
            missing = next(name for name in pair if name not in named)
            why = f'PEFT adapts "{named[0]}" of the experts only together with "{missing}"'
            wrong.append(("target_modules", why, {"target_modules": [*targets, missing]}))
    numbers = replace(narrowed(chosen), r=chosen.r, targets=frozen(targets))
    adapter = adapter_on(context.facts.model, numbers)
    if not lora.target_parameters and adapter is not None and adapter.experts:
        if lora.use_dora:
            wrong.append(("use_dora", "PEFT has no DoRA for experts", {"use_dora": None}))
        if chosen.lora_dropout:
            why = "PEFT has no dropout for experts, which these targets reach"
            wrong.append(("lora_dropout", why, {"lora_dropout": None}))
    yield from mended(context.spec, *wrong)
    need(adapter, f"the size of {context.spec.model}", "model")


@rule("LORA006", severity="warning")
def experts_are_no_linear_layers(context: Context[TrainSpec]) -> Iterator[Found]:
    """An adapter on all linear layers leaves out the experts.

    What it does:
        Warns where every linear layer is adapted, and the experts of the model are none of them: in gpt_oss,
        granitemoe, qwen2_moe and qwen3_5_moe models.

    Why:
        transformers keeps the experts of a layer in parameters of three dimensions, and they are most of the model.
        PEFT adapts them where `target_parameters` names them; it then has no dropout, and each adapter holds a pair of
        matrices for every expert.

    Example:
        ```python
        hft.SFT(model="openai/gpt-oss-20b", dataset=..., lora=hft.LoRA())
        ```

    Use instead:
        ```python
        hft.SFT(
            model="openai/gpt-oss-20b",
            dataset=...,
            lora=hft.LoRA(
                target_modules="all-linear",
                target_parameters=["mlp.experts.gate_up_proj", "mlp.experts.down_proj"],
            ),
        )
        ```
    """
    lora = context.spec.lora
    if lora is None or lora.continues or lora.target_parameters or lora.narrows_layers:
        return
    targets = lora.target_modules
    if not leaves_targets(lora) and not (isinstance(targets, str) and targets.lower() == ALL_LINEAR):
        return
    model_type = model_type_of(context)
    family = family_of(model_type)
    if family is None or not family.experts or expert_names(model_type):
        return
    why = f"the experts of a {model_type} model are parameters, not linear layers, and get no adapter"
    parameters = [f"{family.experts}.{name}" for name in ("gate_up_proj", "down_proj")]
    unsupported = {"lora_dropout": None, "use_dora": None}
    changed = instead(context.spec, target_modules=ALL_LINEAR, target_parameters=parameters, **unsupported)
    yield Found("lora.target_modules", why, changed)


@rule("LORA008", severity="warning")
def parameters_are_adapted_in_every_layer(context: Context[TrainSpec]) -> Iterator[Found]:
    """`layers_to_transform` does not hold for experts and other parameters.

    What it does:
        Warns of `layers_to_transform` beside `target_parameters` that do not name a layer, and beside `target_modules`
        that reach experts.

    Why:
        PEFT adapts parameters in every layer, whatever `layers_to_transform` says.

    Example:
        ```python
        hft.LoRA(target_parameters=["mlp.experts.down_proj"], layers_to_transform=[23])
        ```

    Use instead:
        ```python
        hft.LoRA(target_parameters=["layers.23.mlp.experts.down_proj"])
        ```
    """
    lora = context.spec.lora
    if lora is None or lora.continues or lora.layers_to_transform is None:
        return
    layers = lora.layers_to_transform
    numbers = [layers] if isinstance(layers, int) else layers
    if lora.target_parameters:
        everywhere = [name for name in lora.target_parameters if re.search(r"(^|\.)\d+\.", name) is None]
        if everywhere and numbers:
            family = family_of(context.facts.model.model_type)
            stack = family.layers.rsplit(".", 1)[-1] if family else "layers"
            apart = [f"{stack}.{number}.{name}" for name in everywhere for number in numbers]
            kept = [name for name in lora.target_parameters if name not in everywhere]
            why = f"does not hold for parameters: PEFT adapts {quoted(everywhere, ' and ')} in every layer"
            yield Found("lora.layers_to_transform", why, instead(context.spec, target_parameters=[*kept, *apart]))
        return
    if not isinstance(lora.target_modules, list):
        return
    names = expert_names(model_type_of(context))
    experts = [name for name in lora.target_modules if name.rsplit(".", 1)[-1] in names]
    if experts:
        rest = [name for name in lora.target_modules if name not in experts]
        why = f"does not hold for experts and their router: PEFT adapts {quoted(experts, ' and ')} in every layer"
        yield Found("lora.layers_to_transform", why, instead(context.spec, target_modules=rest or None))
