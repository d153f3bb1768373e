"""A run ends before its end: in time before its deadline, at SIGTERM, and on one step with several processes."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

import hfjobs_trainer as hft
from tests.e2e.methods import Inputs, Warm, render_to

# More than a few seconds allow.
ENDLESS: dict[str, Any] = {"eval_strategy": "no", "eval_fraction": None, "max_steps": 100_000, "save_steps": 100_000}
# Has two seconds left at the end of its second step, of which one is kept: a 20th of its timeout.
TIMED = """\
import os, runpy, time
from transformers import trainer, TrainerCallback

class Hurry(TrainerCallback):
    def on_step_end(self, args, state, control, **_):
        if state.global_step == 2:
            os.environ["HFT_DEADLINE"] = str(time.time() + 2)

os.environ["HFT_TIMEOUT"] = "20"
os.environ["HFT_DEADLINE"] = str(time.time() + 600)
trainer.DEFAULT_CALLBACKS.append(Hurry)
runpy.run_path({script!r}, run_name="__main__")
"""
# Sends itself SIGTERM, twice as uv does, once it has taken its second step.
TERMINATED = """\
import os, runpy, signal
from transformers import trainer, TrainerCallback

class Terminate(TrainerCallback):
    def on_step_end(self, args, state, control, **_):
        if state.global_step == 2:
            for _ in range(2):
                signal.raise_signal(signal.SIGTERM)

trainer.DEFAULT_CALLBACKS.append(Terminate)
runpy.run_path({script!r}, run_name="__main__")
"""
# The second of two processes asks for the end while the first one goes on.
ASKS = """\
import json, os, sys
from types import SimpleNamespace
import torch.distributed as dist
from hfjobs_trainer.rendering.runtime.stopping import DEADLINE, RUIN, SIGNAL, Stop

dist.init_process_group("gloo")
rank = dist.get_rank()
told = []
for wishes, every, last in json.loads(os.environ["CASES"]):
    stop = Stop(every=every)
    for step in range(1, last + 1):
        state, control = SimpleNamespace(global_step=step, max_steps=last), SimpleNamespace()
        for at, who, code, saves in wishes:
            if (at, who) == (step, rank):
                stop.ask(code, "", saves)
        stop.settle(state, control)
        if stop.step is not None:
            break
    told.append([stop.step, stop.code if stop.step else 0, getattr(control, "should_save", None)])
print(json.dumps(told))
stop.step = 1
stop.leave(None)
"""


def events(folder: Path, kind: str) -> list[dict[str, Any]]:
    lines = (folder / "out-0.txt").read_text().splitlines()
    return [json.loads(line) for line in lines if line.startswith(f'{{"event": "hft.{kind}"')]


@pytest.fixture
def script(inputs: Inputs, tmp_path: Path) -> Path:
    return render_to(tmp_path, "sft", inputs.fields("sft", **ENDLESS))


def wrapped(script: Path, source: str) -> Path:
    folder = script.parent / "wrapped"
    folder.mkdir()
    (folder / "script.py").write_text(source.format(script=str(script)))
    return folder / "script.py"


def test_it_stops_in_time_before_the_deadline_with_a_checkpoint(script: Path, warm: Warm) -> None:
    timed = wrapped(script, TIMED)
    assert warm.start(timed) == 76
    ended = time.time()

    (stopped,) = events(timed.parent, "stopped")
    step = stopped["step"]
    assert 0 < stopped["left_seconds"] < 2
    assert ended < stopped["time"] + stopped["left_seconds"]
    assert (stopped["code"], stopped["reason"]) == (76, "deadline")
    assert stopped["message"] == f"stopped at the deadline at step {step}"
    assert stopped["used_seconds"] < stopped["reserve_seconds"]
    (saved,) = events(timed.parent, "saved")
    assert saved["step"] == step >= 2
    assert (Path(saved["path"]) / "optimizer.pt").is_file()
    assert not events(timed.parent, "end")
    # what was tracked has arrived
    assert "Run finished" in (timed.parent / "out-0.txt").read_text()


def test_a_signal_saves_a_checkpoint_first(script: Path, warm: Warm) -> None:
    terminated = wrapped(script, TERMINATED)
    assert warm.start(terminated) == 143

    (stopped,) = events(terminated.parent, "stopped")
    assert (stopped["step"], stopped["reason"], stopped["left_seconds"]) == (2, "signal", None)
    assert [event["step"] for event in events(terminated.parent, "saved")] == [2]


def test_all_processes_end_on_one_step(warm: Warm, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(ASKS)
    cases: list[tuple[list[Any], int, int]] = [
        ([[3, 1, 76, True]], 1, 9),
        ([[3, 1, 76, True]], 4, 9),  # only there does it resume exactly
        ([[3, 1, 76, True], [3, 0, 77, False]], 4, 9),  # what is ruined ends at once, unsaved
        ([[3, 0, 143, True], [3, 1, 77, False]], 1, 9),
        ([[5, 0, 76, True]], 1, 5),  # it was the last one: no need
        ([[5, 1, 143, True]], 1, 5),
        ([], 1, 2),
        ([[2, 1, 76, True]], 1, 3),
    ]

    status = warm.start(tmp_path / "script.py", processes=2, CASES=json.dumps(cases))

    told = [(tmp_path / f"out-{rank}.txt").read_text().splitlines()[0] for rank in range(2)]
    assert status == 76
    assert told[0] == told[1]
    assert json.loads(told[0]) == [
        [3, 76, True],
        [4, 76, True],
        [3, 77, False],
        [3, 77, False],
        [None, 0, None],
        [5, 143, True],
        [None, 0, None],
        [2, 76, True],
    ]


# Finds its model to be no good after its second step.
RUINED = """\
import runpy
from transformers import trainer, TrainerCallback

class Ruin(TrainerCallback):
    def on_step_end(self, args, state, control, model, **_):
        if state.global_step == 2:
            next(model.parameters()).data.fill_(float("nan"))

trainer.DEFAULT_CALLBACKS.append(Ruin)
runpy.run_path({script!r}, run_name="__main__")
"""


def test_a_retry_of_a_job_stopped_by_ruin_ends_at_once(inputs: Inputs, tmp_path: Path, warm: Warm) -> None:
    fields = {**inputs.fields("sft", **ENDLESS), "hardware": "cpu-basic", "output": {"checkpoints": "bucket"}}
    text = hft.render({"method": "sft", **fields}, backend="hub", offline=True)
    (tmp_path / "script.py").write_text(text)
    (tmp_path / "mount").mkdir()
    env: dict[str, Any] = {
        "HFT_CHECKPOINTS": str(tmp_path / "mount"),
        "HFT_RUN_ID": "run",
        "HFT_FLUSH_SECONDS": "0",
        "JOB_ID": "job",
    }
    ruined = wrapped(tmp_path / "script.py", RUINED)
    assert warm.start(ruined, **env) == 77
    (first,) = events(ruined.parent, "stopped")
    assert (first["code"], first["reason"], first["resumable"]) == (77, "ruin", False)

    assert warm.start(ruined, **env) == 77

    (again,) = events(ruined.parent, "stopped")
    assert again["message"] == first["message"]
    assert not events(ruined.parent, "start")
