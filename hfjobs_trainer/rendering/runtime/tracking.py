"""Tracking with trackio that no outage can turn into a failed training run."""

# needs: events

import contextvars
import hashlib
import os
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from hfjobs_trainer.rendering.runtime.events import report

TRACKIO_SECONDS = 120.0  # enough to create a Space; a hanging Hub costs no more


def track(
    project: str,
    name: str | None,
    group: str | None,
    space_id: str | None,
    private: bool,
    config: dict[str, Any],
    bucket_id: str | None = None,
) -> None:
    """Have `report_to="trackio"` log to one run in a group, retries included."""
    import trackio
    from huggingface_hub import get_token
    from transformers.integrations import integration_utils

    tracker: Any = trackio
    integrations: Any = integration_utils
    identity = os.environ.get("HFT_RUN_ID") or os.environ.get("JOB_ID")
    run_id = hashlib.sha256((identity or uuid.uuid4().hex).encode()).hexdigest()[:32]
    space_id = space_id or os.environ.pop("TRACKIO_SPACE_ID", None)

    def open_run(space_id: str | None) -> Any:
        run = tracker.init(
            project,
            name=name or f"run-{run_id[:6]}",
            group=group,
            space_id=space_id,
            private=private,
            bucket_id=bucket_id if space_id else None,
            resume="allow",
            embed=False,
            auto_log_gpu=False,
        )
        if run.id != run_id:  # new to trackio, or a namesake
            run.id, run._next_step = run_id, 0
        if tracker.gpu.gpu_available():  # only now that its metrics find their run
            run._gpu_monitor = tracker.gpu.GpuMonitor(run)
            run._gpu_monitor.start()
        return run

    def open_somewhere() -> Any:
        try:
            if space_id and not get_token():
                raise PermissionError("there is no HF_TOKEN")
            return within(TRACKIO_SECONDS, lambda: open_run(space_id))
        except Exception as error:  # noqa: BLE001 - no fault of a tracker ends a run
            where = f"Space {space_id}" if space_id else "the Hub"
            why = f"trackio cannot use {where}: {error!r:.200}"
            report("warning", message=f"{why}. Metrics stay on this machine.")
        # TRL logs to the current run, so there must be one: without asking the Hub.
        os.environ.pop("TRACKIO_SERVER_URL", None)
        tracker.run._get_default_namespace = lambda: None
        return open_run(None)

    class Tracking(integrations.TrackioCallback):
        def setup(self, args: Any, state: Any, model: Any = None, **_: Any) -> None:
            self._initialized = True
            if state.is_world_process_zero:
                self.run = open_somewhere()
                self.run.config.update({**args.to_dict(), **config})

        def on_log(self, args: Any, state: Any, *rest: Any, **more: Any) -> None:
            parent: Any = super()
            parent.on_log(args, state, *rest, **more)
            if state.is_world_process_zero:
                # Sent again with each row: trackio forgets it when a Space was away.
                self.run._config_logged = False

        def on_train_end(self, *_: Any, **__: Any) -> None:
            """Keep the run open: evaluate() and GRPO log after train() too."""

    integrations.INTEGRATION_TO_CALLBACK["trackio"] = Tracking


def within(seconds: float, call: Callable[[], Any]) -> Any:
    """Call something that may hang; keep what it sets in the context."""
    context, answer = contextvars.copy_context(), Future[Any]()

    def run() -> None:
        try:
            answer.set_result(context.run(call))
        except Exception as error:  # noqa: BLE001 - it is raised where it is awaited
            answer.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    result = answer.result(seconds)
    for variable, value in context.items():
        variable.set(value)
    return result
