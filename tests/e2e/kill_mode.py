"""Kills a script with SIGKILL at one point of its life; a script runs this file where ``HFT_MODE_FILE`` names it.

``HFT_KILL`` says where, as JSON (``killed.Point``); without it nothing is killed. Either way all random generators
start somewhere else than in any other process, and what the datasets library has cached is not found, as on another
machine.

A point is a moment of training, or what happens to a file: it is written, renamed or removed. Python tells of these
itself; torch and safetensors, which write files of their own, do so by wrappers around their functions.
"""

from __future__ import annotations

import fnmatch
import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

WRITING = os.O_WRONLY | os.O_RDWR
# Steps of a real run take longer than a copy: how long one waits here for it, seconds.
PATIENCE = 1.0
# Files of a folder that are gone when its removal is half done.
HALF_REMOVED = 3


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Files:
    """Ends the process before, amid or after what the n-th file of a name undergoes."""

    def __init__(self, file: str, name: str, when: str, nth: int = 1) -> None:
        self.event, self.name, self.when, self.left = file, name, when, nth
        self.path: str | None = None
        self.thread, self.removed = 0, 0

    def see(self, event: str, path: Any = None) -> None:
        """Hear that this is about to happen to a file, or that another is done with."""
        if self.path is not None:
            if threading.get_ident() == self.thread:
                self.end(event)
        elif event == self.event and (name := path_of(path)):
            full = str(Path(name).absolute())
            self.left -= fnmatch.fnmatch(full, self.name)
            if self.left == 0:
                if self.when == "before":
                    die()
                self.path, self.thread = full, threading.get_ident()

    def end(self, event: str) -> None:
        """The same thread goes on to something else."""
        assert self.path is not None
        if self.event == "remove":
            self.removed += event == "remove"
            if self.when == "half" and self.removed < HALF_REMOVED:
                return
        elif self.when == "half":
            os.truncate(self.path, Path(self.path).stat().st_size // 2)
        die()

    def listen(self, event: str, arguments: tuple[Any, ...]) -> None:
        """What Python tells of."""
        match event:
            case "open":
                path, mode, flags = arguments
                writes = bool((flags or 0) & WRITING) or (isinstance(mode, str) and bool(set("wax+") & set(mode)))
                self.see("write" if writes else "read", path)
            case "os.rename":
                self.see("rename", arguments[1])
            case "shutil.rmtree" | "os.remove":
                self.see("remove", arguments[0])
            case "os.rmdir" | "os.mkdir" | "os.listdir" | "os.scandir":
                self.see("other")
            case _:
                pass

    def hook(self) -> None:
        writers: Any = import_module("torch").save, import_module("safetensors.torch").save_file
        for original in writers:
            wrapper = self.telling(original)
            for module in list(sys.modules.values()):
                for name in [name for name, value in vars(module).items() if value is original]:
                    setattr(module, name, wrapper)
        state: Any = import_module("transformers").TrainerState
        save = state.save_to_json

        def save_state(*arguments: Any) -> None:
            save(*arguments)
            self.see("other")  # it is the last file

        state.save_to_json = save_state
        sys.addaudithook(self.listen)

    def telling(self, original: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, which tells of the file that it writes: its second argument."""

        def write(what: Any, path: Any, *arguments: Any, **options: Any) -> Any:
            self.see("write", path)
            result = original(what, path, *arguments, **options)
            self.see("other")
            return result

        return write


class Moment:
    """Ends the process at a moment of training, or so many seconds after its first step began, or has it stopped."""

    def __init__(self, moment: str, step: int = 0, seconds: float = 0.0) -> None:
        self.moment, self.step, self.seconds = moment, step, seconds
        self.state: Any = None

    def hook(self) -> None:
        from accelerate import Accelerator
        from transformers import Trainer
        from transformers.trainer_callback import CallbackHandler

        script = sys.modules["__main__"]
        before(CallbackHandler, "on_step_begin", self.remember)
        match self.moment:
            case "backward":
                before(Accelerator, "backward", self.die_within_step)
            case "optimizer":
                before(CallbackHandler, "on_optimizer_step", self.die_within_step)
            case "saved":
                before(CallbackHandler, "on_save", self.die_after_step)
            case "evaluation":
                before(Trainer, "get_eval_dataloader", self.die_after_step)
            case "train end":
                before(CallbackHandler, "on_train_end", self.die_after_step)
            case "end":
                before(script, "conclude", self.die_after_step)
            case "push":
                before(import_module("huggingface_hub").HfApi, "upload_folder", self.die_after_step)
            case "pushed":
                before(script, "audit", self.die_after_step)
            case "told":
                before(script.Checkpoints, "forget", self.die_after_step)
            case "asked":
                before(script.Stop, "settle", self.ask)
            case "seconds":
                pass
            case other:
                raise ValueError(other)

    def remember(self, handler: Any, args: Any, state: Any, *_: Any) -> None:
        if self.state is None and self.moment == "seconds":
            threading.Timer(self.seconds, die).start()
        self.state = state

    def ask(self, stop: Any, state: Any, *_: Any) -> None:
        """Have the run stopped as by its deadline, once that step is taken."""
        if state.global_step == self.step:
            stop.ask(76, "asked to")

    def die_within_step(self, *_: Any, **__: Any) -> None:
        if self.state is not None and self.state.global_step == self.step - 1:
            die()

    def die_after_step(self, *_: Any, **__: Any) -> None:
        if self.state is not None and self.state.global_step == self.step:
            die()


def path_of(path: Any) -> str:
    """A path as text; nothing where a file is given otherwise."""
    return os.fspath(path) if isinstance(path, str | Path) else ""


def before(owner: Any, name: str, call: Callable[..., None]) -> None:
    """Have another function called before this one."""
    original = getattr(owner, name)

    def both(*arguments: Any, **options: Any) -> Any:
        call(*arguments, **options)
        return original(*arguments, **options)

    setattr(owner, name, both)


def wait_for_copy(handler: Any, args: Any, state: Any, *_: Any) -> None:
    """Begin no step before the last checkpoint is where it will be looked for."""
    places = [Path(args.output_dir)]
    if mount := os.environ.get("HFT_CHECKPOINTS"):
        places.append(Path(mount, os.environ["HFT_RUN_ID"]))
    end = time.monotonic() + PATIENCE
    for place in places:
        folder = place / f"checkpoint-{state.global_step}"
        if (places[0] / folder.name).is_dir():
            while not list(folder.glob("hft_manifest*.json")) and time.monotonic() < end:
                time.sleep(0.005)


def be_elsewhere() -> None:
    """Start all random generators somewhere, with no cache."""
    numpy, torch, datasets = map(import_module, ("numpy", "torch", "datasets"))
    seed = int.from_bytes(os.urandom(4), "big")
    random.seed(seed)
    numpy.random.seed(seed)
    torch.manual_seed(seed)
    datasets.config.HF_DATASETS_CACHE = Path("cache").absolute()


def begin() -> None:
    from transformers.trainer_callback import CallbackHandler

    be_elsewhere()
    point = json.loads(os.environ.get("HFT_KILL") or "{}")
    rank = point.pop("rank", 0)
    if not point.pop("hurries", False):
        before(CallbackHandler, "on_step_begin", wait_for_copy)
    if point and os.environ.get("RANK", "0") == str(rank):
        (Files if "file" in point else Moment)(**point).hook()


if __name__ == "<run_path>":
    begin()
