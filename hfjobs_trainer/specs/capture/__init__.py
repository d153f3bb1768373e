"""Functions and classes of the user's own, captured as source: their own text, and all that it leans on.

Nothing of the user's is run for it, and no value but literals is written down.
"""

from __future__ import annotations

from hfjobs_trainer.specs.capture.errors import CaptureError
from hfjobs_trainer.specs.capture.shape import Captured, capture_callable, capture_class_of

__all__ = ["CaptureError", "Captured", "capture_callable", "capture_class_of"]
