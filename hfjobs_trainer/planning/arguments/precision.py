"""The precision of a run on a machine: of the computation, and of the loaded weights."""

from __future__ import annotations

from dataclasses import dataclass

from hfjobs_trainer.facts import Flavor
from hfjobs_trainer.planning.plan import Decide
from hfjobs_trainer.planning.run import MixedPrecision, Run
from hfjobs_trainer.specs.base import DType

# dtype of frozen weights, by mixed precision: half the memory at no loss.
_FROZEN: dict[MixedPrecision, DType] = {"bf16": "bfloat16", "fp16": "float16", "fp32": "float32"}


@dataclass(frozen=True, slots=True)
class Precision:
    """The precision of a run.

    Attributes:
        mixed: Mixed precision of the computation.
        is_set: Whether the user set it.
        dtype: dtype of the loaded weights.
        frozen_dtype: dtype of a frozen model, such as a teacher.
    """

    mixed: MixedPrecision
    is_set: bool
    dtype: DType
    frozen_dtype: DType


def settle_precision(run: Run, flavor: Flavor | None) -> Precision:
    """The precision of the run on this flavor; ``None`` if the flavor is unknown: TRL's default is bf16."""
    mixed = run.mixed_precision
    if mixed is None:
        if run.use_cpu or (flavor is not None and not flavor.num_gpus):
            mixed = "fp32"
        else:
            mixed = "fp16" if flavor is not None and not flavor.bf16 else "bf16"
    dtype = run.dtype or _dtype(run, mixed)[0]
    return Precision(mixed, run.mixed_precision is not None, dtype, _FROZEN[mixed])


def explain_precision(run: Run, precision: Precision, flavor: Flavor | None, decide: Decide) -> None:
    """Record what was chosen, and why."""
    if not precision.is_set:
        if precision.mixed == "fp32":
            decide("bf16", False, "mixed precision needs a GPU")
        elif precision.mixed == "fp16":
            decide("fp16", True, f"{flavor.gpu if flavor else 'the GPU'} does not support bfloat16")
        else:
            decide("bf16", True, "TRL's default")
    if run.dtype is None:
        decide("dtype", *_dtype(run, precision.mixed))


def _dtype(run: Run, mixed: MixedPrecision) -> tuple[DType, str]:
    if run.lora is None:
        return "float32", "trained weights stay in full precision; the computation is in mixed precision"
    if mixed == "fp16" and run.trains_weights:
        return (
            "float32",
            "fp16 mixed precision cannot train 16-bit weights, and some are trained along with the adapter",
        )
    return _FROZEN[mixed], "the base model is frozen: half the memory at no loss"
