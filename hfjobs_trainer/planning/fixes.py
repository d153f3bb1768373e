"""What a script says to try where memory or disk turn out smaller than the run needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hfjobs_trainer.facts import HardwareFacts
from hfjobs_trainer.planning.choose import survey
from hfjobs_trainer.planning.estimate import Estimate, FlavorChoice
from hfjobs_trainer.planning.layout import Layout
from hfjobs_trainer.planning.run import Run


def planned_fixes(
    run: Run,
    layout: Layout | None,
    estimate: Estimate,
    choice: FlavorChoice | None,
    arguments: Mapping[str, Any],
    hardware: HardwareFacts,
) -> dict[str, Sequence[str]]:
    """What to try, as code, by what the script's ``tell_failure`` finds; nothing where the run's memory is unknown.

    Args:
        run: The run.
        layout: Its layout; ``None`` if no batch can be formed.
        estimate: What it needs.
        choice: How the flavor was chosen; ``None`` if no machine is rented.
        arguments: The trainer's arguments.
        hardware: The flavors on offer.
    """
    if estimate.memory is None:
        return {}
    found: dict[str, Sequence[str]] = {}
    if tries := [*_smaller_batch(run, layout), *_larger_gpu(run, estimate, choice, hardware)]:
        found["GPU memory"] = tries
    if run.saving.every != 0 and arguments.get("save_total_limit") != 1:
        found["disk space"] = ["save_total_limit=1"]
    return found


def _smaller_batch(run: Run, layout: Layout | None) -> Iterator[str]:
    """Half as many rows at once, with as many for each optimizer step."""
    size = layout.per_device_train_batch_size if layout is not None else 1
    if layout is None or size % 2 or size // 2 < run.batch.least:
        return
    fix = f"per_device_train_batch_size={size // 2}"
    if run.batch.global_size is None or run.batch.accumulation_is_set:
        fix += f" with gradient_accumulation_steps={2 * layout.gradient_accumulation_steps}"
    yield fix


def _larger_gpu(run: Run, estimate: Estimate, choice: FlavorChoice | None, hardware: HardwareFacts) -> Iterator[str]:
    """The flavor of the lowest price per hour on which the run fits, with more memory to each GPU."""
    usable = estimate.usable_gib
    if choice is None or usable is None or estimate.machine.nodes > 1:
        return
    # beside a named flavor the others are not estimated: one after the other is, and the first or second fits
    possible = choice.fitting or survey(run, hardware, larger_than=usable)
    for each in possible:
        if (each.usable_gib or 0.0) > usable and each.reason is None and each.verdict == "fits":
            yield f'hardware="{each.machine.name}"'
            return
