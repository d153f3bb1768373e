"""The bucket that checkpoints go to, by the names that planner and backend share."""

from __future__ import annotations

BUCKET = "hft-checkpoints"
"""The private bucket of a namespace's checkpoints, one folder for each run."""
MOUNT = "/hft/checkpoints"
"""Where a job sees it."""
