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

from hfjobs_trainer.rendering.runtime.events import report
from hfjobs_trainer.rendering.runtime.mount import (
    await_flush,
    flush_seconds,
    run_folder,
    run_id,
)
from hfjobs_trainer.rendering.runtime.stopping import Stop

COPY_SECONDS = 3600.0  # the longest wait for a copy when all else is done


class Checkpoints:
    """The checkpoints of a run, kept by the first process of each machine.

    Attributes:
        kept: Step of the newest that is whole: on the mount, if there is one.
    """

    def __init__(self, trainer: Any, stop: Stop) -> None:
        self.trainer, self.stop, self.args = trainer, stop, trainer.args
        stop.keeper, self.folder = self, Path(self.args.output_dir)
        self.newest, self.kept, self.to_save = dict[str, Any](), None, 0.0
        # The trainer would delete a checkpoint before the next is whole.
        self.limit, self.args.save_total_limit = self.args.save_total_limit, None
        self.save_only, trainer._save_checkpoint = trainer._save_checkpoint, self.save
        self.pool, self.copies = ThreadPool(1), list[Any]()
        self.is_first = self.args.local_process_index == 0

    def describe(self) -> dict[str, Any]:
        """Say how far this run is, and what a resumed one must share with it."""
        args, state, size = self.args, self.trainer.state, self.args.world_size
        batch = args.per_device_train_batch_size * args.gradient_accumulation_steps
        nodes = size // int(os.environ.get("LOCAL_WORLD_SIZE") or size)
        told = {"run": run_id(), "step": state.global_step, "nodes": nodes}
        told |= {"world_size": size, "global_batch": batch * size}
        tokens = getattr(self.trainer, "_total_train_tokens", 0)
        told |= {"max_steps": state.max_steps, "tokens": tokens}
        return told | {"best": state.best_global_step}

    def save(self, *given: Any, **named: Any) -> None:
        """Save as the trainer does; make it whole while training goes on."""
        started = time.time()
        self.save_only(*given, **named)
        self.trainer.accelerator.wait_for_everyone()  # others may still write
        self.to_save = time.time() - started
        if self.is_first and not self.stop.suspect:
            self.newest = self.describe()
            self.copies.append(self.pool.apply_async(self.keep, (self.newest,)))

    def keep(self, told: dict[str, Any]) -> None:
        """Make a checkpoint whole, copy it, and remove those that it replaces."""
        started, step = time.time(), told["step"]
        if step not in (self.newest["step"], self.newest["best"]):
            return  # a newer one was saved while another was copied
        folder = self.folder / f"checkpoint-{step}"
        try:
            told["files"] = files = list_files(folder)
            write_manifest(folder, told, self.args.process_index)
            if self.limit:
                rotate(self.folder, step, max(1, self.limit - bool(told["best"])), 1)
            if place := self.copy(folder, told):
                took = round(time.time() - started, 1)
                size = sum(size for size, _ in files.values())
                report("kept", step=step, place=place, seconds=took, bytes=size)
            took = self.to_save + time.time() - started
            self.kept, self.stop.seconds_to_keep = step, took + flush_seconds()
        except Exception as error:  # noqa: BLE001 - the next one may be kept
            report("warning", message=f"Checkpoint {step} was not kept: {error!r:.300}")

    def copy(self, folder: Path, told: dict[str, Any]) -> str:
        """Copy a checkpoint to the mount, if there is one, and read it back."""
        if (away := run_folder()) is None:
            return ""
        copy_files(folder, away / folder.name)
        if damage := find_damage(away / folder.name, told["files"]):
            raise OSError(f"{damage} on the mount is not what was written")
        rotate(away, told["step"], 2, told["nodes"])  # two: a mount writes late
        return str(away / folder.name)

    def resume(self) -> str | None:
        """Put the newest whole checkpoint of this run on this disk; give its path."""
        asks = run_id() and self.is_first  # not by hand
        steps = self.gather(self.find_steps() if asks else [])
        skipped: list[str] = []
        for step in sorted(set(steps), reverse=True):
            # All processes take the one that is whole on each machine.
            flaws = self.gather([self.restore(step)])
            if not any(flaws):
                return self.go_on(step, skipped)
            skipped.append(f"checkpoint-{step}: {max(flaws)}")
        if skipped:
            report("warning", message=f"Training begins anew: {'; '.join(skipped)}")
        return None

    def gather(self, told: list[Any]) -> list[Any]:
        """Give what all processes tell."""
        return import_module("accelerate.utils").gather_object(told)

    def find_steps(self) -> list[int]:
        """List the steps of which there may be a checkpoint."""
        return [*list_steps(self.folder), *list_steps(run_folder())]

    def restore(self, step: int) -> str:
        """Have a checkpoint whole on this disk; say why it is not, else nothing."""
        folder, every = self.folder / f"checkpoint-{step}", self.stop.every
        try:
            flaw = find_flaw(folder, every) if self.is_first else ""
            if flaw and self.fetch(folder):
                flaw = find_flaw(folder, every)
        except Exception as error:  # noqa: BLE001 - there may be an older one
            flaw = f"{error!r:.200}"
        return flaw

    def fetch(self, folder: Path) -> bool:
        """Copy a checkpoint from the mount, if it seems whole there."""
        away = run_folder()
        if away is None or not read_manifest(away / folder.name):
            return False
        copy_files(away / folder.name, folder)
        return True

    def go_on(self, step: int, skipped: list[str]) -> str:
        """Set what a trainer does not read from its checkpoint, and report it."""
        path = self.folder / f"checkpoint-{step}"
        told = read_manifest(path)
        require_same_batch(told, self.describe(), self.trainer)
        self.trainer._total_train_tokens, self.kept = told["tokens"], step
        if best := self.args.load_best_model_at_end and told["best"]:
            flaws = self.gather([self.restore(best)])
            if any(flaws):
                why = f"The best checkpoint, of step {best}, is {max(flaws)}"
                report("warning", message=f"{why}: the last model is taken instead.")
        if step >= told["max_steps"]:  # amid an epoch, it would take one step more
            self.trainer._run_epoch = self.end
        report("resumed", step=step, path=str(path), skipped=skipped)
        return str(path)

    def end(self, **_: Any) -> None:
        """Take the place of an epoch where none is left to train."""
        self.trainer.control.should_training_stop = True

    def finish(self, seconds: float = COPY_SECONDS) -> int | None:
        """Wait until nothing is written, not longer than so; give the step kept."""
        until = time.time() + min(seconds, COPY_SECONDS)
        for copy in self.copies:
            copy.wait(max(0.0, until - time.time()))
        await_flush(until)
        return self.kept

    def forget(self) -> None:
        """Remove what was kept away from here, since the model itself is safe."""
        self.finish()
        if self.args.process_index == 0:
            self.clear()

    def clear(self) -> None:
        """Remove the run's folder on the mount."""
        if away := run_folder():
            shutil.rmtree(away, ignore_errors=True)


def require_same_batch(then: dict[str, Any], now: dict[str, Any], trainer: Any) -> None:
    """End a run that would go on with other steps than those it began with."""
    was, size = then["world_size"], now["world_size"]
    sharded = trainer.is_deepspeed_enabled or trainer.is_fsdp_enabled
    if then["global_batch"] != now["global_batch"] or (sharded and was != size):
        batch = "" if sharded else f", or set global_batch_size={then['global_batch']}"
        sys.exit(
            f"Checkpoint {then['step']} is of {was} process(es) that took"
            f" {then['global_batch']} sequences per step; here {size} would take"
            f" {now['global_batch']}, which is another training. Resume on as many"
            f" GPUs, with HFT_NUM_PROCESSES={was} if there are more{batch}."
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
    damage = find_damage(folder, told["files"])
    return f"damaged, {damage}" if damage else ""


def find_damage(folder: Path, files: dict[str, Any]) -> str:
    """Name a file that is not what it should be; nothing if all are."""
    seen = list_files(folder)
    return next((name for name in files if seen.get(name) != files[name]), "")


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
    parts: list[dict[str, Any]] = []
    for path in folder.glob("hft_manifest*.json"):
        with suppress(ValueError):
            parts.append(json.loads(path.read_bytes()))
    if not parts or len(parts) < (nodes or parts[0]["nodes"]):
        return {}
    files = {name: told for part in parts for name, told in part["files"].items()}
    return parts[0] | {"files": files}


def copy_files(source: Path, target: Path) -> None:
    """Copy a checkpoint, its manifest last."""
    files = [path for path in source.rglob("*") if path.is_file()]
    for path in sorted(files, key=lambda path: path.name.startswith("hft_manifest")):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def rotate(folder: Path, step: int, count: int, nodes: int) -> None:
    """Remove what is older than the `count` newest whole ones, but not their best."""
    told = {
        n: read_manifest(folder / f"checkpoint-{n}", nodes) for n in list_steps(folder)
    }
    kept = sorted(n for n in told if told[n] and n <= step)[-count:]
    best = [told[n]["best"] for n in kept]
    for old in told:
        if kept and old < kept[0] and old not in best:
            shutil.rmtree(folder / f"checkpoint-{old}", ignore_errors=True)


def list_steps(folder: Path | None) -> list[int]:
    """List the steps of the checkpoints in a folder, whole or not."""
    names = [path.name[11:] for path in folder.glob("checkpoint-*")] if folder else []
    return [int(name) for name in names if name.isdecimal()]
