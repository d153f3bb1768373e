"""Kahneman-Tversky optimization."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from hfjobs_trainer.problems import Found, rule
from hfjobs_trainer.specs import names
from hfjobs_trainer.specs.fixes import REMOVE, change
from hfjobs_trainer.specs.referenced import ReferencedSpec, own_reference
from hfjobs_trainer.specs.registry import method
from hfjobs_trainer.specs.training import Passes, SideModel, Training, reference_passes
from hfjobs_trainer.specs.trl_args.kto import KTOArgs

if TYPE_CHECKING:
    from typing import Unpack

    from hfjobs_trainer.planning.context import Context
    from hfjobs_trainer.submitters import KTOFields


def _passes(spec: KTO) -> Passes:
    # each prompt is paired with another's answer as well: one forward pass of the model, one of the reference
    return Passes(frozen=float(spec.loss_type == "kto") + (0.0 if spec.ref_model else _of_reference(spec)))


def _of_reference(spec: KTO) -> float:
    return reference_passes(spec) * (2 if spec.loss_type == "kto" else 1)


def _reference(spec: KTO) -> tuple[SideModel, ...]:
    return own_reference(spec, _of_reference(spec))


@method("kto", label="KTO", trainer="KTOTrainer", config="KTOConfig")
class KTO(KTOArgs, ReferencedSpec):
    """Kahneman-Tversky optimization with ``trl.KTOTrainer`` on single completions, each marked good or bad."""

    TRAINING: ClassVar[Training] = Training(
        sequences=1,
        head="fused",
        reference="kept",
        passes=_passes,
        answers=None,
        side_models=_reference,
        free_batch=True,
        least_per_device=2,
        recomputes=True,
        resumes=True,
        evaluates_loss=True,
        evaluates_at_start=True,
        packs=False,
        long_rows="truncated",
        refuses_streams=False,
        bf16_adapter=True,
        reads_images=True,
        renders="unpaired",
        simulated_step="unpaired",
        recipe="kto",
    )

    FORMER_NAMES: ClassVar[names.Former] = {**names.ONE_LENGTH, **names.PAIRS, **names.NO_LIGER, **names.KEEPS_START}
    FORMER_DEFAULTS: ClassVar[names.FormerDefaults] = {"max_length": (None, "0.14")}

    method: Literal["kto"] = "kto"

    if TYPE_CHECKING:

        def __init__(self, **fields: Unpack[KTOFields]) -> None: ...

    def dataset_formats(self) -> tuple[tuple[str, ...], ...]:
        """Sets of columns of which the dataset must have one, the usual one first."""
        return (("prompt", "completion", "label"), ("chosen", "rejected"))


@rule("KTO001", methods=["kto"])
def neighbours_are_compared(context: Context[KTO]) -> Iterator[Found]:
    """The loss of KTO compares neighbours.

    What it does:
        With `loss_type="kto"`, the default, refuses a batch of one row, and another order than the sequential one.

    Why:
        The KL term of a row is estimated with the answer of the row beside it, paired before training starts; TRL
        raises a `ValueError`. The script shuffles the rows once, so that sequential does not mean sorted.

    Example:
        ```python
        hft.KTO(model=..., dataset=..., per_device_train_batch_size=1)
        ```

    Use instead:
        ```python
        hft.KTO(model=..., dataset=..., per_device_train_batch_size=2)
        ```
    """
    spec = context.spec
    if spec.loss_type != "kto":
        return
    if spec.per_device_train_batch_size == 1:
        why = "a row needs another one beside it in its batch"
        yield Found("per_device_train_batch_size", why, "per_device_train_batch_size=2")
    if spec.train_sampling_strategy != "sequential":
        why = "rows are paired with their neighbours before training starts; the script shuffles them before that"
        yield Found("train_sampling_strategy", why, "train_sampling_strategy=None")


@rule("KTO002", methods=["kto"])
def streamed_rows_have_labels(context: Context[KTO]) -> Iterator[Found]:
    """Streamed rows are single answers.

    What it does:
        Refuses a streamed dataset of pairs, with the columns `chosen` and `rejected`.

    Why:
        TRL makes two rows of each pair, a thousand good answers before a thousand bad ones. The script mixes them,
        which it cannot do with a stream: every batch would hold one kind.

    Example:
        ```python
        hft.KTO(model=..., dataset=hft.Dataset(id="trl-lib/ultrafeedback_binarized", streaming=True), max_steps=1000)
        ```

    Use instead:
        ```python
        hft.KTO(model=..., dataset="trl-lib/ultrafeedback_binarized", max_steps=1000)
        ```
    """
    for data in (data for data in context.datasets if not data.path.startswith("eval_dataset")):
        if data.dataset.streaming and {"chosen", "rejected"} <= set(data.need_columns()):
            path, why = f"{data.path}.streaming", "streamed pairs cannot be split into single answers and shuffled"
            yield Found(path, why, change(context.spec, {path: REMOVE}))
