"""Rows whose text a function of the user's own makes."""

from __future__ import annotations

from pydantic import Field

from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.rewards import RowFunction


class FormattedSpec(TrainSpec):
    """Base of the methods whose trainer makes the text of a row with a function."""

    formatting_func: RowFunction | None = Field(
        default=None, description="Function that is given a row and returns its text, which is trained on."
    )
