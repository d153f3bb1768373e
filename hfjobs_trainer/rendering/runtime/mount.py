"""A run's folder in the mounted bucket, where it keeps what outlives its machine."""

import json
import os
import shutil
import sys
import time
from contextlib import suppress
from pathlib import Path

from hfjobs_trainer.rendering.runtime.events import report


def stop_again() -> None:
    """End a retry of a job that was stopped for good, as it ended then."""
    job = os.environ.get("JOB_ID")
    if (folder := run_folder()) and (mark := folder / f"stopped-{job}.json").is_file():
        told = json.loads(mark.read_bytes())
        report("stopped", **told)
        sys.exit(told["code"])


def run_id() -> str:
    """Give what a run shares with those that resume it; nothing if started by hand."""
    return os.environ.get("HFT_RUN_ID") or os.environ.get("JOB_ID") or ""


def run_folder() -> Path | None:
    """Give this run's folder in the mounted bucket, if one is mounted."""
    mount = Path(os.environ.get("HFT_CHECKPOINTS") or os.devnull)
    return mount / run_id() if run_id() and mount.is_dir() else None


def copy_files(source: Path, target: Path, names: list[str] | None = None) -> None:
    """Copy some files of a folder, or all; the manifest of a checkpoint comes last."""
    paths = map(source.joinpath, names) if names else source.rglob("*")
    files = [path for path in paths if path.is_file()]
    for path in sorted(files, key=lambda path: path.name.startswith("hft_manifest")):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def flush_seconds() -> float:
    """Give how long after it was written a mount may send a file."""
    return float(os.environ.get("HFT_FLUSH_SECONDS", "35")) if run_folder() else 0.0


def await_flush(until: float = float("inf")) -> None:
    """Wait until the mount has sent what was written last."""
    if (folder := run_folder()) and folder.is_dir():
        last = now = time.time()
        with suppress(OSError):  # another process may be removing what is old
            last = max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
        until = min(until, min(last, now) + flush_seconds())
        time.sleep(max(0.0, until - time.time()))
