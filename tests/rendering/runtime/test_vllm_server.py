"""The server for the answers is waited for, and ends with the training process, however that ends."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hfjobs_trainer.rendering.runtime import vllm_server
from hfjobs_trainer.rendering.runtime.vllm_server import serve_model, set_aside

ROOT = Path(__file__).parents[3]
SCRIPT = Path(__file__).with_name("serving_run.py")
# Long enough for a busy machine; nothing waits so long when all is well.
PATIENCE = 60.0


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(end: str, folder: Path, port: int, server: str = "healthy", seconds: float = PATIENCE) -> Any:
    return subprocess.Popen(
        [sys.executable, str(SCRIPT), end, str(folder), str(port), str(seconds), server],
        env=os.environ | {"PYTHONPATH": str(ROOT), "http_proxy": "http://127.0.0.1:9"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def state(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "server.json").read_text())


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until_gone(folder: Path) -> list[int]:
    """Those processes of the server that are still there when patience ends."""
    deadline = time.monotonic() + PATIENCE
    pids = state(folder)["pids"]
    while (left := [pid for pid in pids if alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


@pytest.mark.parametrize(("end", "code"), [("return", 0), ("raise", 1), ("exit", 0), ("kill", -signal.SIGKILL)])
def test_it_ends_with_the_process_that_started_it(end: str, code: int, tmp_path: Path, port: int) -> None:
    run = start(end, tmp_path, port)
    output, errors = run.communicate(timeout=2 * PATIENCE)
    assert run.returncode == code, errors
    assert "vLLM's server answers after" in output
    assert output.endswith("trains\n")
    assert until_gone(tmp_path) == []


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_the_run_is_stopped(sent: signal.Signals, tmp_path: Path, port: int) -> None:
    run = start("wait", tmp_path, port)
    for line in run.stdout:
        if line == "trains\n":
            break
    run.send_signal(sent)
    run.communicate(timeout=2 * PATIENCE)
    assert run.returncode != 0
    assert until_gone(tmp_path) == []


def test_a_server_that_dies_ends_the_run(tmp_path: Path, port: int) -> None:
    run = start("return", tmp_path, port, server="dies")
    output, errors = run.communicate(timeout=2 * PATIENCE)
    assert run.returncode == 1
    assert "no GPU is left" in errors
    assert "vLLM's server ended with code 1 before it answered" in errors
    assert "trains" not in output


def test_a_server_that_never_answers_ends_the_run(tmp_path: Path, port: int) -> None:
    run = start("return", tmp_path, port, server="starting", seconds=3)
    output, errors = run.communicate(timeout=2 * PATIENCE)
    assert run.returncode == 1
    assert "did not answer within 3 s" in errors
    assert "vllm_server_timeout" in errors
    assert "trains" not in output
    assert until_gone(tmp_path) == []


def test_a_taken_port_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run = start("return", tmp_path, port)
        _, errors = run.communicate(timeout=2 * PATIENCE)
    assert run.returncode == 1
    assert f"Port {port} for vLLM's server" in errors
    assert not (tmp_path / "server.json").exists()


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    # set first, so that whatever a test leaves is undone
    for name in ("HFT_VLLM_GPUS", "LOCAL_WORLD_SIZE", "RANK"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return monkeypatch


def test_the_last_gpus_are_set_aside(unset: pytest.MonkeyPatch) -> None:
    unset.setenv("CUDA_VISIBLE_DEVICES", "0,1,GPU-4f,3")
    set_aside(gpus=2)
    assert (os.environ["CUDA_VISIBLE_DEVICES"], os.environ["HFT_VLLM_GPUS"]) == ("0,1", "GPU-4f,3")
    # the processes that accelerate starts see what the first one left them
    set_aside(gpus=2)
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"


@pytest.mark.parametrize(("visible", "processes"), [("", 1), ("0", 1), ("0,1", 2)])
def test_too_few_gpus_are_told(visible: str, processes: int, unset: pytest.MonkeyPatch) -> None:
    unset.setenv("CUDA_VISIBLE_DEVICES", visible)
    unset.setenv("LOCAL_WORLD_SIZE", str(processes))
    with pytest.raises(SystemExit, match=rf"takes 1 GPU.* and {processes} process.* there are .* GPU"):
        set_aside(gpus=1)


def test_only_the_main_process_starts_it(unset: pytest.MonkeyPatch) -> None:
    unset.setenv("RANK", "1")
    serve_model("me/model", port=8000, seconds=1)
    assert vllm_server.KEEPERS == []


def test_trl_serves_on_the_gpus_that_were_set_aside(
    tmp_path: Path, port: int, unset: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """TRL's own command takes the options; without vLLM it ends, and so does the run."""
    unset.setenv("HFT_VLLM_GPUS", "3")
    unset.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    with pytest.raises(SystemExit, match="ended with code 1 before it answered"):
        serve_model(
            "me/model",
            port=port,
            seconds=PATIENCE,
            host="127.0.0.1",
            tensor_parallel_size=1,
            gpu_memory_utilization=0.8,
            max_model_len=2048,
            revision="v2",
            trust_remote_code=True,
            vllm_model_impl="transformers",
        )
    keeper = vllm_server.KEEPERS.pop()
    keeper.stdin.close()
    assert keeper.wait(PATIENCE) == 1
    told = capfd.readouterr().err
    assert "serve me/model --host 127.0.0.1" in told
    assert f"--port {port}" in told
    assert "--revision v2 --max-model-len 2048 --trust-remote-code" in told
    assert "No module named 'vllm'" in told
