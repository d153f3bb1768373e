"""Tracking with Weights & Biases that no outage can turn into a failed training run."""

import hashlib
import os
import sys
import uuid
from typing import Any

from hfjobs_trainer.rendering.runtime.events import report


def track(
    project: str, name: str | None, group: str | None, config: dict[str, Any]
) -> None:
    """Have `report_to="wandb"` log to one run in a group, retries included."""
    from transformers.integrations import integration_utils

    integrations: Any = integration_utils
    identity = os.environ.get("HFT_RUN_ID") or os.environ.get("JOB_ID")
    digest = hashlib.sha256((identity or uuid.uuid4().hex).encode())
    wanted: dict[str, Any] = {
        "id": digest.hexdigest()[:32],
        "resume": "allow",
        "project": project,
        "name": name,
        "group": group,
        "config": config,
    }

    class Tracking(integrations.WandbCallback):
        def setup(self, args: Any, state: Any, model: Any = None, **rest: Any) -> None:
            wandb = self._wandb
            if state.is_world_process_zero and wandb.run is None:
                try:
                    wandb.init(**wanted)
                except Exception as error:  # noqa: BLE001 - no fault of a tracker ends a run
                    why = f"Weights & Biases cannot be used: {error!r:.200}"
                    kept = "Metrics stay on this machine"
                    report(
                        "warning", message=f"{why}. {kept}: `wandb sync` sends them."
                    )
                    # A run that was once online is not resumed offline.
                    wandb.init(**{**wanted, "resume": None}, mode="offline")
            parent: Any = super()
            parent.setup(args, state, model, **rest)

    integrations.INTEGRATION_TO_CALLBACK["wandb"] = Tracking


def end_tracking() -> None:
    """Send what is left."""
    wandb: Any = sys.modules.get("wandb")
    if wandb and wandb.run:
        wandb.finish()
