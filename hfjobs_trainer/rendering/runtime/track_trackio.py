"""Tracking with trackio that no outage can turn into a failed training run."""

import hashlib
import os
import sys
from importlib import import_module
from multiprocessing.pool import ThreadPool
from typing import Any

from hfjobs_trainer.rendering.runtime.events import report
from hfjobs_trainer.rendering.runtime.mount import run_id

TRACKIO_SECONDS = 120.0  # enough to create a Space; a hanging Hub costs no more


def track(project: str, config: dict[str, Any], **options: Any) -> None:
    """Have `report_to="trackio"` log to one run in a group, retries included."""
    trackio: Any = import_module("trackio")
    integrations: Any = import_module("transformers.integrations.integration_utils")
    own = hashlib.sha256(run_id().encode() or os.urandom(16)).hexdigest()[:32]
    options["name"] = options.get("name") or f"run-{own[:6]}"
    space_id = options.get("space_id") or os.environ.pop("TRACKIO_SPACE_ID", None)

    def open_run(**place: Any) -> Any:
        always = {"resume": "allow", "embed": False, "auto_log_gpu": False}
        run = trackio.init(project, **{**options, **always, **place})
        if run.id != own:  # new to trackio, or a namesake
            run.id, run._next_step = own, 0
        if trackio.gpu.gpu_available():  # only now that its metrics find their run
            run._gpu_monitor = trackio.gpu.GpuMonitor(run)
            run._gpu_monitor.start()
        return run

    def open_somewhere() -> Any:
        try:
            if space_id and not import_module("huggingface_hub").get_token():
                raise PermissionError("there is no HF_TOKEN")
            with ThreadPool(1) as pool:
                opened = pool.apply_async(open_run, kwds={"space_id": space_id})
                return opened.get(TRACKIO_SECONDS)
        except Exception as error:  # noqa: BLE001 - no fault of a tracker ends a run
            where = f"Space {space_id}" if space_id else "the Hub"
            why = f"trackio cannot use {where}: {error!r:.200}"
            report("warning", message=f"{why}. Metrics stay on this machine.")
        # TRL logs to the current run, so there must be one: without asking the Hub.
        os.environ.pop("TRACKIO_SERVER_URL", None)
        trackio.run._get_default_namespace = lambda: None
        return open_run(space_id=None, bucket_id=None)

    class Tracking(integrations.TrackioCallback):
        run: Any = None

        def setup(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
            # Called before each row, since never counted as set up; open after train().
            if state.is_world_process_zero:
                self.run = self.run or open_somewhere()
                trackio.context_vars.current_run.set(self.run)
                self.run.config.update({**args.to_dict(), **config})
                self.run._config_logged = False  # a Space that was away forgets it

    integrations.INTEGRATION_TO_CALLBACK["trackio"] = Tracking


def end_tracking() -> None:
    """Send what is left."""
    trackio: Any = sys.modules.get("trackio")
    if trackio and trackio.context_vars.current_run.get():
        trackio.finish()
