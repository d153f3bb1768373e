"""Images: which runs have them, and what their scripts need."""

from __future__ import annotations

from hfjobs_trainer.facts import DatasetFacts
from hfjobs_trainer.specs.groups import Dataset
from hfjobs_trainer.specs.inputs import columns_left

IMAGE_COLUMNS = frozenset({"image", "images"})
"""Columns from which TRL reads images."""

PACKAGES = ("pillow", "torchvision")
"""Packages that the processors of vision models need besides those of every script."""


def has_images(dataset: Dataset, facts: DatasetFacts | None) -> bool | None:
    """Whether a dataset, or a part of a mixture, has images, judging by its columns; ``None`` if unknown."""
    if facts is None:
        return None
    found = [columns_left(part, known) for part, known in zip(dataset.parts, (facts, *facts.mixed_with), strict=False)]
    if any(IMAGE_COLUMNS & set(columns or ()) for columns in found):
        return True
    return None if None in found or len(found) < len(dataset.parts) else False
