"""Rules about values that run, but hardly train: by the figures of published recipes.

Warnings are of the stage of the run, so that they come when everything that is wrong with the spec has been mended.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from hfjobs_trainer.planning.arguments.recipes import (
    Recipe,
    Situation,
    as_source,
    recipe_of,
    situation_of,
    smallest_model,
    span,
    step_size,
)
from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.planning.model.optimizers import is_adam
from hfjobs_trainer.problems import Found, need, rule
from hfjobs_trainer.specs.base import TrainSpec

if TYPE_CHECKING:
    from hfjobs_trainer.specs.methods.grpo import GRPO
    from hfjobs_trainer.specs.methods.rloo import RLOO

_RATE, _EPOCHS, _BATCH = "learning_rate", "num_train_epochs", "global_batch_size"

FAR, ABSURD = 10.0, 1000.0
"""How many times beyond the range of the sources a learning rate is warned of, and refused."""

HIGHEST_RATE = 0.1
"""Learning rate above which an optimizer of the Adam family is refused whatever the method: no source comes near."""

# Products of powers of ten are not exact.
_EXACT = 1e-9


def _recipe(context: Context[TrainSpec]) -> tuple[Recipe, Situation] | None:
    recipe = recipe_of(type(context.spec).TRAINING)
    return None if recipe is None else (recipe, situation_of(context.spec, context.run))


def _rate(context: Context[TrainSpec]) -> float:
    return context.field(_RATE, float) or 0.0


def _label(context: Context[TrainSpec]) -> str:
    return type(context.spec).METHOD.label


@rule("RECIPE001", stage="run", severity="warning")
def adapter_has_a_rate_of_its_own(context: Context[TrainSpec]) -> Iterator[Found]:
    """An adapter needs a learning rate of its own.

    What it does:
        Warns of an unset `learning_rate` with `lora` where TRL's default is below what published recipes use for
        adapters: for all methods but Reward, and PPO, for which there is no recipe.

    Why:
        TRL's defaults are those of training all weights, 1e-6 for DPO and 2e-5 for SFT. An adapter starts as nothing
        and has few weights, so that it hardly changes the model at such a rate: the run ends well, and the model is as
        before.

    Example:
        ```python
        hft.DPO(model="Qwen/Qwen2.5-7B-Instruct", dataset=..., lora=hft.LoRA())
        ```

    Use instead:
        ```python
        hft.DPO(model="Qwen/Qwen2.5-7B-Instruct", dataset=..., lora=hft.LoRA(), learning_rate=5e-6)
        ```
        `hft.recommend(spec)` has the values for all fields, and their sources.
    """
    found = _unfit_default(context)
    if found is not None:
        value, low, high = found
        default = as_source(_rate(context))
        why = f"TRL's default of {default} is for training all weights and hardly moves an adapter"
        yield Found(_RATE, f"{why}: recipes use {span((low, high))}", f"learning_rate={as_source(value)}")


def _unfit_default(context: Context[TrainSpec]) -> tuple[float, float, float] | None:
    """The rate to start with and the sources' range, where an adapter is left with a default that is too low."""
    spec, known = context.spec, _recipe(context)
    if known is None or spec.lora is None or spec.is_set(_RATE):
        return None
    recipe, situation = known
    cell, bounds = situation.find(recipe, _RATE), situation.bounds(recipe, _RATE)
    if cell is None or bounds is None or _rate(context) >= bounds[0]:
        return None
    return cell.value, *bounds


@rule("RECIPE002", stage="run", severity="warning", fields=["num_generations", "generation_batch_size"])
def a_step_holds_enough_prompts(context: Context[GRPO | RLOO]) -> Iterator[Found]:
    """A step compares the answers to enough prompts.

    What it does:
        Warns where one optimizer step has the answers to fewer than 8 prompts: the per-device batch x GPUs x
        accumulation, divided by `num_generations`. A dataset that has no more prompts is let pass.

    Why:
        The batch counts answers: TRL's default of 8 per device is a single prompt with 8 answers. Whether those were
        good or bad then decides the whole step. Recipes use 16 to 64 prompts.

    Example:
        ```python
        hft.GRPO(model=..., dataset=..., reward_funcs=...)
        ```

    Use instead:
        ```python
        hft.GRPO(model=..., dataset=..., reward_funcs=..., global_batch_size=256)
        ```
    """
    known, spec = _recipe(context), context.spec
    cell = known[1].find(known[0], _BATCH) if known else None
    if cell is None or cell.warn_below is None:
        return
    batch, gpus = context.run.batch, context.num_gpus
    per_device = context.argument("per_device_train_batch_size", spec.per_device_train_batch_size)
    steps = context.argument("gradient_accumulation_steps", spec.gradient_accumulation_steps)
    rows, answers = context.run.rows.trained, spec.num_generations
    prompts = per_device * gpus * steps / answers
    enough = cell.warn_below if rows is None else min(cell.warn_below, int(rows))
    if prompts >= enough:
        return
    if context.backend.rents:
        need(context.flavor, "the flavor, for its number of GPUs")
    fixed = batch.per_device_is_set or batch.accumulation_is_set
    size = step_size(cell.value, answers, gpus * (per_device if fixed else 1), rows)
    if size <= per_device * gpus * steps:
        return
    fixes = [f"global_batch_size={size}"] if spec.global_batch_size or not batch.accumulation_is_set else []
    if batch.accumulation_is_set:
        fixes.append(f"gradient_accumulation_steps={size // (per_device * gpus)}")
    on = f" x {gpus} GPUs" if gpus > 1 else ""
    holds = f"the answers to {prompts:.2g} prompt{'s' * (prompts != 1)}"
    why = f"an optimizer step has {holds}: {per_device} per device x {steps}{on}, {answers} answers per prompt"
    low, high = cell.range
    yield Found(_BATCH, f"{why}; recipes use {span((low, high))} prompts", ", ".join(fixes))


@rule("RECIPE003", stage="run", severity="warning")
def preferences_are_seen_once(context: Context[TrainSpec]) -> Iterator[Found]:
    """Pairs and prompts are trained on once.

    What it does:
        Warns of three epochs or more, TRL's default, for DPO and GRPO; not with `max_steps`.

    Why:
        The recipes make a single pass. More of them fit the pairs by heart, or the answers to the same prompts, and
        cost as much again each.

    Example:
        ```python
        hft.DPO(model=..., dataset=...)
        ```

    Use instead:
        ```python
        hft.DPO(model=..., dataset=..., num_train_epochs=1)
        ```
    """
    known, spec = _recipe(context), context.spec
    cell = known[1].find(known[0], _EPOCHS) if known else None
    if known is None or cell is None or cell.warn_from is None or spec.max_steps > 0:
        return
    if spec.num_train_epochs >= cell.warn_from:
        default = "" if spec.is_set(_EPOCHS) else ", TRL's default,"
        times = f"recipes make {cell.range[-1]:g}"
        why = f"{spec.num_train_epochs:g} epochs{default} over the same {known[0].unit}: {times}"
        yield Found(_EPOCHS, why, f"num_train_epochs={cell.value}")


@rule("RECIPE004", stage="run", severity="warning")
def rate_is_near_the_usual(context: Context[TrainSpec]) -> Iterator[Found]:
    """The learning rate is near what others train with.

    What it does:
        Warns of a `learning_rate`, TRL's default included, that is ten times or more below or above the range of
        published recipes for this method, this size of model, and all weights or an adapter; and, for optimizers that
        are not of the Adam family, of one above 0.1. 0 is let pass. So is what `RECIPE001` and `RECIPE005` tell, and
        all that is not above 0.1 for models of less than 100 million parameters, of which the recipes train none.

    Why:
        Ten times too low trains next to nothing, ten times too high unlearns what the model knew: TRL's default for
        Reward, 1e-4, is ten times what recipes use for all weights.

    Example:
        ```python
        hft.Reward(model=..., dataset=...)
        ```

    Use instead:
        ```python
        hft.Reward(model=..., dataset=..., learning_rate=1e-5)
        ```
    """
    if not _is_absurd(context) and _unfit_default(context) is None:
        yield from _far(context)


def _far(context: Context[TrainSpec]) -> Iterator[Found]:
    spec, bounds = context.spec, _bounds(context)
    rate = _rate(context)
    low, high = (0.0, math.inf) if bounds is None else bounds
    near = low / FAR * (1 + _EXACT) < rate < high * FAR * (1 - _EXACT)
    if rate == 0 or (near and rate <= HIGHEST_RATE):
        return
    whose = "" if spec.is_set(_RATE) else ", TRL's default,"
    yield Found(_RATE, f"{as_source(rate)}{whose} is {_how_far(context, bounds)}", _better(context))


@rule("RECIPE005")
def rate_is_a_learning_rate(context: Context[TrainSpec]) -> Iterator[Found]:
    """The learning rate is one at which a model can learn.

    What it does:
        For optimizers of the Adam family, refuses a `learning_rate` above 0.1, and one that is a thousand times or more
        above the range of published recipes. Models of less than 100 million parameters are held to 0.1 alone.

    Why:
        These optimizers move every weight by about the learning rate in each step, and the weights of a language model
        are around 0.02: they would be gone after the first steps. Mostly a minus is missing: 5e6, or 5 for 5e-5.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., learning_rate=5)
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., learning_rate=2e-5)
        ```
    """
    if _is_absurd(context):
        rate = as_source(_rate(context))
        yield Found(_RATE, f"{rate} is {_how_far(context, _bounds(context))}: nothing is learned", _better(context))


def _is_absurd(context: Context[TrainSpec]) -> bool:
    rate, bounds = _rate(context), _bounds(context)
    beyond = bounds is not None and rate >= bounds[1] * ABSURD * (1 - _EXACT)
    return is_adam(context.spec.optim) and (rate > HIGHEST_RATE or beyond)


def _bounds(context: Context[TrainSpec]) -> tuple[float, float] | None:
    """The range of the sources; ``None`` without, and for models that are smaller than any of theirs."""
    known = _recipe(context)
    if known is None:
        return None
    recipe, situation = known
    tiny = situation.billions is not None and situation.billions < smallest_model()
    return None if tiny else situation.bounds(recipe, _RATE)


def _how_far(context: Context[TrainSpec], bounds: tuple[float, float] | None) -> str:
    rate = _rate(context)
    if bounds is None:
        return f"above {as_source(HIGHEST_RATE)}, which no recipe comes near"
    low, high = bounds
    far = f"{rate / high:,.0f} times above" if rate > high else f"{low / rate:,.0f} times below"
    trained = "all weights" if context.spec.lora is None else "an adapter"
    return f"{far} what recipes for {_label(context)} train {trained} with, {span((low, high))}"


def _better(context: Context[TrainSpec]) -> str:
    known = _recipe(context)
    cell = known[1].find(known[0], _RATE) if known else None
    default = type(context.spec).model_fields[_RATE].default
    return f"learning_rate={as_source(cell.value if cell else default)}"
