"""The upload of the trained model."""

import os
import shutil
import time
from contextlib import suppress
from importlib import import_module
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

from hfjobs_trainer.rendering.runtime.audit import audit, model_files
from hfjobs_trainer.rendering.runtime.card import write_card
from hfjobs_trainer.rendering.runtime.events import report
from hfjobs_trainer.rendering.runtime.mount import await_flush, run_folder

PUSH_PAUSES = (5.0, 15.0, 45.0, 135.0)  # seconds before the second try, the third ...
PUSH_SECONDS = 600.0  # the longest wait for a try, beside a second for each 4 MB


def push(trainer: Any) -> None:
    """Save the model and upload it, with what its card says."""
    # All processes save, since each may hold a part; one uploads, and may try again.
    trainer.save_model(_internal_call=True)
    if trainer.is_world_process_zero():
        deliver(trainer, Path(trainer.args.output_dir).absolute())


def upload(trainer: Any, folder: Path | None, suffix: str = "") -> None:
    """Upload a model with its adapter merged in.

    Args:
        trainer: The trainer, done with training.
        folder: Where the model is; only the main process needs to know.
        suffix: What is added to the name of the trainer's repository; with none, the
            merged model takes the adapter's place.
    """
    if folder is not None and trainer.is_world_process_zero():
        deliver(trainer, folder, suffix)


def deliver(trainer: Any, folder: Path, suffix: str = "") -> None:
    """Push a saved model; if that cannot be, keep it where it outlasts the machine."""
    args, repo = trainer.args, trainer.hub_model_id + suffix
    branch = None if suffix else args.hub_revision
    try:
        write_card(trainer, folder, repo)
        commit_folder(trainer, folder, repo, branch)
    except Exception as error:  # noqa: BLE001 - whatever it is, the model is not lost
        place, sync, local = str(folder), "", f"'{folder}' . --exclude '*/*'"
        with suppress(OSError):
            if away := run_folder():
                for name in model_files(folder):
                    copy = away / f"model{suffix}" / name
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(folder / name, copy)
                await_flush()
                bucket = os.environ.get("HFT_BUCKET")
                place = f"hf://buckets/{bucket}/{away.name}/model{suffix}"
                sync, local = f"hf buckets sync {place} model && ", "model ."
        command = f"{sync}hf upload {repo} {local}"
        command += " --private" if args.hub_private_repo else ""
        command += f" --revision {branch}" if branch else ""
        report("rescued", place=place, command=command, why=f"{error!r:.300}")
        told = f"The model was not pushed, it is in {place}. To push it: {command}"
        trainer.lost = [*getattr(trainer, "lost", ()), told]


def commit_folder(trainer: Any, folder: Path, repo: str, branch: str | None) -> None:
    """Upload a saved model and audit it, again after each failure that may pass."""
    api: Any = import_module("huggingface_hub").HfApi(token=trainer.args.hub_token)
    names, failures = model_files(folder), list[Any]()
    what: dict[str, Any] = {"folder_path": folder, "allow_patterns": names}
    size = sum(Path(folder, name).stat().st_size for name in names)

    def send() -> tuple[Any, dict[str, str]]:
        api.create_repo(repo, private=trainer.args.hub_private_repo, exist_ok=True)
        if branch and not branch.startswith("refs/"):
            api.create_branch(repo, branch=branch, exist_ok=True)
        where = {"repo_id": repo, "revision": branch}
        commit = api.upload_folder(**what, **where, commit_message="End of training")
        return commit, audit(api, repo, commit.oid, folder)

    for pause in (*PUSH_PAUSES, None):
        try:
            with ThreadPool(1) as pool:  # this client may wait for an answer for ever
                commit, files = pool.apply_async(send).get(PUSH_SECONDS + size / 4e6)
        except Exception as error:
            if pause is None or not may_pass(error, failures):
                raise
            report("warning", message=f"Push again in {pause:g} s: {error!r:.300}")
            time.sleep(pause)
        else:
            place = {"repo": repo, "commit": commit.oid, "branch": branch}
            report("pushed", **place, url=str(commit.repo_url))
            report("audited", **place, files=files)
            return


def may_pass(error: Exception, failures: list[Any]) -> bool:
    """Tell whether another try may succeed, after the `failures` of those before."""
    response = getattr(error, "response", None)
    kind = getattr(response, "status_code", type(error).__name__)
    failures.append(kind)
    if kind in (404, "LookupError", "TimeoutError"):  # once only
        return failures.count(kind) == 1
    return not isinstance(kind, int) or kind >= 500 or kind in (408, 409, 412, 425, 429)
