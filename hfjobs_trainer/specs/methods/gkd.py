"""Generalized knowledge distillation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from hfjobs_trainer.problems import Found, rule
from hfjobs_trainer.specs import names
from hfjobs_trainer.specs.extras import TaughtSpec, teacher
from hfjobs_trainer.specs.registry import method
from hfjobs_trainer.specs.training import Answers, Training, one_pass
from hfjobs_trainer.specs.trl_args.gkd import GKDArgs

if TYPE_CHECKING:
    from typing import Unpack

    from hfjobs_trainer.planning.context import Context
    from hfjobs_trainer.submitters import GKDFields


def _answers(spec: GKD) -> Answers:
    some = f"{spec.lmbda:.0%} of the batches are answered by the model (lmbda)" if spec.lmbda < 1 else ""
    bound = spec.max_new_tokens
    return Answers("max_new_tokens", bound, within_max_length=True, share=spec.lmbda, batches=1, assumed=some)


@method(
    "gkd",
    label="GKD",
    trainer="GKDTrainer",
    config="GKDConfig",
    module="trl.experimental.gkd",
)
class GKD(GKDArgs, TaughtSpec):
    """Generalized knowledge distillation with TRL's experimental ``GKDTrainer``, on given and generated completions."""

    TRAINING: ClassVar[Training] = Training(
        sequences=1,
        head="full",
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
        long_rows="truncated",
        refuses_streams=False,
        bf16_adapter=True,
        reads_images=False,
        renders="last_answer",
        simulated_step=None,
        recipe="gkd",
    )

    FORMER_NAMES: ClassVar[names.Former] = {"teacher": "teacher_model", "max_completion_length": "max_new_tokens"}

    method: Literal["gkd"] = "gkd"

    if TYPE_CHECKING:

        def __init__(self, **fields: Unpack[GKDFields]) -> None: ...

    def dataset_formats(self) -> tuple[tuple[str, ...], ...]:
        """Sets of columns of which the dataset must have one, the usual one first."""
        return (("messages",),)


# What SFT does with a dataset while it prepares it; GKD takes the conversations as they are.
_PREPARING = (
    "assistant_only_loss",
    "chat_template_path",
    "completion_only_loss",
    "dataset_text_field",
    "eval_packing",
    "packing",
    "packing_strategy",
    "padding_free",
    "shuffle_dataset",
    "truncation_mode",
)


@rule("GKD001", severity="warning", methods=["gkd"])
def conversations_are_not_prepared(context: Context[GKD]) -> Iterator[Found]:
    """GKD takes conversations as they are.

    What it does:
        Warns of arguments that say how SFT prepares a dataset, such as `packing` and `assistant_only_loss`.

    Why:
        `GKDConfig` inherits them from `SFTConfig`, but `GKDTrainer` leaves the preparation out: the loss is that of
        the last answer, whatever they say.

    Example:
        ```python
        hft.GKD(model=..., teacher_model=..., dataset=..., packing=True)
        ```

    Use instead:
        ```python
        hft.GKD(model=..., teacher_model=..., dataset=...)
        ```
    """
    for name in _PREPARING:
        if context.spec.is_set(name):
            yield Found(name, "GKD does not prepare the dataset as SFT does; it has no effect", f"{name}=None")
