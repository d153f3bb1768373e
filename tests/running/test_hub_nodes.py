"""A run on several nodes through the unmodified client: all of its jobs or none, behind one handle."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import hubsim
import pytest

from hfjobs_trainer.client import Client
from hfjobs_trainer.errors import BackendError, HubUnavailable, QuotaError
from hfjobs_trainer.planning.plan import JobRequest, Plan
from hfjobs_trainer.rendering.paste import import_lines, paste
from hfjobs_trainer.running.backends.base import JobStatus, LogLines, Stage
from hfjobs_trainer.running.backends.hub import HubBackend
from hfjobs_trainer.running.backends.hub_connection import Patience
from hfjobs_trainer.running.backends.hub_nodes import fold_statuses
from hfjobs_trainer.running.job import Job
from tests.running.hub_runs import QUICK
from tests.running.places import event_line

REQUEST = JobRequest(
    script="print('x')",
    name="sft-pair",
    flavor="a10g-largex2",
    timeout_seconds=600,
    labels={"sdk": "hfjobs-trainer", "method": "sft"},
    nodes=2,
)


def submit(backend: HubBackend, **changes: Any) -> Job:
    plan = Plan(spec=cast(Any, None), backend="hub", request=replace(REQUEST, **changes))
    return Job(backend.submit(plan), backend)


def play(hub: hubsim.Hub, rank: int, *lines: str, **more: Any) -> None:
    """Say how the next node of this rank goes."""
    hub.script(match={"node-rank": str(rank)}, logs=list(lines), **more)


def jobs(hub: hubsim.Hub) -> list[hubsim.state.Job]:
    return list(hub.jobs.values())


def stages(hub: hubsim.Hub) -> list[str]:
    for job in jobs(hub):
        job.join(20)
    return [job.stage for job in jobs(hub)]


def test_every_node_is_a_job_of_one_network_group(hub: hubsim.Hub, backend: HubBackend) -> None:
    for rank in range(3):
        play(hub, rank, "x")
    job = submit(backend, nodes=3, env={"HFT_RUN_ID": "same"})

    sent = [json.loads(entry["body"]) for entry in hub.requests("^/api/jobs/alice$", "POST")]
    (group,) = {body["network"]["group"] for body in sent}
    assert [body["network"].get("aliases") or [] for body in sent] == [["main"], [], []]
    assert [body["environment"] for body in sent] == [
        {"HFT_RUN_ID": "same", "HFT_NODE_RANK": str(rank), "HFT_NODE_GROUP": f"alice/{group}"} for rank in range(3)
    ]
    labels = {"sdk": "hfjobs-trainer", "method": "sft", "name": "sft-pair", "run": "same", "node-group": group}
    for rank, body in enumerate(sent):
        assert body["labels"].pop("submit-id")
        assert body["labels"] == {**labels, "nodes": "3", "node-rank": str(rank)}
        assert (body["flavor"], body["timeoutSeconds"]) == ("a10g-largex2", 600)
    assert job.record.members == tuple(f"alice/{name}" for name in hub.jobs)
    assert job.id == job.record.members[0]


def test_any_node_leads_to_the_whole_run(hub: hubsim.Hub, connect: Callable[[], HubBackend]) -> None:
    hub.cfg["pageSize"] = 2
    for rank in range(3):
        play(hub, rank, f"line of {rank}")
    job = submit(connect(), nodes=3)
    assert stages(hub) == ["COMPLETED"] * 3
    status = job.status()
    for member in job.record.members:
        backend = connect()  # which knows nothing
        again = Job.from_id(member, backend=backend)
        assert (again.record, again.status()) == (job.record, status)
        assert list(again.logs()) == [f"[node {rank}] line of {rank}" for rank in range(3)]


def test_runs_are_listed_once(hub: hubsim.Hub, backend: HubBackend, connect: Callable[[], HubBackend]) -> None:
    pair = submit(backend)
    single = submit(backend, nodes=1)
    for place in (backend, connect()):
        client = Client(backend=place)
        assert [(job.id, job.record.members) for job in client.jobs()] == [
            (single.id, ()),
            (pair.id, pair.record.members),
        ]
        assert [job.record for job in client.jobs(labels={"node-rank": "1"})] == [pair.record]


def test_logs_are_merged_and_events_are_the_first_nodes(hub: hubsim.Hub, backend: HubBackend) -> None:
    first, others = event_line("log", step=1, metrics={"loss": 2.0}), event_line("log", step=9, metrics={"loss": 9.0})
    play(hub, 0, "zero", first, runSecs=0.5)
    play(hub, 1, "one", others, "40%|####\rdone", runSecs=0.5)
    job = submit(backend)
    expected = ["[node 0] zero", first, "[node 1] one", f"[node 1] {others}", "[node 1] done"]
    followed = list(job.logs(follow=True))
    assert sorted(followed) == sorted(expected)
    for rank in "01":
        own = [line for line in followed if line.startswith(f"[node {rank}]")]
        assert own == [line for line in expected if line.startswith(f"[node {rank}]")]
    assert sorted(job.logs()) == sorted(expected)
    assert [event.step for event in job.events()] == [1]


def test_a_node_whose_log_stream_stays_open_does_not_keep_the_others(hub: hubsim.Hub, backend: HubBackend) -> None:
    hub.cfg |= {"streamsStayOpen": True, "keepaliveSecs": 0.05}
    play(hub, 0, event_line("start", step=0), "zero", event_line("end", step=1), runSecs=0.3)
    play(hub, 1, "one", runSecs=0.2)
    job = submit(backend)
    lines = list(job.logs(follow=True))
    assert sorted(line for line in lines if "event" not in line) == ["[node 0] zero", "[node 1] one"]
    assert job.result().steps == 1


def test_a_merged_log_is_left_with_all_its_nodes(hub: hubsim.Hub, backend: HubBackend) -> None:
    for rank in range(2):
        play(hub, rank, *"ab", runSecs=60)
    job = submit(backend)
    lines = job.logs(follow=True)
    waiting = threading.Thread(target=list, args=(lines,))
    waiting.start()
    deadline = time.monotonic() + 60
    while len(hub.requests("/logs$")) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    cast("LogLines", lines).close()
    waiting.join(60)
    while any(thread.name.startswith("hfjobs-trainer-") for thread in threading.enumerate()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    job.cancel()


def test_what_one_node_breaks_the_others_do_not_go_on_with(hub: hubsim.Hub, backend: HubBackend) -> None:
    play(hub, 0, runSecs=60)
    play(hub, 1, "one", "ValueError: of node 1", exitCode=1, runSecs=0.3)
    job = submit(backend)
    lines = list(job.logs(follow=True))  # would take a minute if the other one went on
    assert set(lines) == {"[node 1] one", "[node 1] ValueError: of node 1"}
    status = job.wait(20).status()
    assert status.stage == "ERROR"
    assert status.message == "node 1 of 2: Job failed with exit code: 1. Reason: Error"
    assert [member.stage for member in status.members] == ["CANCELED", "ERROR"]
    with pytest.raises(Exception, match="of node 1") as caught:
        job.raise_for_status()
    assert str(caught.value).splitlines()[-1].endswith("[node 1] ValueError: of node 1")


def test_looking_at_a_run_stops_a_node_that_still_queues(hub: hubsim.Hub, backend: HubBackend) -> None:
    play(hub, 0, "gave up", exitCode=1)
    play(hub, 1, schedSecs=600, schedMessage="no machine is free")
    job = submit(backend)
    waiting = job.status()
    jobs(hub)[0].join(20)
    assert waiting.stage in ("SCHEDULING", "RUNNING")
    assert job.wait(20).status().stage == "ERROR"
    assert stages(hub) == ["ERROR", "CANCELED"]


def test_a_node_that_is_gone_is_not_waited_for(hub: hubsim.Hub, connect: Callable[[], HubBackend]) -> None:
    for rank in range(2):
        play(hub, rank, "x")
    job = submit(connect())
    assert stages(hub) == ["COMPLETED", "COMPLETED"]
    jobs(hub)[1].stage = "DELETED"  # such are not listed

    def asked(patient: Patience, call: Callable[[HubBackend], Any]) -> tuple[Any, int]:
        """What a backend that knows nothing answers, and how often it lists the group."""
        before = len(hub.requests("^/api/jobs/alice$", "GET"))
        told = call(HubBackend("hf_alice_write", "alice", hub.endpoint, patient))
        return told, len(hub.requests("^/api/jobs/alice$", "GET")) - before

    forever = replace(QUICK, search=600.0)
    listed, questions = asked(forever, lambda backend: backend.list({"sdk": "hfjobs-trainer"}))
    assert ([record.id for record in listed], questions) == ([job.id], 2)
    _, young = asked(QUICK, lambda backend: backend.status(job.id))
    assert young > 1
    for one in jobs(hub):
        one.created -= 61
    status, old = asked(forever, lambda backend: backend.status(job.id))
    assert (status.message, old) == ("1 of 2 nodes cannot be found", 1)


def test_canceling_stops_every_node(hub: hubsim.Hub, connect: Callable[[], HubBackend]) -> None:
    for rank in range(2):
        play(hub, rank, "x", runSecs=60)
    job = submit(connect())
    Job.from_id(job.record.members[1], backend=connect()).cancel()
    assert stages(hub) == ["CANCELED", "CANCELED"]
    assert job.status().stage == "CANCELED"
    job.cancel()


def test_a_node_that_cannot_be_canceled_does_not_keep_the_others(hub: hubsim.Hub, backend: HubBackend) -> None:
    for rank in range(2):
        play(hub, rank, "x", runSecs=60)
    job = submit(backend)
    first = job.id.split("/")[1]
    hub.fail(method="POST", path=f"/{first}/cancel$", response={"status": 403})
    with pytest.raises(BackendError, match="may not cancel"):
        job.cancel()
    jobs(hub)[1].join(20)
    assert [one.stage for one in jobs(hub)] == ["RUNNING", "CANCELED"]
    job.cancel()
    assert stages(hub) == ["CANCELED", "CANCELED"]


def test_a_refused_node_takes_back_those_before_it(hub: hubsim.Hub, backend: HubBackend) -> None:
    for rank in range(2):
        play(hub, rank, "x", runSecs=60)
    hub.fail(method="POST", path="/api/jobs/alice$", skip=2, response={"status": 402})
    with pytest.raises(QuotaError) as caught:
        submit(backend, nodes=3)
    assert stages(hub) == ["CANCELED", "CANCELED"]
    assert str(caught.value).startswith("node 2 of 3: cannot submit a job in 'alice'")
    assert str(caught.value).endswith("No node was left running (2 canceled).")


def test_what_could_not_be_taken_back_is_named(hub: hubsim.Hub, backend: HubBackend) -> None:
    play(hub, 0, "x", runSecs=60)
    hub.fail(method="POST", path="/api/jobs/alice$", skip=1, response={"status": 402})
    hub.fail(method="POST", path="/cancel$", times=9, response={"status": 403})
    with pytest.raises(QuotaError) as caught:
        submit(backend)
    (name,) = hub.jobs
    assert f'hft.Job.from_id("alice/{name}").cancel()' in str(caught.value)


def test_a_node_whose_creation_is_not_known_is_taken_back_too(hub: hubsim.Hub) -> None:
    backend = HubBackend("hf_alice_write", "alice", hub.endpoint, replace(QUICK, search=0.0))
    for rank in range(2):
        play(hub, rank, "x", runSecs=60)
    hub.fail(method="POST", path="/api/jobs/alice$", skip=1, reset="after")
    # neither is it known whether there is one
    hub.fail(method="GET", path="/api/jobs/alice$", response={"status": 400})
    with pytest.raises(HubUnavailable, match=r"is not known.*No node that is listed was left running \(2 canceled\)"):
        submit(backend)
    assert stages(hub) == ["CANCELED", "CANCELED"]


def test_a_node_that_shows_up_twice_is_one(
    hub: hubsim.Hub, backend: HubBackend, connect: Callable[[], HubBackend]
) -> None:
    for rank in (0, 0, 1):
        play(hub, rank, "x", runSecs=60)
    hub.cfg["listLagSecs"] = 60
    hub.fail(method="POST", path="/api/jobs/alice$", reset="after")
    job = submit(backend)
    late, *kept = jobs(hub)
    hub.cfg["listLagSecs"] = 0
    with pytest.warns(RuntimeWarning, match=f"job alice/{late.id}"):
        job.status()
    late.join(20)
    again = Job.from_id(job.id, backend=connect())
    assert again.record.members == job.record.members == tuple(f"alice/{one.id}" for one in kept)
    assert not again.status().is_terminal
    assert [one.canceled.is_set() for one in jobs(hub)] == [True, False, False]
    job.cancel()


def test_a_hub_that_drops_the_network_gets_no_nodes(hub: hubsim.Hub, backend: HubBackend) -> None:
    def without_network(status: int, body: Any) -> tuple[int, Any]:
        return status, {name: value for name, value in body.items() if name != "network"}

    play(hub, 0, "x", runSecs=60)
    hub.fail(method="POST", path="/api/jobs/alice$", rewrite=without_network)
    with pytest.raises(BackendError, match="network group is None"):
        submit(backend)
    assert stages(hub) == ["CANCELED"]


def test_the_cost_is_that_of_all_nodes(hub: hubsim.Hub, backend: HubBackend) -> None:
    for rank in range(2):
        play(hub, rank, "x")
    job = submit(backend)
    assert stages(hub) == ["COMPLETED"] * 2
    # each ran for less than a minute, of which 60 cost $3
    assert job.cost() == pytest.approx(2 * 3.0 / 60)
    hub.fail(method="GET", path="/api/jobs/hardware", times=20, response={"status": 503})
    assert job.cost() == pytest.approx(2 * 3.0 / 60)  # the snapshot's price
    jobs(hub)[1].finished += 60
    hub.faults.clear()
    assert job.cost() == pytest.approx(3 * 3.0 / 60)


def joining_script(*command: str) -> str:
    """A script that joins the other nodes and runs a command, by the blocks of real ones and without torch."""
    pasted = paste(["join_nodes"])
    imports, sources = import_lines(pasted.imports), f"{pasted.constants}\n\n\n{pasted.source}"
    # what accelerate's arguments are is said elsewhere
    run = f"nodes = join_nodes(2, 1)\nsys.exit(nodes.run([sys.executable, *{list(command)!r}]))"
    return f"from __future__ import annotations\n\n{imports}\n\n\n{sources}\n\n\n{run}\n"


# Goes on as long as its parent lives.
GOES_ON = """
import os, time
parent = os.getppid()
print("trains", flush=True)
while os.getppid() == parent:
    time.sleep(0.1)
"""


@pytest.mark.parametrize("dying", [0, 1])
def test_a_machine_that_dies_ends_the_other_though_nobody_watches(
    hub: hubsim.Hub, backend: HubBackend, dying: int
) -> None:
    job = submit(backend, script=joining_script("-c", GOES_ON), env={"HFT_RUN_ID": f"{id(hub)}"})
    deadline = time.monotonic() + 60
    while not all("trains" in one.lines for one in jobs(hub)):
        assert time.monotonic() < deadline, [one.lines for one in jobs(hub)]
        time.sleep(0.05)
    process = jobs(hub)[dying].process
    assert process is not None
    os.killpg(process.pid, signal.SIGKILL)

    assert stages(hub) == ["ERROR", "ERROR"]
    assert not hub.requests("/cancel$")
    assert jobs(hub)[1 - dying].exit_code == 75
    assert jobs(hub)[1 - dying].lines[-1] == f"node {dying} is gone: node {1 - dying} ends too"
    assert job.status().message == f"node {dying} of 2: Job failed with exit code: 137. Reason: OOMKilled"


START = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


def at(stage: Stage, seconds: int | None = None, message: str | None = None) -> JobStatus:
    """A status that is final after so many seconds."""
    ran = stage != "SCHEDULING"
    finished = None if seconds is None else START + timedelta(seconds=seconds)
    return JobStatus(stage, message, START, START if ran else None, finished)


EXIT = "Job failed with exit code: {}. Reason: Error"
FOLDED: dict[str, tuple[list[JobStatus], str, str | None]] = {
    "all queue": ([at("SCHEDULING"), at("SCHEDULING")], "SCHEDULING", "waiting for node 0, 1 of 2"),
    "one queues": (
        [at("RUNNING"), at("SCHEDULING", message="no machine")],
        "SCHEDULING",
        "waiting for node 1 of 2: no machine",
    ),
    "all run": ([at("RUNNING"), at("RUNNING")], "RUNNING", None),
    "one is done": ([at("RUNNING"), at("COMPLETED", 5)], "RUNNING", None),
    "all are done": ([at("COMPLETED", 9), at("COMPLETED", 5)], "COMPLETED", None),
    "one failed": ([at("RUNNING"), at("ERROR", 5, "why")], "RUNNING", "node 1 of 2: why"),
    "one failed, one stopped": ([at("CANCELED", 7), at("ERROR", 5, "why")], "ERROR", "node 1 of 2: why"),
    "the first to fail": ([at("ERROR", 5, "why"), at("ERROR", 7, "because")], "ERROR", "node 0 of 2: why"),
    "the one that failed by itself": (
        [at("ERROR", 5, EXIT.format(75)), at("ERROR", 7, EXIT.format(1))],
        "ERROR",
        f"node 1 of 2: {EXIT.format(1)}",
    ),
    "canceled": ([at("CANCELED", 5), at("CANCELED", 5)], "CANCELED", "node 1 of 2: CANCELED"),
    "canceled after one was done": ([at("COMPLETED", 5), at("CANCELED", 6)], "CANCELED", "node 1 of 2: CANCELED"),
    "a node is missing": ([at("RUNNING")], "RUNNING", "1 of 2 nodes cannot be found"),
}


@pytest.mark.parametrize("name", FOLDED)
def test_one_status_for_all(name: str) -> None:
    members, stage, message = FOLDED[name]
    folded = fold_statuses(dict(enumerate(members)), 2)
    assert (folded.stage, folded.message, folded.members) == (stage, message, tuple(members))
    ends = [member.finished_at for member in members]
    assert folded.finished_at == (None if None in ends else max(filter(None, ends)))
    assert folded.created_at == START
