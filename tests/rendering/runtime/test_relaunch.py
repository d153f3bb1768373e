"""A script trains on as many processes as there are GPUs, or as it is told, and every process ends."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
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

    assert done.returncode == 0, done.stderr[-4000:]
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
def launched(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Four GPUs, and the commands that would take this process's place on them."""
    commands: list[list[str]] = []
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    monkeypatch.setattr("os.execv", lambda _, command: commands.append(command))
    monkeypatch.setattr("sys.argv", ["train.py", "--flag"])
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "HFT_NUM_PROCESSES", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    return commands


@pytest.mark.torch
@pytest.mark.parametrize(("gpus", "told", "processes"), [(0, None, 4), (8, None, 4), (2, None, 2), (1, "3", 3)])
def test_processes_are_the_visible_gpus_within_the_plan(
    launched: list[list[str]], monkeypatch: pytest.MonkeyPatch, gpus: int, told: str | None, processes: int
) -> None:
    if told:
        monkeypatch.setenv("HFT_NUM_PROCESSES", told)

    relaunch(gpus)

    assert f"--num_processes={processes}" in launched[0]
    assert launched[0][-2:] == ["train.py", "--flag"]


@pytest.mark.torch
@pytest.mark.parametrize(("visible", "first"), [(None, "0"), ("2,3", "2"), ("GPU-8f6a,GPU-77c1", "GPU-8f6a")])
def test_a_single_process_sees_a_single_gpu(
    launched: list[list[str]], monkeypatch: pytest.MonkeyPatch, visible: str | None, first: str
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # so that it is put back after the test
    if visible is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)

    relaunch(gpus=1)

    assert launched == []
    assert os.environ["CUDA_VISIBLE_DEVICES"] == first


@pytest.mark.torch
def test_a_worker_is_not_relaunched(launched: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "0")

    relaunch(gpus=4)

    assert launched == []
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_models_are_fetched_before_the_processes_start(
    launched: list[list[str]], monkeypatch: pytest.MonkeyPatch, tiny_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be had stops nothing: the processes say it better."""
    asked: list[tuple[str, str | None]] = []

    def fetch(model: str, revision: str | None, **_: Any) -> None:
        asked.append((model, revision))
        raise OSError("no network")

    monkeypatch.setattr("huggingface_hub.snapshot_download", fetch)

    relaunch_several.relaunch(gpus=0, models={"me/model": "v1", str(tiny_model): None})

    assert asked == [("me/model", "v1")]
    assert len(launched) == 1
    assert "me/model was not downloaded ahead: OSError('no network')" in capsys.readouterr().out


@pytest.mark.torch
def test_a_single_process_fetches_for_itself(launched: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HFT_NUM_PROCESSES", "1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.setattr("huggingface_hub.snapshot_download", None)

    relaunch_several.relaunch(gpus=0, models={"me/model": None})

    assert launched == []
