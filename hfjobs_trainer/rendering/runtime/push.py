"""The upload of the trained model."""

import time
from importlib import import_module
from pathlib import Path
from typing import Any

from hfjobs_trainer.rendering.runtime.card import write_card
from hfjobs_trainer.rendering.runtime.events import report

PUSH_PAUSES = (5.0, 15.0, 45.0, 135.0)  # seconds before the second try, the third ...


def push(trainer: Any) -> None:
    """Save the model and upload it, with what its card says."""
    # All processes save, since each may hold a part; one uploads, and may try again.
    trainer.save_model(_internal_call=True)
    if trainer.is_world_process_zero():
        repo, branch = trainer.hub_model_id, trainer.args.hub_revision
        folder = Path(trainer.args.output_dir).absolute()
        write_card(trainer, folder, repo)
        commit_folder(trainer, folder, repo, branch)


def upload(trainer: Any, folder: Path | None, suffix: str = "") -> None:
    """Upload a model with its adapter merged in.

    Args:
        trainer: The trainer, done with training.
        folder: Where the model is; only the main process needs to know.
        suffix: What is added to the name of the trainer's repository; with none, the
            merged model takes the adapter's place.
    """
    if folder is None or not trainer.is_world_process_zero():
        return
    repo, branch = trainer.hub_model_id + suffix, trainer.args.hub_revision
    write_card(trainer, folder, repo)
    commit_folder(trainer, folder, repo, None if suffix else branch)


def commit_folder(trainer: Any, folder: Path, repo: str, branch: str | None) -> None:
    """Upload a saved model, again after each failure that may pass."""
    api: Any = import_module("huggingface_hub").HfApi(token=trainer.args.hub_token)
    what: dict[str, Any] = {"repo_id": repo, "folder_path": folder, "revision": branch}
    what["ignore_patterns"] = ["_*", "checkpoint-*", "merged/*", "ref/*"]
    for pause in (*PUSH_PAUSES, None):
        try:
            api.create_repo(repo, private=trainer.args.hub_private_repo, exist_ok=True)
            commit = api.upload_folder(**what, commit_message="End of training")
            report("pushed", repo=repo, url=str(commit.repo_url))
            return
        except Exception as error:
            if pause is None or not may_pass(error):
                lost = f"The model was not pushed; it is in {folder}: {error!r:.300}"
                report("warning", message=lost)
                raise
            report("warning", message=f"Push again in {pause:g} s: {error!r:.300}")
            time.sleep(pause)


def may_pass(error: Exception) -> bool:
    """Tell whether the Hub may answer differently in a minute."""
    status = getattr(getattr(error, "response", None), "status_code", 500)
    return status >= 500 or status in (408, 409, 412, 425, 429)
