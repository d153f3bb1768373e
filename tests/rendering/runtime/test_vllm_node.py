"""The last of several nodes serves the model to those that train, and ends with them.

TRL's own command starts the server; in the place of vLLM, which needs GPUs, it finds a stand-in.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hfjobs_trainer.rendering.runtime.nodes import ENDED_WITH_ANOTHER, free_port, join_nodes
from hfjobs_trainer.rendering.runtime.vllm_node import await_server, serve_on_last_node
from tests.rendering.runtime.test_vllm_server import until_gone

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
VLLM = """\
import os, runpy, sys
port = sys.argv[sys.argv.index("--port") + 1]
sys.argv[1:1] = [os.environ["STANDIN_FOLDER"], port, os.environ["STANDIN_BEHAVIOUR"]]
runpy.run_path(os.environ["STANDIN"], run_name="__main__")
"""

Start = Callable[..., list[tuple[int, str]]]


@pytest.fixture
def start(tiny_model: Path, tmp_path: Path) -> Start:
    """Start a run on so many nodes, each a process of its own, and wait until all have ended."""
    package = tmp_path / "packages/vllm/entrypoints/cli"
    package.mkdir(parents=True)
    for folder in (package, *package.parents[:2]):
        (folder / "__init__.py").write_text('__version__ = "0.30.0"\n')
    (package / "main.py").write_text(VLLM)
    meeting, serving = free_port(), free_port()

    def run(nodes: int, processes: int, server: str = "healthy", **more: str) -> list[tuple[int, str]]:
        environment = {
            "HFT_MAIN_NODE": f"127.0.0.1:{meeting}",
            "HFT_NUM_PROCESSES": str(processes),
            "CUDA_VISIBLE_DEVICES": "",
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "TRACKIO_DIR": str(tmp_path),
            "PYTHONPATH": os.pathsep.join([str(tmp_path / "packages"), str(ROOT), str(ROOT / "tests")]),
            "STANDIN": str(HERE / "fake_vllm_server.py"),
            "STANDIN_FOLDER": str(tmp_path),
            "STANDIN_BEHAVIOUR": server,
            **more,
        }
        command = [sys.executable, str(HERE / "served_run.py"), str(tiny_model), str(tmp_path / "out")]
        started = [
            subprocess.Popen(
                [*command, str(nodes), str(serving)],
                env={**os.environ, **environment, "HFT_NODE_RANK": str(rank)},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for rank in range(nodes)
        ]
        outputs = [one.communicate(timeout=180)[0] for one in started]
        return [(one.returncode, output) for one, output in zip(started, outputs, strict=True)]

    return run


def state(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "server.json").read_text())


@pytest.mark.parametrize(("nodes", "processes", "world_size"), [(3, 2, 4), (2, 2, 2), (2, 1, 1)])
def test_the_others_train_and_the_server_ends_with_them(
    nodes: int, processes: int, world_size: int, start: Start, tiny_model: Path, tmp_path: Path
) -> None:
    results = start(nodes, processes)
    # the code with which the run ends, on every node
    assert [code for code, _ in results] == [76] * nodes, "\n".join(output[-3000:] for _, output in results)

    *trained, served = (output for _, output in results)
    events = [json.loads(line) for output in trained for line in output.splitlines() if line.startswith('{"event"')]
    assert [event["world_size"] for event in events if event["event"] == "hft.start"] == [world_size]
    assert [event["step"] for event in events if event["event"] == "hft.end"] == [4]
    assert sorted(line for output in trained for line in output.splitlines() if " knows " in line) == [
        f"rank {rank} knows 127.0.0.1" for rank in range(world_size)
    ]
    assert "answered with 200\n" in trained[0]
    assert (tmp_path / "out/model.safetensors").exists()

    found = state(tmp_path)
    called = " ".join(found["arguments"])
    assert f"serve {tiny_model} --host 127.0.0.1 --port " in called
    assert "--tensor-parallel-size 2" in called
    assert f"node {nodes - 1} ends too" in served
    assert '"event"' not in served
    assert until_gone(tmp_path) == []


def test_a_server_that_dies_ends_the_run_with_its_own_words(start: Start) -> None:
    (trained, message), (served, words) = start(2, 1, server="dies")
    assert (trained, served) == (ENDED_WITH_ANOTHER, 1)
    assert "node 1 failed: node 0 ends too" in message
    assert "no GPU is left" in words


def test_a_training_that_fails_ends_the_server(start: Start, tmp_path: Path) -> None:
    (trained, message), (served, words) = start(2, 1, TRAINING_FAILS="1")
    assert (trained, served) == (1, ENDED_WITH_ANOTHER)
    assert "the loss is not finite" in message
    assert "node 0 failed: node 1 ends too" in words
    assert until_gone(tmp_path) == []


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    # set first, so that whatever a test leaves is undone
    for name in ("HFT_NODE_RANK", "HFT_VLLM_HOST", "JOB_ID", "RANK"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.mark.usefixtures("unset")
def test_a_machine_on_its_own_is_told_that_it_lacks_a_server() -> None:
    serve_on_last_node("me/model", nodes=2, port=8000)
    with pytest.raises(SystemExit, match="2 nodes were planned, and this one was not told which of them it is"):
        join_nodes(2, 8, serving=True)


def test_under_a_launcher_of_ones_own_the_server_is_named(unset: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit, match="Set HFT_VLLM_HOST"):
        await_server(8000, 1)
    unset.setenv("HFT_VLLM_HOST", "gpu2.cluster")
    unset.setenv("RANK", "3")
    assert await_server(8000, 1) == "gpu2.cluster"
