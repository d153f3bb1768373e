"""Local data and a local model on Jobs: mounted where the job runs, and found here by the same script."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import hubsim
import pytest

import hfjobs_trainer as hft


@pytest.fixture
def client(hub_env: hubsim.Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> hft.Client:
    """A client in a folder of its own, with a cache of its own."""
    monkeypatch.setenv("HFT_HOME", str(tmp_path / "home"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return hft.Client(token="hf_alice_write", endpoint=hub_env.endpoint)


def test_a_job_trains_a_local_model_on_local_data(
    client: hft.Client, hub_env: hubsim.Hub, tmp_path: Path, tiny_model: Path, tiny_data: Callable[[str], Path]
) -> None:
    shutil.copytree(tiny_model, "my-model")
    rows = [json.loads(line) for line in tiny_data("messages").read_text().splitlines()]
    saved = tmp_path / "elsewhere" / "chats.jsonl"
    saved.parent.mkdir()
    shutil.copy(tiny_data("messages"), saved)
    spec = hft.SFT(
        model="./my-model",
        dataset=[str(saved), rows[:4]],
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
    assert len(mounted) == 4
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
    env = {**os.environ, "HFT_NUM_PROCESSES": "1", "HF_TOKEN": "hf_alice_write"}
    here = subprocess.run([sys.executable, "train.py"], env=env, capture_output=True, text=True)
    assert here.returncode == 0, here.stderr
    assert "hft.end" in here.stdout
    assert "hft.warning" not in here.stdout
