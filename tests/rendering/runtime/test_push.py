"""A push outlasts a Hub that fails for a while, and says where the model is when it cannot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
SCRIPT = Path(__file__).with_name("pushed_runs.py")

Case = tuple[list[dict[str, Any]], dict[str, Any]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("push") / "out"


@pytest.fixture(scope="module")
def cases(tiny_model: Path, folder: Path) -> dict[str, Case]:
    """What each push reported, and what came of it."""
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "HF_HUB_OFFLINE")}
    done = subprocess.run(
        [sys.executable, SCRIPT, tiny_model, folder],
        env={**environment, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": "", "HF_HUB_DISABLE_TELEMETRY": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    told: dict[str, Case] = {}
    events: list[dict[str, Any]] = []
    for line in done.stdout.splitlines():
        if line.startswith('{"case"'):
            told[json.loads(line)["case"]] = (events, json.loads(line))
            events = []
        elif line.startswith('{"event"'):
            events.append(json.loads(line))
    return told


def test_a_push_is_tried_again_until_the_hub_takes_it(cases: dict[str, Case]) -> None:
    events, outcome = cases["recovers"]

    assert outcome["raised"] is None
    assert [event["event"] for event in events] == ["hft.warning"] * 3 + ["hft.pushed"]
    assert events[-1]["repo"] == "me/model"
    assert events[-1]["url"].endswith("/me/model")
    assert {"README.md", "model.safetensors", "tokenizer.json"} <= set(outcome["committed"])
    assert not any(path.startswith("checkpoint-") for path in outcome["committed"])


def test_a_refusal_is_final_and_tells_where_the_model_is(cases: dict[str, Case], folder: Path) -> None:
    events, outcome = cases["refused"]

    assert outcome["raised"] == "HfHubHTTPError"
    assert outcome["requests"].count("commit") == 1
    (warning,) = events
    assert str(folder) in warning["message"]
    assert (folder / "model.safetensors").exists()


def test_tries_are_bounded(cases: dict[str, Case]) -> None:
    events, outcome = cases["exhausted"]

    assert outcome["raised"] == "HfHubHTTPError"
    assert outcome["requests"].count("commit") == len(events) == 4
    assert "not pushed" in events[-1]["message"]


def test_a_merged_model_goes_to_a_repository_of_its_own(cases: dict[str, Case], folder: Path) -> None:
    events, outcome = cases["merged"]

    assert outcome["raised"] is None
    assert [event["event"] for event in events] == ["hft.warning", "hft.pushed"]
    assert events[-1]["repo"] == "me/model-merged"
    assert {"README.md", "model.safetensors", "tokenizer.json"} <= set(outcome["committed"])
    assert 'model="me/model-merged"' in (folder / "merged/README.md").read_text()


def test_the_trained_model_is_pushed_without_the_merged_one(cases: dict[str, Case]) -> None:
    _, outcome = cases["recovers"]

    assert not any(path.startswith("merged/") for path in outcome["committed"])
