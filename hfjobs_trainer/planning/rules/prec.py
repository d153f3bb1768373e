"""Rules about the precision of the arithmetic."""

from __future__ import annotations

from collections.abc import Iterator

from hfjobs_trainer.planning.arguments.precision import settle_precision
from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.problems import Found, need, rule
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.fixes import change

NEWER = "l4x1"
"""The cheapest flavor whose GPU computes in bfloat16."""


@rule("PREC001")
def one_half_precision(context: Context[TrainSpec]) -> Iterator[Found]:
    """`bf16` and `fp16` exclude each other.

    What it does:
        Refuses `bf16=True` with `fp16=True`, and the same for `bf16_full_eval` and `fp16_full_eval`.

    Why:
        They are two forms of 16-bit arithmetic, and the trainer's config raises a `ValueError`. Where neither is
        given, bf16 is used if the GPU computes in it, fp16 if not.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., bf16=True, fp16=True)
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=...)
        ```
    """
    spec = context.spec
    if spec.bf16 and spec.fp16:
        yield Found("fp16", "bf16=True is also given; with neither, the GPU decides", "bf16=None, fp16=None")
    if spec.bf16_full_eval and spec.fp16_full_eval:
        yield Found("fp16_full_eval", "bf16_full_eval=True is also given", "fp16_full_eval=False")


@rule("PREC002", stage="run", scope="remote")
def gpu_computes_in_the_precision(context: Context[TrainSpec]) -> Iterator[Found]:
    """The GPU computes in the precision that is asked for.

    What it does:
        Refuses `bf16=True`, `bf16_full_eval=True`, `tf32=True` and `dtype="bfloat16"` on a flavor whose GPU is older
        than Ampere (compute capability 8.0), such as the T4.

    Why:
        Such a GPU emulates bfloat16: the check of transformers passes, and the run crawls. TF32 it does not have at
        all.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., bf16=True, hardware="t4-small")
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., fp16=True, hardware="t4-small")
        ```
    """
    spec, flavor = context.spec, context.flavor
    if flavor is None or not flavor.num_gpus or flavor.bf16:
        return
    why = f"the {flavor.gpu} of {flavor.name} has no bfloat16 arithmetic"
    if spec.bf16:
        newer = change(spec, {"hardware.flavor": NEWER})
        yield Found("bf16", why, newer if context.run.bf16_adapter else "bf16=None, fp16=True")
    if spec.bf16_full_eval:
        yield Found("bf16_full_eval", why, "bf16_full_eval=False, fp16_full_eval=True")
    if spec.dtype == "bfloat16":
        dtype = '"float32"' if context.run.trains_weights else '"float16"'
        yield Found("dtype", why, f"dtype={dtype}")
    if spec.tf32:
        yield Found("tf32", f"the {flavor.gpu} of {flavor.name} has no TF32", "tf32=None")


@rule("PREC003", stage="run")
def fp16_trains_float32_weights(context: Context[TrainSpec]) -> Iterator[Found]:
    """fp16 arithmetic trains float32 weights.

    What it does:
        Refuses a `dtype` of 16 bits where the arithmetic is fp16, by `fp16=True` or since the GPU has no bfloat16, and
        weights of the model itself are trained: without `lora`, with `modules_to_save` or `bias`, and the head of a
        reward model.

    Why:
        The gradients of fp16 arithmetic are scaled, and torch refuses to scale those of 16-bit weights: the run ends
        at its first step with `Attempting to unscale FP16 gradients.` An adapter of its own is always float32.

    Example:
        ```python
        hft.SFT(model=..., dataset=..., dtype="float16", fp16=True)
        ```

    Use instead:
        ```python
        hft.SFT(model=..., dataset=..., dtype="float32", fp16=True)
        ```
    """
    spec = context.spec
    precision = settle_precision(context.run, context.flavor)
    if precision.mixed != "fp16" or spec.dtype is None or not context.run.trains_weights:
        return
    dtype = spec.dtype
    if dtype == "auto":
        dtype = need(context.facts.model.dtype, f"the dtype of {spec.model}", "model")
    if dtype in ("float16", "bfloat16"):
        why = f"fp16 arithmetic cannot train weights that are {dtype} themselves"
        yield Found("dtype", why, 'dtype="float32"')
