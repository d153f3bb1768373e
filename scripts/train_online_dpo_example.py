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
# timeout = "54000s"
# name = "online_dpo-qwen-online"
# env = { "PYTHONUNBUFFERED" = "1", "UV_TORCH_BACKEND" = "auto", "HFT_TIMEOUT" = "54000", "HFT_CHECKPOINTS" = "/hft/checkpoints" }
# secrets = ["HF_TOKEN"]
# labels = { "sdk" = "hfjobs-trainer", "method" = "online_dpo", "spec" = "5dcf9f26f15c" }
# ///
"""OnlineDPO with TRL; runs with `uv run` here and `hf jobs uv run` on HF Jobs."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from contextvars import copy_context
from functools import partial, wraps
from importlib import import_module
from math import isfinite
from multiprocessing.pool import ThreadPool
from pathlib import Path
from threading import Event, Thread
from traceback import format_exception, format_exception_only, walk_tb
from typing import Any, NamedTuple

MODEL = "Qwen/Qwen2.5-0.5B-Instruct"
DATASET = "trl-lib/ultrafeedback-prompt"


def main() -> None:
    started = time.time()
    # The pins above keep what TRL may change.
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    machine = find_machine()
    report("start", method="online_dpo", model=MODEL, **machine._asdict())
    require_gpus(machine, planned=1)
    precision = settle_precision(machine, "bf16")
    dtype = settle_dtype(machine, "float32")

    from datasets import load_dataset
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from trl.experimental.online_dpo import OnlineDPOConfig, OnlineDPOTrainer

    dataset = load_dataset(DATASET, split="train")
    rows = range(min(5000, len(dataset)))
    dataset = dataset.select(rows)
    split = dataset.train_test_split(test_size=0.02, seed=42)
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    reward_model_1 = AutoModelForSequenceClassification.from_pretrained(
        "trl-lib/Qwen2-0.5B-Reward", num_labels=1, dtype=dtype
    )
    track(
        project="online-dpo",
        name="qwen-online",
        group=None,
        space_id="username/trackio",
        private=True,
        config={"model": MODEL, "dataset": DATASET},
    )
    args = OnlineDPOConfig(
        output_dir="Qwen2.5-0.5B-Instruct-OnlineDPO",
        per_device_train_batch_size=2,
        num_train_epochs=1.0,
        gradient_accumulation_steps=32,
        eval_strategy="steps",
        eval_steps=100,
        learning_rate=5e-07,
        max_new_tokens=128,
        push_to_hub=True,
        hub_model_id="username/qwen-online-dpo",
        hub_private_repo=True,
        report_to="trackio",
        project="online-dpo",
        trackio_static_space_id=False,
        run_name="qwen-online",
        trackio_space_id="username/trackio",
        disable_tqdm=True,
        model_init_kwargs={"dtype": dtype, "device_map": None},
        use_cpu=machine.device == "cpu",
        **precision,
    )
    trainer = OnlineDPOTrainer(
        model=MODEL,
        processing_class=tokenizer,
        reward_funcs=[reward_model_1],
        args=args,
        train_dataset=split["train"],
        eval_dataset=split["test"],
        callbacks=[progress_callback(started)],
    )
    prepare_evaluation(trainer)
    stop = Stop(partial=push_partial, last=end_tracking)
    watch_for_ruin(trainer, stop)
    watch_rewards(trainer, stop)
    watch_answers(trainer, stop)
    check_pace(trainer, stop, flavor="a10g-large", usd_per_hour=1.5)
    keep = Checkpoints(trainer, stop)
    train(trainer, stop)
    trainer.save_model(_internal_call=True)
    push(trainer)
    reload(trainer)
    end_tracking()
    conclude(trainer, started)
    keep.forget()
    finish()


# --------------------------------------------------------------------------------------
# What follows is the same in every script that needs it, and need not be read.
# --------------------------------------------------------------------------------------

PLACES = ("_save_checkpoint", "evaluate", "generate", "train", "main", "relaunch")
SECRET = r"\b(hf_|sk-|gh[a-z]_|github_pat_)[\w-]{16,}|(?<=://)[^\s/@]+(?=@)"
FULL = {  # how an error says so, whatever it is wrapped in
    "GPU memory": "[Oo]ut of memory|OutOfMemory|_ALLOC_FAILED|memory for the cache",
    "host memory": r"MemoryError\b|(an't|annot) allocate memory|bad_alloc",
    "disk space": "space left|quota exc|ough disk|disk is full|StreamWriter|cted pos ",
}
SLOWEST = 2e8  # bytes per second that a disk, a mount and the Hub surely take
NO_STEP = "No optimizer step was taken: too few rows, or all were filtered out."
TRACKIO_SECONDS = 120.0  # enough to create a Space; a hanging Hub costs no more
BROKEN = 5  # steps in a row with numbers that are not finite end a run
EQUAL_GROUPS = "frac_reward_zero_std"  # share of prompts whose answers are all equal
OFTEN = 20  # what may be chance: no gradient, or steps that fp16 skips for its scale
NO_ENTROPY = 1e-4  # mean of all tokens, nats
IDLE_SECONDS = 900.0
MEASURED = 20  # steps, these included
WARM_UP = 5  # steps that do not count, since they compile
RUIN = 77  # exit code: of no use, or too dear
SIGNAL = 143  # exit code: SIGTERM
DEADLINE = 76  # exit code: in time before it
PUSH_PAUSES = (5.0, 15.0, 45.0, 135.0)  # seconds before the second try, the third ...
PUSH_SECONDS = 600.0  # the longest wait for a try, beside a second for each 4 MB


def tell_failure(*failure: Any, fixes: Any = (), looks: Any = ()) -> None:
    """Tell behind its traceback what ended this run, where, and what is left of it."""
    sys.__excepthook__(*failure)
    error, steps = failure[1], list[int]()
    if not isinstance(error, Exception):
        return  # an interrupt
    frames = {frame.f_code.co_name: frame.f_locals for frame, _ in walk_tb(failure[2])}
    trainer, stop = [frames.get("main", {}).get(name) for name in ("trainer", "stop")]
    step, keeper = trainer and trainer.state.global_step, stop and stop.keeper
    where = next((f"in {name}()" for name in PLACES if name in frames), "at its start")
    where += f", after step {step}" if trainer else ""
    lines = [*format_exception_only(error), *format_exception(error)]
    said = [re.sub(SECRET, "***", x[:9999]) for x in lines if not x[0].isspace()]
    said = [" ".join(x.split())[:200].rstrip(".") for x in said]
    found = [(k, f"out of {k}", x) for k in FULL for x in said if re.search(FULL[k], x)]
    found += [("other", "the run failed", said[0])]
    for look in looks:  # of several processes, one tells: the others find nothing
        found = look(error, found)
    home: Any = keeper.away or keeper.folder.absolute() if keeper else run_folder()
    with suppress(Exception):  # a mount may be what failed
        if keeper:
            keeper.finish()  # what was saved before outlives this
        steps = [n for n in list_steps(home) if read_manifest(home / f"checkpoint-{n}")]
    for what, told, why in found[:1]:
        tries, last = dict(fixes).get(what, []), max(steps, default=None)
        line = f"{told} {where}: {why}{'. Try ' if tries else ''}{', or '.join(tries)}"
        kept = f"The last whole checkpoint is of step {last}"
        line += f". {kept if last else 'No checkpoint was kept'}"
        left = {"checkpoint": last, "place": last and home / f"checkpoint-{last}"}
        left |= {"what": what.lower().replace(" ", "_"), "try": tries}
        report("failed", message=line, step=step, **left)
        print(f"hft: {line}", file=sys.stderr, flush=True)


def stop_again() -> None:
    """End a retry of a job that was stopped for good, as it ended then."""
    job = os.environ.get("JOB_ID")
    if (folder := run_folder()) and (mark := folder / f"stopped-{job}.json").is_file():
        told = json.loads(mark.read_bytes())
        report("stopped", **told)
        sys.exit(told["code"])


def relaunch(gpus: int) -> None:
    """Start this script again, once for each of `gpus` GPUs, or of all if it is 0."""
    if (processes := count_processes(gpus)) > 1:
        where = {"num_processes": processes, "num_machines": 1, "main_process_port": 0}
        sys.exit(run_processes(launch_command(**where)))


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


def run_processes(command: list[str], wait: Any = None) -> int:
    """Run a command that starts processes of this script, and give their exit code.

    A launcher would make a 1 of it: they leave it in HFT_EXIT_FILE, which is there from
    when they train. SIGTERM then makes a file beside it, which they look for; a second
    one, but uv's copy of it, ends them at once.
    """
    with tempfile.TemporaryDirectory() as folder:
        path, asked = Path(folder, "codes"), list[float]()
        env = {**os.environ, "HFT_EXIT_FILE": str(path)}
        # In a group of its own, so that a signal reaches it once, from here.
        process = subprocess.Popen(command, env=env, process_group=0)

        def end(number: int, _: Any) -> None:
            asked.append(time.time())
            first = number == signal.SIGTERM and asked[-1] < asked[0] + 1
            if first and path.exists():
                path.with_name("stop").touch()
            else:
                process.send_signal(number)

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, end)
        code = wait(process, path) if wait else process.wait()
        codes = path.read_text("utf-8").split() if path.exists() else []
    return 128 - code if code < 0 else code or max(map(int, codes), default=0)


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
    """Train, from the newest checkpoint; end the process where the run was stopped."""
    trainer.add_callback(deadline_callback(trainer, stop))
    # Not transformers' own checkpoint at SIGTERM, which may fall amid a step: between
    # gradients and update, from where no run goes on as if nothing had happened.
    if file := os.environ.get("HFT_EXIT_FILE"):
        Path(file).touch()
    elif "RANK" not in os.environ:
        signal.signal(signal.SIGTERM, stop.heed)
    if stop.keeper and (path := stop.keeper.resume()):
        options["resume_from_checkpoint"] = path
    trainer.train(**options)
    if (stop.step is None or stop.saves) and agree(not has_finite_weights(trainer)):
        stop.suspect, stop.step = True, trainer.state.global_step  # so none are kept
        why = "the last step broke them; the last good checkpoint is kept"
        stop.see("the weights are not finite", True, stop.step or 0, why, end=1)
    if stop.step is not None:
        stop.leave(trainer)
    stop.heard = 0.0  # from now on, the first SIGTERM ends it at once
    if trainer.state.global_step == 0:  # of which the trainer only warns
        sys.exit(NO_STEP)


def deadline_callback(trainer: Any, stop: Stop) -> Any:
    """Make the callback, the last of all, that ends a run while it can be saved."""
    from transformers import TrainerCallback

    trained = [each for each in trainer.model.parameters() if each.requires_grad]
    guess = sum(each.numel() * each.element_size() for each in trained) / SLOWEST
    spare = min(60, 0.05 * float(os.environ.get("HFT_TIMEOUT") or 0))
    spare += trainer.args.push_to_hub * (30 + guess)

    class Clock(TrainerCallback):
        mark, laps = time.time(), list[float]()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.laps.append(time.time() - self.mark)  # with evaluation and save before
            self.mark += self.laps[-1]
            longest = max(self.laps[1:][-1000:] or self.laps)  # without the start
            ahead = (1 + -(state.global_step + 1) % stop.every) * longest
            # Adam's two moments are saved and copied too.
            stop.reserve = spare + (stop.seconds_to_keep or 6 * guess + flush_seconds())
            if seconds_left() < ahead + stop.reserve:
                stop.ask(DEADLINE)
            stop.settle(state, control)
            if stop.step is not None:  # the trainer's own push may hang
                args.push_to_hub, trainer.push_in_progress = False, None
                if state.epoch % 1:  # it ends here alone
                    args.eval_strategy = args.save_strategy = "no"

    return Clock()


def track(project: str, config: dict[str, Any], **options: Any) -> None:
    """Have `report_to="trackio"` log to one run in a group, retries included."""
    trackio: Any = import_module("trackio")
    integrations: Any = import_module("transformers.integrations.integration_utils")
    own = hashlib.sha256(run_id().encode() or os.urandom(16)).hexdigest()[:32]
    options["name"] = options.get("name") or f"run-{own[:6]}"
    space_id = options.get("space_id") or os.environ.pop("TRACKIO_SPACE_ID", None)

    def open_run(**place: Any) -> Any:
        always = {"resume": "allow", "embed": False, "auto_log_gpu": False}
        run = trackio.init(project, **{**options, **always, **place})
        if run.id != own:  # new to trackio, or a namesake
            run.id, run._next_step = own, 0
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


def progress_callback(started: float) -> Any:
    """Make the trainer callback that reports what a run `started` then has done."""
    from transformers import TrainerCallback

    class Progress(TrainerCallback):
        began = started

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            for entry in state.log_history[-1:]:  # what a resumed run took until then
                self.began = started - entry.get("seconds", 0)

        def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            for entry in state.log_history[-1:]:
                entry["seconds"] = round(time.time() - self.began, 1)
            metrics = {k: v for k, v in kwargs["logs"].items() if k != "epoch"}
            done = {"step": state.global_step, "max_steps": state.max_steps}
            report("log", **done, epoch=state.epoch, metrics=metrics)

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            path = Path(args.output_dir, f"checkpoint-{state.global_step}").absolute()
            report("saved", step=state.global_step, path=str(path))

    return Progress()


def prepare_evaluation(trainer: Any) -> None:
    """Give the trainer the evaluation that it lacks."""
    evaluate_by_reward(trainer, score_answers)


def evaluate_by_reward(trainer: Any, score: Callable[[Any, Any], Any]) -> None:
    """Have the trainer evaluate by the rewards of its own answers, as `eval_reward`.

    Args:
        trainer: A trainer with an evaluation set.
        score: Gives the rewards, a tensor, of the trainer's answers to a batch.
    """

    def evaluate(*_: Any, **__: Any) -> dict[str, float]:
        import torch

        model, accelerator = trainer.model, trainer.accelerator
        model.eval()
        with torch.no_grad():
            rewards = [
                accelerator.gather(score(trainer, batch).float())
                for batch in trainer.get_eval_dataloader()
            ]
        model.train()
        metrics = {"eval_reward": torch.cat(rewards).mean().item()}
        trainer.log(metrics)
        trainer.control = trainer.callback_handler.on_evaluate(
            trainer.args, trainer.state, trainer.control, metrics
        )
        return metrics

    trainer.evaluate = evaluate


def score_answers(trainer: Any, batch: dict[str, Any]) -> Any:
    """Have the model answer each prompt twice, as in training, and score that."""
    prompts: list[Any] = batch["prompt"]
    if trainer.args.use_vllm:
        generated = trainer._generate_vllm(prompts)
    else:
        generated = trainer._generate(trainer.model_wrapped, prompts)
    tokens = generated[2]
    answers: list[Any] = trainer.processing_class.batch_decode(
        tokens, skip_special_tokens=True
    )
    if not isinstance(prompts[0], str):
        answers = [[{"role": "assistant", "content": answer}] for answer in answers]
    columns = {name: 2 * rows for name, rows in batch.items() if name != "prompt"}
    return trainer._calculate_rewards_from_functions(
        prompts=2 * prompts,
        completions=answers,
        completion_ids_list=[row.tolist() for row in tokens],
        **columns,
    )


def push_partial(trainer: Any) -> None:
    """Push the model as far as it was trained, to a branch of its repository."""
    trainer.save_model(_internal_call=True)
    if trainer.is_world_process_zero():
        folder, repo = Path(trainer.args.output_dir).absolute(), trainer.hub_model_id
        within(min(20, 0.3 * seconds_left()), write_card, trainer, folder, repo)
        within(0.9 * seconds_left(), commit_folder, trainer, folder, repo, "partial")


def end_tracking() -> None:
    """Send what is left."""
    trackio: Any = sys.modules.get("trackio")
    if trackio and trackio.context_vars.current_run.get():
        trackio.finish()


def watch_for_ruin(trainer: Any, stop: Stop) -> None:
    """Look at the true loss and gradient norm of each step: the log has no NaN."""
    from transformers import TrainerCallback

    see, losses, norms = stop.see, list[Any](), list[Any]()
    hint, tell = "no token is trained, or all has been learned", BROKEN
    if hasattr(trainer, "reward_funcs"):
        hint, tell = "all answers to a prompt get the same reward", OFTEN

    class Watch(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            loss, norm, step = float(sum(losses)), norms.pop(), state.global_step
            losses.clear()
            skips = trainer.accelerator.optimizer_step_was_skipped  # in fp16 alone
            fine = isfinite(loss) and (skips or norm is None or isfinite(norm))
            fine &= not control.should_save or has_finite_weights(trainer)
            # 2: not finite in some process; 0: nothing to learn in any of them
            found = agree(int(loss != 0 or norm != 0) if fine else 2)
            stop.suspect, why = found == 2, "learning_rate is too high, or a row is bad"
            what = "loss, gradients or weights are not finite"
            see(what, stop.suspect, step, why, end=BROKEN)
            see("fp16 overflows", skips, step, "use bf16 or fp32", OFTEN, OFTEN)
            if see("loss and gradients are 0", not found, step, hint, tell, OFTEN):
                control.should_save = True  # such weights are as good as ever
            control.should_save &= not stop.suspect  # no good checkpoint makes room

    def note(notes: list[Any], do: Any, *given: Any, **named: Any) -> Any:
        notes.append(do(*given, **named))
        return notes[-1]

    trainer.training_step = partial(note, losses, trainer.training_step)
    trainer._get_grad_norm = partial(note, norms, trainer._get_grad_norm)
    trainer.add_callback(Watch())


def has_finite_weights(trainer: Any) -> bool:
    """Tell whether the trained weights, as far as this process has them, are finite."""
    from torch import float32

    for weight in trainer.model.parameters():
        part: Any = getattr(weight, "ds_tensor", weight).detach()  # ZeRO-3 keeps that
        part = part.to_local() if hasattr(part, "to_local") else part
        if weight.requires_grad and not part.sum(dtype=float32).isfinite():
            return False
    return True


def watch_rewards(trainer: Any, stop: Stop) -> None:
    """Look at what each reward function returns; None is "not applicable", no fault."""
    from torch.nn import Module
    from transformers import TrainerCallback

    is_async: Any = import_module("trl.trainer.utils").is_async_callable
    see, names = stop.see, trainer.reward_func_names
    returned: list[tuple[int, list[float | None]]] = []
    last: dict[int, float] = {}

    def keep(number: int, output: Any, count: int | None = None) -> list[Any]:
        values = list(output)
        if count not in (None, len(values)):
            told = f"{names[number]} returned {len(values)} rewards"
            raise ValueError(f"{told} for {count} answers")
        numbers = [None if each is None else float(each) for each in values]
        returned.append((number, numbers))
        return values

    @contextmanager
    def telling(name: str, given: dict[str, Any]) -> Generator[None]:
        try:
            yield
        except Exception as error:
            step, what = trainer.state.global_step + 1, f"the reward {name} failed"
            why = f"it raised {type(error).__name__}"
            shapes = {key: describe(value) for key, value in given.items()}
            told = {"step": step, "what": what, "meaning": why, "given": shapes}
            report("ruin", **told, message=f"{what}: {why}")
            error.add_note(f"It was raised by the reward {name}")
            raise

    def wrap(number: int, function: Callable[..., Any]) -> Callable[..., Any]:
        async def call_async(**given: Any) -> Any:
            with telling(names[number], given):
                return keep(number, await function(**given), count_answers(given))

        def call(**given: Any) -> Any:
            with telling(names[number], given):
                return keep(number, function(**given), count_answers(given))

        return wraps(function)(call_async if is_async(function) else call)

    def score(_model: Any, _given: Any, output: Any, number: int) -> None:
        keep(number, output.logits[:, 0].tolist())

    class Rewards(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if not returned:  # answers of an earlier step were used again
                return
            wrong, scored, differ, step = 0, 0, 0, state.global_step
            for number, values in returned:
                for value in (each for each in values if each is not None):
                    scored = 1
                    if not math.isfinite(value):
                        wrong = number + 1
                    elif last.setdefault(number, value) != value:
                        differ, last[number] = 1, value
            returned.clear()
            wrong, scored, differ = agree(wrong), agree(scored), agree(differ)
            why = f"{names[wrong - 1]} returned NaN or infinity; it should return None"
            why += " where an answer has no reward"
            ends = see("a reward is not finite", wrong, step, why, end=BROKEN)
            why = "each function returned None for all: answers or columns are not as"
            why += " they expect, or are cut before they end"
            what = "no answer got a reward"
            ends |= see(what, not scored, step, why, end=BROKEN)
            if ends and not stop.suspect:
                control.should_save = True  # the weights are as good as ever
            same = scored and not (differ and last_metric(trainer, EQUAL_GROUPS) != 1)
            why = "all answers fail, all succeed, or are cut before they end"
            see("rewards do not vary", same, step, why, OFTEN)
            entropy = last_metric(trainer, "entropy")
            flat = entropy is not None and entropy < NO_ENTROPY
            why = "the model has only one answer left: learning_rate may be too high"
            see("the entropy is 0", flat, step, why, BROKEN)

    for number, function in enumerate(trainer.reward_funcs):
        if isinstance(function, Module):
            function.register_forward_hook(partial(score, number=number))
        else:
            trainer.reward_funcs[number] = wrap(number, function)
    trainer.add_callback(Rewards())


def describe(value: Any) -> str:
    """Tell the kind and length of an argument and of its first row, no content."""
    kind = type(value).__name__
    if kind not in ("list", "tuple", "str", "dict"):
        return kind
    first = f" of {describe(value[0])}" if kind == "list" and value else ""
    return f"{kind}[{len(value)}]{first}"


def count_answers(given: dict[str, Any]) -> int | None:
    """Count the answers that a reward function is given."""
    answers = given.get("completions")
    return None if answers is None else len(answers)


def last_metric(trainer: Any, name: str) -> float | None:
    """Give the newest value of a metric that TRL has not logged yet."""
    values = getattr(trainer, "_metrics", {}).get("train", {}).get(name)
    return values[-1] if values else None


def watch_answers(trainer: Any, stop: Stop) -> None:
    """Tell a model that cannot write any more, its logits not being finite."""
    take_step = trainer.training_step

    def training_step(*given: Any, **named: Any) -> Any:
        try:
            return take_step(*given, **named)
        except RuntimeError as error:
            # on a GPU, nothing else can be computed from then on
            if not re.search("probability tensor|device-side assert", str(error)):
                raise
            step: int = trainer.state.global_step
            why = "its logits are not finite, learning_rate is too high"
            why = f"{why} ({error!s:.80})"
            stop.see("no answer can be drawn", True, step + 1, why, end=1)
            stop.suspect, stop.step = True, step
            stop.leave(trainer)

    trainer.training_step = training_step


def check_pace(trainer: Any, stop: Stop, flavor: str = "", **plan: Any) -> None:
    """Hold the first steps against the plan for a flavor and the time that is left."""
    from torch import cuda
    from transformers import TrainerCallback

    known, inf = plan if os.environ.get("ACCELERATOR") == flavor else {}, float("inf")
    timeout = float(os.environ.get("HFT_TIMEOUT") or inf)
    bounds = {**known, "seconds": (0, timeout), "usd": (0, known.get("max_usd", inf))}
    laps, alive = list[tuple[float, float]](), Event()

    def await_standstill() -> None:
        while alive.wait(IDLE_SECONDS):
            alive.clear()
        if not trainer.control.should_training_stop:
            step, minutes = trainer.state.global_step, f"{IDLE_SECONDS / 60:g} minutes"
            report("warning", step=step, message=f"No step for {minutes} after {step}")

    class Pace(TrainerCallback):
        mark: Any = None

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.mark = time.time(), 0
            Thread(target=await_standstill, daemon=True).start()

        def on_prediction_step(self, *_: Any, **__: Any) -> None:
            alive.set()

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            alive.set()
            now = time.time(), getattr(trainer, "_total_train_tokens", 0)
            if self.mark and len(laps) < MEASURED:
                laps.append((now[0] - self.mark[0], now[1] - self.mark[1]))
                if len(laps) == MEASURED:
                    judge(state.global_step, state.max_steps)
            pauses = control.should_save or control.should_evaluate
            self.mark = None if pauses else now  # what follows takes longer

    def judge(step: int, steps: int) -> None:
        seconds, tokens = (sum(each) for each in zip(*laps[WARM_UP:], strict=True))
        pace = seconds / (MEASURED - WARM_UP)
        needs = timeout - seconds_left() + (steps - step) * pace + known.get("rest", 0)
        found = {
            "seconds_per_step": pace,
            "tokens_per_second": tokens / seconds,
            "memory_gib": cuda.max_memory_allocated() / 2**30,
            "seconds": needs,
            "usd": needs / 3600 * known.get("usd_per_hour", 0),
        }
        told = dict[str, str]()
        for name, value in found.items():
            low, high = bounds.get(name, (0, inf))
            if value and (value < low or value > high):
                told[name] = f"{name} {value:.4g}, planned {low:g} to {high:g}"
        text = "; ".join(told.values()) or "as planned"
        if known or told:
            report("pace", step=step, **found, planned=bounds, message=text)
        if plan.get("stop_if_over") and told.keys() & {"seconds", "usd"}:
            stop.ask(RUIN, text)

    trainer.add_callback(Pace())


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


class Stop:
    """What asks a run to end early, and the step on which its processes agreed."""

    code, why, saves, asked, heard = 0, "", True, 0.0, float("inf")
    step: int | None = None
    suspect = False  # whether the model may be no good
    keeper: Any = None  # of checkpoints; what keeping one takes, as last measured:
    seconds_to_keep = reserve = 0.0

    def __init__(self, every: int = 1, partial: Any = None, last: Any = None) -> None:
        # It ends after a multiple of `every` steps, to be resumed exactly; `partial`
        # pushes the model as far as it is trained, and `last` comes before the end.
        self.every, self.partial, self.last = every, partial, last
        self.rows, self.told = dict[str, int](), set[str]()  # of signs of ruin

    def ask(self, code: int, why: str = "", saves: bool = True) -> None:
        """Ask for the end of the run; the first is heard, but ruin before all."""
        if not self.code or (not saves and self.saves):
            self.code, self.why, self.saves, self.asked = code, why, saves, time.time()

    def see(
        self, what: str, there: Any, step: int, means: str, tell: int = 1, end: int = 0
    ) -> bool:
        """Tell a sign after `tell` steps, end after `end` steps; True: one is left."""
        row = self.rows[what] = self.rows.get(what, 0) + 1 if there else 0
        if row >= tell and what not in self.told:
            self.told.add(what)
            told = {"step": step, "what": what, "meaning": means}
            report("ruin" if end else "warning", **told, message=f"{what}: {means}")
        if end and row >= end:
            often = f", for {row} steps in a row" if row > 1 else ""
            self.ask(RUIN, f"{what}{often}: {means}", saves=False)
        return row == end - 1

    def heed(self, *_: Any) -> None:
        """Take SIGTERM as a wish; a second one, but uv's copy of it, ends at once."""
        if time.time() > self.heard + 1:
            finish(SIGNAL)
        self.heard = min(self.heard, time.time())
        self.ask(SIGNAL)

    def settle(self, state: Any, control: Any) -> None:
        """End the run at the end of this step if a process asks for it."""
        file = os.environ.get("HFT_EXIT_FILE")
        if file and Path(file).with_name("stop").exists():
            self.ask(SIGNAL)
        wish = agree(self.code + 1000 * (not self.saves))
        code, saves, done = wish % 1000, wish < 1000, state.global_step
        goes_on = done % self.every or (done >= state.max_steps and code != SIGNAL)
        if code and not (saves and goes_on):
            self.code, self.saves, self.step = code, saves, done
            control.should_training_stop, control.should_save = True, saves

    def leave(self, trainer: Any) -> None:
        """Keep what there is, tell it, and end with the code that was agreed on."""
        kept = self.keeper and self.keeper.finish()
        if self.partial and self.code == DEADLINE and not self.suspect:
            self.partial(trainer)
        ends = {DEADLINE: "deadline", SIGNAL: "signal"}
        how = {DEADLINE: "at the deadline ", SIGNAL: "by SIGTERM "}.get(self.code, "")
        told: dict[str, Any] = {
            "step": self.step,
            "code": self.code,
            "reason": ends.get(self.code, "over" if self.saves else "ruin"),
            "message": f"stopped {how}at step {self.step}{self.why and ': '}{self.why}",
            "checkpoint": kept,
            "resumable": self.saves and kept is not None,
        }
        left, used = seconds_left(), time.time() - self.asked
        spent = {"reserve": self.reserve, "used": used, "left": left}
        report("stopped", **told, **{f"{k}_seconds": round(spent[k], 1) for k in spent})
        if self.code == RUIN and self.keeper:
            self.keeper.mark(told)
        if self.last:
            within(10, self.last)
        finish(self.code)


def agree(wish: int) -> int:
    """Give the greatest wish of all processes."""
    import torch

    dist: Any = torch.distributed
    if dist.is_available() and dist.is_initialized():
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        value = torch.tensor(wish, device=device)
        dist.all_reduce(value, dist.ReduceOp.MAX)
        wish = int(value)
    return wish


def write_manifest(folder: Path, told: dict[str, Any], rank: int) -> None:
    """Declare a checkpoint whole; of several machines, each for its own files."""
    node = f"-{rank * told['nodes'] // told['world_size']}" if told["nodes"] > 1 else ""
    part, told["files"] = folder / f"hft_manifest{node}.part", list_files(folder)
    part.write_text(json.dumps(told), "utf-8")
    part.replace(part.with_suffix(".json"))


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


def read_manifest(folder: Path, nodes: int | None = None) -> dict[str, Any]:
    """Give what a checkpoint consists of; nothing if it is not whole on all `nodes`."""
    with suppress(ValueError):  # cut short
        found = [json.loads(p.read_bytes()) for p in folder.glob("hft_manifest*.json")]
        if found and len(found) >= (nodes or found[0]["nodes"]):
            files = {k: v for each in found for k, v in each["files"].items()}
            return found[0] | {"files": files}
    return {}


def list_files(folder: Path) -> dict[str, Any]:
    """Give size and digest of each file of a checkpoint."""
    files: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.name.startswith("hft_manifest"):
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            files[path.relative_to(folder).as_posix()] = [path.stat().st_size, digest]
    return files


def seconds_left() -> float:
    """Give the seconds until this machine is taken away; infinity without a timeout.

    It counts from the container's start, that of its session: installing counts too.
    """
    timeout, age = float(os.environ.get("HFT_TIMEOUT") or 0), 0.0
    if timeout and "HFT_DEADLINE" not in os.environ:
        with suppress(Exception):  # where there are no sessions, it counts from now
            session = import_module("psutil").Process(os.getsid(0) or 1)
            age = max(0.0, time.time() - session.create_time())
        age *= age < timeout  # an older session is a terminal's
        os.environ["HFT_DEADLINE"] = str(time.time() + timeout - age)
    return float(os.environ.get("HFT_DEADLINE", "inf")) - time.time()


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


def within(seconds: float, do: Any, *arguments: Any) -> None:
    """Do what may hang or fail, for so many seconds at most; either is a warning."""
    try:
        with ThreadPool(1) as pool:
            run = pool.apply_async(copy_context().run, (do, *arguments))
            run.get(min(max(seconds, 0), 1e6))
    except Exception as error:  # noqa: BLE001 - what was saved before counts
        told = f"{do.__name__} was given up ({seconds:.0f} s left): {error!r:.300}"
        report("warning", message=told)


def write_card(trainer: Any, folder: Path, repo: str) -> None:
    """Write a model's card, `hft_spec.json` and `loss.svg` into its folder."""
    args, history, script = trainer.args, trainer.state.log_history, Path(__file__)
    block = script.read_text("utf-8").rpartition("\n# /// hfjobs-trainer\n")[2]
    plan = tomllib.loads(re.sub("(?m)^# ?", "", block.partition("\n# ///")[0]))
    shown = plan | plan.get("published", {})
    spec = {"digest": shown["digest"], "spec": json.loads(shown["spec"])}
    hours = history[-1].get("seconds", 0) / 3600 if history else 0
    library = "peft" if (folder / "adapter_config.json").exists() else "transformers"
    known = {"repo": repo, library: repo, "hours": f"{hours:.2f}"}
    known["script"] = hashlib.sha256(script.read_bytes()).hexdigest()
    if job := os.environ.get("JOB_ID"):
        known |= {"job": job, "usd": f"{hours * plan.get('usd_per_hour', 0):.2f}"}
    _, before, after = compare_evaluations(args, trainer.state)
    was = {name: f"{value:.4g} -> " for name, value in before.items()}
    found = (f"{name} {was.get(name, '')}{after[name]:.4g}" for name in after)
    known["evaluation"] = ", ".join(found)
    # A line about something that is not known here, such as a job, is left out.
    names = re.compile(r"%\((\w+)")
    lines = [x for x in plan["card"].split("\n") if {*names.findall(x)} <= {*known}]
    told = "## How it was made\n![Loss](loss.svg)\n\n" + "\n".join(lines) % known
    told += f"\n```json\n{json.dumps(spec, indent=2)}\n```\n\n"
    trainer.create_model_card(repo.split("/")[-1], tags=["hfjobs-trainer"])
    text = Path(args.output_dir, "README.md").read_text("utf-8")
    for old, new in plan.get("replaces", {}).items():
        text = re.sub(old, new, text)
    text = text.replace(f'"{trainer.hub_model_id}"', f'"{repo}"')
    card: Any = import_module("huggingface_hub").ModelCard(text)
    card.data.__dict__.update(plan["metadata"], library_name=library, licence=None)
    heading = "## Training procedure"
    card.text = card.text.replace(heading, told + heading, 1)
    card.save(folder / "README.md")
    (folder / "hft_spec.json").write_text(json.dumps(spec, indent=2), "utf-8")
    (folder / "loss.svg").write_text(draw_loss(history), "utf-8")


def compare_evaluations(args: Any, state: Any) -> tuple[int, Any, Any]:
    """Give the step of the model that is kept, and evaluations before and of that."""
    found: dict[int, dict[str, float]] = {0: {}}
    for entry in state.log_history:
        for name in entry:
            if re.match(r"eval_(?!.*(runtime|per_second)$)", name):
                found.setdefault(entry["step"], {})[name] = entry[name]
    best = state.best_global_step if args.load_best_model_at_end else None
    step = best if best in found else max(found)
    return step, found[0], found[step]


def draw_loss(history: list[dict[str, Any]]) -> str:
    """Draw the loss of training over the steps, as SVG."""
    curve = [(e["step"], e["loss"]) for e in history if abs(e.get("loss", 1e30)) < 1e30]
    steps, losses = list(zip(*curve, strict=True)) or [(0,), (0.0,)]
    low, high, end = min(losses), max(losses), steps[-1]
    across, down = 600 / (end or 1), 280 / (high - low or 1)
    points = " ".join(f"{across * x:.1f},{down * (high - y):.1f}" for x, y in curve)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="-20 -25 640 320">'
        f'<polyline fill="none" stroke="#2563eb" points="{points}"/>'
        f'<text y="-8">loss: {high:.4g} to {low:.4g}, {end} steps</text></svg>\n'
    )


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


def copy_files(source: Path, target: Path, names: list[str] | None = None) -> None:
    """Copy some files of a folder, or all; the manifest of a checkpoint comes last."""
    paths = map(source.joinpath, names) if names else source.rglob("*")
    files = [path for path in paths if path.is_file()]
    for path in sorted(files, key=lambda path: path.name.startswith("hft_manifest")):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)


def model_files(folder: Path) -> list[str]:
    """Name the files of a saved model, without what else lies in its folder."""
    paths = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    others = ("_", ".", "checkpoint-", "merged/", "ref/")
    return sorted(n for path in paths if not (n := path.as_posix()).startswith(others))


def await_flush(until: float = float("inf")) -> None:
    """Wait until the mount has sent what was written last."""
    if (folder := run_folder()) and folder.is_dir():
        last = now = time.time()
        with suppress(OSError):  # another process may be removing what is old
            last = max(path.stat().st_mtime for path in (folder, *folder.rglob("*")))
        until = min(until, min(last, now) + flush_seconds())
        time.sleep(max(0.0, until - time.time()))


def flush_seconds() -> float:
    """Give how long after it was written a mount may send a file."""
    return float(os.environ.get("HFT_FLUSH_SECONDS", "35")) if run_folder() else 0.0


def run_folder() -> Path | None:
    """Give this run's folder in the mounted bucket, if one is mounted."""
    mount = Path(os.environ.get("HFT_CHECKPOINTS") or os.devnull)
    return mount / run_id() if run_id() and mount.is_dir() else None


def run_id() -> str:
    """Give what a run shares with those that resume it; nothing if started by hand."""
    return os.environ.get("HFT_RUN_ID") or os.environ.get("JOB_ID") or ""


def reload(trainer: Any, folder: Path | None = None) -> None:
    """Load the saved model, or the one in `folder`, and let it read a few tokens.

    A model that does not load, or reads otherwise than the trained one, makes the run
    a failure in the end. Where there is no room for two, that is only told.
    """
    import torch

    if not trainer.is_world_process_zero():
        return

    def read(model: Any) -> Any:
        with torch.no_grad(), trainer.accelerator.autocast():
            tokens = torch.arange(8, device=trainer.args.device)[None]
            return model.eval()(input_ids=tokens).logits.float()

    place, expected = folder or Path(trainer.args.output_dir).absolute(), None
    try:
        compare_ends(trainer, place, place)
        require_room(trainer, place)
        expected = read(trainer.model)
        apart = (read(load_saved(trainer, place)) - expected).norm()
        apart = (apart / (expected.norm() + 1)).item()
        if not apart < 0.5:  # what rounding and quantization change is far less
            raise ValueError(f"its logits are {apart:.0%} away from the trained one's")
        report("reloaded", loaded=True)
    except Exception as error:  # noqa: BLE001 - the model is where it belongs already
        why, room = f"{error!r:.300}", (MemoryError, torch.OutOfMemoryError)
        report("reloaded", loaded=False, why=why)
        # Not every model reads bare tokens, nor has every machine room for two.
        if isinstance(error, FileNotFoundError) or not (
            expected is None or isinstance(error, room)
        ):
            told = f"The model in {place} is not what was trained: {why}"
            trainer.lost = [*getattr(trainer, "lost", ()), told]


def compare_ends(trainer: Any, folder: Path, base: Any) -> None:
    """Warn where the saved model begins or ends texts otherwise than in training."""
    trained: Any = trainer.processing_class
    saved, ends = trained.from_pretrained(folder), None
    eos, own = [getattr(x, "tokenizer", x).eos_token_id for x in (trained, saved)]
    with suppress(OSError):  # many a model has no such file
        config: Any = import_module("transformers").GenerationConfig
        ends = config.from_pretrained(base).eos_token_id
    if (own, saved.chat_template) != (eos, trained.chat_template):
        told = "The saved tokenizer has another chat template or end of text"
        report("warning", message=f"{told} than in training: answers will differ.")
    if ends is not None and eos not in (ends if isinstance(ends, list) else [ends]):
        told = f"generate() stops at token {ends}, texts ended with {eos} in training"
        report("warning", message=f"{told}: pass it eos_token_id={eos}.")


def require_room(trainer: Any, folder: Path) -> None:
    """Raise an error where a saved model lacks weights, or should not be loaded.

    Raises:
        FileNotFoundError: A file of weights is not there.
        MemoryError: The model is spread over processes, or a machine may not hold two:
            it would end this process, while a GPU only refuses.
    """
    from psutil import virtual_memory

    names = {path.name for path in folder.glob("*.safetensors")}
    for index in folder.glob("*.safetensors.index.json"):
        names.update(json.loads(index.read_text("utf-8"))["weight_map"].values())
    size = sum((folder / name).stat().st_size for name in names)
    if not names:
        raise FileNotFoundError(f"{folder} has no weights")
    if trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled:
        raise MemoryError("the model is spread over several processes")
    if trainer.args.device.type == "cpu" and virtual_memory().available < 2 * size:
        raise MemoryError(f"{size / 2**30:.0f} GiB may not fit into this machine twice")


def load_saved(trainer: Any, folder: Path) -> Any:
    """Load a saved model whole, on the device that trained it.

    Raises:
        LookupError: It lacks weights.
    """
    trained = trainer.model
    if hasattr(trained, "peft_config"):  # merged since
        trained = trained.get_base_model()
    options: dict[str, Any] = {"device_map": {"": trainer.args.device}}
    options |= {"dtype": "auto", "output_loading_info": True}
    model, told = trained.from_pretrained(folder, **options)
    if lacking := sorted(told["missing_keys"]):
        raise LookupError(f"it lacks {len(lacking)} weights, such as {lacking[0]}")
    return model


def conclude(trainer: Any, started: float) -> None:
    """Report the end of a run that began at `started`; of a lost model, a failure."""
    state, folder = trainer.state, Path(trainer.args.output_dir).absolute()
    last = {key: value for entry in state.log_history for key, value in entry.items()}
    metrics = {k: v for k, v in last.items() if k not in ("step", "epoch", "seconds")}
    done = {"step": state.global_step, "seconds": round(time.time() - started, 1)}
    done |= {"output_dir": folder, "model": getattr(trainer, "merged", folder)}
    report("end", **done, metrics=metrics)
    if lost := getattr(trainer, "lost", None):
        print(*lost, sep="\n", file=sys.stderr, flush=True)
        finish(1)


def report(event: str, **fields: Any) -> None:
    """Print an event as one line of JSON; but for a failure, the main process alone."""
    if os.environ.get("RANK", "0") != "0" and event != "failed":
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
    sys.excepthook = tell_failure
    stop_again()
    relaunch(gpus=0)
    main()

# /// hfjobs-trainer
# digest = "5dcf9f26f15c06338b7d23140191fe8a700b5f1e260e5d0b1364a4cf4a123dcb"
# spec = '''
# {
#   "method": "online_dpo", "per_device_train_batch_size": 2, "num_train_epochs": 1.0,
#   "gradient_accumulation_steps": 32, "eval_strategy": "steps", "eval_steps": 100,
#   "hardware": {"flavor": "a10g-large"}, "timeout": 43200,
#   "tracking": {"project": "online-dpo", "name": "qwen-online", "space_id": "username/trackio"},
#   "model": "Qwen/Qwen2.5-0.5B-Instruct",
#   "dataset": {"id": "trl-lib/ultrafeedback-prompt", "num_samples": 5000},
#   "eval_fraction": 0.02, "output": {"hub_model_id": "username/qwen-online-dpo"},
#   "reward_funcs": ["trl-lib/Qwen2-0.5B-Reward"], "learning_rate": 5e-07,
#   "max_new_tokens": 128
# }
# '''
# card = '''
# - model: [Qwen/Qwen2.5-0.5B-Instruct](https://huggingface.co/Qwen/Qwen2.5-0.5B-Instruct)
# - reward model: [trl-lib/Qwen2-0.5B-Reward](https://huggingface.co/trl-lib/Qwen2-0.5B-Reward)
# - dataset: [trl-lib/ultrafeedback-prompt](https://huggingface.co/datasets/trl-lib/ultrafeedback-prompt)
# - spec and script: [hft_spec.json](hft_spec.json), `hfjobs_trainer.load("%(repo)s")`; SHA-256 %(script)s
# - loaded by `AutoModelForCausalLM.from_pretrained("%(transformers)s")`
# - trained for %(hours)s hours on a10g-large
# - job %(job)s: about %(usd)s US dollars at 1.50 an hour
# - evaluation: %(evaluation)s
# '''
# metadata = { "datasets" = ["trl-lib/ultrafeedback-prompt"] }
# usd_per_hour = 1.5
# ///
