"""What ends a run is told in one line behind its traceback."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hfjobs_trainer.rendering.runtime import failing_code
from hfjobs_trainer.rendering.runtime.failing import tell_failure
from hfjobs_trainer.rendering.runtime.failing_code import blame_own_code
from hfjobs_trainer.rendering.runtime.failing_several import first_to_fail


class OutOfMemoryError(RuntimeError):
    """Named as torch's."""


CUDA = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 22.05 GiB\nSee documentation"
CPU = "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate"


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "HFT_EXIT_FILE", "HFT_RUN_ID", "HFT_CHECKPOINTS", "JOB_ID"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def fail(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[str, str, dict[str, Any]]]:
    """Runs what fails as the interpreter would: the last line, what stands before it, and the event."""

    def run(main: Callable[[], Any], **options: Any) -> tuple[str, str, dict[str, Any]]:
        try:
            main()
        except Exception as error:
            trace = error.__traceback__
            assert trace is not None
            tell_failure(type(error), error.with_traceback(trace.tb_next), trace.tb_next, **options)
        out, err = capsys.readouterr()
        *before, line = err.splitlines() or [""]
        return line, "\n".join(before), json.loads(out) if out else {}

    return run


def raising(error: BaseException) -> Callable[[], None]:
    def main() -> None:
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "what", "told"),
    [
        (
            OutOfMemoryError(CUDA),
            "gpu_memory",
            f"out of GPU memory in main(): {__name__}.OutOfMemoryError: {CUDA[:40]}",
        ),
        (RuntimeError("CUDA error: out of memory\nCompile with"), "gpu_memory", "out of GPU memory in main()"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), "gpu_memory", "out of GPU memory"),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB"), "gpu_memory", "out of GPU memory"),
        (ValueError("No available memory for the cache blocks."), "gpu_memory", "out of GPU memory"),
        (RuntimeError(CPU), "host_memory", f"out of host memory in main(): RuntimeError: {CPU}"),
        (MemoryError(), "host_memory", "out of host memory in main(): MemoryError"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "host_memory", "out of host memory"),
        (OSError(errno.ENOSPC, "No space left on device", "/x"), "disk_space", "out of disk space in main(): OSError"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "disk_space", "out of disk space"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "disk_space", "out of disk space"),
        (
            RuntimeError("[enforce fail at inline_container.cc:603] . unexpected pos 64 vs 0"),
            "disk_space",
            "out of disk",
        ),
        (OSError("Not enough disk space. Needed: 9 GB (download: 4 GB"), "disk_space", "out of disk space"),
        (RuntimeError("PytorchStreamReader failed reading zip archive"), "other", "the run failed in main()"),
        (ValueError("two\n  lines"), "other", "the run failed in main(): ValueError: two lines"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_what_failed_is_known_by_what_it_says(fail: Any, error: Exception, what: str, told: str) -> None:
    line, before, event = fail(raising(error))
    assert line.startswith(f"hft: {told}")
    assert line.endswith(". No checkpoint was kept")
    assert before.startswith("Traceback (most recent call last):")
    assert type(error).__name__ in before
    assert event["event"] == "hft.failed"
    assert (event["what"], f"hft: {event['message']}") == (what, line)
    assert (event["step"], event["checkpoint"], event["place"], event["try"]) == (None, None, None, [])


def test_the_cause_counts_whatever_wraps_it(fail: Any) -> None:
    def main() -> None:
        try:
            raise OSError(errno.ENOSPC, "No space left on device")
        except OSError as error:
            raise ValueError("An error occurred while generating the dataset") from error

    line, before, event = fail(main)
    assert event["what"] == "disk_space"
    assert "No space left on device" in line
    assert "while generating the dataset" in before


class Keeper:
    def __init__(self, folder: Path) -> None:
        self.folder, self.away, self.finished = folder, None, False

    def finish(self) -> None:
        self.finished = True


def test_step_place_what_to_try_and_the_last_whole_checkpoint_are_named(fail: Any, tmp_path: Path) -> None:
    for step, whole in ((2, True), (10, True), (12, False)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        manifest = json.dumps({"nodes": 1, "files": {}})
        (folder / "hft_manifest.json").write_text(manifest if whole else manifest[:5])
    keeper = Keeper(tmp_path)

    def train() -> None:
        raise OutOfMemoryError(CUDA)

    def main() -> None:
        trainer = SimpleNamespace(state=SimpleNamespace(global_step=12))
        stop = SimpleNamespace(keeper=keeper)
        train()
        print(trainer, stop)

    tries = ["per_device_train_batch_size=2", 'hardware="a100-large"']
    line, _, event = fail(main, fixes={"GPU memory": tries, "disk space": ["save_total_limit=1"]})
    assert line.startswith("hft: out of GPU memory in train(), after step 12: ")
    ending = '. Try per_device_train_batch_size=2, or hardware="a100-large". The last whole checkpoint is of step 10'
    assert line.endswith(ending)
    assert keeper.finished
    assert (event["step"], event["checkpoint"], event["try"]) == (12, 10, tries)
    assert event["place"] == str(tmp_path / "checkpoint-10")


def test_of_several_processes_the_first_to_fail_tells(
    fail: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("HFT_EXIT_FILE", str(tmp_path / "codes"))
    echo = RuntimeError("[gloo/transport/tcp/pair.cc:538] Connection closed by peer [127.0.0.1]:1")
    line, _, event = fail(raising(echo), looks=[first_to_fail])
    assert (line, event) == (str(f"RuntimeError: {echo}"), {})
    assert fail(raising(OutOfMemoryError(CUDA)), looks=[first_to_fail])[2]["what"] == "gpu_memory"
    line, _, event = fail(raising(KeyError("x")), looks=[first_to_fail])
    assert (line, event) == ("KeyError: 'x'", {})


def test_the_function_of_the_users_and_its_line_are_named(fail: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failing_code, "main", use_rewards, raising=False)
    line, _, event = fail(use_rewards, looks=[blame_own_code])
    number = judge.__code__.co_firstlineno + 1
    why = f"ValueError: could not convert string to float: 'x', at line {number}: return float(text)"
    assert line == f"hft: your function score failed at its start: {why}. No checkpoint was kept"
    assert event["what"] == "code"

    def noted() -> None:
        try:
            score(["x"])
        except ValueError as error:
            error.add_note("It was raised by the reward score")
            raise

    line, _, event = fail(noted, looks=[blame_own_code])
    assert line.startswith("hft: the reward score failed ")
    assert event["what"] == "reward"
    # what is full is not the function's fault
    assert fail(raising(OutOfMemoryError(CUDA)), looks=[blame_own_code])[2]["what"] == "gpu_memory"


def judge(text: str) -> float:
    return float(text)


def score(completions: list[str]) -> list[float]:
    return [judge(each) for each in completions]


def use_rewards() -> None:
    score(["x"])
