"""One run on several machines: they meet, start together and end together."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hfjobs_trainer.rendering.runtime.events import report
from hfjobs_trainer.rendering.runtime.relaunch import run_processes

# Jobs queue for their machines one by one; HFT_JOIN_SECONDS says otherwise.
JOIN_SECONDS = 1800.0
# Exit code of a node that ended because another one did (EX_TEMPFAIL, sysexits.h).
ENDED_WITH_ANOTHER = 75
# How long a node has to end its processes before they are killed.
GRACE_SECONDS = 30.0


class Apart(Exception):
    """The nodes cannot train together; its text says why."""


class Line:
    """A connection to another node; a message is a JSON object on a line."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.rest = b""
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        # A machine that vanishes says nothing: it is missed after about a minute.
        for name, value in (("IDLE", 30), ("INTVL", 10), ("CNT", 3)):
            if option := getattr(socket, f"TCP_KEEP{name}", None):
                connection.setsockopt(socket.IPPROTO_TCP, option, value)

    def fileno(self) -> int:
        """Give what can be waited for."""
        return self.connection.fileno()

    def send(self, **message: Any) -> None:
        """Send a message; a node that is gone shows when it is listened to."""
        try:
            self.connection.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            return

    def receive(self, seconds: float) -> dict[str, Any] | None:
        """Wait for a message; None if there is none or the connection has ended."""
        self.connection.settimeout(max(0.01, seconds))
        try:
            while b"\n" not in self.rest:
                data = self.connection.recv(4096)
                if not data:
                    return None
                self.rest += data
            text, _, self.rest = self.rest.partition(b"\n")
            return dict(json.loads(text))
        except (OSError, ValueError, TypeError):
            return None


class Nodes:
    """The machines of a run, seen from one of them.

    Attributes:
        rank: This one's rank.
        trains: How many of them train.
        lines: Connections to the others by rank; all but the first have one to it.
        arguments: What accelerate's launcher is told about them.
        ended: The exit code of others that are done.
    """

    def __init__(
        self, rank: int, trains: int, lines: dict[int, Line], arguments: dict[str, Any]
    ) -> None:
        self.rank = rank
        self.trains = trains
        self.lines = lines
        self.arguments = arguments
        self.ended = 0

    def run(self, command: list[str]) -> int:
        """Run a command here, and end with the first node that fails.

        Returns:
            The exit code.
        """
        processes = self.arguments["num_processes"] // self.trains

        def wait(process: Any, path: Path) -> int:
            def agreed(code: int) -> int:
                text = path.read_text("utf-8") if path.exists() else ""
                codes = [int(each) for each in text.split()]
                all_left = not code or len(codes) == processes
                return max(codes) if codes and all_left else code

            return self.watch(process, process.terminate, agreed=agreed)

        return run_processes(command, wait)

    def watch(
        self,
        process: Any,
        end: Callable[[], None],
        serves: bool = False,
        agreed: Callable[[int], int] | None = None,
    ) -> int:
        """Wait for a process, and end it when another node fails.

        Args:
            process: The process.
            end: What ends it.
            serves: Whether it is for the first node, and ends once that is done.
            agreed: Makes of its code the one on which the processes of all nodes
                agreed, if they did.

        Returns:
            The exit code.
        """

        def stop(*_: object) -> None:
            end()

        if serves:  # for others, run_processes has seen to it
            signal.signal(signal.SIGTERM, stop)
        why = None
        served = False
        while (code := process.poll()) is None and why is None and not served:
            why = self.listen(0.5)
            served = serves and not self.lines
        if why is not None or served:
            said = f"{why}: " if why else ""
            print(f"{said}node {self.rank} ends too", flush=True)
            end()
            try:
                process.wait(GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
            code, failed = (ENDED_WITH_ANOTHER, True) if why else (self.ended, False)
        elif serves:
            code, failed = code or 1, True  # the others still need it
        else:
            raw, code = code or 0, agreed(code or 0) if agreed else code or 0
            failed = code == raw != 0  # else all of them have agreed to end
        for line in self.lines.values():
            if failed:
                line.send(stop=why or f"node {self.rank} failed")
            else:
                line.send(done=code)
        return 128 - code if code < 0 else code

    def listen(self, seconds: float) -> str | None:
        """Wait for news, and tell why to stop if another node failed."""
        ranks = {line: rank for rank, line in self.lines.items()}
        if not ranks:
            time.sleep(seconds)
        for line in select.select(list(ranks), [], [], seconds)[0] if ranks else []:
            rank, said = ranks[line], line.receive(5)
            if said is None:
                return f"node {rank} is gone"
            if "stop" in said:
                return str(said["stop"])
            self.ended = max(self.ended, int(said.get("done", 0)))
            del self.lines[rank]
        return None


def join_nodes(nodes: int, processes: int, serving: bool = False) -> Nodes | None:
    """Wait until every node has come, and agree on where the processes meet.

    The environment says which node this is: HFT_NODE_RANK, from 0, and, beyond
    HF Jobs, HFT_MAIN_NODE, the host name of node 0, with ":port" if need be.

    Args:
        nodes: Machines that were planned.
        processes: Processes that train on this one.
        serving: Whether the last one serves the model, and does not train.

    Returns:
        The nodes; None where this machine is on its own.
    """
    rank = os.environ.get("HFT_NODE_RANK")
    if rank is None:
        if serving or ("JOB_ID" in os.environ and "HF_ENDPOINT" not in os.environ):
            sys.exit(
                f"{nodes} nodes were planned, and this one was not told which of them"
                " it is: submit the run with hft.submit, which starts them all, or"
                " start each in one network group with HFT_NODE_RANK=0, 1, ..."
            )
        why = "HFT_NODE_RANK is not set, so this machine trains alone"
        report("replaced", what="nodes", planned=nodes, used=1, why=why)
        return None
    seconds = float(os.environ.get("HFT_JOIN_SECONDS") or JOIN_SECONDS)
    deadline = time.monotonic() + seconds
    run = os.environ.get("HFT_RUN_ID", "")
    me = {"rank": int(rank), "nodes": nodes, "processes": processes, "run": run}
    host, port = meeting_place(run)
    print(f"node {rank} of {nodes} waits {seconds:g} s for the others", flush=True)
    try:
        if me["rank"] == 0:
            lines = await_others(port, me, deadline)
            address = next(iter(lines.values())).connection.getsockname()[0]
            start: dict[str, Any] = {"port": free_port()}
            if serving:
                last = lines[nodes - 1].connection
                start["server"] = last.getpeername()[0]
                # vLLM sends the server where to fetch the weights.
                os.environ.setdefault("VLLM_HOST_IP", last.getsockname()[0])
            for line in lines.values():
                line.send(**start)
        else:
            line, start = find_main(host, port, me, deadline)
            lines, address = {0: line}, line.connection.getpeername()[0]
    except Apart as why:
        cancel_late_nodes()
        sys.exit(f"node {rank} of {nodes} does not start: {why}")
    print(f"node {rank} of {nodes}: all have come", flush=True)
    if serving:
        os.environ["HFT_VLLM_HOST"] = start["server"]
    trains = nodes - serving
    arguments = {
        "num_processes": trains * processes,
        "num_machines": trains,
        "machine_rank": rank,
        "main_process_ip": address,
        "main_process_port": start["port"],
        "rdzv_backend": "static",
    }
    return Nodes(int(rank), trains, lines, arguments)


def meeting_place(run: str) -> tuple[str, int]:
    """Tell host and port of node 0; runs that share machines differ in the port."""
    main = os.environ.get("HFT_MAIN_NODE", "")
    if not main:
        prefix = os.environ.get("HF_NETWORK_GROUP_PREFIX")
        if prefix is None:
            sys.exit("Set HFT_MAIN_NODE to the host name of node 0, on every node.")
        main = f"{prefix}main"
    host, colon, port = main.rpartition(":")
    if colon and port.isdecimal():
        return host, int(port)
    # Below the ports that systems hand out by themselves.
    return main, 20000 + zlib.crc32(run.encode()) % 10000


def await_others(port: int, me: dict[str, Any], deadline: float) -> dict[int, Line]:
    """Receive all other nodes, on node 0.

    Raises:
        Apart: One has not come in time, is gone again, or does not fit.
    """
    lines: dict[int, Line] = {}
    try:
        with socket.create_server(("", port)) as server:
            while len(lines) < me["nodes"] - 1:
                left = deadline - time.monotonic()
                ready = select.select([server, *lines.values()], [], [], max(0, left))
                for line in ready[0]:
                    if line is server:
                        receive_one(Line(server.accept()[0]), me, lines)
                    else:
                        gone = [rank for rank, item in lines.items() if item is line]
                        raise Apart(f"node {gone[0]} is gone again")
                if not ready[0]:
                    late = sorted({*range(1, me["nodes"])} - lines.keys())
                    raise Apart(f"node(s) {late} did not come in time")
    except OSError as error:
        raise Apart(f"port {port} for the other nodes: {error}") from None
    except Apart as why:
        for line in lines.values():
            line.send(stop=str(why))
        raise
    return lines


def receive_one(line: Line, me: dict[str, Any], lines: dict[int, Line]) -> None:
    """Take in a node that presents itself; others are turned away.

    Raises:
        Apart: It is one of ours, but with another number of GPUs.
    """
    said = line.receive(10) or {}
    rank = int(said.get("rank", 0))
    ours = all(said.get(name) == me[name] for name in ("run", "nodes"))
    if not ours or rank not in range(1, me["nodes"]) or rank in lines:
        line.send(stop="node 0 awaits other nodes than this one")
        line.connection.close()
        return
    lines[rank] = line
    if said["processes"] not in (0, me["processes"]):  # 0: it serves
        counts = f"{said['processes']} on node {rank}, {me['processes']} on node 0"
        raise Apart(f"the nodes train with unequal numbers of processes: {counts}")


def find_main(
    host: str, port: int, me: dict[str, Any], deadline: float
) -> tuple[Line, dict[str, Any]]:
    """Find node 0, present this node, and wait for the start.

    Raises:
        Apart: Node 0 has not come in time, or says that there is no start.
    """
    while (left := deadline - time.monotonic()) > 0:
        try:
            # Names resolve before anybody listens, and may do so late.
            line = Line(socket.create_connection((host, port), min(10, left)))
        except OSError:
            time.sleep(min(1, left))
            continue
        line.send(**me)
        said = line.receive(deadline - time.monotonic() + 5)
        if said is None and time.monotonic() < deadline:
            raise Apart("node 0 is gone again")
        if said is None:
            raise Apart("the other nodes did not come in time")
        if "stop" in said:
            raise Apart(str(said["stop"]))
        return line, said
    raise Apart(f"node 0 at {host}:{port} did not come in time")


def free_port() -> int:
    """Find a port on which nobody listens."""
    with socket.create_server(("", 0)) as server:
        return int(server.getsockname()[1])


def cancel_late_nodes() -> None:
    """On HF Jobs, keep nodes that still queue from starting for nothing."""
    namespace, _, group = os.environ.get("HFT_NODE_GROUP", "").partition("/")
    if not group:
        return
    try:
        import huggingface_hub

        hub: Any = huggingface_hub
        for job in hub.list_jobs(labels={"node-group": group}, namespace=namespace):
            if getattr(job.status.stage, "value", job.status.stage) == "SCHEDULING":
                hub.cancel_job(job_id=job.id, namespace=namespace)
    except Exception as error:  # noqa: BLE001 - they give up by themselves, later
        print(f"queued nodes were not canceled: {error!r:.300}", flush=True)
