"""On-policy distillation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from hfjobs_trainer.problems import Found, rule
from hfjobs_trainer.specs.context import Context
from hfjobs_trainer.specs.extras import CallingSpec, TaughtSpec, teacher
from hfjobs_trainer.specs.registry import method
from hfjobs_trainer.specs.training import Answers, Training, one_pass
from hfjobs_trainer.specs.trl_args.distillation import DistillationArgs

if TYPE_CHECKING:
    from typing import Unpack

    from hfjobs_trainer.submitters import DistillationFields


def _answers(spec: Distillation) -> Answers:
    return Answers("max_completion_length", spec.max_completion_length, batches=1)


@method("distillation", label="Distillation", trainer="DistillationTrainer", config="DistillationConfig")
class Distillation(DistillationArgs, TaughtSpec, CallingSpec):
    """On-policy distillation with ``trl.DistillationTrainer``: a teacher corrects the model's own answers."""

    TRAINING: ClassVar[Training] = Training(
        sequences=1,
        head="fused",
        reference="none",
        passes=one_pass,
        answers=_answers,
        side_models=teacher,
        free_batch=False,
        least_per_device=1,
        recomputes=True,
        evaluates_loss=False,
        packs=False,
        drops_long_rows=False,
        bf16_adapter=True,
        reads_images=True,
        simulated_step=None,
    )

    method: Literal["distillation"] = "distillation"

    if TYPE_CHECKING:

        def __init__(self, **fields: Unpack[DistillationFields]) -> None: ...

    def dataset_formats(self) -> tuple[tuple[str, ...], ...]:
        """Sets of columns of which the dataset must have one, the usual one first."""
        return (("prompt",),)


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
