"""What is raised where something cannot travel."""

from __future__ import annotations


class CaptureError(ValueError):
    """Something cannot travel into a script; the message names it and says what to type instead."""
