"""Rules about batch sizes."""

from __future__ import annotations

from collections.abc import Iterator

from hfjobs_trainer.display import plural
from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.problems import Found, rule
from hfjobs_trainer.specs.base import TrainSpec

_PER_DEVICE = "per_device_train_batch_size"


def _spread(per_device: int, gpus: int) -> str:
    return f"{per_device} per device on {plural(gpus, 'GPU')}"


@rule("BATCH001", stage="run")
def global_batch_can_be_formed(context: Context[TrainSpec]) -> Iterator[Found]:
    """The global batch can be formed on the machine.

    What it does:
        Refuses a `global_batch_size` that is not a multiple of the per-device batch times the number of GPUs, and one
        that contradicts `gradient_accumulation_steps`.

    Why:
        `global_batch_size` is the number of sequences per optimizer step over all GPUs; the planner solves the
        accumulation from it, in whole steps. With another batch than the one that was tuned, the learning rate is
        wrong as well.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., global_batch_size=30, per_device_train_batch_size=8, hardware="a10g-largex2")
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., global_batch_size=32, per_device_train_batch_size=8, hardware="a10g-largex2")
        ```
    """
    spec = context.spec
    wanted = spec.global_batch_size
    if wanted is None:
        return
    per_device = context.argument(_PER_DEVICE, spec.per_device_train_batch_size)
    gpus = context.num_gpus
    on = _spread(per_device, gpus)
    if spec.is_set("gradient_accumulation_steps"):
        steps = spec.gradient_accumulation_steps
        formed = per_device * gpus * steps
        # on this machine, how many GPUs there are shows only when the script starts
        fits = wanted % formed == 0 if context.flavor is None else wanted == formed
        if not fits:
            why = f"{on} and {plural(steps, 'accumulation step')} make {formed}, not {wanted}"
            whole = wanted % (per_device * gpus) == 0
            fix = "gradient_accumulation_steps=None" if whole else f"global_batch_size={formed}"
            yield Found("global_batch_size", why, fix)
        return
    if not spec.is_set(_PER_DEVICE) and _PER_DEVICE not in context.arguments:
        # no batch could be formed, not even of the fewest rows
        per_device = context.run.batch.least
        on = _spread(per_device, gpus)
    if wanted % (per_device * gpus):
        down, up = wanted - wanted % (per_device * gpus), wanted + -wanted % (per_device * gpus)
        nearest = down if down and wanted - down < up - wanted else up
        yield Found("global_batch_size", f"{wanted} is not a multiple of {on}", f"global_batch_size={nearest}")
