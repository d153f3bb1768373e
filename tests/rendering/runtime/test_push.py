"""A push outlasts a Hub that fails for a while, and says where the model is when it cannot."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from huggingface_hub import ModelCard

import hfjobs_trainer as hft

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
    assert {"hft_spec.json", "loss.svg"} <= set(outcome["committed"])


def test_a_card_says_how_the_model_was_made(cases: dict[str, Case], folder: Path) -> None:
    assert cases
    card = ModelCard((folder / "merged/README.md").read_text())

    digest = hashlib.sha256(folder.with_name("private.py").read_bytes()).hexdigest()
    assert f"SHA-256 {digest} |" in card.text
    assert '`AutoModelForCausalLM.from_pretrained("me/model-merged")`' in card.text
    # what only a job has is not made up
    assert not re.search(r"dollars|/jobs/|%\(", card.text)
    assert card.data.to_dict()["library_name"] == "transformers"
    assert {"trl", "sft", "hfjobs-trainer"} <= {*card.data.to_dict()["tags"]}
    assert hft.load(folder / "merged").to_dict() == {
        "method": "sft",
        "model": "me/base",
        "dataset": {"id": "me/colours"},
        "output": {"hub_model_id": "me/model"},
    }


def test_the_curve_is_a_picture(cases: dict[str, Case], folder: Path) -> None:
    assert cases
    picture = ET.fromstring((folder / "merged/loss.svg").read_text())

    assert picture.tag == "{http://www.w3.org/2000/svg}svg"
    (line,) = picture.iter("{http://www.w3.org/2000/svg}polyline")
    assert re.fullmatch(r"-?[\d.]+,-?[\d.]+( -?[\d.]+,-?[\d.]+)*", line.attrib["points"])


def test_a_public_card_says_nothing_of_the_job(cases: dict[str, Case], folder: Path) -> None:
    assert cases
    texts = (folder / "README.md").read_text() + (folder / "hft_spec.json").read_text()

    assert not re.search(r"dollars|6a0000|mine|/jobs/", texts)
    assert hft.load(folder).to_dict().keys() == {"method", "model", "dataset", "output"}


def test_the_trained_model_is_pushed_without_the_merged_one(cases: dict[str, Case]) -> None:
    _, outcome = cases["recovers"]

    assert not any(path.startswith("merged/") for path in outcome["committed"])
