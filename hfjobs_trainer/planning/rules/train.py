"""Rules about how the trainer evaluates, saves, schedules and loads."""

from __future__ import annotations

import math
from collections.abc import Iterator

from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.planning.rules.resume import hourly, wants_to_go_on
from hfjobs_trainer.problems import Found, rule
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.fixes import keywords
from hfjobs_trainer.specs.requirements import package_names


@rule("TRAIN001")
def best_model_is_among_the_saved(context: Context[TrainSpec]) -> Iterator[Found]:
    """The best model can only be loaded if it was saved.

    What it does:
        With `load_best_model_at_end`, refuses an `eval_strategy` that differs from `save_strategy`, and `save_steps`
        that are no multiple of `eval_steps`; not so with `save_strategy="best"`.

    Why:
        The trainer's config raises a `ValueError`. Without `eval_steps` it evaluates every `logging_steps`.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., eval_fraction=0.1, load_best_model_at_end=True, eval_strategy="epoch")
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., eval_fraction=0.1, load_best_model_at_end=True, eval_strategy="epoch",
                save_strategy="epoch")
        ```
    """
    spec = context.spec
    if not spec.load_best_model_at_end or spec.save_strategy == "best":
        return
    if spec.eval_strategy != spec.save_strategy:
        why = f'must equal save_strategy ("{spec.save_strategy}") with load_best_model_at_end'
        fix = (
            f'eval_strategy="{spec.save_strategy}"'
            if spec.eval_strategy == "no"
            else f'save_strategy="{spec.eval_strategy}"'
        )
        yield Found("eval_strategy", why, fix)
    elif spec.eval_strategy == "steps":
        every = spec.eval_steps or spec.logging_steps
        if every <= 0 or _is_multiple(spec.save_steps, every):
            return
        why = f"must be a multiple of eval_steps ({every:g}) with load_best_model_at_end"
        if every < 1 or spec.save_steps < 1:
            fix = f"save_steps={every:g}"
        else:
            fix = f"save_steps={max(1, round(spec.save_steps / every)) * every:g}"
        yield Found("save_steps", why, fix)


def _is_multiple(save: float, every: float) -> bool:
    if (save < 1) != (every < 1):
        # a share of all steps and a number of steps, of which nothing can be said before the run
        return save % every == 0
    return save % every == 0 or (save < 1 and (save * 1_000_000) % (every * 1_000_000) == 0)


@rule("TRAIN002")
def best_needs_a_metric(context: Context[TrainSpec]) -> Iterator[Found]:
    """`save_strategy="best"` needs to know what is best.

    What it does:
        Refuses `save_strategy="best"` without `metric_for_best_model`, and without evaluation.

    Why:
        The trainer raises a `ValueError` once the model is loaded; without evaluation it would never save.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., eval_fraction=0.1, eval_strategy="epoch", save_strategy="best")
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., eval_fraction=0.1, eval_strategy="epoch", save_strategy="best",
                metric_for_best_model="eval_loss")
        ```
    """
    spec = context.spec
    if spec.save_strategy != "best":
        return
    implied = spec.load_best_model_at_end or spec.lr_scheduler_type in ("reduce_lr_on_plateau", "greedy")
    if spec.metric_for_best_model is None and not implied:
        why = 'is required for save_strategy="best"'
        yield Found("metric_for_best_model", why, 'metric_for_best_model="eval_loss"')
    if spec.eval_strategy == "no":
        why = 'save_strategy="best" saves after an evaluation, and there is none'
        yield Found("eval_strategy", why, _evaluating(spec))


# Schedules that need more: (schedule, keys of lr_scheduler_kwargs of which one must be given, an example).
_NEEDS_KEY = (
    ("cosine_with_min_lr", ("min_lr", "min_lr_rate"), {"min_lr_rate": 0.1}),
    ("cosine_warmup_with_min_lr", ("min_lr", "min_lr_rate"), {"min_lr_rate": 0.1}),
    ("warmup_stable_decay", ("num_decay_steps",), {"num_decay_steps": 100}),
)
_NEEDS_EVALUATION = ("reduce_lr_on_plateau", "greedy")


@rule("TRAIN003")
def schedule_has_what_it_needs(context: Context[TrainSpec]) -> Iterator[Found]:
    """The learning rate schedule has the values that it needs.

    What it does:
        Refuses `cosine_with_min_lr` and `cosine_warmup_with_min_lr` without exactly one of `min_lr` and `min_lr_rate`,
        `warmup_stable_decay` without `num_decay_steps`, and `reduce_lr_on_plateau` and `greedy` without evaluation.

    Why:
        The schedule is built when training starts: everything has been loaded by then.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., lr_scheduler_type="cosine_with_min_lr")
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., lr_scheduler_type="cosine_with_min_lr",
                lr_scheduler_kwargs={"min_lr_rate": 0.1})
        ```
    """
    spec = context.spec
    given = spec.lr_scheduler_kwargs or {}
    for schedule, keys, example in _NEEDS_KEY:
        if spec.lr_scheduler_type != schedule:
            continue
        found = [key for key in keys if given.get(key) is not None]
        if len(found) != 1:
            why = f'"{schedule}" needs {"only one of " if found else ""}{" or ".join(keys)}'
            rest = {key: value for key, value in given.items() if key not in keys}
            yield Found("lr_scheduler_kwargs", why, keywords({"lr_scheduler_kwargs": {**rest, **example}}))
    if spec.lr_scheduler_type in _NEEDS_EVALUATION and spec.eval_strategy == "no":
        why = f'"{spec.lr_scheduler_type}" depends on evaluation, and there is none'
        yield Found("lr_scheduler_type", why, _evaluating(spec))


def _evaluating(spec: TrainSpec) -> str:
    """The fix by which a run evaluates, as often as it saves where that matters."""
    every = spec.save_strategy if spec.save_strategy in ("steps", "epoch") else "steps"
    if not spec.evaluates and spec.dataset.streaming:
        return ""
    return f'eval_strategy="{every}"' + ("" if spec.evaluates else ", eval_fraction=0.1")


@rule("TRAIN004")
def loader_options_need_workers(context: Context[TrainSpec]) -> Iterator[Found]:
    """Options of the data loader's workers need workers.

    What it does:
        Refuses `dataloader_prefetch_factor` and `dataloader_persistent_workers` where `dataloader_num_workers` is 0.

    Why:
        Without workers nothing is loaded in advance; the trainer raises a `ValueError`.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., dataloader_prefetch_factor=4)
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., dataloader_prefetch_factor=4, dataloader_num_workers=2)
        ```
    """
    spec = context.spec
    if spec.dataloader_num_workers:
        return
    for name, used in (
        ("dataloader_prefetch_factor", spec.dataloader_prefetch_factor is not None),
        ("dataloader_persistent_workers", spec.dataloader_persistent_workers),
    ):
        if used:
            yield Found(name, "there are no workers: dataloader_num_workers is 0", "dataloader_num_workers=2")


@rule("TRAIN005")
def intervals_are_whole_steps(context: Context[TrainSpec]) -> Iterator[Found]:
    """Intervals are whole steps, or a share of all steps.

    What it does:
        Refuses `logging_steps=0` and negative intervals, and `logging_steps`, `eval_steps` and `save_steps` above 1
        that are no whole number, as far as the strategy uses them.

    Why:
        The trainer's config raises a `ValueError`. A number below 1 is a share of all steps.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., logging_steps=0)
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., logging_steps=1)
        ```
    """
    spec = context.spec
    for name, strategy, steps, zero in (
        ("logging_steps", spec.logging_strategy, spec.logging_steps, False),
        ("eval_steps", spec.eval_strategy, spec.eval_steps, True),
        ("save_steps", spec.save_strategy, spec.save_steps, False),
    ):
        if strategy != "steps" or steps is None or (steps == 0 and zero):
            continue
        if steps <= 0:
            switch = "" if name == "eval_steps" else f'; {name.split("_")[0]}_strategy="no" switches it off'
            usual = 1 if name == "logging_steps" else 100
            yield Found(name, f"{steps:g} is not an interval{switch}", f"{name}={usual}")
        elif steps > 1 and steps != int(steps):
            yield Found(
                name, f"{steps:g} is neither a whole number of steps nor a share below 1", f"{name}={round(steps)}"
            )


# (how an optimizer's name begins, its package); the first that fits counts.
_OPTIMIZERS = (
    ("galore_", "galore-torch"),
    ("apollo_", "apollo-torch"),
    ("lomo", "lomo-optim"),
    ("adalomo", "lomo-optim"),
    ("grokadamw", "grokadamw"),
    ("schedule_free_", "schedulefree"),
    ("stable_adamw", "torch-optimi"),
    ("adamw_anyprecision", "torchdistx"),
)


@rule("TRAIN006")
def features_have_their_packages(context: Context[TrainSpec]) -> Iterator[Found]:
    """A feature's package is among the script's dependencies.

    What it does:
        Refuses optimizers that need a package which the script does not install by itself, unless
        `extra_dependencies` names it.

    Why:
        They raise an `ImportError`, most of them only when training starts.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., optim="schedule_free_adamw")
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., optim="schedule_free_adamw", extra_dependencies=["schedulefree"])
        ```
    """
    spec = context.spec
    package = next((package for start, package in _OPTIMIZERS if spec.optim.startswith(start)), None)
    if package is not None and package not in package_names(spec.extra_dependencies):
        why = f'"{spec.optim}" needs the package {package}, which the script does not install'
        yield Found("optim", why, keywords({"extra_dependencies": [*spec.extra_dependencies, package]}))


@rule("TRAIN007")
def something_is_trained(context: Context[TrainSpec]) -> Iterator[Found]:
    """A run trains at least one step.

    What it does:
        Refuses `num_train_epochs` of 0 or less where `max_steps` is not given, or not positive either.

    Why:
        The trainer would do nothing, without an error, and the model would be saved as it came.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., num_train_epochs=0)
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., num_train_epochs=1)
        ```
    """
    spec = context.spec
    if spec.max_steps <= 0 and spec.num_train_epochs <= 0:
        why = f"nothing is trained in {spec.num_train_epochs:g} epochs"
        yield Found("num_train_epochs", why, "num_train_epochs=1")


LOST_HOURS = 6.0
"""What a job may lose without a word when its machine fails or its timeout ends it, hours: a working night."""


@rule("TRAIN008", stage="run", scope="remote", severity="warning")
def a_long_run_writes_checkpoints(context: Context[TrainSpec]) -> Iterator[Found]:
    """A long run writes checkpoints.

    What it does:
        Warns where a run is expected to train for more than six hours before its first checkpoint, or never writes one:
        with `save_strategy="no"`, with `save_steps` above all its steps, and with a few slow epochs.

    Why:
        A job that is ended, by its timeout or because its machine fails, leaves nothing behind but what was saved.

    Example:
        ```python
        hft.SFT(model="meta-llama/Llama-3.1-8B", dataset=..., lora=hft.LoRA(), num_train_epochs=20, save_strategy="no")
        ```

    Use instead:
        ```python
        hft.SFT(model="meta-llama/Llama-3.1-8B", dataset=..., lora=hft.LoRA(), num_train_epochs=20, save_steps=100)
        ```
    """
    spec, duration = context.spec, context.duration
    if duration is None or not duration.steps or spec.save_strategy == "best":
        return
    if spec.save_strategy == "no" and wants_to_go_on(context):
        # RESUME003 tells it
        return
    steps, hours = duration.steps, duration.seconds.expected / 3600
    first = float(context.argument("save_steps", spec.save_steps)) if spec.save_strategy == "steps" else math.inf
    if first < 1:
        first *= steps
    if spec.save_strategy == "epoch":
        if spec.max_steps > 0:
            # how many epochs that is, is not told
            return
        first = steps / max(1.0, spec.num_train_epochs)
    if first <= 1 or min(first, steps) / steps * hours <= LOST_HOURS:
        # more often than after each step is none saved
        return
    path = "save_steps" if spec.save_strategy == "steps" else "save_strategy"
    when = "no checkpoint is written" if first > steps else f"the first checkpoint is written after {first:,.0f} steps"
    why = f"{when}, of a run of {steps:,} steps that is expected to take {duration.seconds.as_duration()}"
    fix = f"save_steps={hourly(duration)}"
    yield Found(path, why, fix if path == "save_steps" else f'save_strategy="steps", {fix}')


@rule("TRAIN009", severity="warning")
def an_evaluation_set_is_used(context: Context[TrainSpec]) -> Iterator[Found]:
    """An evaluation set is evaluated on.

    What it does:
        Warns of `eval_fraction` and `eval_dataset` where nothing evaluates: without `eval_strategy`, `eval_on_start`
        and `load_best_model_at_end`; and of `eval_steps` without any of them. PPO samples answers to the set all the
        same, unless `num_sample_generations` is 0.

    Why:
        `eval_strategy` is `"no"` by default, so the rows are held out, and never looked at; the number of steps means
        nothing.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., eval_fraction=0.1, eval_steps=50)
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., eval_fraction=0.1, eval_strategy="steps", eval_steps=50)
        ```
    """
    spec = context.spec
    # other rules tell of what needs an evaluation and has none
    missed = spec.save_strategy == "best" or spec.lr_scheduler_type in _NEEDS_EVALUATION
    if spec.needs_eval_dataset or missed or context.field("num_sample_generations", int):
        return
    if spec.evaluates:
        path = "eval_fraction" if spec.eval_fraction is not None else "eval_dataset"
        why = 'nothing is evaluated on these rows, since eval_strategy is "no"'
        yield Found(path, why, 'eval_strategy="steps"')
    elif spec.is_set("eval_steps") and spec.eval_steps is not None:
        yield Found("eval_steps", 'has no effect, since eval_strategy is "no"', "eval_steps=None")
