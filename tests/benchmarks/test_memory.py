"""The command that scores the memory estimate, run on small files of measurements."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.measurements import measurement_of, read_measurements
from benchmarks.memory import quantile, scores, show_both
from hfjobs_trainer.planning.memory.closed_form import estimate_memory

ROOT = Path(__file__).parents[2]
COLUMNS = [
    *("row_id", "source", "source_ref", "framework", "model_id", "arch", "params_b", "method", "tuning", "lora_r"),
    *("lora_targets", "optimizer", "dtype", "per_device_batch", "seq_len", "seq_kind", "grad_accum", "grad_ckpt"),
    *("attn", "packing", "fused_ce", "num_gpus", "sharding", "cpu_offload", "gpu_type", "gpu_mem_gib", "peak_gib"),
    *("mem_metric", "mem_as_reported", "tokens_per_s", "tps_kind", "time_value", "time_unit", "fit", "conf", "notes"),
    "core",
]
LORA: dict[str, str] = {
    "framework": "transformers+peft loop",
    "arch": "llama-3.2-3b",
    "method": "sft",
    "tuning": "lora",
    "lora_r": "64",
    "lora_targets": "q+v",
    "optimizer": "adamw",
    "dtype": "bf16-pure (adapters fp32)",
    "per_device_batch": "4",
    "seq_len": "768",
    "grad_accum": "1",
    "grad_ckpt": "no",
    "attn": "sdpa",
    "fused_ce": "none",
    "num_gpus": "1",
    "sharding": "none",
    "gpu_mem_gib": "44.5",
    "peak_gib": "21.0",
    "mem_metric": "max memory_reserved (train+eval)",
    "fit": "yes",
    "core": "yes",
}


def row(row_id: str, **changes: str) -> dict[str, str]:
    return dict.fromkeys(COLUMNS, "") | LORA | {"row_id": row_id} | changes


def run(path: Path, rows: list[dict[str, str]], *options: str, module: bool = True) -> str:
    with path.open("w", newline="", encoding="utf-8") as lines:
        writer = csv.DictWriter(lines, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    command = ["-m", "benchmarks.memory"] if module else [str(ROOT / "benchmarks" / "memory.py")]
    done = subprocess.run(
        [sys.executable, *command, str(path), *options], capture_output=True, text=True, cwd=ROOT, check=True
    )
    return done.stdout


ROWS = [
    row("a"),
    row("b", core="no", peak_gib="1"),
    row("c", tuning="full", lora_r="", lora_targets="", peak_gib="34.7"),
    row("d", tuning="qlora", dtype="nf4+bf16", peak_gib="9", num_gpus="2", sharding="fsdp"),
    row("e", seq_len=""),
    row("f", peak_gib="", fit="no", gpu_mem_gib="10"),
    row("g", sharding="megatron"),
    row("h", arch="unheard-of", params_b=""),
]


@pytest.mark.parametrize("module", [True, False])
def test_scores_as_json(tmp_path: Path, module: bool) -> None:
    found = json.loads(run(tmp_path / "rows.csv", ROWS, "--json", "--level", "closed_form", module=module))
    assert set(found) == {"closed_form", "simulation", "out_of_memory"}
    assert found["simulation"] is None
    closed = found["closed_form"]
    assert set(closed) == {"core", "all", "full", "lora", "qlora"}
    assert {name: subset["n"] for name, subset in closed.items()} == {
        "core": 3,
        "all": 4,
        "full": 1,
        "lora": 1,
        "qlora": 1,
    }
    keys = {"n", "median", "p90", "p95", "max", "within_10", "within_25", "bias", "under"}
    assert all(set(subset) == keys for subset in closed.values())
    # row b pretends that 1 GiB was measured where some 21 are held
    assert closed["all"]["max"] > 15
    assert closed["lora"]["max"] < 0.1
    assert closed["lora"]["bias"] == pytest.approx(closed["lora"]["median"])
    assert found["out_of_memory"] == {"fits": 0, "tight": 0, "does not fit": 1, "cannot be modelled": 0}


def test_text_accounts_for_every_row(tmp_path: Path) -> None:
    lines = run(tmp_path / "rows.csv", ROWS, "--level", "closed_form", "--worst", "1")
    assert "not scored: 4 of 8" in lines
    assert "1  seq_len not stated" in lines
    assert "1  megatron is none of the strategies that are modelled" in lines
    assert "1  nothing is known of unheard-of" in lines
    assert "1  ran out of memory, see below" in lines
    assert "1 runs ran out of memory; the verdict: fits 0, tight 0, does not fit 1, cannot be modelled 0" in lines
    assert "b +" in lines
    assert "weights 5.98" in lines


def test_a_wrong_prediction_scores_badly() -> None:
    found = scores([-0.5, 0.05, 0.2, 0.0])
    assert found["median"] == pytest.approx(0.125)
    assert found["max"] == 0.5
    assert found["within_10"] == 0.5
    assert found["within_25"] == 0.75
    assert found["under"] == 1
    assert found["bias"] == pytest.approx(-0.0625)
    none = ("median", "p90", "p95", "max", "within_10", "within_25", "bias")
    assert scores([]) == {"n": 0, "under": 0} | dict.fromkeys(none)
    assert quantile([0.0, 1.0], 0.9) == pytest.approx(0.9)


def test_levels_are_compared_on_the_rows_that_both_estimate(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [measurement_of(row(name)) for name in ("a", "b", "c")]
    show_both(rows, {"closed_form": {"a": 23.1, "b": 23.1, "c": 42.0}, "simulation": {"a": 21.0, "b": 25.2, "c": None}})
    lines = capsys.readouterr().out.splitlines()
    assert "closed_form and simulation" in lines[0]
    (core,) = [line.split() for line in lines if line.split()[0] == "core"]
    assert core == ["core", "2", "10.0%", "10.0%", "10.0%", "19.0%"]


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"dtype": "fp32-master+bf16-mp(fsdp2)", "sharding": "fsdp", "num_gpus": "8"}, "strategy", "fsdp2"),
        ({"dtype": "fp32-master+bf16-mp(fsdp1)"}, "dtype", "float32"),
        ({"sharding": "zero3"}, "strategy", "zero3"),
        ({"grad_ckpt": "yes"}, "gradient_checkpointing", True),
        ({"cpu_offload": "act"}, "activation_offloading", True),
        ({"fused_ce": "liger"}, "head", "fused"),
        ({"lora_targets": "all-linear+embed+lm_head(full copies)"}, "modules_to_save", ("embed_tokens", "lm_head")),
        ({"lora_targets": "q+v (DoRA)"}, "lora_dora", True),
        ({"tuning": "qlora", "dtype": "nf4-dq+bf16"}, "quantization", "4bit-double"),
        ({"optimizer": "paged_adamw32(bnb)"}, "optim", "paged_adamw_32bit"),
        ({"attn": "eager"}, "attention", "eager"),
        ({"attn": "fa2"}, "attention", "flash_attention_2"),
        ({"source": "qwen-readme"}, "lora_dropout", 0.05),
        ({"source": "fms-acceleration-liger"}, "lora_dropout", 0.1),
        ({"source": "fms-acceleration", "tuning": "qlora"}, "quantization", "4bit-double"),
        # its fast kernels are not Liger's MLP
        ({"source": "fms-acceleration-liger", "fused_ce": "liger"}, "liger_kernel", False),
        ({"source": "fms-acceleration-liger", "fused_ce": "liger"}, "head", "fused"),
        ({"source_ref": "examples/gpt-oss (fft fsdp2)", "sharding": "fsdp", "num_gpus": "8"}, "strategy", "fsdp2"),
        ({"framework": "ms-swift(hf-trainer)", "tuning": "qlora", "dtype": "nf4+bf16"}, "dtype", "float32"),
        (
            {"framework": "ms-swift(hf-trainer)", "source": "ms-swift-examples", "tuning": "qlora", "dtype": "bf16"},
            "dtype",
            "bfloat16",
        ),
        ({"framework": "fsdp_qlora(torch)"}, "lora_dropout", 0.1),
    ],
)
def test_what_a_row_says_is_asked_of_the_estimate(changes: dict[str, str], field: str, value: Any) -> None:
    found = measurement_of(row("x", **changes)).workload
    assert found is not None
    assert getattr(found, field) == value


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"source": "fms-acceleration-liger", "notes": "foak-fast-kernels-liger"}, "lean_norms", True),
        ({"source": "fms-acceleration", "notes": "accelerated-peft-bnb"}, "lean_norms", False),
        ({"source": "fms-acceleration"}, "logit_bytes", 14.0),
        # frozen layers, recomputed under FSDP1
        ({"source": "fms-acceleration", "num_gpus": "2", "sharding": "fsdp"}, "keeps_inputs", True),
        ({"source": "fms-acceleration", "num_gpus": "2", "sharding": "fsdp", "tuning": "full"}, "keeps_inputs", False),
        ({"source": "fms-acceleration"}, "keeps_inputs", False),
        ({"source": "answerai-fsdp-qlora", "num_gpus": "2", "sharding": "fsdp"}, "keeps_inputs", False),
    ],
)
def test_a_row_is_modelled_by_the_stack_that_it_names(changes: dict[str, str], field: str, value: Any) -> None:
    found = measurement_of(row("x", **changes)).workload
    assert found is not None
    assert getattr(found.stack, field) == value


@pytest.mark.parametrize(
    ("text", "metric"),
    [
        ("max_memory_allocated", "allocated"),
        ("max_memory_active", "allocated"),
        ("max_memory_reserved", "reserved"),
        ("nvidia-smi", "device"),
        ("capacity boundary (max seq that fits)", "device"),
    ],
)
def test_the_metric_decides_what_is_compared(text: str, metric: str) -> None:
    assert measurement_of(row("x", mem_metric=text)).metric == metric


def test_axolotl_quotes_what_torch_has_reserved() -> None:
    said = "author-observed (reserved or smi)"
    assert measurement_of(row("x", mem_metric=said, framework="axolotl(hf-trainer)")).metric == "reserved"
    assert measurement_of(row("x", mem_metric=said)).metric == "device"


def test_a_model_that_only_has_a_size_is_estimated(tmp_path: Path) -> None:
    run(tmp_path / "rows.csv", [row("x", arch="unheard-of", params_b="3.2")], "--level", "closed_form")
    (found,) = read_measurements(tmp_path / "rows.csv")
    assert found.workload is not None
    estimate = estimate_memory(found.workload)
    assert estimate is not None
    assert "hidden_size" in estimate.assumed


def test_an_estimate_orders_its_metrics() -> None:
    workload = measurement_of(row("x", optimizer="paged_adamw_8bit", tuning="full")).workload
    assert workload is not None
    found = estimate_memory(workload)
    assert found is not None
    assert found.allocated_gib < found.reserved_gib < found.device_gib
    # paged states are outside of torch's allocator
    assert found.device_gib - found.reserved_gib > found.paged_bytes / 2**30 > 1
