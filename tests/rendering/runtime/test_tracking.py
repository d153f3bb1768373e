"""A run is tracked under its group and its own identity, and trains on whatever becomes of the Hub."""

from __future__ import annotations

import hashlib
import json
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
SCRIPT = Path(__file__).with_name("tracked_runs.py")


@dataclass(frozen=True)
class Trained:
    events: list[dict[str, Any]]
    folder: Path

    def steps(self, project: str) -> int | None:
        """Optimizer steps of the project's last run, None if it never came to its end."""
        return next((event["steps"] for event in reversed(self.events) if event.get("trained") == project), None)

    def rows(self, project: str) -> list[tuple[str, str, int, dict[str, Any]]]:
        """The metrics that trackio holds: run id, run name, step, values."""
        query = "SELECT run_id, run_name, step, CAST(metrics AS TEXT) FROM metrics ORDER BY id"
        with closing(sqlite3.connect(self.folder / f"{project}.db")) as database:
            return [(*row, json.loads(values)) for *row, values in database.execute(query)]

    def configs(self, project: str) -> dict[str, dict[str, Any]]:
        with closing(sqlite3.connect(self.folder / f"{project}.db")) as database:
            rows = database.execute("SELECT run_id, CAST(config AS TEXT) FROM configs").fetchall()
        return {run_id: json.loads(config) for run_id, config in rows}


@pytest.fixture(scope="module")
def trained(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """All trainings of the script, in one process: importing TRL takes longer than they do."""
    folder = tmp_path_factory.mktemp("trackio")
    unset = ("HF_TOKEN", "JOB_ID", "RANK", "HF_HUB_OFFLINE", "TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    environment |= {
        "PYTHONPATH": str(ROOT),
        "CUDA_VISIBLE_DEVICES": "",
        "HF_HOME": str(folder / "home"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TRACKIO_DIR": str(folder),
    }
    done = subprocess.run(
        [sys.executable, SCRIPT, tiny_model, folder / "out"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return Trained([json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"')], folder)


def identity(run: str) -> str:
    return hashlib.sha256(run.encode()).hexdigest()[:32]


def test_a_retry_continues_its_run_and_a_namesake_does_not(trained: Trained) -> None:
    first = [row for row in trained.rows("local") if row[0] == identity("first")]
    second = [row for row in trained.rows("local") if row[0] == identity("second")]

    assert len(first) + len(second) == len(trained.rows("local"))
    assert {name for _, name, _, _ in first + second} == {"one"}
    assert [step for _, _, step, _ in first] == list(range(len(first)))
    assert [step for _, _, step, _ in second] == list(range(len(second)))
    assert len(first) == 2 * len(second)


def test_group_and_config_outlive_an_evaluation_after_training(trained: Trained) -> None:
    for run in ("first", "second"):
        config = trained.configs("local")[identity(run)]
        assert (config["_Group"], config["shade"], config["max_steps"]) == ("palette", "dark", 2)
    *_, last = trained.rows("local")
    assert "eval/loss" in last[3]


def test_a_run_without_a_name_is_still_one_run(trained: Trained) -> None:
    assert {row[:2] for row in trained.rows("unnamed")} == {(identity("third"), f"run-{identity('third')[:6]}")}


@pytest.mark.parametrize("project", ["failing", "hanging", "down", "tokenless", "grpo"])
def test_training_survives_any_outage_and_is_logged_locally(trained: Trained, project: str) -> None:
    assert trained.steps(project) == 2
    rows = trained.rows(project)
    assert any("train/loss" in values for _, _, _, values in rows)
    assert any("eval/loss" in values for _, _, _, values in rows)
    ((run_id, config),) = trained.configs(project).items()
    assert {row[0] for row in rows} == {run_id}
    assert config["_Group"] == "palette"


def test_every_outage_is_reported_once(trained: Trained) -> None:
    warnings = [event["message"] for event in trained.events if event.get("event") == "hft.warning"]

    assert len(warnings) == 5
    assert all("cannot use Space me/trackio" in text and "stay on this machine" in text for text in warnings)
    assert "HF_TOKEN" in warnings[1]
    assert "TimeoutError" in warnings[2]
    assert not any("hf_notatoken" in text for text in warnings)
