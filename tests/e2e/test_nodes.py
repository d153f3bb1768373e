"""One run on two nodes: really trained, by jobs of the stand-in's network group and by torchrun."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hubsim
import pytest
from huggingface_hub import HfApi

import hfjobs_trainer as hft
from examples import tiny
from tests.e2e.methods import environment

# Two processes on each of two nodes, on a machine without GPUs.
TWO_PROCESSES = {"HFT_NUM_PROCESSES": "2", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
NODES = hft.Hardware(flavor="a10g-largex2", nodes=2)


@pytest.fixture
def client(hub_env: hubsim.Hub, tiny_model: Path, tiny_data: Callable[[tiny.Format], Path]) -> hft.Client:
    """A client of a Hub that has a model and datasets."""
    shutil.copytree(tiny_model, hub_env.root / "models/alice/tiny")
    formats: dict[str, tiny.Format] = {"chats": "messages", "prompts": "prompt_only_chat"}
    for name, rows in formats.items():
        folder = hub_env.root / "datasets/alice" / name
        folder.mkdir(parents=True)
        shutil.copy(tiny_data(rows), folder / "train.jsonl")
    return hft.Client(token="hf_alice_write", endpoint=hub_env.endpoint)


def sft(**changes: Any) -> hft.SFT:
    fields: dict[str, Any] = {
        "model": "alice/tiny",
        "dataset": "alice/chats",
        "max_steps": 2,
        "save_steps": 1,
        "logging_steps": 1,
        "per_device_train_batch_size": 1,
        "global_batch_size": 8,
        "timeout": "20m",
        "hardware": NODES,
        "tracking": hft.Tracking(report_to="none", group="pair"),
        "output": hft.Output(hub_model_id="alice/tiny-nodes"),
        "env": TWO_PROCESSES,
    }
    return hft.SFT(**fields | changes)


def submitted(client: hft.Client, spec: hft.SFT | hft.GRPO) -> hft.Job:
    job = client.submit(spec)
    assert isinstance(job, hft.Job)
    return job


def test_two_nodes_train_one_model(client: hft.Client, hub_env: hubsim.Hub) -> None:
    spec = sft()
    plan = client.plan(spec)
    job = submitted(client, spec)
    lines = list(job.logs(follow=True))
    status = job.wait(timeout=120).raise_for_status().status()

    assert "2 nodes of a10g-largex2" in str(plan)
    assert [member.stage for member in status.members] == ["COMPLETED", "COMPLETED"]
    (start,) = [event for event in job.events() if event.kind == "start"]
    assert start.data["world_size"] == 4
    steps = [
        (event.step, event.data["epoch"]) for event in job.events() if event.kind == "log" and "loss" in event.metrics
    ]
    # 32 rows are 4 steps of 8 sequences, whatever number of processes takes them
    assert steps == [(1, 0.25), (2, 0.5)]
    assert {line[:8] for line in lines if not line.startswith("{")} == {"[node 0]", "[node 1]"}
    assert {f"[node {rank}] node {rank} of 2: all have come" for rank in range(2)} <= set(lines)
    # the first process of all reports, saves and pushes
    assert not [line for line in lines if line.startswith("[node") and "hft." in line]
    pushes = {entry["token"] for entry in hub_env.requests("/models/alice/tiny-nodes/commit", "POST")}
    jobs = list(hub_env.jobs.values())
    saved = [sorted(path.parent.name for path in (one.dir / "work").rglob("model.safetensors")) for one in jobs]
    assert saved == [["checkpoint-1", "checkpoint-2", "tiny-SFT"], []]
    assert pushes == {"hf_alice_write"}
    files = {file.rfilename for file in HfApi(endpoint=hub_env.endpoint).model_info("alice/tiny-nodes").siblings or ()}
    assert "model.safetensors" in files
    result = job.result()
    assert (result.model, result.steps) == ("alice/tiny-nodes", 2)
    # both nodes are paid, each by the minute begun
    minutes = sum(-(-(one.finished - one.started) // 60) for one in jobs)
    assert job.cost() == pytest.approx(3.0 * minutes / 60)
    assert [found.id for found in client.jobs(group="pair")] == [job.id]
    assert hft.Job.from_id(job.record.members[1], backend=job.backend).record == job.record


def fails_on_the_last_process(completions: list[Any], **_columns: Any) -> list[float]:
    import os

    if os.environ["RANK"] == "3":
        raise ValueError("the last process gives up")
    return [float(len(str(completion))) for completion in completions]


def test_a_process_that_fails_ends_both_nodes_and_tells_why(client: hft.Client, hub_env: hubsim.Hub) -> None:
    spec = hft.GRPO(
        model="alice/tiny",
        dataset="alice/prompts",
        reward_funcs=fails_on_the_last_process,
        num_generations=2,
        max_completion_length=4,
        max_steps=2,
        per_device_train_batch_size=2,
        timeout="20m",
        hardware=NODES,
        tracking=hft.Tracking(report_to="none"),
        output=hft.Output(hub_model_id="alice/tiny-grpo"),
        env=TWO_PROCESSES,
    )
    job = submitted(client, spec)
    for one in list(hub_env.jobs.values()):
        one.join(240)

    # nobody was watching: they ended by themselves
    assert [one.stage for one in hub_env.jobs.values()] == ["ERROR", "ERROR"]
    assert not hub_env.requests("/cancel$")
    assert any("[node 1] " in line and "ValueError: the last process gives up" in line for line in job.logs())
    status = job.status()
    assert status.stage == "ERROR"
    assert status.message is not None
    assert re.match(r"node [01] of 2: Job failed with exit code: 1", status.message)
    with pytest.raises(hft.JobFailed):
        job.raise_for_status()


def test_a_node_that_never_comes_is_not_waited_for_forever(client: hft.Client, hub_env: hubsim.Hub) -> None:
    hub_env.script(match={"node-rank": "1"}, schedSecs=600, schedMessage="no machine is free")
    job = submitted(client, sft(env={**TWO_PROCESSES, "HFT_JOIN_SECONDS": "3"}))
    assert job.status().stage == "SCHEDULING"
    for one in list(hub_env.jobs.values()):
        one.join(120)

    # the node that came has canceled the one that still queued
    assert [one.stage for one in hub_env.jobs.values()] == ["ERROR", "CANCELED"]
    assert "[node 0] node 0 of 2 does not start: node(s) [1] did not come in time" in list(job.logs())
    assert job.status().stage == "ERROR"
    assert job.status().message == "node 0 of 2: Job failed with exit code: 1. Reason: Error"


def launchers(rank: int, port: int) -> dict[str, list[str]]:
    main = ["--master_addr=127.0.0.1", f"--master_port={port}"]
    torchrun = ["torch.distributed.run", "--nnodes=2", f"--node_rank={rank}", "--nproc_per_node=1", *main]
    accelerate = ["accelerate.commands.launch", "--multi_gpu", "--num_machines=2", "--num_processes=2"]
    accelerate += [f"--machine_rank={rank}", "--main_process_ip=127.0.0.1", f"--main_process_port={port}"]
    accelerate += ["--mixed_precision=no", "--dynamo_backend=no"]
    return {"torchrun": torchrun, "accelerate": accelerate, "by hand": []}


@pytest.mark.parametrize("launcher", ["torchrun", "accelerate", "by hand"])
def test_the_script_on_machines_of_ones_own(
    launcher: str, tiny_model: Path, tiny_data: Callable[[tiny.Format], Path], tmp_path: Path
) -> None:
    """What others have started is left alone; by hand, each machine is told its rank and the first one's name."""
    spec = sft(model=str(tiny_model), dataset=str(tiny_data("messages")), output=hft.Output(), env={})
    script = tmp_path / "script.py"
    script.write_text(hft.render(spec, offline=True), encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    nodes: list[subprocess.Popen[str]] = []
    for rank in range(2):
        command = launchers(rank, port)[launcher]
        by_hand = {"HFT_NODE_RANK": str(rank), "HFT_MAIN_NODE": f"127.0.0.1:{port}", "HFT_NUM_PROCESSES": "1"}
        env = environment(tmp_path / "cache", tmp_path / "trackio", **({} if command else by_hand))
        work = tmp_path / f"node-{rank}"
        work.mkdir()
        started = [sys.executable, *(["-m", *command] if command else []), str(script)]
        nodes.append(
            subprocess.Popen(started, cwd=work, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        )
    outputs = [node.communicate(timeout=300)[0] for node in nodes]

    assert [node.returncode for node in nodes] == [0, 0], "\n".join(output[-3000:] for output in outputs)
    events = [json.loads(line) for line in outputs[0].splitlines() if line.startswith('{"event"')]
    assert '"event"' not in outputs[1]
    assert [event["world_size"] for event in events if event["event"] == "hft.start"] == [2]
    assert [event["step"] for event in events if event["event"] == "hft.end"] == [2]
    assert [bool(list((tmp_path / f"node-{rank}").rglob("model.safetensors"))) for rank in range(2)] == [True, False]
