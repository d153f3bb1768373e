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
# name = "reward-qwen-reward"
# env = { "PYTHONUNBUFFERED" = "1", "UV_TORCH_BACKEND" = "auto" }
# secrets = [
#     "HF_TOKEN",
# ]
# labels = { "sdk" = "hfjobs-trainer", "method" = "reward", "spec" = "98fd7637194e" }
#
# [tool.hfjobs-trainer]
# digest = "98fd7637194e3614bc2c9929c9cf6276a8b86468d44cb74d5c7c104c3ee0c48b"
# spec = '''
# {
#   "method": "reward",
#   "num_train_epochs": 1.0,
#   "eval_strategy": "steps",
#   "eval_steps": 100,
#   "hardware": {
#     "flavor": "a10g-large"
#   },
#   "timeout": 10800,
#   "tracking": {
#     "project": "reward",
#     "name": "qwen-reward",
#     "space_id": "username/trackio"
#   },
#   "model": "Qwen/Qwen2.5-0.5B-Instruct",
#   "dataset": {
#     "id": "trl-lib/ultrafeedback_binarized"
#   },
#   "eval_dataset": {
#     "id": "trl-lib/ultrafeedback_binarized",
#     "split": "test"
#   },
#   "output": {
#     "hub_model_id": "username/qwen-reward"
#   },
#   "learning_rate": 1e-05,
#   "center_rewards_coefficient": 0.01
# }
# '''
# ///
"""Reward with TRL; runs with `uv run` here and `hf jobs uv run` on HF Jobs."""

from __future__ import annotations

import contextvars
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

MODEL = "Qwen/Qwen2.5-0.5B-Instruct"
DATASET = "trl-lib/ultrafeedback_binarized"
EVAL_DATASET = "trl-lib/ultrafeedback_binarized"


def main() -> None:
    started = time.time()
    machine = prepare_machine(
        "reward",
        MODEL,
        gpus=1,
        precision="bf16",
    )
    dtype = settle_dtype("float32")

    from datasets import load_dataset
    from trl import RewardConfig, RewardTrainer

    dataset = load_dataset(
        DATASET,
        split="train",
    )
    eval_dataset = load_dataset(
        EVAL_DATASET,
        split="test",
    )
    track(
        project="reward",
        name="qwen-reward",
        group=None,
        space_id="username/trackio",
        private=True,
        config={"model": MODEL, "dataset": DATASET},
    )
    args = RewardConfig(
        output_dir="Qwen2.5-0.5B-Instruct-Reward",
        num_train_epochs=1.0,
        eval_strategy="steps",
        eval_steps=100,
        learning_rate=1e-05,
        center_rewards_coefficient=0.01,
        push_to_hub=True,
        hub_model_id="username/qwen-reward",
        hub_private_repo=True,
        report_to="trackio",
        project="reward",
        trackio_static_space_id=False,
        run_name="qwen-reward",
        trackio_space_id="username/trackio",
        disable_tqdm=True,
        model_init_kwargs={"dtype": dtype},
        **machine,
    )
    trainer = RewardTrainer(
        model=MODEL,
        args=args,
        train_dataset=dataset,
        eval_dataset=eval_dataset,
        callbacks=[progress_callback()],
    )
    trainer.train()
    assert_trained(trainer)
    push(trainer, dataset_name=DATASET)
    conclude(trainer, started)
    finish()


# What transformers reads of a model's repository.
MODEL_FILES = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt", "*.py"]


def relaunch(
    gpus: int,
    models: Mapping[str, str | None] | None = None,
    join: Callable[[int], Any] | None = None,
) -> None:
    """Start this script again under accelerate if several processes are to train.

    Args:
        gpus: The most GPUs to use, 0 for all that are visible. The environment
            variable HFT_NUM_PROCESSES overrides it, also where there is no GPU.
        models: Models to download once, before all processes ask for them, and the
            revision of each.
        join: Where several machines train: joins them, given the number of processes
            on this one.
    """
    if {"RANK", "LOCAL_RANK", "WORLD_SIZE"} & os.environ.keys():
        return  # this is one of them

    import torch

    visible = torch.cuda.device_count()
    wanted = os.environ.get("HFT_NUM_PROCESSES")
    processes = int(wanted) if wanted else min(visible, gpus or visible)
    if processes > 1 or join:
        for model, revision in (models or {}).items():
            download(model, revision)
    nodes = join(max(processes, 1)) if join else None
    if processes < 2 and visible > 1:
        # A single process would spread the model over all GPUs, layer by layer.
        first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
        os.environ["CUDA_VISIBLE_DEVICES"] = first
    script = sys.argv
    if nodes and nodes.trains == 1 and processes < 2:
        os.environ["WORLD_SIZE"] = "1"  # it is the one that trains
        sys.exit(nodes.run([sys.executable, *script]))
    if nodes or processes > 1:
        launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu"]
        # Precision is for the trainer's own arguments to say.
        launch += ["--gpu_ids=all", "--mixed_precision=no", "--dynamo_backend=no"]
        alone = [f"--num_processes={processes}", "--num_machines=1"]
        alone += ["--main_process_port=0"]
        launch += [*(nodes.arguments if nodes else alone), *script]
        if nodes:
            sys.exit(nodes.run(launch))
        os.execv(sys.executable, launch)


def download(model: str, revision: str | None) -> None:
    """Fetch a model's files; what cannot be had, the processes report themselves."""
    import huggingface_hub

    if Path(model).is_dir():
        return
    hub: Any = huggingface_hub
    try:
        # Folders hold the same weights in other formats, as consolidated files do.
        hub.snapshot_download(
            model,
            revision=revision,
            allow_patterns=MODEL_FILES,
            ignore_patterns=["*/*", "consolidated*"],
        )
    except Exception as error:  # noqa: BLE001 - the processes will tell
        print(f"{model} was not downloaded ahead: {error!r:.300}", flush=True)


def finish() -> None:
    """Hand over the last metrics and end every process of the run."""
    import torch.distributed as dist

    trackio: Any = sys.modules.get("trackio")
    if trackio and trackio.context_vars.current_run.get():
        trackio.finish()
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)  # the interpreter's own exit can hang after a distributed run


def prepare_machine(
    method: str,
    model: str,
    gpus: int,
    precision: str | None,
    use_cpu: bool = False,
    bf16_adapter: bool = False,
) -> dict[str, Any]:
    """Check the GPUs, report the start, and settle the precision.

    Args:
        method: Training method, for the report.
        model: Model, for the report.
        gpus: GPUs that were planned, 0 for none in particular.
        precision: "bf16", "fp16" or "fp32" as planned; None keeps the script's own.
        use_cpu: Whether to leave a GPU alone.
        bf16_adapter: Whether the weights that are trained are bfloat16.

    Returns:
        The arguments of the trainer's config that follow from the machine.
    """
    import torch

    device = find_device(use_cpu)
    found = torch.cuda.device_count() if device == "cuda" else 0
    planned = 0 if use_cpu else gpus
    planned = min(planned, int(os.environ.get("HFT_NUM_PROCESSES") or planned))
    # A job of the public Hub; one of a Hub of one's own may run on any machine.
    rented = "JOB_ID" in os.environ and "HF_ENDPOINT" not in os.environ
    if found < planned and rented:
        # A rented machine without its GPUs would train on the CPU until its timeout.
        sys.exit(
            f"{planned} GPU(s) were promised, torch sees {found}: torch"
            f" {torch.__version__} is built for CUDA {torch.version.cuda}, and the"
            f" NVIDIA driver here is {nvidia_driver()}. If there is a driver, have uv"
            ' install the build that fits it: torch-backend = "auto" under [tool.uv]'
            " in this script's header. If there is none, choose a flavor with GPUs."
        )
    report(
        "start",
        method=method,
        model=model,
        device=device,
        gpu=torch.cuda.get_device_name() if device == "cuda" else None,
        world_size=int(os.environ.get("WORLD_SIZE", "1")),
    )
    if found < planned:
        why = "this machine has no more"
        report("replaced", what="gpus", planned=planned, used=found, why=why)
    settled: dict[str, Any] = {"use_cpu": True} if device == "cpu" else {}
    if precision is not None:
        used = precision
        if device != "cuda":
            used = "fp32"
        elif precision == "bf16" and not has_bf16() and not bf16_adapter:
            # Without bf16 arithmetic it is emulated; fp16 cannot train such weights.
            used = "fp16"
        if used != precision:
            why = f"no {precision} mixed precision on this {device} device"
            report("replaced", what="precision", planned=precision, used=used, why=why)
        settled |= {"bf16": used == "bf16", "fp16": used == "fp16"}
    return settled


def settle_dtype(planned: str, frozen: bool = False, use_cpu: bool = False) -> str:
    """Choose a dtype for the weights that this machine computes well with."""
    device, used = find_device(use_cpu), planned
    if device == "cpu" and planned in ("bfloat16", "float16"):
        used = "float32"
    elif device == "cuda" and planned == "bfloat16" and not has_bf16():
        # Weights that are trained in fp16 mixed precision must be float32 themselves.
        used = "float16" if frozen else "float32"
    if used != planned:
        why = f"{planned} is slow on this {device} device"
        report("replaced", what="dtype", planned=planned, used=used, why=why)
    return used


def accumulation_steps(global_batch_size: int, per_device_batch_size: int) -> int:
    """Split the global batch size over the processes that there are."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    batch = per_device_batch_size * processes
    if global_batch_size % batch:
        sys.exit(
            f"A global batch size of {global_batch_size} is no multiple of"
            f" {per_device_batch_size} per device on {processes} process(es): change"
            f" one of them, or the process count with HFT_NUM_PROCESSES."
        )
    return global_batch_size // batch


def find_device(use_cpu: bool) -> str:
    """Name the device to train on: "cuda", "mps" or "cpu"."""
    import torch

    if use_cpu:
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def has_bf16() -> bool:
    """Tell whether the GPU computes in bf16 itself (NVIDIA: since Ampere)."""
    import torch

    return torch.cuda.is_bf16_supported(including_emulation=False)


def nvidia_driver() -> str:
    """Read the version of the NVIDIA driver."""
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.check_output(query, text=True, timeout=20).split()[0]
    except (OSError, subprocess.SubprocessError, IndexError):
        return "not found"


def report(event: str, **fields: Any) -> None:
    """Print an event as one line of JSON, from the main process only."""
    if os.environ.get("RANK", "0") != "0":
        return
    line = {"event": f"hft.{event}", "time": round(time.time(), 3), **fields}
    text = json.dumps(line, default=str)
    # NaN and infinity are no JSON: read back as null.
    text = json.dumps(json.loads(text, parse_constant=lambda _: None))
    # One write per line, since other processes print to the same stream.
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def progress_callback() -> Any:
    """Make the trainer callback that reports metrics and checkpoints."""
    from transformers import TrainerCallback

    class Progress(TrainerCallback):
        def on_log(
            self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any
        ) -> None:
            metrics = {key: value for key, value in logs.items() if key != "epoch"}
            report(
                "log",
                step=state.global_step,
                max_steps=state.max_steps,
                epoch=state.epoch,
                metrics=metrics,
            )

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            folder = Path(args.output_dir).absolute()
            path = folder / f"checkpoint-{state.global_step}"
            report("saved", step=state.global_step, path=str(path))

    return Progress()


def assert_trained(trainer: Any) -> None:
    """End a run that trained nothing, of which the trainer only warns."""
    if trainer.state.global_step == 0:
        sys.exit(
            "No optimiser step was taken, so nothing was trained: the dataset has"
            " fewer rows than one batch needs, or all were filtered out."
        )


def conclude(trainer: Any, started: float) -> None:
    """Report the end of the run and its last metrics.

    Args:
        trainer: The trainer, done with training.
        started: When the script started, as `time.time()` gave it.
    """
    state = trainer.state
    last = {key: value for entry in state.log_history for key, value in entry.items()}
    report(
        "end",
        step=state.global_step,
        seconds=round(time.time() - started, 1),
        metrics={k: v for k, v in last.items() if k not in ("step", "epoch")},
        output_dir=str(Path(trainer.args.output_dir).absolute()),
    )


TRACKIO_SECONDS = 120.0  # enough to create a Space; a hanging Hub costs no more


def track(
    project: str,
    name: str | None,
    group: str | None,
    space_id: str | None,
    private: bool,
    config: dict[str, Any],
    bucket_id: str | None = None,
) -> None:
    """Have `report_to="trackio"` log to one run in a group, retries included."""
    import trackio
    from huggingface_hub import get_token
    from transformers.integrations import integration_utils

    tracker: Any = trackio
    integrations: Any = integration_utils
    identity = os.environ.get("HFT_RUN_ID") or os.environ.get("JOB_ID")
    run_id = hashlib.sha256((identity or uuid.uuid4().hex).encode()).hexdigest()[:32]
    space_id = space_id or os.environ.pop("TRACKIO_SPACE_ID", None)

    def open_run(space_id: str | None) -> Any:
        run = tracker.init(
            project,
            name=name or f"run-{run_id[:6]}",
            group=group,
            space_id=space_id,
            private=private,
            bucket_id=bucket_id if space_id else None,
            resume="allow",
            embed=False,
            auto_log_gpu=False,
        )
        if run.id != run_id:  # new to trackio, or a namesake
            run.id, run._next_step = run_id, 0
        if tracker.gpu.gpu_available():  # only now that its metrics find their run
            run._gpu_monitor = tracker.gpu.GpuMonitor(run)
            run._gpu_monitor.start()
        return run

    def open_somewhere() -> Any:
        try:
            if space_id and not get_token():
                raise PermissionError("there is no HF_TOKEN")
            return within(TRACKIO_SECONDS, lambda: open_run(space_id))
        except Exception as error:  # noqa: BLE001 - no fault of a tracker ends a run
            where = f"Space {space_id}" if space_id else "the Hub"
            why = f"trackio cannot use {where}: {error!r:.200}"
            report("warning", message=f"{why}. Metrics stay on this machine.")
        # TRL logs to the current run, so there must be one: without asking the Hub.
        os.environ.pop("TRACKIO_SERVER_URL", None)
        tracker.run._get_default_namespace = lambda: None
        return open_run(None)

    class Tracking(integrations.TrackioCallback):
        def setup(self, args: Any, state: Any, model: Any = None, **_: Any) -> None:
            self._initialized = True
            if state.is_world_process_zero:
                self.run = open_somewhere()
                self.run.config.update({**args.to_dict(), **config})

        def on_log(self, args: Any, state: Any, *rest: Any, **more: Any) -> None:
            parent: Any = super()
            parent.on_log(args, state, *rest, **more)
            if state.is_world_process_zero:
                # Sent again with each row: trackio forgets it when a Space was away.
                self.run._config_logged = False

        def on_train_end(self, *_: Any, **__: Any) -> None:
            """Keep the run open: evaluate() and GRPO log after train() too."""

    integrations.INTEGRATION_TO_CALLBACK["trackio"] = Tracking


def within(seconds: float, call: Callable[[], Any]) -> Any:
    """Call something that may hang; keep what it sets in the context."""
    context, answer = contextvars.copy_context(), Future[Any]()

    def run() -> None:
        try:
            answer.set_result(context.run(call))
        except Exception as error:  # noqa: BLE001 - it is raised where it is awaited
            answer.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    result = answer.result(seconds)
    for variable, value in context.items():
        variable.set(value)
    return result


PUSH_PAUSES = (5.0, 15.0, 45.0, 135.0)  # seconds before the second try, the third ...


def push(trainer: Any, **card: Any) -> None:
    """Save the model and upload it with its card.

    Args:
        trainer: The trainer, done with training.
        card: What `trainer.create_model_card()` takes, such as `dataset_name`.
    """
    # All processes save, since each may hold a part; one uploads. The trainer's own
    # push_to_hub() does both at once, so it could not be tried again by one alone.
    trainer.save_model(_internal_call=True)
    upload(trainer, Path(trainer.args.output_dir).absolute(), **card)


def upload(trainer: Any, folder: Path | None, suffix: str = "", **card: Any) -> None:
    """Upload a saved model, again after each failure that may pass.

    Args:
        trainer: The trainer, done with training.
        folder: Where the model is; only the main process needs to know.
        suffix: What is added to the name of the trainer's repository.
        card: What `trainer.create_model_card()` takes, such as `dataset_name`.
    """
    from huggingface_hub import HfApi

    if folder is None or not trainer.is_world_process_zero():
        return
    api: Any = HfApi(token=trainer.args.hub_token)
    pauses = list(PUSH_PAUSES)
    while True:
        try:
            if trainer.hub_model_id is None:
                trainer.init_hf_repo()
            main_repo = str(trainer.hub_model_id)
            repo = main_repo + suffix
            private = trainer.args.hub_private_repo
            if suffix:
                api.create_repo(repo, private=private, exist_ok=True)
            trainer.create_model_card(**{"model_name": repo.split("/")[-1], **card})
            text = Path(trainer.args.output_dir, "README.md").read_text("utf-8")
            text = text.replace(f'"{main_repo}"', f'"{repo}"')
            (folder / "README.md").write_text(text, "utf-8")
            commit = api.upload_folder(
                repo_id=repo,
                folder_path=folder,
                commit_message="End of training",
                ignore_patterns=["_*", "checkpoint-*", "merged/*", "ref/*"],
                revision=None if suffix else trainer.args.hub_revision,
            )
        except Exception as error:
            if not pauses or not may_pass(error):
                lost = f"The model was not pushed; it is in {folder}: {error!r:.300}"
                report("warning", message=lost)
                raise
            pause = pauses.pop(0)
            report("warning", message=f"Push again in {pause:g} s: {error!r:.300}")
            time.sleep(pause)
        else:
            report("pushed", repo=repo, url=str(commit.repo_url))
            return


def may_pass(error: Exception) -> bool:
    """Tell whether the Hub may answer differently in a minute."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status is None or status >= 500 or status in (408, 409, 412, 425, 429)


if __name__ == "__main__":
    relaunch(gpus=0)
    main()
