"""Runs a script whole, on tiny twins of its models and a few real rows: what a smoke test is.

The script runs this file before anything else, since ``HFT_MODE_FILE`` names it; it imports nothing of this package.
What is known of the run lies beside it, in ``smoke.json``. At the end it prints one event, ``hft.smoke``: the stages
with their seconds, what was replaced by something smaller, and what went wrong, if anything did.
"""

from __future__ import annotations

import functools
import inspect
import json
import math
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path
from typing import Any

MODELS = ("MODEL", "TEACHER", "REWARD_MODEL", "VALUE_MODEL")
# Of a message and of a traceback, characters.
LONGEST = 3000
# How long a process waits for another that makes the twins, seconds.
PATIENCE = 300.0


class Smoke:
    """One smoke test of the script that is ``__main__``."""

    def __init__(self, script: Any, folder: Path) -> None:
        self.script = script
        self.settings: dict[str, Any] = json.loads((folder / "smoke.json").read_text("utf-8"))
        self.scratch = Path(os.environ["HFT_MODE_SCRATCH"])
        self.stages: dict[str, float] = {}
        self.open: list[list[Any]] = []
        self.smaller: dict[str, None] = {}
        self.error: dict[str, Any] | None = None
        self.is_reported = False
        self.twins: dict[str, str] = {}
        sys.path.insert(0, str(folder))
        self.tools: Any = import_module("twin")
        self.cpu: Any = import_module("cpu")
        sys.path.remove(str(folder))

    def install(self) -> None:
        """Have the script run its ``main`` as a smoke test."""
        script = self.script
        original, self.finish = script.main, script.finish
        script.main = lambda: self.run(original)
        # it may end the process, so that it comes last
        script.finish = nothing
        for name in ("serve_on_last_node", "set_aside", "serve_model", "require_gpus", "download"):
            if hasattr(script, name):
                setattr(script, name, nothing)
        for name in ("Checkpoints", "HubCheckpoints"):  # the trainer's own are tried
            for method in ("__init__", "finish", "forget") if hasattr(script, name) else ():
                setattr(getattr(script, name), method, nothing)
        if hasattr(script, "join_nodes"):
            script.join_nodes = nothing
        if hasattr(script, "await_server"):
            script.await_server = nothing

    def run(self, original: Callable[[], None]) -> None:
        """Run the script's own ``main``, and report what became of it."""
        try:
            self.prepare()
            original()
        except SystemExit as end:
            if end.code not in (None, 0):
                self.fail(end, str(end.code))
        except Exception as error:
            self.fail(error, str(error))
        self.report()
        if self.error is not None:
            sys.stdout.flush()
            os._exit(1)
        self.finish()

    @contextmanager
    def stage(self, name: str) -> Generator[None]:
        """Measure a stage, without those within it."""
        self.stages.setdefault(name, 0.0)  # in the order in which they begin
        self.open.append([name, time.perf_counter(), 0.0])
        yield  # a stage that fails stays open
        _, started, within = self.open.pop()
        took = time.perf_counter() - started
        self.stages[name] += took - within
        if self.open:
            self.open[-1][2] += took

    def prepare(self) -> None:
        """Import what the script needs, make the twins, and take from the libraries what a CPU lacks."""
        script, settings = self.script, self.settings
        with self.stage("packages"):
            for name in ("torch", "transformers", "datasets", *(["peft"] if settings["peft"] else [])):
                import_module(name)
            trainer_class = getattr(import_module(settings["module"]), settings["trainer"])
        self.cpu.neutralize(self.scratch, self.smaller)
        with self.stage("twins"):
            self.make_twins()
        script.find_machine = always(script.find_machine, use_cpu=True)
        if hasattr(script, "sharding"):
            script.sharding = no_arguments
        if hasattr(script, "track"):
            self.redirect_tracking(script.track)
        if hasattr(script, "merge_adapter"):
            script.merge_adapter = self.timed("merge", script.merge_adapter)
        if hasattr(script, "push"):
            script.push = self.timed("save", script.push)
        if hasattr(script, "commit_folder"):
            script.commit_folder = self.pretend_to_push
        if hasattr(script, "find_data"):
            self.keep_folders(script.find_data)
        self.cpu.take_few_rows(settings["rows"], lambda: self.stage("rows"))
        self.wrap_trainer(trainer_class)

    def make_twins(self) -> None:
        """Let twins stand for the models of the script; the main process makes them."""
        script = self.script
        for constant in (name for name in MODELS if hasattr(script, name)):
            setattr(script, constant, self.twin_of(getattr(script, constant), constant))
        if hasattr(script, "ADAPTER"):
            options = self.settings["adapter"]
            place = self.resolved(script.ADAPTER)
            base = Path(script.MODEL)
            script.ADAPTER = self.made("adapter", lambda folder: self.tools.make_adapter(place, options, base, folder))
        transformers: Any = import_module("transformers")
        for name in ("AutoModelForSequenceClassification", "AutoModelForCausalLM", "AutoModelForImageTextToText"):
            self.redirect_loading(getattr(transformers, name))

    def twin_of(self, model: str, constant: str = "") -> str:
        """The folder of the twin of a model."""
        if model not in self.twins:
            told = self.settings["models"].get(constant, {})
            options = {
                "trust_remote_code": bool(told.get("trust_remote_code")),
                "all_layers": self.settings["all_layers"],
            }

            def make(folder: Path) -> Any:
                made = self.tools.make_twin(self.resolved(model), told.get("revision"), folder, **options)
                if made.stands_in:
                    self.smaller[f"the architecture {made.stands_in}: {made.architecture} stood in for it"] = None

            self.twins[model] = self.made(f"twin-{len(self.twins)}", make)
        return self.twins[model]

    def resolved(self, name: str) -> str:
        """The place of a model: where its content lies, if it travels with the job."""
        return self.script.find_data(name) if "@sha256:" in name else name

    def made(self, name: str, make: Callable[[Path], Any]) -> str:
        """Make a folder in the main process, and wait for it in the others."""
        folder, done = self.scratch / name, self.scratch / f"{name}.done"
        if os.environ.get("RANK", "0") == "0":
            make(folder)
            done.touch()
        deadline = time.monotonic() + PATIENCE
        while not done.exists():
            if time.monotonic() > deadline:
                sys.exit("The main process made no twin of the model.")
            time.sleep(0.05)
        return str(folder)

    def redirect_loading(self, auto_class: Any) -> None:
        """Have what the script loads by a name of its own, such as a reward model, be a twin."""
        original = auto_class.from_pretrained

        def from_pretrained(name: Any, *arguments: Any, **options: Any) -> Any:
            caller: Any = inspect.currentframe()
            caller = caller.f_back
            is_own = caller.f_globals is self.script.__dict__ and caller.f_code.co_name == "main"
            if is_own and str(name) not in self.twins.values():
                name = self.twin_of(str(name))
            return original(name, *arguments, **options)

        auto_class.from_pretrained = staticmethod(from_pretrained)

    def keep_folders(self, find_data: Callable[[str], str]) -> None:
        """Have the script find twins where they are, and its data as it does."""

        def find(name: str) -> str:
            return name if Path(name).is_dir() else find_data(name)

        self.script.find_data = find

    def redirect_tracking(self, track: Callable[..., None]) -> None:
        """Have trackio write to a scratch folder, and the other trackers not at all."""
        if self.settings["tracker"] == "trackio":
            os.environ["TRACKIO_DIR"] = str(self.scratch / "trackio")
            for name in ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL", "TRACKIO_BUCKET_ID"):
                os.environ.pop(name, None)
            self.script.track = always(track, space_id=None)
            self.script.end_tracking = self.timed("tracking", self.script.end_tracking)
            return
        self.smaller[f"metrics for {self.settings['tracker']}, to which nothing was sent"] = None
        self.script.track = self.script.end_tracking = nothing

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function that is a stage."""

        def call(*arguments: Any, **options: Any) -> Any:
            with self.stage(name):
                return function(*arguments, **options)

        return call

    def wrap_trainer(self, trainer_class: Any) -> None:
        """Have the trainer take few steps on few tokens, and then resume from its checkpoint."""
        original = trainer_class.__init__

        def make(trainer: Any, *arguments: Any, **options: Any) -> None:
            with self.stage("trainer"):
                self.cpu.shorten_run(options["args"], self.settings["steps"], self.scratch, self.smaller)
                if hasattr(options["args"], "total_episodes"):  # its batches are made at once
                    self.cpu.shorten_rows(options, self.script.MODEL, self.smaller)
                if self.settings["tracker"] != "trackio":
                    options["args"].report_to = []
                original(trainer, *arguments, **options)
                self.cpu.shorten_rows(vars(trainer), self.script.MODEL, self.smaller)
            trainer.train = functools.partial(self.train, trainer, trainer.train)

        trainer_class.__init__ = make

    def train(self, trainer: Any, train: Callable[..., Any], **_: Any) -> None:
        """Train, and once more from the first checkpoint."""
        for name, stage in (("evaluate", "evaluation"), ("_save_checkpoint", "checkpoint"), ("save_model", "save")):
            setattr(trainer, name, self.timed(stage, getattr(trainer, name)))
        with self.stage("training"):
            train()
        self.require_numbers(trainer)
        checkpoint = Path(trainer.args.output_dir, "checkpoint-1")
        if not checkpoint.is_dir():
            return
        if "resume_from_checkpoint" not in inspect.signature(train).parameters:
            self.smaller["the resume from a checkpoint, which this trainer does not offer"] = None
            return
        if trainer.args.save_only_model:
            self.smaller["the resume from a checkpoint, which save_only_model leaves no optimizer for"] = None
            return
        if not trainer.args.load_best_model_at_end:
            trainer.args.eval_strategy = "no"  # it was evaluated
        with self.stage("resume"):
            train(resume_from_checkpoint=str(checkpoint))
            done, steps = trainer.state.global_step, self.settings["steps"]
            if done != steps:
                raise RuntimeError(f"the resumed run ended at step {done}, not {steps}")

    def require_numbers(self, trainer: Any) -> None:
        """End a run whose loss, or mean reward, is not a number."""
        for entry in trainer.state.log_history:
            for name in ("loss", "reward", "objective/scores"):
                value = entry.get(name)
                if isinstance(value, float) and not math.isfinite(value):
                    raise FloatingPointError(f"the {name} of step {entry.get('step')} is {value}")

    def pretend_to_push(self, trainer: Any, folder: Path, repo: str, branch: str | None) -> None:
        """Look at what would be uploaded, and, where there is a token, whether it could be."""
        with self.stage("push"):
            from huggingface_hub.utils import filter_repo_objects

            names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
            ignored = ["_*", "checkpoint-*", "merged/*", "ref/*"]
            sent = sorted(filter_repo_objects(names, ignore_patterns=ignored))
            if "README.md" not in sent or not any(name.endswith((".safetensors", ".bin")) for name in sent):
                raise RuntimeError(f"the folder that would be pushed to {repo} has no model card or no weights: {sent}")
            if self.settings["asks"]:
                self.cpu.ask_for_repo(repo)

    def fail(self, error: BaseException, message: str) -> None:
        """Keep what an error says, and where it arose."""
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if frame.filename == getattr(self.script, "__file__", None)]
        own = [frame for frame in own if frame.name != "main"]
        path = [error]
        while (earlier := path[-1].__cause__ or path[-1].__context__) is not None and earlier not in path:
            path.append(earlier)
        told = "".join(traceback.format_exception(error))
        self.error = {
            "type": type(error).__name__,
            "message": "; ".join([message, *getattr(error, "__notes__", ())])[:LONGEST],
            "stage": self.open[-1][0] if self.open else "script",
            "user": [{"name": frame.name, "line": frame.line or "", "number": frame.lineno} for frame in own][-3:],
            "causes": [{"type": type(each).__name__, "message": str(each)[:LONGEST]} for each in path[1:3]],
            "traceback": told[-LONGEST:],
        }
        if isinstance(error, ImportError):
            self.error["module"] = error.name

    def report(self) -> None:
        """Print what became of it; of several processes the main one, and each that failed."""
        if self.is_reported or (self.error is None and os.environ.get("RANK", "0") != "0"):
            return
        self.is_reported = True
        took = {name: round(seconds, 3) for name, seconds in self.stages.items() if seconds}
        stages: list[dict[str, Any]] = [{"name": name, "seconds": each, "ok": True} for name, each in took.items()]
        if self.error is not None:
            now = time.perf_counter()
            nowhere: list[Any] = ["script", now, 0.0]
            name, started, _ = self.open[-1] if self.open else nowhere
            stages = [stage for stage in stages if stage["name"] != name]
            stages.append({"name": name, "seconds": round(now - started, 3), "ok": False})
        processes = int(os.environ.get("WORLD_SIZE", "1"))
        found = {"stages": stages, "error": self.error, "smaller": list(self.smaller), "processes": processes}
        line = json.dumps({"event": "hft.smoke", "time": round(time.time(), 3), **found}, default=str)
        print("\n" + line, flush=True)


def nothing(*_: Any, **__: Any) -> Any:
    """What stands for a function that has nothing to do here."""


def no_arguments(*_: Any, **__: Any) -> dict[str, Any]:
    """What stands for a function that gives arguments."""
    return {}


def always(function: Callable[..., Any], **fixed: Any) -> Callable[..., Any]:
    """A function with some arguments as they must be here."""

    def call(*arguments: Any, **options: Any) -> Any:
        return function(*arguments, **{**options, **fixed})

    return call


def begin() -> None:
    """Set the smoke test up; the first process also gives those that it starts a folder in common."""
    os.environ.setdefault("HFT_MODE_SCRATCH", tempfile.mkdtemp(prefix="hft-smoke-"))
    with suppress(FileExistsError):
        Path(os.environ["HFT_MODE_SCRATCH"]).mkdir(parents=True)
    Smoke(sys.modules["__main__"], Path(__file__).parent).install()


if __name__ == "<run_path>":
    begin()
