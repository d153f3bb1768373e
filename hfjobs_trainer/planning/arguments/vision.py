"""Images: which runs have them, and what follows for the script."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hfjobs_trainer.facts import DatasetFacts, Facts
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.groups import Dataset
from hfjobs_trainer.specs.inputs import columns_left

IMAGE_COLUMNS = frozenset({"image", "images"})
"""Columns in which TRL looks for images."""

PACKAGES = ("pillow", "torchvision")
"""What the processors of vision models need beside the packages of every script."""


def has_images(dataset: Dataset, facts: DatasetFacts | None) -> bool | None:
    """Whether a dataset, or a part of a mixture, has images, by the columns that are left; ``None`` where unknown."""
    if facts is None:
        return None
    found = [columns_left(part, known) for part, known in zip(dataset.parts, (facts, *facts.mixed_with), strict=False)]
    if any(IMAGE_COLUMNS & set(columns or ()) for columns in found):
        return True
    return None if None in found or len(found) < len(dataset.parts) else False


def sees(spec: TrainSpec, facts: Facts) -> bool:
    """Whether the model is a vision model, or must be one for its dataset."""
    return bool(facts.model.is_vision or has_images(spec.dataset, facts.dataset))


def vision_arguments(spec: TrainSpec, facts: Facts, decide: Callable[[str, Any, str], Any]) -> dict[str, Any]:
    """Arguments of TRL's config that images ask for and the user left open."""
    cuts = "max_length" in type(spec).model_fields and not spec.is_set("max_length")
    if not cuts or not sees(spec, facts) or has_images(spec.dataset, facts.dataset) is False:
        return {}
    why = "a row that is cut may lose the tokens of its image"
    return {"max_length": decide("max_length", None, why)}


def chooses_targets(spec: TrainSpec, facts: Facts) -> bool:
    """Whether a new adapter needs its modules named: PEFT has no choice of its own for most vision models."""
    lora = spec.lora
    if lora is None or lora.continues or lora.target_modules or lora.target_parameters:
        return False
    return sees(spec, facts)
