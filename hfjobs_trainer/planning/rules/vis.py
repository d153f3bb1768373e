"""Rules about images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from hfjobs_trainer.planning.arguments.vision import IMAGE_COLUMNS, has_images
from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.problems import Found, need, rule
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.fixes import change
from hfjobs_trainer.specs.inputs import training_inputs

if TYPE_CHECKING:
    from hfjobs_trainer.specs.methods.dpo import DPO
    from hfjobs_trainer.specs.methods.kto import KTO
    from hfjobs_trainer.specs.methods.sft import SFT


def _need_images(context: Context[TrainSpec]) -> bool:
    known = has_images(context.spec.dataset, context.facts.dataset)
    return need(known, f"the columns of {context.spec.dataset.id}", "dataset")


@rule("VIS001")
def images_are_seen(context: Context[TrainSpec]) -> Iterator[Found]:
    """Images are for vision models, and for methods that read them.

    What it does:
        Refuses a dataset with a column `image` or `images` where the model is known to be a text model, or where the
        method is none of SFT, DPO, KTO, GRPO, RLOO and Distillation.

    Why:
        TRL raises a `ValueError` once the model is loaded; the methods that read no images would train on the texts
        about them.

    Example:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-0.5B", dataset="trl-lib/llava-instruct-mix")
        ```

    Use instead:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-VL-3B-Instruct", dataset="trl-lib/llava-instruct-mix")
        ```
    """
    if not _need_images(context):
        return
    drop = _without_images(context)
    if not context.spec.TRAINING.reads_images:
        label = type(context.spec).METHOD.label
        yield Found("dataset", f"has images, which {label} does not use", drop)
    elif not need(context.facts.model.is_vision, f"whether {context.spec.model} is a vision model", "model"):
        why = f"is a text model, and {context.spec.dataset.id} has images"
        yield Found("model", why, drop)


def _without_images(context: Context[TrainSpec]) -> str:
    """The fix that keeps all columns but the images, where those are enough to train on."""
    kept: dict[str, object] = {}
    for data in training_inputs(context.spec, context.facts):
        rest = [name for name in data.given_columns or () if data.dataset.columns.get(name, name) not in IMAGE_COLUMNS]
        left = {data.dataset.columns.get(name, name) for name in rest}
        if not any(set(names) <= left for names in context.spec.dataset_formats()):
            return ""
        if len(rest) < len(data.given_columns or ()):
            kept[f"{data.path}.keep_columns"] = rest
    return change(context.spec, kept)


@rule("VIS002", fields=["packing", "padding_free"], traits=["packs", "reads_images"])
def images_are_not_packed(context: Context[SFT]) -> Iterator[Found]:
    """Rows with images are not joined.

    What it does:
        Refuses `packing=True` and `padding_free=True` for a dataset with images.

    Why:
        TRL cannot tell which image belongs to which part of a joined row, and refuses both once the model is loaded.

    Example:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-VL-3B-Instruct", dataset="trl-lib/llava-instruct-mix", packing=True)
        ```

    Use instead:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-VL-3B-Instruct", dataset="trl-lib/llava-instruct-mix")
        ```
    """
    spec = context.spec
    joins = [name for name, given in (("packing", spec.packing), ("padding_free", spec.padding_free)) if given]
    if joins and _need_images(context):
        for name in joins:
            yield Found(name, "rows with images cannot be joined", f"{name}=False")


@rule("VIS003", fields=["max_length"], traits=["reads_images"], severity="warning")
def images_are_not_cut(context: Context[SFT | DPO | KTO]) -> Iterator[Found]:
    """Rows with images are not cut.

    What it does:
        Warns of a `max_length` that is set for a dataset with images.

    Why:
        An image is hundreds of tokens of its row. A row that is cut inside them no longer fits the features of the
        image, and training ends with an error at that row.

    Example:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-VL-3B-Instruct", dataset="trl-lib/llava-instruct-mix", max_length=512)
        ```

    Use instead:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-VL-3B-Instruct", dataset="trl-lib/llava-instruct-mix", max_length=None)
        ```
    """
    spec = context.spec
    if spec.is_set("max_length") and spec.max_length is not None and _need_images(context):
        why = f"a row of more than {spec.max_length} tokens may be cut inside its image, which ends the run"
        yield Found("max_length", why, "max_length=None")


@rule("VIS004", fields=["max_length"], traits=["reads_images"])
def options_allow_images(context: Context[SFT | DPO | KTO]) -> Iterator[Found]:
    """Some options are for texts only.

    What it does:
        For a dataset with images, refuses `truncation_mode="keep_end"` together with a `max_length`, and for DPO and
        KTO `precompute_ref_log_probs=True`.

    Why:
        The tokens of an image stand at the start of a row, which the one would cut off, and images are processed batch
        by batch, which the other would do ahead. TRL refuses both once the model is loaded.

    Example:
        ```python
        hft.DPO(model="Qwen/Qwen2.5-VL-3B-Instruct", dataset="openbmb/RLAIF-V-Dataset", precompute_ref_log_probs=True)
        ```

    Use instead:
        ```python
        hft.DPO(model="Qwen/Qwen2.5-VL-3B-Instruct", dataset="openbmb/RLAIF-V-Dataset")
        ```
    """
    spec = context.spec
    cuts = (
        context.field("truncation_mode", str) == "keep_end"
        and spec.is_set("max_length")
        and spec.max_length is not None
    )
    ahead = context.field("precompute_ref_log_probs", bool)
    if not (cuts or ahead) or not _need_images(context):
        return
    if cuts:
        yield Found("truncation_mode", "would cut off the image at the start of a row", "max_length=None")
    if ahead:
        why = "images are processed batch by batch, never ahead"
        yield Found("precompute_ref_log_probs", why, "precompute_ref_log_probs=False")
