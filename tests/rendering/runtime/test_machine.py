"""What the machine decides, on machines that have a GPU of some kind or none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hfjobs_trainer.rendering.runtime.machine import (
    Machine,
    accumulation_steps,
    find_machine,
    require_gpus,
    settle_dtype,
    settle_precision,
)

pytestmark = pytest.mark.torch

AMPERE, TURING = True, False


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "JOB_ID", "HF_ENDPOINT", "HFT_NUM_PROCESSES"):
        monkeypatch.delenv(name, raising=False)
    machine(monkeypatch, gpus=0)


def machine(monkeypatch: pytest.MonkeyPatch, gpus: int, bf16: bool = AMPERE) -> None:
    """Let torch find so many GPUs, which compute in bf16 or not."""
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: False)
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpus > 0)
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda: "NVIDIA Test")
    monkeypatch.setattr("torch.cuda.is_bf16_supported", lambda including_emulation: bf16 or including_emulation)


def events(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize(
    ("gpus", "bf16", "use_cpu", "expected"),
    [
        (0, AMPERE, False, Machine("cpu", 0, None, False, 1)),
        (2, AMPERE, False, Machine("cuda", 2, "NVIDIA Test", True, 1)),
        (1, TURING, False, Machine("cuda", 1, "NVIDIA Test", False, 1)),
        (1, AMPERE, True, Machine("cpu", 0, None, False, 1)),
    ],
)
def test_one_record_says_what_the_machine_offers(
    monkeypatch: pytest.MonkeyPatch, gpus: int, bf16: bool, use_cpu: bool, expected: Machine
) -> None:
    machine(monkeypatch, gpus, bf16)

    assert find_machine(use_cpu) == expected


def test_an_apple_gpu_and_the_number_of_processes_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.backends.mps.is_available", lambda: True)
    monkeypatch.setenv("WORLD_SIZE", "2")

    assert find_machine() == Machine("mps", 0, None, False, 2)
    assert find_machine(use_cpu=True).device == "cpu"


@pytest.mark.parametrize(
    ("gpus", "bf16", "planned", "used"),
    [
        (0, AMPERE, "bf16", "fp32"),
        (0, AMPERE, "fp16", "fp32"),
        (0, AMPERE, "fp32", "fp32"),
        (1, AMPERE, "bf16", "bf16"),
        (1, AMPERE, "fp32", "fp32"),
        (1, TURING, "bf16", "fp16"),
        (1, TURING, "fp16", "fp16"),
    ],
)
def test_precision_is_what_was_planned_where_the_machine_has_it(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    gpus: int,
    bf16: bool,
    planned: str,
    used: str,
) -> None:
    machine(monkeypatch, gpus, bf16)

    assert settle_precision(find_machine(), planned) == {"bf16": used == "bf16", "fp16": used == "fp16"}

    assert [(event["event"], event["planned"], event["used"]) for event in events(capsys)] == (
        [("hft.replaced", planned, used)] if used != planned else []
    )


@pytest.mark.parametrize(
    ("gpus", "bf16", "planned", "lora", "used"),
    [
        (0, AMPERE, "bfloat16", False, "float32"),
        (0, AMPERE, "float16", True, "float32"),
        (0, AMPERE, "float32", False, "float32"),
        (1, AMPERE, "bfloat16", False, "bfloat16"),
        (1, TURING, "bfloat16", True, "float16"),
        (1, TURING, "bfloat16", False, "float32"),
        (1, TURING, "float16", True, "float16"),
        (0, AMPERE, "auto", False, "auto"),
    ],
)
def test_weights_are_loaded_in_a_dtype_that_the_machine_computes_with(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    gpus: int,
    bf16: bool,
    planned: str,
    lora: bool,
    used: str,
) -> None:
    machine(monkeypatch, gpus, bf16)

    assert settle_dtype(find_machine(), planned, frozen=lora) == used

    assert [event["used"] for event in events(capsys)] == ([] if used == planned else [used])


def test_a_job_without_its_gpus_ends_at_once_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOB_ID", "687f911eaea852de79c4a50a")

    with pytest.raises(SystemExit, match=r'2 GPU\(s\) were promised, torch sees 0.*driver.*torch-backend = "auto"'):
        require_gpus(find_machine(), planned=2)


def test_fewer_processes_than_planned_need_fewer_gpus(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine(monkeypatch, gpus=1)
    monkeypatch.setenv("JOB_ID", "687f911eaea852de79c4a50a")
    monkeypatch.setenv("HFT_NUM_PROCESSES", "1")

    require_gpus(find_machine(), planned=8)

    assert events(capsys) == []


def test_elsewhere_fewer_gpus_are_only_reported(capsys: pytest.CaptureFixture[str]) -> None:
    require_gpus(find_machine(), planned=2)

    (replaced,) = events(capsys)
    assert (replaced["what"], replaced["planned"], replaced["used"]) == ("gpus", 2, 0)


def test_the_global_batch_is_kept_whatever_the_number_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert accumulation_steps(global_batch_size=32, per_device_batch_size=4) == 8
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert accumulation_steps(global_batch_size=32, per_device_batch_size=4) == 2
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(SystemExit, match=r"batch size of 32 .* 4 per device on 3 process\(es\).*HFT_NUM_PROCESSES"):
        accumulation_steps(global_batch_size=32, per_device_batch_size=4)
