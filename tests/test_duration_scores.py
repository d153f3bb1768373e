"""The command that compares the estimated speed of training with published speeds."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from benchmarks.duration import main, read_held_out, read_speeds, scores

# Columns that the rows leave empty.
COLUMNS = [
    "params_b",
    "attn",
    "packing",
    "fused_ce",
    "cpu_offload",
    "gpu_mem_gib",
    "peak_gib",
    "mem_metric",
    "conf",
    "notes",
]
# Two rows of Qwen's README: LoRA on one A100, 8 accumulated batches of one row
PUBLISHED = {
    "source": "qwen-readme",
    "model_id": "Qwen/Qwen-7B-Chat",
    "framework": "hf-trainer+peft",
    "arch": "qwen-7b",
    "method": "sft",
    "tuning": "lora",
    "lora_r": "64",
    "lora_targets": "all-linear",
    "optimizer": "adamw_torch",
    "dtype": "bf16-pure",
    "per_device_batch": "1",
    "seq_kind": "fixed",
    "grad_accum": "8",
    "grad_ckpt": "yes",
    "num_gpus": "1",
    "sharding": "none",
    "gpu_type": "A100-80GB",
    "fit": "yes",
    "core": "yes",
}


@pytest.fixture
def measurements(tmp_path: Path) -> Path:
    rows = [
        PUBLISHED | {"row_id": "a", "seq_len": "2048", "tokens_per_s": "3150.8"},
        PUBLISHED | {"row_id": "b", "seq_len": "4096", "tokens_per_s": "3244.4"},
        PUBLISHED | {"row_id": "c", "seq_len": "4096", "tokens_per_s": ""},
        PUBLISHED | {"row_id": "d", "seq_len": "4096", "tokens_per_s": "1", "gpu_type": "Abacus"},
        PUBLISHED | {"row_id": "e", "seq_len": "", "tokens_per_s": "1"},
    ]
    path = tmp_path / "measured.csv"
    with path.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.DictWriter(lines, [*rows[0], *COLUMNS])
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_rows_with_a_speed_are_scored_and_the_others_counted(measurements: Path) -> None:
    speeds, left = read_speeds(measurements)
    assert [speed.row.row_id for speed in speeds] == ["a", "b"]
    assert all(abs(speed.error) < 0.25 and speed.measured in speed.predicted for speed in speeds)
    assert left == {"no figures of Abacus": 1, "seq_len not stated": 1}


def test_scores_are_those_of_the_errors(measurements: Path) -> None:
    speeds, _ = read_speeds(measurements)
    found, errors = scores(speeds), [abs(speed.predicted.expected / speed.measured - 1) for speed in speeds]
    assert found["n"] == 2
    assert found["median"] == pytest.approx(sum(errors) / 2)
    assert found["p90"] == pytest.approx(max(errors))
    assert (found["within_25"], found["in_range"]) == (1.0, 1.0)
    assert scores([]) == {"n": 0}


def test_the_command_prints_tables_or_json(measurements: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main([str(measurements), "--rows"])
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("NVIDIA A100 80GB, lora") for line in lines)
    assert any(line.startswith(("a ", "b ")) and "measured 3,244" in line for line in lines)
    assert "not scored: 2 of 4" in lines
    main([str(measurements), "--json"])
    printed = json.loads(capsys.readouterr().out)
    assert printed["scores"]["lora"]["n"] == printed["scores"]["core"]["n"] == 2
    assert printed["scores"]["optimised"] == {"n": 0}
    assert printed["left_out"] == {"no figures of Abacus": 1, "seq_len not stated": 1}


def test_held_out_sources_are_scored_without_their_own_runs(measurements: Path) -> None:
    with measurements.open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    # another source, whose run was half as fast: it alone says how fast the first is
    rows.append(rows[1] | {"row_id": "f", "source": "elsewhere", "tokens_per_s": "1622.2"})
    with measurements.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.DictWriter(lines, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    found = {speed.row.row_id: speed for speed in read_held_out(measurements)[0]}
    assert found["b"].predicted.expected == pytest.approx(1622.2, rel=0.01)
    assert found["a"].error < -0.4
    # and the first two say how fast the other is
    assert found["f"].error > 0.8
