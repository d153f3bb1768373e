"""A script trains on as many processes as there are GPUs, or as it is told, and every process ends."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from hfjobs_trainer.rendering.runtime import relaunch_several
from hfjobs_trainer.rendering.runtime.relaunch import relaunch

ROOT = Path(__file__).parents[3]
SCRIPT = Path(__file__).with_name("distributed_run.py")


def test_two_processes_train_one_model_and_both_end(tiny_model: Path, tmp_path: Path) -> None:
    files_before = set(Path("/tmp").glob("*.y*ml"))

    done = subprocess.run(
        [sys.executable, SCRIPT, tiny_model, tmp_path / "out"],
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "HFT_NUM_PROCESSES": "2",
            "CUDA_VISIBLE_DEVICES": "",
            "TRACKIO_DIR": str(tmp_path),
            "HF_HUB_OFFLINE": "1",
        },
        capture_output=True,
        text=True,
        timeout=300,
    )

    # the code with which both ended, of which torchrun would have made a 1
    assert done.returncode == 76, done.stderr[-4000:]
    assert "ChildFailedError" not in done.stderr
    assert (tmp_path / "out/rank-0").exists()
    assert (tmp_path / "out/rank-1").exists()
    assert (tmp_path / "out/model.safetensors").exists()
    assert set(Path("/tmp").glob("*.y*ml")) == files_before
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"event"')]
    named: dict[str, list[dict[str, Any]]] = {}
    for event in events:
        named.setdefault(event["event"], []).append(event)
    start, end = named["hft.start"][0], named["hft.end"][0]
    assert (start["device"], start["gpu"], start["world_size"]) == ("cpu", None, 2)
    assert {event["what"]: event["used"] for event in named["hft.replaced"]} == {
        "precision": "fp32",
        "dtype": "float32",
    }
    # One line per event, though two processes train: only the first one speaks.
    losses = [event["metrics"]["loss"] for event in named["hft.log"] if "loss" in event["metrics"]]
    assert [event["step"] for event in named["hft.log"]] == [1, 2, 3, 4, 4]
    assert losses[-1] < losses[0]
    assert [Path(event["path"]) for event in named["hft.saved"]] == [
        tmp_path / "out/checkpoint-2",
        tmp_path / "out/checkpoint-4",
    ]
    assert end["step"] == 4
    assert end["metrics"]["train_runtime"] > 0
    assert end["metrics"]["loss"] == losses[-1]
    assert end["output_dir"] == str(tmp_path / "out")
    with closing(sqlite3.connect(tmp_path / "distributed.db")) as database:
        assert database.execute("SELECT COUNT(DISTINCT run_id), COUNT(*) FROM metrics").fetchone() == (1, 5)


@pytest.fixture
def launched(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[], list[str]]]:
    """Four GPUs, and an interpreter that only writes down what it is to run, an argument on a line."""
    python, told = tmp_path / "python", tmp_path / "told"
    python.write_text(f"#!/bin/sh\nprintf '%s\\n' \"$@\" > {told}\n")
    python.chmod(0o755)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    monkeypatch.setattr("sys.executable", str(python))
    monkeypatch.setattr("sys.argv", ["train.py", "--flag"])
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "HFT_NUM_PROCESSES", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield lambda: told.read_text().splitlines() if told.exists() else []
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.torch
@pytest.mark.parametrize(("gpus", "told", "processes"), [(0, None, 4), (8, None, 4), (2, None, 2), (1, "3", 3)])
def test_processes_are_the_visible_gpus_within_the_plan(
    launched: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch, gpus: int, told: str | None, processes: int
) -> None:
    if told:
        monkeypatch.setenv("HFT_NUM_PROCESSES", told)

    with pytest.raises(SystemExit) as end:
        relaunch(gpus)

    assert end.value.code == 0
    assert f"--num_processes={processes}" in launched()
    assert launched()[-2:] == ["train.py", "--flag"]


@pytest.mark.torch
@pytest.mark.parametrize(("visible", "first"), [(None, "0"), ("2,3", "2"), ("GPU-8f6a,GPU-77c1", "GPU-8f6a")])
def test_a_single_process_sees_a_single_gpu(
    launched: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch, visible: str | None, first: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # so that it is put back after the test
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    relaunch(gpus=1)

    assert launched() == []
    assert os.environ["CUDA_VISIBLE_DEVICES"] == first


@pytest.mark.torch
def test_a_worker_is_not_relaunched(launched: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "0")

    relaunch(gpus=4)

    assert launched() == []
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_models_are_fetched_before_the_processes_start(
    launched: Callable[[], list[str]],
    monkeypatch: pytest.MonkeyPatch,
    tiny_model: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What cannot be had stops nothing: the processes say it better."""
    asked: list[tuple[str, str | None]] = []

    def fetch(model: str, revision: str | None, **_: Any) -> None:
        asked.append((model, revision))
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)

    with pytest.raises(SystemExit):
        relaunch_several.relaunch(gpus=0, models={"me/model": "v1", str(tiny_model): None})

    assert asked == [("me/model", "v1")]
    assert "--num_processes=4" in launched()
    assert "me/model was not downloaded ahead: OSError('no network')" in capsys.readouterr().out


@pytest.mark.torch
def test_a_single_process_fetches_for_itself(
    launched: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HFT_NUM_PROCESSES", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr("huggingface_hub.snapshot_download", None)

    relaunch_several.relaunch(gpus=0, models={"me/model": None})

    assert launched() == []


# Starts two processes as a launcher does, and ends with 1 unless both end with 0, or if it is told to end.
LAUNCHER = """
import os, signal, subprocess, sys
def end(*_):
    for each in started: each.terminate()
    sys.exit(1)
started = [subprocess.Popen([sys.executable, "-c", sys.argv[1], str(rank)]) for rank in range(2)]
signal.signal(signal.SIGTERM, end)
print("launched", flush=True)
sys.exit(any([each.wait() for each in started]))
"""
# Trains until it is told to stop, and leaves the code.
TRAINS = """
import os, pathlib, sys, time
codes = pathlib.Path(os.environ["HFT_EXIT_FILE"])
codes.touch()
print("trains\\n", end="", flush=True)  # in one piece, since both write to one pipe
while not codes.with_name("stop").exists(): time.sleep(0.01)
time.sleep(0.2)
with codes.open("a") as file: print(143, file=file)
"""
RUNS = """
import sys
from hfjobs_trainer.rendering.runtime.relaunch import run_processes
sys.exit(run_processes([sys.executable, "-c", *sys.argv[1:]]))
"""


def run_two(work: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", RUNS, LAUNCHER, work],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def wait_for(process: subprocess.Popen[str], text: str, times: int) -> None:
    assert process.stdout is not None
    while times and (line := process.stdout.readline()):
        times -= line.count(text)
    assert not times


LEAVES = 'import os, sys; print({code}, file=open(os.environ["HFT_EXIT_FILE"], "a"))'


@pytest.mark.parametrize(
    ("work", "code"),
    [
        (LEAVES.format(code=76), 76),
        ("", 0),
        # one alone says that it failed, as after a push that the first process does
        (f"import sys\nif sys.argv[1] == '0': {LEAVES.format(code=3)}", 3),
        # the other one did not get there
        (f"import sys\nif sys.argv[1] == '0': sys.exit(9)\n{LEAVES.format(code=76)}", 1),
    ],
    ids=["both", "well", "one and well", "one alone"],
)
def test_the_code_is_that_of_the_processes_if_they_agree(work: str, code: int) -> None:
    with run_two(work) as process:
        assert process.wait(30) == code


def test_processes_that_train_are_asked_to_end_and_leave_their_code() -> None:
    """uv passes on a signal that a group got as a whole, so that it comes twice."""
    with run_two(TRAINS) as process:
        wait_for(process, "trains", 2)
        for _ in range(2):
            process.terminate()
        assert process.wait(30) == 143


def test_processes_that_do_not_train_are_ended_with_their_launcher() -> None:
    with run_two("import time; time.sleep(60)") as process:
        wait_for(process, "launched", 1)
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(30) == 1


def test_a_second_signal_ends_processes_that_do_not_heed_the_first() -> None:
    """As while a model is pushed."""
    with run_two(TRAINS.replace("while not", "while True or not")) as process:
        wait_for(process, "trains", 2)
        process.terminate()
        time.sleep(1.1)
        process.terminate()
        assert process.wait(30) == 1
