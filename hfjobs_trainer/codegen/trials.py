"""Generator of the table of what a trial finds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hfjobs_trainer.trying.reward_findings import CODES


def reward_problems(page: Mapping[str, Any]) -> str:
    """Codes of problems that ``try_rewards`` finds."""
    return "\n".join(
        ["| Code | What it means |", "|---|---|", *(f"| {code} | {text} |" for code, text in CODES.items())]
    )
