"""Checkpoints that outlive their machine, and the way back to the newest whole one.

A checkpoint is whole once a manifest lies in its folder, with the size and digest of
each file, written after them all. What has none does not exist for a resume.
"""

import hashlib
import json
import os
import shutil
import sys
import time
from importlib import import_module
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

from hfjobs_trainer.rendering.runtime.events import report
from hfjobs_trainer.rendering.runtime.mount import (
    await_flush,
    flush_seconds,
    run_folder,
    run_id,
)
from hfjobs_trainer.rendering.runtime.stopping import Stop


class Checkpoints:
    """The checkpoints of a run, which the first process of each machine keeps."""

    def __init__(self, trainer: Any, stop: Stop) -> None:
        args, self.trainer, self.stop, stop.keeper = trainer.args, trainer, stop, self
        self.args, self.folder, self.kept = args, Path(args.output_dir), None
        # The trainer would delete a checkpoint before the next is whole.
        self.limit, args.save_total_limit = args.save_total_limit, None
        self.save_only, trainer._save_checkpoint = trainer._save_checkpoint, self.save
        self.pool, self.newest, self.last = ThreadPool(1), dict[str, Any](), None
        self.is_first = args.local_process_index == 0

    def describe(self) -> dict[str, Any]:
        """Say how far this run is, and what a resumed one must share with it."""
        args, state, size = self.args, self.trainer.state, self.args.world_size
        batch = args.per_device_train_batch_size * args.gradient_accumulation_steps
        told = {"run": run_id(), "world_size": size, "global_batch": batch * size}
        told["nodes"] = size // int(os.environ.get("LOCAL_WORLD_SIZE") or size)
        told |= {"step": state.global_step, "max_steps": state.max_steps}
        tokens = getattr(self.trainer, "_total_train_tokens", 0)
        return told | {"best": state.best_global_step, "tokens": tokens}

    def save(self, *given: Any, **named: Any) -> None:
        """Save as the trainer does; make it whole while training goes on."""
        started = time.time()
        self.save_only(*given, **named)
        self.trainer.accelerator.wait_for_everyone()  # others may still write
        if self.is_first and not self.stop.suspect:
            self.newest, took = self.describe(), time.time() - started
            self.last = self.pool.apply_async(self.keep, (self.newest, took))

    def keep(self, told: dict[str, Any], took: float) -> None:
        """Make a checkpoint whole, copy it, and remove those that it replaces."""
        started, step = time.time(), told["step"]
        if step not in (self.newest["step"], self.newest["best"]):
            return  # a newer one was saved while another was copied
        folder = self.folder / f"checkpoint-{step}"
        try:
            told["files"] = list_files(folder)
            write_manifest(folder, told, self.args.process_index)
            if self.limit:
                rotate(self.folder, step, max(1, self.limit - bool(told["best"])), 1)
            if place := self.copy(folder, told):
                seconds = round(time.time() - started, 1)
                size = sum(size for size, _ in told["files"].values())
                report("kept", step=step, place=place, seconds=seconds, bytes=size)
            took += time.time() - started + flush_seconds()
            self.kept, self.stop.seconds_to_keep = step, took
        except Exception as error:  # noqa: BLE001 - the next one may be kept
            report("warning", message=f"Checkpoint {step} was not kept: {error!r:.300}")

    def copy(self, folder: Path, told: dict[str, Any]) -> str:
        """Copy a checkpoint to the mount, if there is one, and read it back."""
        if (away := run_folder()) is None:
            return ""
        copy_files(folder, away / folder.name)
        seen = list_files(away / folder.name)
        for name, content in told["files"].items():
            if seen.get(name) != content:
                raise OSError(f"{name} on the mount is not what was written")
        rotate(away, told["step"], 2, told["nodes"])  # two: a mount writes late
        return str(away / folder.name)

    def resume(self) -> str | None:
        """Put the newest whole checkpoint of this run on this disk; give its path."""
        gather, skipped = import_module("accelerate.utils").gather_object, list[str]()
        steps = gather(self.find_steps() if self.is_first and run_id() else [])
        for step in sorted(set(steps), reverse=True):
            # All processes take the one that is whole on each machine.
            if not any(flaws := gather([self.restore(step)])):
                break
            skipped.append(f"checkpoint-{step}: {max(flaws)}")
        else:
            if skipped:
                report("warning", message=f"Training begins anew: {'; '.join(skipped)}")
            return None
        path = self.folder / f"checkpoint-{step}"
        told, self.kept = read_manifest(path), step
        require_same_batch(told, self.describe(), self.trainer)
        self.trainer._total_train_tokens = told["tokens"]
        if (best := told["best"]) and any(flaws := gather([self.restore(best)])):
            why = f"The best checkpoint, of step {best}, is {max(flaws)}"
            report("warning", message=f"{why}: it is not loaded at the end.")
        if step >= told["max_steps"]:  # amid an epoch, it would take one step more
            self.trainer._run_epoch = self.end
        report("resumed", step=step, path=str(path), skipped=skipped)
        return str(path)

    def find_steps(self) -> list[int]:
        """List the steps of which there may be a checkpoint."""
        return [*list_steps(self.folder), *list_steps(run_folder())]

    def restore(self, step: int) -> str:
        """Have a checkpoint whole on this disk; say why it is not, else nothing."""
        folder, every = self.folder / f"checkpoint-{step}", self.stop.every
        try:
            flaw = find_flaw(folder, every) if self.is_first else ""
            return find_flaw(folder, every) if flaw and self.fetch(folder) else flaw
        except Exception as error:  # noqa: BLE001 - there may be an older one
            return f"{error!r:.200}"

    def fetch(self, folder: Path) -> bool:
        """Copy a checkpoint from the mount, if it seems whole there."""
        if (away := run_folder()) is None or not read_manifest(away / folder.name):
            return False
        copy_files(away / folder.name, folder)
        return True

    def end(self, **_: Any) -> None:
        """Take the place of an epoch where none is left to train."""
        self.trainer.control.should_training_stop = True

    def finish(self, seconds: float = 3600.0) -> int | None:
        """Wait until all is written, not longer than so; give the step that is kept."""
        until = time.time() + min(seconds, 3600.0)
        if self.last:
            self.last.wait(max(0.0, until - time.time()))
        await_flush(until)
        return self.kept

    def forget(self) -> None:
        """Remove what was kept away from here, since the model itself is safe."""
        self.finish()
        if (away := run_folder()) and self.args.process_index == 0:
            shutil.rmtree(away, ignore_errors=True)


def require_same_batch(then: dict[str, Any], now: dict[str, Any], trainer: Any) -> None:
    """End a run that would go on with other steps than those it began with."""
    was, size, batch = then["world_size"], now["world_size"], then["global_batch"]
    sharded = trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled
    if batch != now["global_batch"] or (sharded and was != size):
        sys.exit(
            f"Checkpoint {then['step']} is of {was} process(es) and {batch} sequences"
            f" per step; {size} and {now['global_batch']} are another training. Resume"
            f" on as many GPUs, with HFT_NUM_PROCESSES={was} if there are more"
            f"{'' if sharded else f', or set global_batch_size={batch}'}."
        )
    if was != size:
        why = f"{size} process(es) go on where {was} stopped, with the same batches:"
        what = "order within a step, dropout and sampling may differ."
        report("warning", message=f"{why} {what}")


def find_flaw(folder: Path, every: int) -> str:
    """Say why this run, exact every so many steps, cannot go on from a checkpoint."""
    if not (told := read_manifest(folder)):
        return "not whole"
    if told["run"] != run_id():
        return "of another run"
    if told["step"] % every and told["step"] < told["max_steps"]:
        return f"not after a multiple of {every} steps"
    seen, files = list_files(folder), told["files"]
    damaged = [name for name in files if seen.get(name) != files[name]]
    return f"damaged, {damaged[0]}" if damaged else ""


def list_files(folder: Path) -> dict[str, Any]:
    """Give size and digest of each file of a checkpoint."""
    files: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith("hft_manifest"):
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            files[path.relative_to(folder).as_posix()] = [path.stat().st_size, digest]
    return files


def write_manifest(folder: Path, told: dict[str, Any], rank: int) -> None:
    """Declare a checkpoint whole; of several machines, each for its own files."""
    node = f"-{rank * told['nodes'] // told['world_size']}" if told["nodes"] > 1 else ""
    part = folder / f"hft_manifest{node}.part"
    part.write_text(json.dumps(told), "utf-8")
    part.replace(part.with_suffix(".json"))


def read_manifest(folder: Path, nodes: int | None = None) -> dict[str, Any]:
    """Give what a checkpoint consists of; nothing if it is not whole on all `nodes`."""
    try:
        found = [json.loads(p.read_bytes()) for p in folder.glob("hft_manifest*.json")]
    except ValueError:
        return {}
    if not found or len(found) < (nodes or found[0]["nodes"]):
        return {}
    return found[0] | {
        "files": {k: v for each in found for k, v in each["files"].items()}
    }


def copy_files(source: Path, target: Path) -> None:
    """Copy a checkpoint, its manifest last."""
    files = [path for path in source.rglob("*") if path.is_file()]
    for path in sorted(files, key=lambda path: path.name.startswith("hft_manifest")):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def rotate(folder: Path, step: int, count: int, nodes: int) -> None:
    """Remove what is older than the `count` newest whole ones, but not their best."""
    steps = [each for each in list_steps(folder) if each <= step]
    told = {each: read_manifest(folder / f"checkpoint-{each}", nodes) for each in steps}
    kept = sorted(each for each in told if told[each])[-count:]
    for old in set(steps) - {told[each]["best"] for each in kept}:
        if kept and old < kept[0]:
            shutil.rmtree(folder / f"checkpoint-{old}", ignore_errors=True)


def list_steps(folder: Path | None) -> list[int]:
    """List the steps of the checkpoints in a folder, whole or not."""
    names = [path.name[11:] for path in folder.glob("checkpoint-*")] if folder else []
    return [int(name) for name in names if name.isdecimal()]
