"""Local data and a local model on Jobs: mounted where the job runs, and found here by the same script."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hubsim
import pytest

import hfjobs_trainer as hft
from tests.e2e.methods import Warm


@pytest.fixture
def client(hub_env: hubsim.Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> hft.Client:
    """A client in a folder of its own, with a cache of its own."""
    monkeypatch.setenv("HFT_HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return hft.Client(token="hf_alice_write", endpoint=hub_env.endpoint)


def test_a_job_trains_a_local_model_on_local_data(
    client: hft.Client,
    hub_env: hubsim.Hub,
    tmp_path: Path,
    tiny_model: Path,
    tiny_data: Callable[[str], Path],
) -> None:
    shutil.copytree(tiny_model, "my-model")
    rows = [json.loads(line) for line in tiny_data("messages").read_text().splitlines()]
    saved = tmp_path / "elsewhere" / "chats.jsonl"
    saved.parent.mkdir()
    shutil.copy(tiny_data("messages"), saved)
    Path("chats").mkdir()
    shutil.copy(tiny_data("messages"), "chats/part-1.jsonl")
    spec = hft.SFT(
        model="./my-model",
        dataset=[str(saved), "./chats", rows[:4]],
        eval_dataset=rows[:8],
        eval_strategy="steps",
        eval_steps=2,
        max_steps=2,
        logging_steps=1,
        timeout="20m",
        tracking=hft.Tracking(report_to="none"),
        output=hft.Output(hub_model_id="alice/tiny-sft"),
    )

    plan = client.plan(spec)
    job = client.submit(plan)
    assert isinstance(job, hft.Job)
    lines = list(job.logs(follow=True))
    result = job.wait(timeout=60).raise_for_status().result()

    assert result.steps == 2, lines
    assert result.metrics["eval_loss"] is not None
    (sent,) = [json.loads(entry["body"]) for entry in hub_env.requests("/api/jobs/alice$", "POST")]
    mounted = [volume for volume in sent["volumes"] if volume["mountPath"].startswith("/hft/data/")]
    assert len(mounted) == 5
    for volume in mounted:
        digest = volume["mountPath"].removeprefix("/hft/data/")
        assert volume["readOnly"]
        assert (volume["source"], volume["path"]) == ("alice/jobs-artifacts", f"hfjobs-trainer/data/{digest}")
    # of this machine nothing but the content is told
    card = (hub_env.root / "models/alice/tiny-sft/README.md").read_text(encoding="utf-8")
    assert not [text for text in (plan.script, json.dumps(sent), card) if str(tmp_path) in text]
    # the script alone gives the spec back, and runs here as well
    Path("train.py").write_text(plan.script)
    again = client.plan(hft.load("train.py"))
    assert again.script == plan.script
    here = subprocess.run([sys.executable, "train.py"], capture_output=True, text=True)
    assert here.returncode == 0, here.stderr
    assert "hft.end" in here.stdout
    assert "hft.warning" not in here.stdout


@pytest.mark.parametrize("kind", ["folder", "saved", "arrow"])
def test_data_of_every_kind_train_on_this_machine(
    tmp_path: Path, tiny_model: Path, tiny_data: Callable[[str], Path], warm: Warm, kind: str
) -> None:
    from datasets import load_dataset

    rows: Any = load_dataset(
        "json", data_files=str(tiny_data("messages")), split="train", cache_dir=str(tmp_path / "c")
    )
    place: Any = tmp_path / "data"
    if kind == "folder":
        place.mkdir()
        shutil.copy(tiny_data("messages"), place / "part-1.jsonl")
        shutil.copy(tiny_data("messages"), place / "part-2.jsonl")
    elif kind == "saved":
        rows.save_to_disk(place)
    dataset = rows if kind == "arrow" else str(place)
    spec = hft.SFT(model=str(tiny_model), dataset=dataset, max_steps=1, tracking={"report_to": "none"})
    plan = hft.plan(spec, offline=True, backend="local")
    script = tmp_path / "train.py"
    script.write_text(plan.script)
    assert plan.run is not None
    assert plan.run.rows.total == (64 if kind == "folder" else 32)
    assert warm.run_file("sft", script).named("end")[0]["step"] == 1
