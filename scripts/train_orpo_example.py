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
# timeout = "13500s"
# name = "orpo-qwen-orpo"
# env = { "PYTHONUNBUFFERED" = "1", "UV_TORCH_BACKEND" = "auto" }
# secrets = ["HF_TOKEN"]
# labels = { "sdk" = "hfjobs-trainer", "method" = "orpo", "spec" = "c07ece65149f" }
# ///
"""ORPO with TRL; runs with `uv run` here and `hf jobs uv run` on HF Jobs."""

from __future__ import annotations

import hashlib
import json
import os
import re
import runpy
import subprocess
import sys
import time
import tomllib
from importlib import import_module
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Any, NamedTuple

MODEL = "Qwen/Qwen2.5-0.5B"
DATASET = "trl-lib/ultrafeedback_binarized"


def main() -> None:
    started = time.time()
    # The pins above keep what TRL may change.
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    machine = find_machine()
    report("start", method="orpo", model=MODEL, **machine._asdict())
    require_gpus(machine, planned=1)
    precision = settle_precision(machine, "bf16")
    dtype = settle_dtype(machine, "float32")

    from datasets import load_dataset
    from transformers import AutoTokenizer
    from trl.experimental.orpo import ORPOConfig, ORPOTrainer

    dataset = load_dataset(DATASET, split="train")
    tokenizer = AutoTokenizer.from_pretrained(MODEL)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    track(
        project="orpo",
        name="qwen-orpo",
        group=None,
        space_id="username/trackio",
        private=True,
        config={"model": MODEL, "dataset": DATASET},
    )
    args = ORPOConfig(
        output_dir="Qwen2.5-0.5B-ORPO",
        per_device_train_batch_size=2,
        num_train_epochs=1.0,
        gradient_accumulation_steps=32,
        learning_rate=5e-06,
        push_to_hub=True,
        hub_model_id="username/qwen-orpo",
        hub_private_repo=True,
        report_to="trackio",
        project="orpo",
        trackio_static_space_id=False,
        run_name="qwen-orpo",
        trackio_space_id="username/trackio",
        disable_tqdm=True,
        model_init_kwargs={"dtype": dtype, "device_map": None},
        use_cpu=machine.device == "cpu",
        **precision,
    )
    trainer = ORPOTrainer(
        model=MODEL,
        processing_class=tokenizer,
        args=args,
        train_dataset=dataset,
        callbacks=[progress_callback(started)],
    )
    stop = Stop()
    train(trainer, stop)
    push(trainer)
    conclude(trainer, started)
    end_tracking()
    finish()


# --------------------------------------------------------------------------------------
# What follows is the same in every script that needs it, and need not be read.
# --------------------------------------------------------------------------------------

TRACKIO_SECONDS = 120.0  # enough to create a Space; a hanging Hub costs no more
PUSH_PAUSES = (5.0, 15.0, 45.0, 135.0)  # seconds before the second try, the third ...


def relaunch(gpus: int) -> None:
    """Start this script again, once for each of `gpus` GPUs, or of all if it is 0."""
    if (processes := count_processes(gpus)) > 1:
        where = {"num_processes": processes, "num_machines": 1, "main_process_port": 0}
        os.execv(sys.executable, launch_command(**where))


def count_processes(gpus: int) -> int:
    """Count the processes that are to train here; 0 if this is one of them."""
    if {"RANK", "LOCAL_RANK", "WORLD_SIZE"} & os.environ.keys():
        return 0
    from torch import cuda

    seen = cuda.device_count()
    processes = int(os.environ.get("HFT_NUM_PROCESSES") or min(seen, gpus or seen))
    if processes < 2 and seen > 1:  # it would spread the model over all GPUs
        first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
        os.environ["CUDA_VISIBLE_DEVICES"] = first
    return max(1, processes)


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
    """Train; end the process where the run was stopped early.

    Args:
        trainer: The trainer.
        stop: What may end the run early.
        options: What `trainer.train()` takes.
    """
    from transformers import TrainerCallback

    class Settle(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            stop.settle(state, control)

    trainer.add_callback(Settle())  # the last one, after all that may ask
    trainer.train(**options)
    if stop.step is not None:
        stop.leave()
    assert_trained(trainer)


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


class Stop:
    """What asks a run to end early, and what its processes agreed on.

    Attributes:
        code: Exit code with which this process asks the run to end; 0: it does not.
        why: The reason, for people.
        saves: Whether a checkpoint is saved first.
        every: The run ends at a multiple of so many steps, to be resumed exactly.
        step: The step at which all processes ended; None while they go on.
    """

    def __init__(self, every: int = 1) -> None:
        self.code, self.why, self.saves = 0, "", True
        self.every = every
        self.step: int | None = None

    def ask(self, code: int, why: str, saves: bool = True) -> None:
        """Ask for the end of the run; the first is heard, but ruin before all."""
        if not self.code or (not saves and self.saves):
            self.code, self.why, self.saves = code, why, saves

    def settle(self, state: Any, control: Any) -> None:
        """End the run at the end of this step if a process asks for it."""
        wish = 2 * self.code + (not self.saves)
        wish = agree(wish)
        if wish and (state.global_step % self.every == 0 or wish % 2):
            self.code, self.saves = wish // 2, not wish % 2
            self.step = state.global_step
            control.should_training_stop = True
            control.should_save = self.saves

    def leave(self) -> None:
        """End this process with the code that was agreed on."""
        report("stopped", step=self.step, code=self.code, reason=self.why)
        sys.exit(self.code)


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


def push(trainer: Any) -> None:
    """Save the model and upload it, with what its card says."""
    # All processes save, since each may hold a part; one uploads, and may try again.
    trainer.save_model(_internal_call=True)
    if trainer.is_world_process_zero():
        repo, branch = trainer.hub_model_id, trainer.args.hub_revision
        folder = Path(trainer.args.output_dir).absolute()
        write_card(trainer, folder, repo)
        commit_folder(trainer, folder, repo, branch)


def write_card(trainer: Any, folder: Path, repo: str) -> None:
    """Write a model's card, `hft_spec.json` and `loss.svg` into its folder."""
    args, history, source = trainer.args, trainer.state.log_history, Path(__file__)
    block = source.read_text("utf-8").rpartition("\n# /// hfjobs-trainer\n")[2]
    lines = block.partition("\n# ///")[0].split("\n")
    plan = tomllib.loads("\n".join(line[2:] for line in lines))
    shown = plan | plan.get("published", {})
    spec = {"digest": shown["digest"], "spec": json.loads(shown["spec"])}
    hours = history[-1].get("seconds", 0) / 3600 if history else 0
    library = "peft" if (folder / "adapter_config.json").exists() else "transformers"
    known = {"repo": repo, library: repo, "hours": f"{hours:.2f}"}
    known["script"] = hashlib.sha256(source.read_bytes()).hexdigest()
    known["spec"] = json.dumps(spec, indent=2).replace("\n", "\n    ")
    if "JOB_ID" in os.environ:
        known["job"], price = os.environ["JOB_ID"], plan.get("usd_per_hour", 0)
        known["usd"] = f"{hours * price:.2f}"
    _, before, after = compare_evaluations(args, trainer.state)
    was = {key: f"{value:.4g} -> " for key, value in before.items()}
    rows = (f"| {key} | {was.get(key, '')}{after[key]:.4g} |" for key in after)
    known["evaluation"] = "\n".join(rows)
    # A line about something that is not known here, such as a job, is left out.
    keys = re.compile(r"%\((\w+)")
    lines = [each for each in plan["card"] if {*keys.findall(each)} <= {*known}]
    trainer.create_model_card(repo.split("/")[-1], tags=["hfjobs-trainer"])
    text = Path(args.output_dir, "README.md").read_text("utf-8")
    for old, new in plan.get("replaces", {}).items():
        text = re.sub(old, new, text)
    card: Any = import_module("huggingface_hub").ModelCard(text)
    card.data.__dict__.update(plan["metadata"], library_name=library, licence=None)
    text = card.text.replace(f'"{trainer.hub_model_id}"', f'"{repo}"')
    top, heading, rest = text.partition("## Training procedure")
    card.text = top + "\n".join(lines) % known + "\n\n" + heading + rest
    card.save(folder / "README.md")
    (folder / "hft_spec.json").write_text(json.dumps(spec, indent=2), "utf-8")
    (folder / "loss.svg").write_text(draw_loss(history), "utf-8")


def compare_evaluations(args: Any, state: Any) -> tuple[int, Any, Any]:
    """Give the step of the last evaluation, what was found before training, and then.

    Where the best model was loaded at the end, it is that model's step.
    """
    found: dict[int, dict[str, float]] = {0: {}}
    for entry in state.log_history:
        for key in (key for key in entry if key.startswith("eval_")):
            if not key.endswith(("_runtime", "_per_second")):
                found.setdefault(entry["step"], {})[key] = entry[key]
    best = state.best_global_step if args.load_best_model_at_end else None
    step = best if best in found else max(found)
    return step, found[0], found[step]


def draw_loss(history: list[dict[str, Any]]) -> str:
    """Draw the loss of training over the steps, as SVG."""
    some = [each for each in history if each.get("loss", 1e30) < 1e30]
    curve = [(each["step"], each["loss"]) for each in some] or [(0, 0.0)]
    low, high, end = min(y for _, y in curve), max(y for _, y in curve), curve[-1][0]
    across, down = 600 / (end or 1), 280 / (high - low or 1)
    points = " ".join(f"{across * x:.1f},{down * (high - y):.1f}" for x, y in curve)
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="-20 -25 640 320">'
        f'<polyline fill="none" stroke="#2563eb" points="{points}"/>'
        f'<text y="-8">loss: {high:.4g} to {low:.4g}, {end} steps</text></svg>\n'
    )


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
    metrics = {k: v for k, v in last.items() if k not in ("step", "epoch", "seconds")}
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


def end_tracking() -> None:
    """Send what is left."""
    trackio: Any = sys.modules.get("trackio")
    if trackio and trackio.context_vars.current_run.get():
        trackio.finish()


def finish() -> None:
    """End this process of a run that has several."""
    import torch.distributed as dist

    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
        sys.stdout.flush()
        os._exit(0)  # the interpreter's own exit can hang after a distributed run


if __name__ == "__main__":
    if "HFT_MODE_FILE" in os.environ:  # this is tried, not run: see hft.preview
        runpy.run_path(os.environ["HFT_MODE_FILE"])
    relaunch(gpus=0)
    main()

# /// hfjobs-trainer
# digest = "c07ece65149fb9ffe74f372d388a74516c2fa5e62af60057d677f0a553f908c4"
# spec = '''
# {
#   "method": "orpo", "per_device_train_batch_size": 2, "num_train_epochs": 1.0,
#   "gradient_accumulation_steps": 32, "hardware": {"flavor": "a10g-large"},
#   "timeout": 10800,
#   "tracking": {"project": "orpo", "name": "qwen-orpo", "space_id": "username/trackio"},
#   "model": "Qwen/Qwen2.5-0.5B", "dataset": {"id": "trl-lib/ultrafeedback_binarized"},
#   "output": {"hub_model_id": "username/qwen-orpo"}, "learning_rate": 5e-06
# }
# '''
# card = [
#     "## How it was made",
#     "![Loss by step](loss.svg)",
#     "",
#     "| | |",
#     "| --- | --- |",
#     "| model | [Qwen/Qwen2.5-0.5B](https://huggingface.co/Qwen/Qwen2.5-0.5B) |",
#     "| dataset | [trl-lib/ultrafeedback_binarized](https://huggingface.co/datasets/trl-lib/ultrafeedback_binarized) |",
#     "| spec, script | [hft_spec.json](hft_spec.json), `hfjobs_trainer.load(\"%(repo)s\")`; SHA-256 %(script)s |",
#     "| loaded by | `AutoModelForCausalLM.from_pretrained(\"%(transformers)s\")` |",
#     "| hours | %(hours)s on a10g-large |",
#     "| cost | about %(usd)s US dollars at 1.50 an hour |",
#     "",
#     "    %(spec)s",
# ]
# metadata = { "datasets" = ["trl-lib/ultrafeedback_binarized"] }
# usd_per_hour = 1.5
# ///
