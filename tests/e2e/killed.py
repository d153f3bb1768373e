"""Runs that are killed and resumed, beside the same run unbroken: what must be equal, and whether it is.

A script is rendered once and run three times, in forks of a warm process: unbroken; until a SIGKILL that comes at a
``Point``; and again, which resumes it. On a mount the third finds a new, empty folder, as on another machine, and
nothing but what the second copied to the mount; on a disk it finds the folder of the second.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import hfjobs_trainer as hft
from examples import tiny
from tests.e2e.methods import Inputs, Warm

MODE = Path(__file__).with_name("kill_mode.py")
STEPS, SAVE_STEPS = 6, 2
KILLED, STOPPED = -9, 76
# What a clock has measured, or only what one process has done.
UNEQUAL = ("runtime", "per_second", "step_time", "total_flos", "train_loss", "num_tokens", "profiling", "tokens_per")

Place = Literal["mount", "disk"]


@dataclass(frozen=True)
class Case:
    """What is trained, in how many processes, and which of them is killed."""

    name: str
    method: str
    fields: dict[str, Any] = field(default_factory=dict[str, Any])
    processes: int = 1
    rank: int = 0


@dataclass(frozen=True)
class Point:
    """Where a run is killed.

    Attributes:
        name: For people.
        kill: What ``kill_mode.py`` is told.
        resumes: Steps of the checkpoints from which the run may be resumed; 0: from its start.
        lose: How many of the last files that were written to the mount it loses, as a volume does whose machine ends.
        status: The exit status of a run that came to the point.
    """

    name: str
    kill: Mapping[str, Any]
    resumes: tuple[int, ...]
    lose: int = 0
    status: int = KILLED


@dataclass(frozen=True)
class Record:
    """What a run left: its events, and the digest of the final weights if it came to its end."""

    status: int
    events: list[dict[str, Any]]
    digest: str | None
    error: str
    seconds: float

    def named(self, event: str) -> list[dict[str, Any]]:
        return [item for item in self.events if item["event"] == f"hft.{event}"]

    def steps(self) -> dict[tuple[int, str], dict[str, Any]]:
        """The metrics of each step, and of the evaluation after it, without what a clock measured."""
        found: dict[tuple[int, str], dict[str, Any]] = {}
        for event in self.named("log"):
            metrics = {k: v for k, v in event["metrics"].items() if not any(word in k for word in UNEQUAL)}
            if "train_runtime" not in event["metrics"] and metrics:
                kind = "eval" if any(name.startswith("eval_") for name in metrics) else "train"
                found[event["step"], kind] = metrics
        return found

    @property
    def began_after(self) -> int:
        """Step of the checkpoint that it resumed; 0: none."""
        steps = [event["step"] for event in self.named("resumed")]
        return steps[-1] if steps else min([step for step, _ in self.steps()], default=1) - 1


@dataclass(frozen=True)
class Verdict:
    """Whether a run that was killed and resumed equals the unbroken one.

    Attributes:
        case: What was trained.
        point: Where it was killed.
        reached: Whether it came to that point.
        resumed_from: Step of the checkpoint from which it was resumed; 0: from its start.
        lost_steps: Steps that it had taken since.
        differences: What was not as in the unbroken run, for people.
        copies: Seconds that each copy to the mount took.
    """

    case: str
    point: str
    reached: bool
    resumed_from: int = 0
    lost_steps: int = 0
    differences: tuple[str, ...] = ()
    copies: tuple[float, ...] = ()

    @property
    def is_equal(self) -> bool:
        return self.reached and not self.differences


class Trial:
    """One case, run unbroken once, and killed as often as asked."""

    def __init__(
        self, case: Case, inputs: Inputs, warm: Warm, folder: Path, place: Place = "mount", other: Warm | None = None
    ) -> None:
        self.case, self.warm, self.other = case, warm, other or warm
        self.place: Place = place
        self.folder = folder
        fields = inputs.fields(case.method, **common_fields() | case.fields)
        spec = {"method": case.method, **fields}
        if place == "mount":
            spec = {"hardware": "cpu-basic", "output": {"checkpoints": "bucket"}, **spec}
        self.text = hft.render(spec, backend="hub" if place == "mount" else "local", offline=True)
        self.unbroken = self.run("unbroken", "unbroken")

    def run(
        self,
        name: str,
        run_id: str,
        kill: Mapping[str, Any] | None = None,
        warm: Warm | None = None,
        processes: int | None = None,
    ) -> Record:
        """Run the script in the folder ``name``, which is made when missing, as the run ``run_id``."""
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        script = folder / "script.py"
        script.write_text(self.text, encoding="utf-8")
        variables = {"HFT_RUN_ID": run_id, "HFT_FLUSH_SECONDS": "0", "HFT_MODE_FILE": str(MODE)}
        if self.place == "mount":
            self.mount(run_id).mkdir(parents=True, exist_ok=True)
            variables["HFT_CHECKPOINTS"] = str(self.mount(run_id).parent)
        variables |= {"HFT_KILL": json.dumps(kill) if kill else ""}
        began = time.perf_counter()
        status = (warm or self.warm).start(script, processes=processes or self.case.processes, **variables)
        return read(folder, status, time.perf_counter() - began)

    def move(self, point: Point, processes: int) -> Record:
        """Kill the run at a point, and have another number of processes go on with it."""
        self.run("moved", "moved", point.kill)
        return self.run("moved-again", "moved", processes=processes)

    def mount(self, run_id: str) -> Path:
        """The run's folder on its mount."""
        return self.folder / "bucket" / run_id

    def kill(self, point: Point) -> Verdict:
        """Kill the run at a point, resume it, and compare it with the unbroken one."""
        name = point.name.replace(" ", "-").replace("/", "-")
        killed = self.run(name, name, {**point.kill, "rank": self.case.rank})
        if killed.status != point.status:
            return Verdict(self.case.name, point.name, reached=False, differences=(tail(killed),))
        lose(self.mount(name), point.lose)
        again = self.run(name if self.place == "disk" else f"{name}-again", name, warm=self.other)
        resumed, last = again.began_after, max([step for step, _ in killed.steps()], default=0)
        found = [*differences(self.unbroken, killed, "before"), *differences(self.unbroken, again, "resumed")]
        if again.status:
            found.insert(0, tail(again))
        elif again.digest != self.unbroken.digest:
            found.append(f"weights {again.digest} instead of {self.unbroken.digest}")
        if not again.status and resumed not in point.resumes:
            found.append(f"resumed after step {resumed}, not {' or '.join(map(str, point.resumes))}")
        if not again.status and max([step for step, _ in again.steps()], default=0) not in (STEPS, 0):
            found.append("did not end")
        saved = {event["step"]: event["time"] for event in killed.named("saved")}
        copies = tuple(event["time"] - saved[event["step"]] for event in killed.named("kept"))
        shutil.rmtree(self.folder / name, ignore_errors=True)
        return Verdict(self.case.name, point.name, True, resumed, max(0, last - resumed), tuple(found), copies)


def common_fields() -> dict[str, Any]:
    """What all cases have in common."""
    return {
        "output_dir": "out",
        "max_steps": STEPS,
        "save_steps": SAVE_STEPS,
        "eval_fraction": None,
        "eval_strategy": "no",
        "learning_rate": 1e-2,
        "tracking": hft.Tracking(report_to="none"),
    }


def read(folder: Path, status: int, seconds: float) -> Record:
    """What a run has left in its folder."""
    lines = (folder / "out-0.txt").read_text("utf-8").splitlines()
    events = [json.loads(line) for line in lines if line.startswith('{"event": "hft.') and line.endswith("}")]
    weights = sorted((folder / "out").glob("*.safetensors")) if status == 0 else []
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in weights)).hexdigest()[:12] if weights else None
    errors = "".join(path.read_text("utf-8")[-3000:] for path in sorted(folder.glob("err-*.txt")))
    return Record(status, events, digest, errors, seconds)


def differences(unbroken: Record, other: Record, when: str) -> Iterable[str]:
    """What differs between the steps of a run and those of the unbroken one."""
    expected = unbroken.steps()
    for key, metrics in other.steps().items():
        if metrics != expected.get(key):
            wrong = sorted(name for name in metrics if metrics[name] != expected.get(key, {}).get(name))
            yield f"{when}, {key[1]} step {key[0]}: {', '.join(wrong)}"
            return


def lose(mount: Path, number: int) -> None:
    """Remove the files that were last written to a mount."""
    files = sorted((path for path in mount.rglob("*") if path.is_file()), key=lambda path: path.stat().st_ctime_ns)
    for path in files[len(files) - number :]:
        path.unlink()


def tail(record: Record) -> str:
    return f"status {record.status}: {' '.join(record.error.split())[-400:]}"


def make_inputs(folder: Path, dropout: float = 0.2) -> Inputs:
    """Write models, with dropout, so that it matters where random numbers are drawn, and rows when asked for."""

    def data(format: tiny.Format) -> Path:
        path = folder / f"{format}.jsonl"
        return path if path.exists() else tiny.write_dataset(path, format)

    model, teacher = tiny.make_model(folder / "model"), tiny.make_model(folder / "teacher", seed=2)
    judge = tiny.make_model(folder / "reward-model", reward=True, seed=1)
    for each in (model, teacher, judge):
        path = each / "config.json"
        config = json.loads(path.read_text("utf-8"))
        path.write_text(json.dumps({**config, "attention_dropout": dropout}), encoding="utf-8")
    return Inputs(model, teacher, judge, data)
