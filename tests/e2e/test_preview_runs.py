"""Whole previews: from the Hub, of local data that would travel, under PPO's own pins, and of what goes wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import hubsim
import pytest
from e2e.methods import Inputs

import hfjobs_trainer as hft

pytestmark = pytest.mark.torch


def test_a_private_model_and_a_dataset_of_the_hub(
    hub_env: hubsim.Hub, tiny_model: Path, tiny_data: Callable[[str], Path]
) -> None:
    shutil.copytree(tiny_model, hub_env.root / "models/alice/tiny")
    (hub_env.root / "models/alice/tiny/.hubsim.json").write_text(json.dumps({"private": True}))
    folder = hub_env.root / "datasets/alice/chats"
    folder.mkdir(parents=True)
    shutil.copy(tiny_data("messages"), folder / "train.jsonl")
    client = hft.Client(token="hf_alice_write", endpoint=hub_env.endpoint)
    spec = hft.SFT(model="alice/tiny", dataset="alice/chats", assistant_only_loss=True, max_steps=4)
    shown = client.preview(spec, rows=2)
    assert len(shown.rows) == 2
    assert shown.rows[0].text.startswith("<|im_start|>user\nWhat color is the rose?<|im_end|>\n<|im_start|>assistant\n")
    trained = [token for token, trained in zip(shown.rows[0].token_ids, shown.rows[0].trained, strict=True) if trained]
    assert len(trained) == 6
    assert [shown.rows[0].text[a:b] for part in shown.rows[0].parts for a, b in part.spans] == [
        "The rose is red.<|im_end|>"
    ]
    assert (shown.totals.rows, shown.totals.untrained_rows, shown.totals.truncated_rows) == (32, 0, 0)
    assert shown.totals.trained_tokens == 32 * 6
    # weights are not downloaded
    assert not [entry for entry in hub_env.requests("safetensors", "GET") if "/resolve/" in entry["path"]]


def test_local_data_that_would_travel_and_a_plan(inputs: Inputs) -> None:
    spec = hft.DPO(model=str(inputs.model), dataset=str(inputs.data("preference_chat")), max_length=25, max_steps=2)
    plan = hft.plan(spec, offline=True)
    assert "find_data(MODEL)" in plan.script
    shown = hft.preview(plan, rows=1, offline=True)
    (row,) = shown.rows
    assert row.chosen is not None
    assert row.rejected is not None
    assert not row.chosen.truncated
    assert row.rejected.truncated
    assert row.truncated
    assert row.rejected.whole_tokens == 26
    assert shown.max_length == 25
    assert shown.totals.truncated_rows == 32
    assert shown.totals.padding == pytest.approx(1 / 50)


def test_ppo_is_previewed_under_its_own_pins(inputs: Inputs) -> None:
    shown = hft.preview({"method": "ppo", **inputs.fields("ppo")}, rows=1, offline=True, backend="local")
    (row,) = shown.rows
    assert row.text.endswith("<|im_end|>\n<|im_start|>assistant\n")
    assert not any(row.trained)
    assert shown.generates
    assert shown.totals.rows == 24


def test_what_the_trainer_refuses_is_told(inputs: Inputs, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"messages": [{"role": "user", "content": 5}]}) + "\n")
    spec = {"method": "sft", "model": str(inputs.model), "dataset": str(path), "max_steps": 1}
    with pytest.raises(hft.HFTError, match="the preview failed: ") as error:
        hft.preview(spec, facts=hft.Facts(), offline=True, backend="local")
    first, *log = str(error.value).split("\n")
    assert "TypeError" in first
    assert any("in tokenize" in line or "apply_chat_template" in line for line in log)


def test_what_cannot_be_shown_is_refused() -> None:
    with pytest.raises(ValueError, match="rows=0: must be at least 1"):
        hft.preview({"method": "sft", "model": "a/b", "dataset": "c/d"}, rows=0)
    with pytest.raises(hft.SpecError, match="which rows a script trains on is unknown"):
        hft.preview({"method": "script", "script": "train.py"})
