"""What the machine decides, on machines that have a GPU of some kind or none."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hfjobs_trainer.rendering.runtime.device import accumulation_steps, prepare_machine, settle_dtype

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
    ("gpus", "bf16", "planned", "settled", "replaced"),
    [
        (0, AMPERE, "bf16", {"use_cpu": True, "bf16": False, "fp16": False}, "fp32"),
        (0, AMPERE, "fp16", {"use_cpu": True, "bf16": False, "fp16": False}, "fp32"),
        (0, AMPERE, "fp32", {"use_cpu": True, "bf16": False, "fp16": False}, None),
        (0, AMPERE, None, {"use_cpu": True}, None),
        (1, AMPERE, "bf16", {"bf16": True, "fp16": False}, None),
        (1, TURING, "bf16", {"bf16": False, "fp16": True}, "fp16"),
        (1, TURING, "fp16", {"bf16": False, "fp16": True}, None),
        (1, TURING, None, {}, None),
    ],
)
def test_precision_is_what_was_planned_where_the_machine_has_it(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    gpus: int,
    bf16: bool,
    planned: str | None,
    settled: dict[str, bool],
    replaced: str | None,
) -> None:
    machine(monkeypatch, gpus, bf16)

    assert prepare_machine("sft", "me/model", gpus=gpus, precision=planned) == settled

    start, *others = events(capsys)
    assert (start["event"], start["method"], start["model"]) == ("hft.start", "sft", "me/model")
    assert (start["device"], start["gpu"]) == (("cuda", "NVIDIA Test") if gpus else ("cpu", None))
    assert [(event["event"], event["planned"], event["used"]) for event in others] == (
        [("hft.replaced", planned, replaced)] if replaced else []
    )


def test_fp16_does_not_replace_the_precision_of_a_bf16_adapter(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine(monkeypatch, gpus=1, bf16=TURING)

    settled = prepare_machine("sft", "me/model", gpus=1, precision="bf16", bf16_adapter=True)

    assert settled == {"bf16": True, "fp16": False}
    assert [event["event"] for event in events(capsys)] == ["hft.start"]


def test_a_gpu_is_left_alone_when_asked(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    machine(monkeypatch, gpus=1)

    settled = prepare_machine("sft", "me/model", gpus=0, precision="fp32", use_cpu=True)

    assert settled == {"use_cpu": True, "bf16": False, "fp16": False}
    assert events(capsys)[0]["device"] == "cpu"


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

    assert settle_dtype(planned, frozen=lora) == used

    assert [event["used"] for event in events(capsys)] == ([] if used == planned else [used])


def test_a_job_without_its_gpus_ends_at_once_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOB_ID", "687f911eaea852de79c4a50a")

    with pytest.raises(SystemExit, match=r'2 GPU\(s\) were promised, torch sees 0.*driver.*torch-backend = "auto"'):
        prepare_machine("sft", "me/model", gpus=2, precision="bf16")


def test_fewer_processes_than_planned_need_fewer_gpus(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    machine(monkeypatch, gpus=1)
    monkeypatch.setenv("JOB_ID", "687f911eaea852de79c4a50a")
    monkeypatch.setenv("HFT_NUM_PROCESSES", "1")

    prepare_machine("sft", "me/model", gpus=8, precision="bf16")

    assert [event["event"] for event in events(capsys)] == ["hft.start"]


def test_elsewhere_fewer_gpus_are_only_reported(capsys: pytest.CaptureFixture[str]) -> None:
    prepare_machine("sft", "me/model", gpus=2, precision="fp32")

    replaced = events(capsys)[1]
    assert (replaced["what"], replaced["planned"], replaced["used"]) == ("gpus", 2, 0)


def test_the_global_batch_is_kept_whatever_the_number_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert accumulation_steps(global_batch_size=32, per_device_batch_size=4) == 8
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert accumulation_steps(global_batch_size=32, per_device_batch_size=4) == 2
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(SystemExit, match=r"batch size of 32 .* 4 per device on 3 process\(es\).*HFT_NUM_PROCESSES"):
        accumulation_steps(global_batch_size=32, per_device_batch_size=4)
