"""Tracking in TensorBoard's files."""

import os


def track(folder: str) -> None:
    """Have `report_to="tensorboard"` write into one folder, retries included."""
    os.environ["TENSORBOARD_LOGGING_DIR"] = folder
