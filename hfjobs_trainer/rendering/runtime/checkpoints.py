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
from contextlib import suppress
from importlib import import_module
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any

from hfjobs_trainer.rendering.runtime.clock import seconds_left
from hfjobs_trainer.rendering.runtime.events import report
from hfjobs_trainer.rendering.runtime.mount import (
    await_flush,
    copy_files,
    flush_seconds,
    run_folder,
    run_id,
)
from hfjobs_trainer.rendering.runtime.stopping import Stop


class Checkpoints:
    """The checkpoints of a run, which the first process of each machine keeps."""

    def __init__(self, trainer: Any, stop: Stop) -> None:
        args, self.trainer, self.stop, stop.keeper = trainer.args, trainer, stop, self
        self.args, self.folder, self.away = args, Path(args.output_dir), run_folder()
        # The trainer would delete a checkpoint before the next is whole.
        self.limit, args.save_total_limit = args.save_total_limit, None
        self.save_only, trainer._save_checkpoint = trainer._save_checkpoint, self.save
        self.is_first = args.local_process_index == 0
        self.pool, self.newest = ThreadPool(1), dict[str, Any]()
        self.last = self.kept = None

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
        began = time.time()
        self.save_only(*given, **named)
        self.trainer.accelerator.wait_for_everyone()  # others may still write
        if self.is_first and not self.stop.suspect:
            self.newest = self.describe()
            self.last = self.pool.apply_async(self.keep, (self.newest, began))

    def keep(self, told: dict[str, Any], began: float) -> None:
        """Make a checkpoint whole, copy it, and remove those that it replaces."""
        step, started = told["step"], time.time()
        if step not in (self.newest["step"], self.newest["best"]):
            return  # a newer one was saved while another was copied
        folder = self.folder / f"checkpoint-{step}"
        try:
            write_manifest(folder, told, self.args.process_index)
            if self.limit:
                rotate(self.folder, step, max(1, self.limit - bool(told["best"])), 1)
            if place := self.copy(folder, told):
                size = sum(size for size, _ in told["files"].values())
                took = round(time.time() - started, 1)
                report("kept", step=step, place=place, seconds=took, bytes=size)
            self.stop.seconds_to_keep = time.time() - began + flush_seconds()
            self.kept = step
        except Exception as error:  # noqa: BLE001 - the next one may be kept
            report("warning", message=f"Checkpoint {step} was not kept: {error!r:.300}")

    def copy(self, folder: Path, told: dict[str, Any]) -> str:
        """Copy a checkpoint to the mount, if there is one, and read it back."""
        if not self.away:
            return ""
        copy_files(folder, place := self.away / folder.name)
        seen, files = list_files(place), told["files"]
        if lost := [name for name in files if seen.get(name) != files[name]]:
            raise OSError(f"{lost[0]} on the mount is not what was written")
        rotate(self.away, told["step"], 2, told["nodes"])  # two: a mount writes late
        return str(place)

    def resume(self) -> str | None:
        """Put the newest whole checkpoint of this run on this disk; give its path."""

        def end(**_: Any) -> None:  # amid an epoch, it would take one step more
            self.trainer.control.should_training_stop = True

        gather, skipped = import_module("accelerate.utils").gather_object, list[str]()
        steps = list_steps(self.folder) + list_steps(self.away) if run_id() else []
        for step in sorted({*gather(steps)}, reverse=True):
            # All processes take the one that is whole on each machine.
            if any(flaws := gather([self.restore(step)])):
                skipped.append(f"checkpoint-{step}: {max(flaws)}")
                continue
            path = self.folder / f"checkpoint-{step}"
            told, self.kept = read_manifest(path), step
            require_same_batch(told, self.describe(), self.trainer)
            self.trainer._total_train_tokens = told["tokens"]
            if (best := told["best"]) and any(flaws := gather([self.restore(best)])):
                why = f"The best checkpoint, of step {best}, is {max(flaws)}"
                report("warning", message=f"{why}: it is not loaded at the end.")
            if step >= max(told["max_steps"], self.args.max_steps):
                self.trainer._run_epoch = end
            report("resumed", step=step, path=str(path), skipped=skipped)
            return str(path)
        if skipped or (self.away and self.away.is_dir()):
            why = "; ".join(skipped) or "no checkpoint was found"
            report("warning", message=f"Training begins anew: {why}")
        return None

    def restore(self, step: int) -> str:
        """Have a checkpoint whole on this disk; say why it is not, else nothing."""
        if not self.is_first:
            return ""
        folder = self.folder / f"checkpoint-{step}"
        try:
            flaw = find_flaw(folder, self.stop.every)
            if flaw and self.away and read_manifest(self.away / folder.name):
                copy_files(self.away / folder.name, folder)
                flaw = find_flaw(folder, self.stop.every)
            return flaw
        except Exception as error:  # noqa: BLE001 - there may be an older one
            return f"{error!r:.200}"

    def finish(self, seconds: float = 3600.0) -> int | None:
        """Wait while there is time until all is written; give the step that is kept."""
        until = time.time() + min(seconds, 0.9 * seconds_left())
        if self.last:
            self.last.wait(max(0.0, until - time.time()))
        await_flush(until)
        return self.kept

    def mark(self, told: dict[str, Any]) -> None:
        """Have a retry of this job end at once: see `stop_again`."""
        if self.is_first and self.away and (job := os.environ.get("JOB_ID")):
            self.away.mkdir(parents=True, exist_ok=True)
            (self.away / f"stopped-{job}.json").write_text(json.dumps(told), "utf-8")
            await_flush()

    def forget(self) -> None:
        """Remove what was kept away from here, since the model itself is safe."""
        if self.last:
            self.last.wait(max(0.0, min(3600.0, 0.9 * seconds_left())))
        if self.away and self.args.process_index == 0 and self.away.exists():
            shutil.rmtree(self.away, ignore_errors=True)
            time.sleep(max(0.0, min(flush_seconds(), 0.9 * seconds_left())))


def require_same_batch(then: dict[str, Any], now: dict[str, Any], trainer: Any) -> None:
    """End a run that would go on with other steps than those it began with."""
    was, size, batch = then["world_size"], now["world_size"], then["global_batch"]
    sharded = trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled
    if batch != now["global_batch"] or (sharded and was != size):
        sys.exit(
            f"Checkpoint {then['step']} is of {was} process(es), {batch} sequences per"
            f" step; here are {size}, {now['global_batch']}. Resume on as many GPUs,"
            f" with HFT_NUM_PROCESSES={was} if there are more."
        )
    if was != size:
        why = f"{size} process(es) go on where {was} stopped, with the same batches:"
        report("warning", message=f"{why} order, dropout and sampling may differ.")


def find_flaw(folder: Path, every: int) -> str:
    """Say why this run, exact every so many steps, cannot go on from a checkpoint."""
    if not (told := read_manifest(folder)):
        return "not whole"
    if told["run"] != run_id():
        return "of another run"
    if told["step"] % every and told["step"] < told["max_steps"]:
        return f"not after a multiple of {every} steps"
    seen, files = list_files(folder), told["files"]
    return next((f"damaged, {n}" for n in files if seen.get(n) != files[n]), "")


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
    part, told["files"] = folder / f"hft_manifest{node}.part", list_files(folder)
    part.write_text(json.dumps(told), "utf-8")
    part.replace(part.with_suffix(".json"))


def read_manifest(folder: Path, nodes: int | None = None) -> dict[str, Any]:
    """Give what a checkpoint consists of; nothing if it is not whole on all `nodes`."""
    with suppress(ValueError):  # cut short
        found = [json.loads(p.read_bytes()) for p in folder.glob("hft_manifest*.json")]
        if found and len(found) >= (nodes or found[0]["nodes"]):
            files = {k: v for each in found for k, v in each["files"].items()}
            return found[0] | {"files": files}
    return {}


def rotate(folder: Path, step: int, count: int, nodes: int) -> None:
    """Remove what is older than the `count` newest whole ones, but not their best."""
    steps = [each for each in list_steps(folder) if each <= step]
    told = {each: read_manifest(folder / f"checkpoint-{each}", nodes) for each in steps}
    kept = sorted(each for each in told if told[each])[-count:]
    for old in {*steps} - {told[each]["best"] for each in kept}:
        if kept and old < kept[0]:
            shutil.rmtree(folder / f"checkpoint-{old}", ignore_errors=True)


def list_steps(folder: Path | None) -> list[int]:
    """List the steps of the checkpoints in a folder, whole or not."""
    names = [path.name[11:] for path in folder.glob("checkpoint-*")] if folder else []
    return [int(name) for name in names if name.isdecimal()]
