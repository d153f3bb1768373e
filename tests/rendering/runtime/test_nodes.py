"""Nodes meet, start together and end together: real processes, which stand for machines."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hfjobs_trainer.rendering.runtime.nodes import ENDED_WITH_ANOTHER, free_port, join_nodes, meeting_place
from hfjobs_trainer.running.backends import hub_nodes

ROOT = Path(__file__).parents[3]
# Joins, then runs the command that its arguments are, which gets accelerate's arguments behind its own.
NODE = """\
import sys
from hfjobs_trainer.rendering.runtime.nodes import join_nodes
planned, processes, *command = sys.argv[1:]
nodes = join_nodes(int(planned), int(processes))
sys.exit(nodes.run([sys.executable, *command, *(f"--{key}={value}" for key, value in nodes.arguments.items())]))
"""
# As long as its parent lives.
WAITS = """\
import os, time
parent = os.getppid()
print("started", flush=True)
while os.getppid() == parent:
    time.sleep(0.1)
"""


# Joins, and keeps a process until the others are done.
SERVES = """\
import subprocess, sys
from hfjobs_trainer.rendering.runtime.nodes import join_nodes
nodes = join_nodes(2, 0)
server = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
sys.exit(nodes.watch(server, server.stdin.close, serves=True))
"""


def environment(rank: int, port: int, seconds: float = 20.0, run: str = "one") -> dict[str, str]:
    return {
        "HFT_NODE_RANK": str(rank),
        "HFT_MAIN_NODE": f"127.0.0.1:{port}",
        "HFT_JOIN_SECONDS": str(seconds),
        "HFT_RUN_ID": run,
        "PYTHONPATH": str(ROOT),
    }


def node(
    rank: int, port: int, *command: str, planned: int = 2, processes: int = 4, seconds: float = 20.0, run: str = "one"
) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", NODE, str(planned), str(processes), *command],
        env={**os.environ, **environment(rank, port, seconds, run)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(*nodes: subprocess.Popen[str]) -> list[tuple[int, str]]:
    outputs = [one.communicate(timeout=60)[0] for one in nodes]
    return [(one.returncode, output) for one, output in zip(nodes, outputs, strict=True)]


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"it ended without {text!r}")


def test_three_nodes_are_told_of_one_another() -> None:
    port = free_port()
    show = ("-c", "import sys; print('told', *sys.argv[1:])")
    results = ended(*(node(rank, port, *show, planned=3) for rank in (2, 0, 1)))

    assert [code for code, _ in results] == [0, 0, 0]
    told = [next(line.split()[1:] for line in output.splitlines() if line.startswith("told")) for _, output in results]
    for rank, arguments in zip((2, 0, 1), told, strict=True):
        assert {"--num_processes=12", "--num_machines=3", f"--machine_rank={rank}"} <= set(arguments)
        assert "--main_process_ip=127.0.0.1" in arguments
    assert len({argument for arguments in told for argument in arguments if "main_process_port" in argument}) == 1


def test_a_node_that_never_comes() -> None:
    port = free_port()
    missing, alone = ended(node(0, port, planned=3, seconds=2), node(1, port, planned=3, seconds=20))
    why = "node(s) [2] did not come in time"
    assert (missing[0], alone[0]) == (1, 1)
    assert f"node 0 of 3 does not start: {why}" in missing[1]
    assert f"node 1 of 3 does not start: {why}" in alone[1]


def test_the_first_node_never_comes() -> None:
    port = free_port()
    ((code, output),) = ended(node(1, port, seconds=1.5))
    assert code == 1
    assert f"node 1 of 2 does not start: node 0 at 127.0.0.1:{port} did not come in time" in output


def test_a_node_that_leaves_before_the_start() -> None:
    port = free_port()
    first, second = node(0, port, planned=3), node(1, port, planned=3)
    wait_for(second, "waits")
    time.sleep(2)
    second.kill()
    second.communicate()
    ((code, output),) = ended(first)
    assert code == 1
    assert "node 1 is gone again" in output


def test_a_failing_node_takes_the_others_along() -> None:
    port = free_port()
    waiting = [node(rank, port, "-c", WAITS, planned=3) for rank in (0, 1)]
    failing = node(2, port, "-c", "import sys, time; time.sleep(1); sys.exit(7)", planned=3)
    (first, second, culprit) = ended(*waiting, failing)
    assert culprit[0] == 7
    assert (first[0], second[0]) == (ENDED_WITH_ANOTHER, ENDED_WITH_ANOTHER)
    assert "node 2 failed: node 0 ends too" in first[1]
    assert "node 2 failed: node 1 ends too" in second[1]


def test_a_node_that_vanishes_takes_the_others_along() -> None:
    port = free_port()
    first, second = node(0, port, "-c", WAITS), node(1, port, "-c", WAITS)
    wait_for(first, "started")
    wait_for(second, "started")
    first.kill()
    first.communicate()
    ((code, output),) = ended(second)
    assert code == ENDED_WITH_ANOTHER
    assert "node 0 is gone: node 1 ends too" in output


def test_a_node_that_is_done_lets_the_others_finish() -> None:
    port = free_port()
    long = "import time; time.sleep(3); print('finished', flush=True)"
    first, second = ended(node(0, port, "-c", long), node(1, port, "-c", "pass"))
    assert (first[0], second[0]) == (0, 0)
    assert "finished" in first[1]


def test_a_node_that_is_told_to_stop_ends_its_processes() -> None:
    port = free_port()
    first, second = node(0, port, "-c", WAITS), node(1, port, "-c", WAITS)
    wait_for(first, "started")
    wait_for(second, "started")
    first.terminate()
    assert [code for code, _ in ended(first, second)] == [143, ENDED_WITH_ANOTHER]


def test_nodes_that_agreed_on_a_code_all_end_with_it() -> None:
    """None is killed because another one was sooner done with its last checkpoint."""
    port = free_port()
    leaves = "import os, time; time.sleep({seconds}); print('76\\n' * 4, file=open(os.environ['HFT_EXIT_FILE'], 'a'))"
    nodes = [node(rank, port, "-c", leaves.format(seconds=0.6 * rank), planned=3) for rank in range(3)]
    results = ended(*nodes)
    assert [code for code, _ in results] == [76, 76, 76]
    assert not [output for _, output in results if "ends too" in output]


def test_a_node_that_serves_ends_with_the_code_of_those_that_train() -> None:
    port = free_port()
    first = node(0, port, "-c", "import os; print(76, file=open(os.environ['HFT_EXIT_FILE'], 'a'))")
    last = subprocess.Popen(
        [sys.executable, "-c", SERVES],
        env={**os.environ, **environment(1, port)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert [code for code, _ in ended(first, last)] == [76, 76]


def test_strangers_are_turned_away_and_unequal_nodes_do_not_start() -> None:
    port = free_port()
    first = node(0, port, "-c", "pass")
    ((code, output),) = ended(node(1, port, run="another"))
    assert code == 1
    assert "node 0 awaits other nodes than this one" in output
    # neither a wrong run nor noise keeps node 0 from waiting
    for _ in range(2):
        with socket.create_connection(("127.0.0.1", port)) as noise:
            noise.sendall(b"GET / HTTP/1.1\r\n\r\n")
    results = ended(first, node(1, port, processes=2))
    why = "the nodes train with unequal numbers of processes: 2 on node 1, 4 on node 0"
    assert [code for code, _ in results] == [1, 1]
    assert all(why in output for _, output in results)


def test_a_machine_on_its_own_trains_alone_and_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("HFT_NODE_RANK", "JOB_ID", "RANK"):
        monkeypatch.delenv(name, raising=False)
    assert join_nodes(2, 8) is None
    assert '"what": "nodes", "planned": 2, "used": 1' in capsys.readouterr().out


def test_a_rented_machine_does_not_train_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HFT_NODE_RANK", "HF_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("JOB_ID", "6a")
    with pytest.raises(SystemExit, match="2 nodes were planned"):
        join_nodes(2, 8)


def test_where_nodes_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HFT_MAIN_NODE", raising=False)
    monkeypatch.setenv("HF_NETWORK_GROUP_PREFIX", "hft-1-")
    host, port = meeting_place("a run")
    assert host == f"hft-1-{hub_nodes.MAIN_ALIAS}"
    assert 20000 <= port < 30000
    assert meeting_place("another run")[1] != port
    monkeypatch.setenv("HFT_MAIN_NODE", "gpu1.cluster")
    assert meeting_place("a run") == ("gpu1.cluster", port)
    monkeypatch.setenv("HFT_MAIN_NODE", "gpu1.cluster:29400")
    assert meeting_place("a run") == ("gpu1.cluster", 29400)
    monkeypatch.delenv("HFT_MAIN_NODE")
    monkeypatch.delenv("HF_NETWORK_GROUP_PREFIX")
    with pytest.raises(SystemExit, match="HFT_MAIN_NODE"):
        meeting_place("a run")


def test_the_exit_code_is_the_one_that_is_looked_for() -> None:
    assert f"exit code: {ENDED_WITH_ANOTHER}" == hub_nodes.ENDED_WITH_ANOTHER
