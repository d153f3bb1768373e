"""Direct preference optimization."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, ClassVar, Literal

from hfjobs_trainer.problems import Found, rule
from hfjobs_trainer.specs import names
from hfjobs_trainer.specs.fixes import keywords
from hfjobs_trainer.specs.referenced import ReferencedSpec, own_reference
from hfjobs_trainer.specs.registry import method
from hfjobs_trainer.specs.training import Passes, SideModel, Training, reference_passes
from hfjobs_trainer.specs.trl_args.dpo import DPOArgs

if TYPE_CHECKING:
    from typing import Unpack

    from hfjobs_trainer.planning.context import Context
    from hfjobs_trainer.submitters import DPOFields


def _passes(spec: DPO) -> Passes:
    return Passes(frozen=0.0 if spec.ref_model else reference_passes(spec))


def _reference(spec: DPO) -> tuple[SideModel, ...]:
    return own_reference(spec, reference_passes(spec))


@method("dpo", label="DPO", trainer="DPOTrainer", config="DPOConfig")
class DPO(DPOArgs, ReferencedSpec):
    """Direct preference optimization with ``trl.DPOTrainer`` on pairs of a chosen and a rejected completion."""

    TRAINING: ClassVar[Training] = Training(
        sequences=2,
        head="fused",
        reference="kept",
        passes=_passes,
        answers=None,
        side_models=_reference,
        free_batch=True,
        least_per_device=1,
        recomputes=True,
        resumes=True,
        evaluates_loss=True,
        evaluates_at_start=True,
        packs=False,
        long_rows="truncated",
        refuses_streams=False,
        bf16_adapter=True,
        reads_images=True,
        renders="pairs",
        simulated_step="preference",
        recipe="dpo",
    )

    FORMER_NAMES: ClassVar[names.Former] = {
        **names.ONE_LENGTH,
        **names.PAIRS,
        **names.NO_LIGER,
        "rpo_alpha": names.Today("loss_type", "with loss_weights=[1.0, rpo_alpha]", value=["sigmoid", "sft"]),
    }
    FORMER_DEFAULTS: ClassVar[names.FormerDefaults] = {
        "learning_rate": (5e-5, "0.12"),
        "max_length": (None, "0.14"),
        "truncation_mode": ("keep_end", "0.29"),
    }

    method: Literal["dpo"] = "dpo"

    if TYPE_CHECKING:

        def __init__(self, **fields: Unpack[DPOFields]) -> None: ...

    def dataset_formats(self) -> tuple[tuple[str, ...], ...]:
        """Sets of columns of which the dataset must have one, the usual one first."""
        return (("chosen", "rejected"),)


# Losses in which the term that another divergence leaves over cancels (TRL 1.16: trainer/dpo_trainer.py).
_TAKES_DIVERGENCE = frozenset({"sigmoid", "sigmoid_norm", "hinge", "ipo", "exo_pair", "robust", "discopop", "sft"})
_SORTING = frozenset({"aot", "aot_unpaired"})


@rule("DPO001", methods=["dpo"])
def exo_needs_smoothing(context: Context[DPO]) -> Iterator[Found]:
    """The loss `exo_pair` needs label smoothing.

    What it does:
        Refuses `loss_type="exo_pair"` with `label_smoothing=0`, the default.

    Why:
        The loss takes the logarithm of it; TRL refuses it once the model is loaded.

    Example:
        ```python
        hft.DPO(model=..., dataset=..., loss_type="exo_pair")
        ```

    Use instead:
        ```python
        hft.DPO(model=..., dataset=..., loss_type="exo_pair", label_smoothing=1e-3)
        ```
    """
    if "exo_pair" in context.spec.loss_type and context.spec.label_smoothing == 0:
        yield Found("label_smoothing", 'must be above 0 for the loss "exo_pair"', "label_smoothing=1e-3")


@rule("DPO002", methods=["dpo"])
def one_weight_per_loss(context: Context[DPO]) -> Iterator[Found]:
    """Each loss has its weight.

    What it does:
        Refuses `loss_weights` that are not as many as the losses in `loss_type`.

    Why:
        TRL's config raises a `ValueError`.

    Example:
        ```python
        hft.DPO(model=..., dataset=..., loss_type=["sigmoid", "sft"], loss_weights=[1.0])
        ```

    Use instead:
        ```python
        hft.DPO(model=..., dataset=..., loss_type=["sigmoid", "sft"], loss_weights=[1.0, 0.2])
        ```
    """
    losses, weights = context.spec.loss_type, context.spec.loss_weights
    if weights is not None and len(weights) != len(losses):
        good = [*weights, *[1.0] * len(losses)][: len(losses)]
        why = f"gives {len(weights)} for {len(losses)} losses: {', '.join(losses)}"
        yield Found("loss_weights", why, keywords({"loss_weights": good}))


@rule("DPO003", methods=["dpo"])
def divergence_fits_the_loss(context: Context[DPO]) -> Iterator[Found]:
    """The divergence is one that the loss can use.

    What it does:
        Refuses an `f_divergence_type` other than `"reverse_kl"` with losses that are defined for that one only.

    Why:
        It leaves a term that cancels in the difference of two rewards, and these losses take no difference; TRL
        refuses the pair once the model is loaded.

    Example:
        ```python
        hft.DPO(model=..., dataset=..., loss_type="apo_zero", f_divergence_type="js_divergence")
        ```

    Use instead:
        ```python
        hft.DPO(model=..., dataset=..., loss_type="sigmoid", f_divergence_type="js_divergence")
        ```
    """
    spec = context.spec
    wrong = [loss for loss in spec.loss_type if loss not in _TAKES_DIVERGENCE]
    if spec.f_divergence_type != "reverse_kl" and wrong:
        why = f'"{spec.f_divergence_type}" is not defined for the loss "{wrong[0]}"'
        yield Found("f_divergence_type", why, 'f_divergence_type="reverse_kl"')


@rule("DPO006", methods=["dpo"])
def weighting_needs_pairs(context: Context[DPO]) -> Iterator[Found]:
    """Pairs cannot be weighted in a loss that sorts them.

    What it does:
        Refuses `use_weighting=True` with the losses `aot` and `aot_unpaired`.

    Why:
        They sort the answers of a batch, so that a weight would meet another pair than its own.

    Example:
        ```python
        hft.DPO(model=..., dataset=..., loss_type="aot", use_weighting=True)
        ```

    Use instead:
        ```python
        hft.DPO(model=..., dataset=..., loss_type="sigmoid", use_weighting=True)
        ```
    """
    sorting = [loss for loss in context.spec.loss_type if loss in _SORTING]
    if context.spec.use_weighting and sorting:
        why = f'the loss "{sorting[0]}" sorts the answers, so weights would meet other pairs'
        yield Found("use_weighting", why, "use_weighting=False")


@rule("DPO007", methods=["dpo"], severity="warning")
def padding_free_is_ignored(context: Context[DPO]) -> Iterator[Found]:
    """`padding_free` is ignored.

    What it does:
        Warns of `padding_free=True`.

    Why:
        The DPO trainer of TRL 1.16 pads all the same, and says so in a warning of its own.

    Example:
        ```python
        hft.DPO(model=..., dataset=..., padding_free=True)
        ```

    Use instead:
        ```python
        hft.DPO(model=..., dataset=...)
        ```
    """
    if context.spec.padding_free:
        yield Found("padding_free", "is ignored by DPOTrainer (TRL 1.16)", "padding_free=False")
