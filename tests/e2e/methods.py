"""What each training method is run with in the tests: a tiny model, a few rows, two steps."""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hfjobs_trainer as hft
from examples import tiny
from hfjobs_trainer.find_uv import find_links, find_uv

GROUP = "matrix"
STEPS = 2

FORMATS: dict[str, tiny.Format] = {
    "sft": "messages",
    "dpo": "preference_chat",
    "kto": "unpaired_chat",
    "reward": "preference_implicit_chat",
    "grpo": "prompt_only_chat",
    "rloo": "prompt_only",
    "distillation": "prompt_only_chat",
    "orpo": "preference_chat",
    "cpo": "preference",
    "online_dpo": "prompt_only_chat",
    "gkd": "messages",
    "ppo": "prompt_only_chat",
}
"""The matrix: what each method is given to read. What else one needs is in ``Inputs``."""

TRAINED = [name for name in FORMATS if hft.METHODS[name].METHOD.family == "default"]
"""Those that train with the TRL that is installed here."""


def one_point_per_character(completions: list[Any], **_columns: Any) -> list[float]:
    """A reward that any model can earn."""
    return [float(len(str(completion))) for completion in completions]


@dataclass(frozen=True)
class Inputs:
    """Models and datasets on disk."""

    model: Path
    teacher: Path
    reward_model: Path
    data: Callable[[tiny.Format], Path]

    def fields(self, method: str, project: str = "", **changes: Any) -> dict[str, Any]:
        """The fields of a spec that trains two steps, evaluates once, and saves after each step."""
        common: dict[str, Any] = {
            "model": str(self.model),
            "dataset": str(self.data(FORMATS[method])),
            "eval_fraction": 0.25,
            "eval_strategy": "steps",
            "eval_steps": STEPS,
            "max_steps": STEPS,
            "save_strategy": "steps",
            "save_steps": 1,
            "logging_steps": 1,
            "per_device_train_batch_size": 2,
            "per_device_eval_batch_size": 4,
            "learning_rate": 1e-3,
            "tracking": hft.Tracking(project=project or method, name="real", group=GROUP),
        }
        return common | self._own(method) | changes

    def _own(self, method: str) -> dict[str, Any]:
        short = {"max_completion_length": 4}
        match method:
            case "grpo":
                return {"reward_funcs": [one_point_per_character, str(self.reward_model)], "num_generations": 2} | short
            case "rloo":
                return {"reward_funcs": one_point_per_character, "num_generations": 2} | short
            case "distillation":
                return {"teacher_model": str(self.teacher)} | short
            case "ppo":
                episodes = {"max_steps": -1, "total_episodes": 2 * STEPS, "num_ppo_epochs": 1}
                return {"reward_model": str(self.reward_model), "response_length": 4, "stop_token": "eos"} | episodes
            case "gkd":
                return {"teacher_model": str(self.teacher), "max_new_tokens": 4}
            case "online_dpo":
                return {"reward_funcs": [str(self.reward_model), one_point_per_character], "max_new_tokens": 4}
            case _:
                return {}


@dataclass(frozen=True)
class Finished:
    """A script that ran to its end, and what it left."""

    method: str
    folder: Path
    trackio: Path
    events: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def named(self, event: str) -> list[dict[str, Any]]:
        return [item for item in self.events if item["event"] == f"hft.{event}"]

    @property
    def output(self) -> Path:
        return Path(self.named("end")[0]["output_dir"])

    def metrics(self, prefix: str) -> list[dict[str, Any]]:
        """The log events that have a metric which begins so."""
        return [item for item in self.named("log") if any(name.startswith(prefix) for name in item["metrics"])]

    def tracked(self, project: str) -> tuple[list[str], dict[str, Any]]:
        """Names of the metrics that trackio holds of a project, and the run's configuration."""
        with closing(sqlite3.connect(self.trackio / f"{project}.db")) as database:
            rows = [json.loads(row) for (row,) in database.execute("SELECT CAST(metrics AS TEXT) FROM metrics")]
            configs = [json.loads(row) for (row,) in database.execute("SELECT CAST(config AS TEXT) FROM configs")]
        return sorted({name for row in rows for name in row}), configs[0]


def environment(cache: Path, trackio: Path, **more: str) -> dict[str, str]:
    """No GPU, no network, no account: whatever a script needs lies on this disk."""
    unset = ("HF_TOKEN", "JOB_ID", "RANK", "LOCAL_RANK", "WORLD_SIZE", "HFT_NUM_PROCESSES", "TRACKIO_SPACE_ID")
    return {name: value for name, value in os.environ.items() if name not in unset} | {
        "CUDA_VISIBLE_DEVICES": "",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_DATASETS_CACHE": str(cache),
        "HFT_RUN_ID": "matrix",
        "OMP_NUM_THREADS": "1",
        "TRACKIO_DIR": str(trackio),
        **more,
    }


def render_to(folder: Path, method: str, fields: Mapping[str, Any]) -> Path:
    """Render the spec as this machine would run it."""
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "script.py"
    script.write_text(hft.render({"method": method, **fields}, backend="local", offline=True), encoding="utf-8")
    return script


def finished(method: str, folder: Path, status: int, out: str, err: str, trackio: Path) -> Finished:
    """Read the progress lines of a script that has ended well."""
    assert status == 0, out[-2000:] + err[-6000:]
    lines = [json.loads(line) for line in out.splitlines() if line.startswith('{"event": "hft.')]
    return Finished(method, folder, trackio, lines)


def run_script(
    method: str, fields: Mapping[str, Any], folder: Path, *, command: tuple[str, ...] = (sys.executable,), **env: str
) -> Finished:
    """Render the spec and run the script in a process of its own."""
    return run_file(method, render_to(folder, method, fields), folder, command=command, **env)


def run_pinned(method: str, fields: Mapping[str, Any], folder: Path, place: Path, **env: str) -> Finished:
    """Render the spec and run the script in an environment made from its own header.

    Args:
        method: What trains.
        fields: Those of the spec.
        folder: Where it runs.
        place: The script's own folder: uv keeps an environment for each path, and making one takes its time. Other
            processes of pytest wait for it.
        **env: Variables of the process.
    """
    command = (find_uv(), "run", "--no-project", "--python", sys.executable)
    folder.mkdir(parents=True, exist_ok=True)
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return run_file(method, render_to(place, method, fields), folder, command=command, **find_links(), **env)


def run_file(
    method: str, script: Path, folder: Path, *, command: tuple[str, ...] = (sys.executable,), **env: str
) -> Finished:
    """Run a script in a process of its own."""
    trackio = folder / "trackio"
    variables = environment(folder.parent / "cache", trackio, **env)
    done = subprocess.run(
        [*command, str(script)], cwd=folder, env=variables, capture_output=True, text=True, timeout=300
    )
    return finished(method, folder, done.returncode, done.stdout, done.stderr, trackio)


class Warm:
    """Runs scripts in forks of one process that has imported TRL; see ``warm.py``."""

    def __init__(self, folder: Path, **env: str) -> None:
        self.folder, self.trackio = folder, folder / "trackio"
        variables = environment(folder / "cache", self.trackio, **env)
        command = [sys.executable, str(Path(__file__).with_name("warm.py"))]
        self.process = subprocess.Popen(
            command, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def run(self, method: str, fields: Mapping[str, Any], folder: Path, *, processes: int = 1) -> Finished:
        """Render the spec and run the script in as many forks."""
        return self.run_file(method, render_to(folder, method, fields), processes=processes)

    def run_file(self, method: str, script: Path, *, processes: int = 1, **env: str) -> Finished:
        """Run a script, in its own folder, in as many forks."""
        status = self.start(script, processes=processes, **env)
        out = (script.parent / "out-0.txt").read_text()
        errors = "\n".join((script.parent / f"err-{rank}.txt").read_text()[-4000:] for rank in range(processes))
        return finished(method, script.parent, status, out, errors, self.trackio)

    def start(self, script: Path, *, processes: int = 1, **env: str) -> int:
        """Run a script, in its own folder, in as many forks; its exit status."""
        request = {"script": str(script), "folder": str(script.parent), "env": env, "processes": processes}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        return int(self.process.stdout.readline())

    def close(self) -> None:
        self.process.communicate()
