"""The upload of the trained model, and what becomes of it if that fails."""

import os
import re
import time
from contextlib import suppress
from importlib import import_module
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

from hfjobs_trainer.rendering.runtime.card import write_card
from hfjobs_trainer.rendering.runtime.clock import within
from hfjobs_trainer.rendering.runtime.events import report
from hfjobs_trainer.rendering.runtime.mount import await_flush, copy_files, run_folder

PUSH_PAUSES = (5.0, 15.0, 45.0, 135.0)  # seconds before the second try, the third ...
PUSH_SECONDS = 600.0  # the longest wait for a try, beside a second for each 4 MB


def push(trainer: Any, folder: Path | None = None, suffix: str = "") -> None:
    """Push a saved model; if that cannot be, keep it where it outlasts the machine."""
    if not trainer.is_world_process_zero():
        return
    args, folder = trainer.args, folder or Path(trainer.args.output_dir).absolute()
    repo, branch = trainer.hub_model_id + suffix, None if suffix else args.hub_revision
    within(60, write_card, trainer, folder, repo)
    try:
        commit_folder(trainer, folder, repo, branch)
    except Exception as error:  # noqa: BLE001 - whatever it is, the model is not lost
        place, command = str(folder), f"hf upload {repo} '{folder}' . --exclude '*/*'"
        with suppress(OSError):
            if away := run_folder():
                copy_files(folder, away / f"model{suffix}", model_files(folder))
                await_flush()
                bucket = f"hf://buckets/{os.environ.get('HFT_BUCKET')}"
                place = f"{bucket}/{away.name}/model{suffix}"
                command = f"hf buckets sync {place} model && hf upload {repo} model ."
        command += " --private" if args.hub_private_repo else ""
        command += f" --revision {branch}" if branch else ""
        report("rescued", place=place, command=command, why=f"{error!r:.300}")
        told = f"The model was not pushed, it is in {place}. To push it: {command}"
        trainer.lost = [*getattr(trainer, "lost", ()), told]


def commit_folder(trainer: Any, folder: Path, repo: str, branch: str | None) -> None:
    """Upload a saved model and audit it, again after each failure that may pass."""
    api: Any = import_module("huggingface_hub").HfApi(token=trainer.args.hub_token)
    names, failures = model_files(folder), list[Any]()
    size = sum(Path(folder, name).stat().st_size for name in names)

    def send() -> None:
        api.create_repo(repo, private=trainer.args.hub_private_repo, exist_ok=True)
        if branch and not branch.startswith("refs/"):
            api.create_branch(repo, branch=branch, exist_ok=True)
        what = {"folder_path": folder, "allow_patterns": names}
        done = {"revision": branch, "commit_message": "End of training"}
        commit = api.upload_folder(repo_id=repo, **what, **done)
        at = {"repo_id": repo, "revision": commit.oid}
        seen = api.verify_repo_checksums(**at, local_dir=folder)
        wrong = {*seen.extra_paths, *(each["path"] for each in seen.mismatches)}
        if lacking := sorted(wrong & {*names}):
            raise LookupError(f"{repo} at {commit.oid} lacks these as saved: {lacking}")
        place = {"repo": repo, "commit": commit.oid, "branch": branch}
        report("pushed", **place, url=str(commit.repo_url))
        files = api.get_paths_info(paths=names, **at)
        files = {x.path: x.lfs.sha256 if x.lfs else x.blob_id for x in files}
        report("audited", **place, files=files)

    for pause in (*PUSH_PAUSES, None):
        try:
            with ThreadPool(1) as pool:  # this client may wait for an answer for ever
                pool.apply_async(send).get(PUSH_SECONDS + size / 4e6)
            return
        except Exception as error:
            if pause is None or not may_pass(error, failures):
                raise
            report("warning", message=f"Push again in {pause:g} s: {error!r:.300}")
            time.sleep(pause)


def may_pass(error: Exception, failures: list[Any]) -> bool:
    """Tell whether another try may succeed, after the `failures` of those before."""
    said = re.search(r"\b40[134]\b", str(error))  # an upload's error has no response
    kind = int(said[0]) if said else type(error).__name__
    kind = getattr(getattr(error, "response", None), "status_code", kind)
    failures.append(kind)
    if kind in (404, "LookupError", "TimeoutError"):  # once only
        return failures.count(kind) == 1
    return not isinstance(kind, int) or kind >= 500 or kind in (408, 409, 412, 425, 429)


def model_files(folder: Path) -> list[str]:
    """Name the files of a saved model, without what else lies in its folder."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    others = ("_", ".", "checkpoint-", "merged/", "ref/")
    return sorted(n for path in paths if not (n := path.as_posix()).startswith(others))
