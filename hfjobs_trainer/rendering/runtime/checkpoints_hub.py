"""Checkpoints kept in the output repository, where no bucket is mounted."""

import json
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

from hfjobs_trainer.rendering.runtime.checkpoints import Checkpoints, find_flaw
from hfjobs_trainer.rendering.runtime.events import report
from hfjobs_trainer.rendering.runtime.mount import run_id

LAST = "last-checkpoint"  # the folder in the repository, as the trainer names it


class HubCheckpoints(Checkpoints):
    """The newest checkpoint of a run, in a folder of its repository."""

    def hub(self) -> tuple[Any, Any, dict[str, Any]]:
        """Give the library, a client, and which repository and branch is meant."""
        hub: Any = import_module("huggingface_hub")
        repo, branch = self.trainer.hub_model_id, self.args.hub_revision
        where = {"repo_id": repo, "revision": branch}
        return hub, hub.HfApi(token=self.args.hub_token), where

    def copy(self, folder: Path, told: dict[str, Any]) -> str:
        """Put a checkpoint in the place of the one before, in one commit."""
        hub, api, where = self.hub()
        paths = [path for path in folder.rglob("*") if path.is_file()]
        files = {
            f"{LAST}/{path.relative_to(folder).as_posix()}": path for path in paths
        }
        old = {
            name for name in api.list_repo_files(**where) if name.startswith(f"{LAST}/")
        }
        changes = [hub.CommitOperationAdd(name, path) for name, path in files.items()]
        changes += [hub.CommitOperationDelete(name) for name in old - files.keys()]
        what = f"Checkpoint of step {told['step']}"
        api.create_commit(**where, operations=changes, commit_message=what)
        return f"{where['repo_id']}/{LAST}"

    def resume(self) -> str | None:
        """Put the newest whole checkpoint of this run on this disk; give its path."""
        if self.is_first and run_id():
            self.fetch()
        return super().resume()

    def fetch(self) -> None:
        """Download the checkpoint that is there, if it is this run's and not here."""
        _, api, where = self.hub()
        try:
            where["revision"] = api.repo_info(**where).sha
            path = api.hf_hub_download(**where, filename=f"{LAST}/hft_manifest.json")
            told = json.loads(Path(path).read_bytes())
            folder = self.folder / f"checkpoint-{told['step']}"
            if told["run"] == run_id() and find_flaw(folder, self.stop.every):
                place = self.folder / "downloaded"
                api.snapshot_download(
                    **where, allow_patterns=f"{LAST}/*", local_dir=place
                )
                shutil.rmtree(folder, ignore_errors=True)
                (place / LAST).rename(folder)
                shutil.rmtree(place)
        except Exception as error:  # noqa: BLE001 - most often there is none yet
            status = getattr(getattr(error, "response", None), "status_code", None)
            if status != 404:
                why = f"no checkpoint was had of {where['repo_id']}: {error!r:.300}"
                report("warning", message=why)

    def forget(self) -> None:
        """Remove the checkpoint from the repository, where the model itself is now."""
        self.finish()
        if self.args.process_index == 0:
            _, api, where = self.hub()
            try:
                api.delete_folder(LAST, **where, commit_message="Training has ended")
            except Exception as error:  # noqa: BLE001 - of no use, and of no harm
                why = f"{LAST} stays in {where['repo_id']}: {error!r:.300}"
                report("warning", message=why)
