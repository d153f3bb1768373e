"""On-policy distillation."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from hfjobs_trainer.specs import names
from hfjobs_trainer.specs.extras import CallingSpec, TaughtSpec, teacher, turns_of
from hfjobs_trainer.specs.registry import method
from hfjobs_trainer.specs.training import Answers, Training, one_pass
from hfjobs_trainer.specs.trl_args.distillation import DistillationArgs

if TYPE_CHECKING:
    from typing import Unpack

    from hfjobs_trainer.submitters import DistillationFields


def _answers(spec: Distillation) -> Answers:
    turns, assumed = turns_of(spec)
    return Answers("max_completion_length", spec.max_completion_length, batches=1, turns=turns, assumed=assumed)


@method("distillation", label="Distillation", trainer="DistillationTrainer", config="DistillationConfig")
class Distillation(DistillationArgs, TaughtSpec, CallingSpec):
    """On-policy distillation with ``trl.DistillationTrainer``: a teacher corrects the model's own completions."""

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
        resumes=True,
        evaluates_loss=False,
        evaluates_at_start=True,
        packs=False,
        long_rows=None,
        refuses_streams=False,
        bf16_adapter=True,
        reads_images=True,
        renders="prompts",
        simulated_step=None,
        recipe="distillation",
    )

    FORMER_NAMES: ClassVar[names.Former] = {
        **names.ANSWERS,
        "teacher": "teacher_model",
        "lmbda": names.gone("the model writes every answer; to mix in those of the dataset, use hft.GKD", 1.0),
    }

    method: Literal["distillation"] = "distillation"

    if TYPE_CHECKING:

        def __init__(self, **fields: Unpack[DistillationFields]) -> None: ...

    def dataset_formats(self) -> tuple[tuple[str, ...], ...]:
        """Sets of columns of which the dataset must have one, the usual one first."""
        return (("prompt",),)
