"""Rules about the groups of answers that are compared, and the model that they are compared with."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from hfjobs_trainer.display import plural
from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.problems import Found, need, rule

if TYPE_CHECKING:
    from hfjobs_trainer.specs.methods.grpo import GRPO
    from hfjobs_trainer.specs.methods.rloo import RLOO


@rule("GRPO001", stage="run", fields=["num_generations", "generation_batch_size", "steps_per_generation"])
def generation_batch_holds_whole_groups(context: Context[GRPO | RLOO]) -> Iterator[Found]:
    """The generation batch holds whole groups of answers.

    What it does:
        Refuses a per-device batch x GPUs x accumulation (or `steps_per_generation`, or `generation_batch_size`) that
        is not a multiple of `num_generations`.

    Why:
        The answers to one prompt are compared with each other, so all of them are needed at once. Whether the numbers
        fit depends on the GPUs of the machine: TRL finds out there.

    Example:
        ```python
        hft.GRPO(model=..., dataset=..., reward_funcs=..., per_device_train_batch_size=4, num_generations=8)
        ```

    Use instead:
        ```python
        hft.GRPO(model=..., dataset=..., reward_funcs=..., per_device_train_batch_size=8, num_generations=8)
        ```
    """
    spec = context.spec
    per_device, steps = _sizes(context)
    wanted, gpus = spec.num_generations, context.num_gpus
    machine = f"{plural(gpus, 'GPU')}"
    if spec.generation_batch_size is not None:
        if spec.generation_batch_size % (per_device * gpus):
            _need_gpus(context)
            why = f"{spec.generation_batch_size} is not a multiple of {per_device} per device on {machine}"
            common = math.lcm(per_device * gpus, wanted)
            whole = common * math.ceil(spec.generation_batch_size / common)
            yield Found("generation_batch_size", why, f"generation_batch_size={whole}")
        if spec.generation_batch_size % wanted:
            why = f"{wanted} answers per prompt do not divide generation_batch_size={spec.generation_batch_size}"
            yield Found("num_generations", why, _divisor(spec.generation_batch_size, wanted))
        return
    batch = per_device * gpus * steps
    if batch % wanted:
        _need_gpus(context)
        why = f"{wanted} answers per prompt do not divide the {batch} generated at once: {per_device} per device"
        larger = next(size for size in range(per_device, per_device + wanted) if size * gpus * steps % wanted == 0)
        fix = _divisor(batch, wanted) or f"per_device_train_batch_size={larger}"
        yield Found("num_generations", f"{why} x {machine} x {plural(steps, 'step')}", fix)


def _sizes(context: Context[GRPO | RLOO]) -> tuple[int, int]:
    """Batch of a device, and batches that are generated at once."""
    spec = context.spec
    per_device = context.argument("per_device_train_batch_size", spec.per_device_train_batch_size)
    accumulated = context.argument("gradient_accumulation_steps", spec.gradient_accumulation_steps)
    return per_device, spec.steps_per_generation or accumulated


def _need_gpus(context: Context[GRPO | RLOO]) -> None:
    """End the rule as unchecked where more GPUs than one may be meant."""
    if context.backend.rents:
        need(context.flavor, "the flavor, for its number of GPUs", "hardware.flavor")


def _divisor(batch: int, wanted: int) -> str:
    """The number of answers closest to ``wanted`` that divides the batch, as an argument; empty if there is none."""
    divisors = [number for number in range(2, batch + 1) if batch % number == 0]
    if not divisors:
        return ""
    return f"num_generations={min(divisors, key=lambda number: (abs(number - wanted), number))}"


@rule("GRPO002", stage="run", fields=["num_generations", "num_generations_eval"])
def evaluation_batch_holds_whole_groups(context: Context[GRPO | RLOO]) -> Iterator[Found]:
    """The evaluation batch holds whole groups of answers.

    What it does:
        With evaluation, refuses a `per_device_eval_batch_size` x GPUs that is not a multiple of `num_generations_eval`,
        or of `num_generations` where that is not given.

    Why:
        As for training: the answers to one prompt are scored together.

    Example:
        ```python
        hft.GRPO(model=..., dataset=..., reward_funcs=..., eval_fraction=0.1, eval_strategy="steps",
                 per_device_eval_batch_size=4)
        ```

    Use instead:
        ```python
        hft.GRPO(model=..., dataset=..., reward_funcs=..., eval_fraction=0.1, eval_strategy="steps",
                 per_device_eval_batch_size=8)
        ```
    """
    spec = context.spec
    if spec.eval_strategy == "no":
        return
    wanted, per_device, gpus = (
        spec.num_generations_eval or spec.num_generations,
        spec.per_device_eval_batch_size,
        context.num_gpus,
    )
    if per_device * gpus % wanted:
        _need_gpus(context)
        machine = f"{plural(gpus, 'GPU')}"
        why = f"{per_device} per device on {machine} is not a multiple of {wanted} answers per prompt"
        larger = next(size for size in range(per_device, per_device + wanted) if size * gpus % wanted == 0)
        yield Found("per_device_eval_batch_size", why, f"per_device_eval_batch_size={larger}")


@rule("GRPO003", fields=["num_generations", "generation_batch_size", "steps_per_generation"])
def generation_batch_is_fixed(context: Context[GRPO | RLOO]) -> Iterator[Found]:
    """The generation batch is fixed, and said once.

    What it does:
        Refuses `auto_find_batch_size=True`, and `generation_batch_size` together with `steps_per_generation`.

    Why:
        Halving the batch would tear groups of answers apart, and each of the two numbers follows from the other; TRL's
        config raises a `ValueError`.

    Example:
        ```python
        hft.GRPO(model=..., dataset=..., reward_funcs=..., auto_find_batch_size=True)
        ```

    Use instead:
        ```python
        hft.GRPO(model=..., dataset=..., reward_funcs=..., per_device_train_batch_size=4, num_generations=4)
        ```
    """
    spec = context.spec
    if spec.auto_find_batch_size:
        why = "a smaller batch would no longer hold whole groups of answers"
        yield Found("auto_find_batch_size", why, "auto_find_batch_size=False")
    if spec.generation_batch_size is not None and spec.steps_per_generation is not None:
        why = "follows from generation_batch_size, which is also given"
        yield Found("steps_per_generation", why, "steps_per_generation=None")


@rule("GRPO004", fields=["beta", "sync_ref_model"], traits=["reference_needs_beta"])
def synced_reference_exists(context: Context[GRPO | RLOO]) -> Iterator[Found]:
    """Only a reference model that exists can follow the policy.

    What it does:
        Refuses `sync_ref_model=True` with `beta=0`, the default, and with `lora`.

    Why:
        There is no reference model without a KL term, and with an adapter it is the base under it; TRL refuses both
        once the model is loaded.

    Example:
        ```python
        hft.GRPO(model=..., dataset=..., reward_funcs=..., sync_ref_model=True)
        ```

    Use instead:
        ```python
        hft.GRPO(model=..., dataset=..., reward_funcs=..., sync_ref_model=True, beta=0.04)
        ```
    """
    spec = context.spec
    if not spec.sync_ref_model:
        return
    if spec.beta == 0:
        yield Found("sync_ref_model", "with beta=0 there is no reference model", "sync_ref_model=False")
    if spec.lora is not None:
        why = "with lora there is no reference model of its own to follow the policy"
        yield Found("sync_ref_model", why, "sync_ref_model=False")


@rule("GRPO008", stage="run", fields=["num_generations", "generation_batch_size", "steps_per_generation"])
def prompts_fill_a_generation_batch(context: Context[GRPO | RLOO]) -> Iterator[Found]:
    """There are enough prompts for one generation batch.

    What it does:
        Refuses a training set of fewer rows than prompts are answered at once: the per-device batch x GPUs x
        accumulation (or `generation_batch_size`), divided by `num_generations`.

    Why:
        TRL draws whole batches only. With `max_steps` it ends without an error, and without having trained one step.

    Example:
        ```python
        hft.GRPO(model=..., dataset=hft.Dataset(id=..., num_samples=3), reward_funcs=..., num_generations=2,
                 per_device_train_batch_size=8)
        ```

    Use instead:
        ```python
        hft.GRPO(model=..., dataset=hft.Dataset(id=..., num_samples=100), reward_funcs=..., num_generations=2,
                 per_device_train_batch_size=8)
        ```
    """
    spec, dataset = context.spec, context.spec.dataset
    if dataset.streaming:
        return
    # of a mixture the facts count what is taken of each part; nobody counts the rows of a slice
    sliced = any("[" in part.split for part in dataset.parts)
    bound = None if dataset.mixed_with else dataset.num_samples
    counted = None if sliced else context.facts.dataset.num_rows
    known = need(counted or bound, f"the number of rows of {dataset.id}", "dataset")
    rows = min(known, bound or known)
    rows -= spec.held_out(rows)
    per_device, steps = _sizes(context)
    answers = spec.generation_batch_size or per_device * context.num_gpus * steps
    needed = answers // spec.num_generations
    if rows < needed:
        why = (
            f"{rows} prompts are left to train on, fewer than the {needed} of one generation batch: {answers} answers, "
        )
        why += f"{spec.num_generations} per prompt"
        smaller = [size for size in range(1, per_device) if _is_filled(spec, size * context.num_gpus * steps, rows)]
        free = spec.generation_batch_size is None and smaller
        yield Found("dataset", why, f"per_device_train_batch_size={max(smaller)}" if free else "")


def _is_filled(spec: GRPO | RLOO, answers: int, rows: int) -> bool:
    """Whether these answers are whole groups, and there are prompts enough for them."""
    return answers % spec.num_generations == 0 and rows >= answers // spec.num_generations
