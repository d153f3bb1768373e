"""Checkpoints kept in the output repository, where no bucket is mounted."""

import json
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

from hfjobs_trainer.rendering.runtime.checkpoints import Checkpoints
from hfjobs_trainer.rendering.runtime.events import report
from hfjobs_trainer.rendering.runtime.mount import run_id

LAST = "last-checkpoint"  # the folder in the repository, as the trainer names it


class HubCheckpoints(Checkpoints):
    """The newest checkpoint of a run, in a folder of its repository.

    Attributes:
        found: Step and commit of the one that was there when this process started.
    """

    found: tuple[int, str] = (-1, "")

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

    def find_steps(self) -> list[int]:
        """List the steps of which there may be a checkpoint."""
        _, api, where = self.hub()
        try:
            where["revision"] = commit = api.repo_info(**where).sha
            path = api.hf_hub_download(**where, filename=f"{LAST}/hft_manifest.json")
            told = json.loads(Path(path).read_bytes())
            if told["run"] == run_id():
                self.found = told["step"], commit
        except Exception as error:  # noqa: BLE001 - most often there is none yet
            status = getattr(getattr(error, "response", None), "status_code", None)
            if status != 404:
                why = (
                    f"{where['repo_id']} was not asked for a checkpoint: {error!r:.300}"
                )
                report("warning", message=why)
        return [*super().find_steps(), *[step for step in self.found[:1] if step > 0]]

    def fetch(self, folder: Path) -> bool:
        """Download a checkpoint, if it is the one that is there."""
        step, commit = self.found
        if folder.name != f"checkpoint-{step}":
            return False
        _, api, where = self.hub()
        where["revision"] = commit
        place = self.folder / "downloaded"
        api.snapshot_download(**where, allow_patterns=f"{LAST}/*", local_dir=place)
        shutil.rmtree(folder, ignore_errors=True)
        (place / LAST).rename(folder)
        shutil.rmtree(place)
        return True

    def clear(self) -> None:
        """Remove the checkpoint from the repository."""
        _, api, where = self.hub()
        try:
            api.delete_folder(LAST, **where, commit_message="Training has ended")
        except Exception as error:  # noqa: BLE001 - it is of no use, and of no harm
            why = f"{LAST} stays in {where['repo_id']}: {error!r:.300}"
            report("warning", message=why)
