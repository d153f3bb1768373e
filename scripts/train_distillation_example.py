# /// script
# requires-python = ">=3.11"
# dependencies = [
#     "accelerate==1.15.0",
#     "datasets==5.2.0",
#     "torch==2.13.0",
#     "trackio==0.43.0",
#     "transformers==5.23.0",
#     "trl==1.16.0",
# ]
#
# [tool.uv]
# exclude-newer = "2026-11-21T00:00:00Z"
# exclude-newer-package = { "torch" = false, "torchao" = false, "torchaudio" = false, "torchvision" = false, "triton" = false }
#
# [tool.hf-jobs]
# flavor = "a10g-large"
# timeout = "18000s"
# name = "distillation-qwen-0-5b"
# env = { "PYTHONUNBUFFERED" = "1", "UV_TORCH_BACKEND" = "auto" }
# secrets = ["HF_TOKEN"]
# labels = { "sdk" = "hfjobs-trainer", "method" = "distillation", "spec" = "49b28f9eed32" }
# ///
"""Distillation with TRL; runs with `uv run` here and `hf jobs uv run` on HF Jobs."""

from __future__ import annotations

import hashlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextvars import copy_context
from importlib import import_module
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, NamedTuple

MODEL = "Qwen/Qwen2.5-0.5B-Instruct"
DATASET = "trl-lib/ultrafeedback-prompt"
TEACHER = "Qwen/Qwen2.5-1.5B-Instruct"


def main() -> None:
    started = time.time()
    machine = find_machine()
    report("start", method="distillation", model=MODEL, **machine._asdict())
    require_gpus(machine, planned=1)
    precision = settle_precision(machine, "bf16")
    dtype = settle_dtype(machine, "float32")

    from datasets import load_dataset
    from trl import DistillationConfig, DistillationTrainer

    dataset = load_dataset(DATASET, split="train")
    rows = range(min(5000, len(dataset)))
    dataset = dataset.select(rows)
    teacher_dtype = settle_dtype(machine, "bfloat16", frozen=True)
    track(
        project="distillation",
        name="qwen-0.5b",
        group=None,
        space_id="username/trackio",
        private=True,
        config={"model": MODEL, "dataset": DATASET},
    )
    args = DistillationConfig(
        output_dir="Qwen2.5-0.5B-Instruct-Distillation",
        per_device_train_batch_size=8,
        num_train_epochs=1.0,
        gradient_accumulation_steps=8,
        learning_rate=1e-05,
        max_completion_length=256,
        push_to_hub=True,
        hub_model_id="username/qwen-distilled",
        hub_private_repo=True,
        report_to="trackio",
        project="distillation",
        trackio_static_space_id=False,
        run_name="qwen-0.5b",
        trackio_space_id="username/trackio",
        disable_tqdm=True,
        model_init_kwargs={"dtype": dtype},
        teacher_model_init_kwargs={"dtype": teacher_dtype},
        use_cpu=machine.device == "cpu",
        **precision,
    )
    trainer = DistillationTrainer(
        model=MODEL,
        teacher_model=TEACHER,
        args=args,
        train_dataset=dataset,
        callbacks=[progress_callback()],
    )
    stop = Stop(partial=push_partial, last=end_tracking)
    train(trainer, stop)
    push(trainer, dataset_name=DATASET)
    conclude(trainer, started)
    end_tracking()
    finish()


# --------------------------------------------------------------------------------------
# What follows is the same in every script that needs it, and need not be read.
# --------------------------------------------------------------------------------------

SLOWEST = 2e8  # bytes per second that a disk, a mount and the Hub surely take
TRACKIO_SECONDS = 120.0  # enough to create a Space; a hanging Hub costs no more
SIGNAL = 143
# Exit codes: in time before the deadline, without use, by SIGTERM.
DEADLINE = 76
RUIN = 77
PUSH_PAUSES = (5.0, 15.0, 45.0, 135.0)  # seconds before the second try, the third ...


def relaunch(gpus: int) -> None:
    """Start this script again, once for each of `gpus` GPUs, or of all if it is 0."""
    if (processes := count_processes(gpus)) > 1:
        where = {"num_processes": processes, "num_machines": 1, "main_process_port": 0}
        sys.exit(run_processes(launch_command(**where), processes))


def count_processes(gpus: int) -> int:
    """Count the processes that are to train here; 0 if this is one of them."""
    seconds_left()  # the launcher's processes are sessions of their own
    if {"RANK", "LOCAL_RANK", "WORLD_SIZE"} & os.environ.keys():
        return 0
    from torch import cuda

    seen = cuda.device_count()
    processes = int(os.environ.get("HFT_NUM_PROCESSES") or min(seen, gpus or seen))
    if processes < 2 and seen > 1:  # it would spread the model over all GPUs
        first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
        os.environ["CUDA_VISIBLE_DEVICES"] = first
    return max(1, processes)


def run_processes(command: list[str], processes: int, watch: Any = None) -> int:
    """Run a command that starts processes of this script, and give their exit code.

    A launcher would make a 1 of it: they leave it in HFT_EXIT_FILE, which is there from
    when they train. SIGTERM then makes a file beside it, which they look for.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "codes")
        env = {**os.environ, "HFT_EXIT_FILE": str(path)}
        # In a group of its own, so that a signal reaches it once, from here.
        process = subprocess.Popen(command, env=env, process_group=0)

        def end(number: int, _: Any) -> None:
            if number == signal.SIGTERM and path.exists():
                path.with_name("stop").touch()
            else:
                process.send_signal(number)

        def agreed(code: int) -> int:
            codes = (
                [int(each) for each in path.read_text().split()]
                if path.exists()
                else []
            )
            return (
                max(codes) if codes and (not code or len(codes) == processes) else code
            )

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, end)
        code = watch(process, agreed) if watch else agreed(process.wait())
    return 128 - code if code < 0 else code


def launch_command(**options: Any) -> list[str]:
    """Give the command that starts this script under accelerate."""
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
    # Precision is for the trainer's own arguments to say.
    launch += ["--gpu_ids=all", "--mixed_precision=no", "--dynamo_backend=no"]
    return [*launch, *(f"--{key}={value}" for key, value in options.items()), *sys.argv]


def find_machine(use_cpu: bool = False) -> Machine:
    """Look at the machine; with `use_cpu`, its GPUs are left alone."""
    from torch import backends, cuda

    size = int(os.environ.get("WORLD_SIZE", "1"))
    if use_cpu or not cuda.is_available():
        mps = backends.mps.is_available() and not use_cpu
        return Machine("mps" if mps else "cpu", 0, None, False, size)
    bf16 = cuda.is_bf16_supported(including_emulation=False)
    return Machine("cuda", cuda.device_count(), cuda.get_device_name(), bf16, size)


def require_gpus(machine: Machine, planned: int) -> None:
    """Report that there are fewer GPUs than planned, and end a job that rented them."""
    planned = min(planned, int(os.environ.get("HFT_NUM_PROCESSES") or planned))
    if machine.gpus >= planned:
        return
    why = "this machine has no more"
    report("replaced", what="gpus", planned=planned, used=machine.gpus, why=why)
    # Not on a Hub of one's own, whose jobs may run on any machine.
    if "JOB_ID" in os.environ and "HF_ENDPOINT" not in os.environ:
        from torch import __version__, version

        query = "timeout 20 nvidia-smi --query-gpu=driver_version --format=csv,noheader"
        sys.exit(
            f"{planned} GPU(s) were promised, torch sees {machine.gpus}: torch"
            f" {__version__} is for CUDA {version.cuda}; the driver, by nvidia-smi:"
            f" {subprocess.getoutput(query)}. If there is one, let uv install the build"
            ' that fits: torch-backend = "auto" under [tool.uv] in the header of this'
            " script. If there is none, choose a flavor with GPUs."
        )


def settle_precision(machine: Machine, planned: str) -> dict[str, bool]:
    """Give the trainer's arguments for the mixed precision that this machine has."""
    used = planned if machine.device == "cuda" else "fp32"
    if used == "bf16" and not machine.has_bf16:
        used = "fp16"
    if used != planned:
        why = f"no {planned} mixed precision on this {machine.device} device"
        report("replaced", what="precision", planned=planned, used=used, why=why)
    return {"bf16": used == "bf16", "fp16": used == "fp16"}


def settle_dtype(machine: Machine, planned: str, frozen: bool = False) -> str:
    """Choose a dtype for the weights that this machine computes well with."""
    used = planned
    if machine.device == "cpu" and planned in ("bfloat16", "float16"):
        used = "float32"
    elif machine.device == "cuda" and planned == "bfloat16" and not machine.has_bf16:
        # Weights that are trained in fp16 mixed precision must be float32 themselves.
        used = "float16" if frozen else "float32"
    if used != planned:
        why = f"{planned} is slow on this {machine.device} device"
        report("replaced", what="dtype", planned=planned, used=used, why=why)
    return used


class Machine(NamedTuple):
    """What this machine offers to each process of the run."""

    device: str  # "cuda", "mps" or "cpu"
    gpus: int
    gpu: str | None
    has_bf16: bool  # without emulation: NVIDIA's GPUs since Ampere
    world_size: int


def train(trainer: Any, stop: Stop, **options: Any) -> None:
    """Train, from the newest checkpoint; end the process where the run was stopped.

    Args:
        trainer: The trainer.
        stop: What may end the run early.
        options: What `trainer.train()` takes, where this run has no checkpoint.
    """
    trainer.add_callback(deadline_callback(trainer, stop))
    # Not transformers' own checkpoint at SIGTERM, which may fall amid a step: between
    # gradients and update, from where no run goes on as if nothing had happened.
    if file := os.environ.get("HFT_EXIT_FILE"):
        Path(file).touch()
    elif "RANK" not in os.environ:
        signal.signal(signal.SIGTERM, stop.heed)
    if stop.keeper and (path := stop.keeper.resume()):
        options["resume_from_checkpoint"] = path
    try:
        trainer.train(**options)
    except Exception:
        if stop.keeper:
            stop.keeper.finish()  # what was saved before outlives it
        raise
    if stop.step is not None:
        stop.leave(trainer)
    stop.code = SIGNAL  # from now on, the first one ends it at once
    assert_trained(trainer)


def deadline_callback(trainer: Any, stop: Stop) -> Any:
    """Make the callback, the last of all, that ends a run while it can be saved."""
    from transformers import TrainerCallback

    weights = [each for each in trainer.model.parameters() if each.requires_grad]
    guess = sum(each.numel() * each.element_size() for each in weights) / SLOWEST
    spare = min(60, 0.05 * float(os.environ.get("HFT_TIMEOUT") or 0))
    spare += trainer.args.push_to_hub * (30 + guess)
    laps = list[float]()

    class Clock(TrainerCallback):
        mark = time.time()

        def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            trainer.model.train()  # or GKD's first answers are without dropout

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.mark, since = time.time(), self.mark
            laps.append(self.mark - since)  # with the evaluation and save before
            longest = max(laps[1:][-1000:] or laps)  # without the start
            ahead = 1 + -(state.global_step + 1) % stop.every
            # Adam's two moments are saved and copied too.
            stop.reserve = spare + (stop.seconds_to_keep or 6 * guess)
            if seconds_left() < ahead * longest + stop.reserve:
                stop.ask(DEADLINE, "")
            stop.settle(state, control)

        def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if stop.step is not None and state.epoch % 1:  # it ends here alone
                control.should_evaluate = control.should_save = False

    return Clock()


def assert_trained(trainer: Any) -> None:
    """End a run that trained nothing, of which the trainer only warns."""
    if trainer.state.global_step == 0:
        sys.exit("No optimizer step was taken: too few rows, or all were filtered out.")


def track(project: str, config: dict[str, Any], **options: Any) -> None:
    """Have `report_to="trackio"` log to one run in a group, retries included."""
    trackio: Any = import_module("trackio")
    integrations: Any = import_module("transformers.integrations.integration_utils")
    key = os.environ.get("HFT_RUN_ID") or os.environ.get("JOB_ID") or ""
    run_id = hashlib.sha256(key.encode() or os.urandom(16)).hexdigest()[:32]
    options["name"] = options.get("name") or f"run-{run_id[:6]}"
    space_id = options.get("space_id") or os.environ.pop("TRACKIO_SPACE_ID", None)

    def open_run(**place: Any) -> Any:
        always = {"resume": "allow", "embed": False, "auto_log_gpu": False}
        run = trackio.init(project, **{**options, **always, **place})
        if run.id != run_id:  # new to trackio, or a namesake
            run.id, run._next_step = run_id, 0
        if trackio.gpu.gpu_available():  # only now that its metrics find their run
            run._gpu_monitor = trackio.gpu.GpuMonitor(run)
            run._gpu_monitor.start()
        return run

    def open_somewhere() -> Any:
        try:
            if space_id and not import_module("huggingface_hub").get_token():
                raise PermissionError("there is no HF_TOKEN")
            with ThreadPool(1) as pool:
                opened = pool.apply_async(open_run, kwds={"space_id": space_id})
                return opened.get(TRACKIO_SECONDS)
        except Exception as error:  # noqa: BLE001 - no fault of a tracker ends a run
            where = f"Space {space_id}" if space_id else "the Hub"
            why = f"trackio cannot use {where}: {error!r:.200}"
            report("warning", message=f"{why}. Metrics stay on this machine.")
        # TRL logs to the current run, so there must be one: without asking the Hub.
        os.environ.pop("TRACKIO_SERVER_URL", None)
        trackio.run._get_default_namespace = lambda: None
        return open_run(space_id=None, bucket_id=None)

    class Tracking(integrations.TrackioCallback):
        run: Any = None

        def setup(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
            # Called before each row, since never counted as set up; open after train().
            if state.is_world_process_zero:
                self.run = self.run or open_somewhere()
                trackio.context_vars.current_run.set(self.run)
                self.run.config.update({**args.to_dict(), **config})
                self.run._config_logged = False  # a Space that was away forgets it

    integrations.INTEGRATION_TO_CALLBACK["trackio"] = Tracking


def progress_callback() -> Any:
    """Make the trainer callback that reports metrics and checkpoints."""
    from transformers import TrainerCallback

    class Progress(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            metrics = {k: v for k, v in kwargs["logs"].items() if k != "epoch"}
            done = {"step": state.global_step, "max_steps": state.max_steps}
            report("log", **done, epoch=state.epoch, metrics=metrics)

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            path = Path(args.output_dir, f"checkpoint-{state.global_step}").absolute()
            report("saved", step=state.global_step, path=str(path))

    return Progress()


class Stop:
    """What asks a run to end early, and what its processes agreed on.

    Args:
        every: It ends at a multiple of so many steps, to be resumed exactly.
        partial: Pushes the model as far as it was trained.
        last: What is done before this process ends.
    """

    def __init__(
        self,
        every: int = 1,
        partial: Any = None,
        last: Callable[[], None] | None = None,
    ) -> None:
        self.every, self.partial, self.last = every, partial, last
        self.code, self.why, self.saves = 0, "", True
        self.asked = self.reserve = 0.0
        self.step: int | None = None  # that on which all agreed
        self.suspect = False  # whether the model may be no good
        self.keeper: Any = None  # copies checkpoints to a safer place
        self.seconds_to_keep = 0.0  # to save and copy one, as last measured

    def ask(self, code: int, why: str, saves: bool = True) -> None:
        """Ask for the end of the run; the first is heard, but ruin before all."""
        if not self.code or (not saves and self.saves):
            self.code, self.why, self.saves = code, why, saves
            self.asked = time.time()

    def heed(self, *_: Any) -> None:
        """Take SIGTERM as a wish; a second one, but uv's copy of it, ends at once."""
        if self.code == SIGNAL and time.time() > self.asked + 1:
            sys.exit(SIGNAL)
        self.ask(SIGNAL, "")

    def settle(self, state: Any, control: Any) -> None:
        """End the run at the end of this step if a process asks for it."""
        file = os.environ.get("HFT_EXIT_FILE")
        if file and Path(file).with_name("stop").exists():
            self.ask(SIGNAL, "")
        wish = agree(self.code + 1000 * (not self.saves))
        code, saves, done = wish % 1000, wish < 1000, state.global_step
        if saves and code != SIGNAL and done >= state.max_steps:
            return  # it is at its end
        if code and (not saves or done % self.every == 0):
            self.code, self.saves, self.step = code, saves, done
            control.should_training_stop = True
            control.should_save = saves

    def leave(self, trainer: Any) -> None:
        """Keep what there is, tell it, and end with the code that was agreed on."""
        kept = self.keeper and self.keeper.finish(seconds_left() - 15)
        if self.partial and self.code == DEADLINE and not self.suspect:
            self.partial(trainer)
        how = {
            DEADLINE: ("deadline", "at the deadline "),
            SIGNAL: ("signal", "by SIGTERM "),
        }
        reason, said = how.get(self.code, ("over" if self.saves else "ruin", ""))
        message = f"stopped {said}at step {self.step}{self.why and ': '}{self.why}"
        told = {"step": self.step, "code": self.code, "reason": reason}
        told |= {"message": message, "checkpoint": kept}
        told |= {"resumable": self.saves and kept is not None}
        spent = {
            "reserve_seconds": round(self.reserve, 1),
            "used_seconds": round(time.time() - self.asked, 1),
            "left_seconds": round(seconds_left(), 1),
        }
        report("stopped", **told, **spent)
        if self.code == RUIN:
            mark_stopped(told)
        if self.last:
            within(10, self.last)
        finish(self.code)


def agree(wish: int) -> int:
    """Give the greatest wish of all processes."""
    import torch
    import torch.distributed as dist

    if not (dist.is_available() and dist.is_initialized()):
        return wish
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    value = torch.tensor(wish, device=device)
    dist.all_reduce(value, dist.ReduceOp.MAX)
    return int(value)


def mark_stopped(told: dict[str, Any]) -> None:
    """Have a retry of this job end at once, with the same event and exit code."""
    if (marker := stop_marker()) and os.environ.get("LOCAL_RANK", "0") == "0":
        marker.parent.mkdir(parents=True, exist_ok=True)
        marker.write_text(json.dumps(told), "utf-8")
        await_flush()


def stop_marker() -> Path | None:
    """Give the place of what a job tells its retries; none by hand."""
    job = os.environ.get("JOB_ID")
    return (run_folder() or Path()) / f"stopped-{job}.json" if job else None


def await_flush(until: float = float("inf")) -> None:
    """Wait until the mount has sent what was written last."""
    if (folder := run_folder()) and folder.is_dir():
        last = max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
        until = min(until, min(last, time.time()) + flush_seconds())
        time.sleep(max(0.0, until - time.time()))


def flush_seconds() -> float:
    """Give how long after it was written a mount may send a file."""
    return float(os.environ.get("HFT_FLUSH_SECONDS", "35")) if run_folder() else 0.0


def run_folder() -> Path | None:
    """Give this run's folder in the mounted bucket, if one is mounted."""
    mount = os.environ.get("HFT_CHECKPOINTS")
    return (
        Path(mount, run_id()) if run_id() and mount and Path(mount).is_dir() else None
    )


def run_id() -> str:
    """Give what a run shares with those that resume it; nothing if started by hand."""
    return os.environ.get("HFT_RUN_ID") or os.environ.get("JOB_ID") or ""


def push_partial(trainer: Any) -> None:
    """Push the model as far as it was trained, to a branch of its repository."""
    trainer.save_model(_internal_call=True)
    if trainer.is_world_process_zero():
        folder, repo = Path(trainer.args.output_dir).absolute(), trainer.hub_model_id
        within(seconds_left() - 15, commit_folder, trainer, folder, repo, "partial")


def within(seconds: float, do: Any, *arguments: Any) -> None:
    """Do what may hang or fail, for so many seconds at most; either is a warning."""
    try:
        run = ThreadPool(1).apply_async(copy_context().run, (do, *arguments))
        run.get(min(max(seconds, 0), 1e6))
    except Exception as error:  # noqa: BLE001 - what was saved before counts
        report("warning", message=f"{do.__name__}, {seconds:.0f} s: {error!r:.300}")


def seconds_left() -> float:
    """Give the seconds until this machine is taken away; infinity without a timeout.

    It counts from the container's start, that of its session: installing counts too.
    """
    timeout, age = float(os.environ.get("HFT_TIMEOUT") or "inf"), 0.0
    if timeout < float("inf") and "HFT_DEADLINE" not in os.environ:
        try:
            stat = Path(f"/proc/{os.getsid(0) or 1}/stat").read_text("utf-8")
            # Field 22, behind a name in parentheses: clock ticks since boot.
            start = int(stat.rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
            age = time.clock_gettime(time.CLOCK_BOOTTIME) - start
        except (OSError, AttributeError):
            pass  # no Linux: it counts from now
        age = age if 0 <= age < timeout else 0  # an older session is a terminal's
        os.environ["HFT_DEADLINE"] = str(time.time() + timeout - age)
    return float(os.environ.get("HFT_DEADLINE", "inf")) - time.time()


def end_tracking() -> None:
    """Send what is left."""
    trackio: Any = sys.modules.get("trackio")
    if trackio and trackio.context_vars.current_run.get():
        trackio.finish()


def push(trainer: Any, **card: Any) -> None:
    """Save the model and upload it; `card` is what its card says beside the usual."""
    # All processes save, since each may hold a part; one uploads, and may try again.
    trainer.save_model(_internal_call=True)
    if trainer.is_world_process_zero():
        repo, branch = trainer.hub_model_id, trainer.args.hub_revision
        trainer.create_model_card(model_name=repo.split("/")[-1], **card)
        commit_folder(trainer, Path(trainer.args.output_dir).absolute(), repo, branch)


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


def conclude(trainer: Any, started: float) -> None:
    """Report the end of a run that began at `started`, and its last metrics."""
    state, folder = trainer.state, Path(trainer.args.output_dir).absolute()
    last = {key: value for entry in state.log_history for key, value in entry.items()}
    metrics = {k: v for k, v in last.items() if k not in ("step", "epoch")}
    done = {"step": state.global_step, "seconds": round(time.time() - started, 1)}
    report("end", **done, metrics=metrics, output_dir=str(folder))


def report(event: str, **fields: Any) -> None:
    """Print an event as one line of JSON, from the main process only."""
    if os.environ.get("RANK", "0") != "0":
        return
    line = {"event": f"hft.{event}", "time": round(time.time(), 3), **fields}
    # NaN and infinity are not JSON: they are read back as null.
    line = json.loads(json.dumps(line, default=str), parse_constant=lambda _: None)
    # One write per line, since other processes print to the same stream.
    print(json.dumps(line) + "\n", end="", flush=True)


def finish(code: int = 0) -> None:
    """End this process, if it is one of several or did not end well."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
    elif not code:
        return
    if code and (path := os.environ.get("HFT_EXIT_FILE")):
        with Path(path).open("a") as file:
            print(code, file=file)
        code = 0
    sys.stdout.flush()
    os._exit(code)  # the interpreter's own exit can hang after a distributed run


if __name__ == "__main__":
    if "HFT_MODE_FILE" in os.environ:  # this is tried, not run: see hft.preview
        runpy.run_path(os.environ["HFT_MODE_FILE"])
    relaunch(gpus=0)
    main()

# /// hfjobs-trainer
# digest = "49b28f9eed321a1f316027007ae938ac9221214c217c97842dea142de68b0dee"
# spec = '''
# {
#   "method": "distillation", "per_device_train_batch_size": 8, "num_train_epochs": 1.0,
#   "gradient_accumulation_steps": 8, "hardware": {"flavor": "a10g-large"},
#   "timeout": 14400,
#   "tracking": {"project": "distillation", "name": "qwen-0.5b", "space_id": "username/trackio"},
#   "model": "Qwen/Qwen2.5-0.5B-Instruct",
#   "dataset": {"id": "trl-lib/ultrafeedback-prompt", "num_samples": 5000},
#   "output": {"hub_model_id": "username/qwen-distilled"},
#   "teacher_model": "Qwen/Qwen2.5-1.5B-Instruct", "learning_rate": 1e-05,
#   "max_completion_length": 256
# }
# '''
# ///
