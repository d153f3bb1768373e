"""Tracking with MLflow that no outage can turn into a failed training run."""

import os
import sys
import uuid
from typing import Any

from hfjobs_trainer.rendering.runtime.events import report


def track(
    project: str, name: str | None, group: str | None, config: dict[str, Any]
) -> None:
    """Have `report_to="mlflow"` log to one run in a group, retries included."""
    from transformers.integrations import integration_utils

    integrations: Any = integration_utils
    identity = os.environ.get("HFT_RUN_ID") or os.environ.get("JOB_ID")
    run_id = identity or uuid.uuid4().hex
    tags = {"hft_run_id": run_id, **config} | ({"group": group} if group else {})

    def open_run(mlflow: Any) -> None:
        mlflow.set_experiment(project)
        found = mlflow.search_runs(
            filter_string=f"tags.hft_run_id = '{run_id}'", output_format="list"
        )
        mlflow.start_run(
            run_id=found[0].info.run_id if found else None,
            run_name=name or f"run-{run_id[:6]}",
            tags=tags,
        )

    class Tracking(integrations.MLflowCallback):
        def setup(self, args: Any, state: Any, model: Any) -> None:
            mlflow = self._ml_flow
            if state.is_world_process_zero and mlflow.active_run() is None:
                try:
                    open_run(mlflow)
                except Exception as error:  # noqa: BLE001 - no fault of a tracker ends a run
                    # Its words may quote the address, and that may hold a password.
                    why = f"MLflow cannot be used: {type(error).__name__}"
                    kept = "Metrics stay on this machine, in mlflow.db"
                    report("warning", message=f"{why}. {kept}.")
                    os.environ["MLFLOW_TRACKING_URI"] = "sqlite:///mlflow.db"
                    mlflow.set_tracking_uri("sqlite:///mlflow.db")
                    open_run(mlflow)
            parent: Any = super()
            parent.setup(args, state, model)

    integrations.INTEGRATION_TO_CALLBACK["mlflow"] = Tracking


def end_tracking() -> None:
    """Send what is left."""
    mlflow: Any = sys.modules.get("mlflow")
    if mlflow and mlflow.active_run():
        mlflow.flush_async_logging()
        mlflow.end_run()
