"""Rules about what a distillation minimises."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.problems import Found, rule

if TYPE_CHECKING:
    from hfjobs_trainer.specs.methods.distillation import Distillation


@rule("GKD002", methods=["distillation"])
def divergence_is_between_the_two(context: Context[Distillation]) -> Iterator[Found]:
    """`beta` of Distillation lies between 0 and 1.

    What it does:
        Refuses a `beta` below 0 or above 1.

    Why:
        It leads from the forward divergence of Kullback and Leibler (0) to the reverse one (1); TRL's config raises a
        `ValueError` for others.

    Example:
        ```python
        hft.Distillation(model=..., teacher_model=..., dataset=..., beta=1.5)
        ```

    Use instead:
        ```python
        hft.Distillation(model=..., teacher_model=..., dataset=..., beta=1.0)
        ```
    """
    beta = context.spec.beta
    if not 0 <= beta <= 1:
        yield Found("beta", f"{beta:g} is not between 0 and 1", f"beta={0.0 if beta < 0 else 1.0}")
