"""A run on several nodes: one job per node in one network group, all created or none."""

from __future__ import annotations

import contextlib
import dataclasses
import queue
import re
import threading
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from hfjobs_trainer.errors import BackendError, SubmitInterrupted
from hfjobs_trainer.running.backends.base import JobRecord, JobStatus
from hfjobs_trainer.running.backends.hub_connection import Connection, Secret
from hfjobs_trainer.running.backends.hub_duplicates import JOBS, Duplicates
from hfjobs_trainer.running.backends.hub_submission import Submission, flavor_of
from hfjobs_trainer.running.events import parse_event
from hfjobs_trainer.running.planned import read_planned
from hfjobs_trainer.running.time_limit import within
from hfjobs_trainer.told import NOTHING, tell

if TYPE_CHECKING:
    from huggingface_hub import JobInfo

    from hfjobs_trainer.planning.plan import JobRequest

GROUP_LABEL, RANK_LABEL, NODES_LABEL = "node-group", "node-rank", "nodes"
"""Labels of a node: its network group, which cannot be asked for otherwise, its rank, and how many there are."""
MAIN_ALIAS = "main"
"""Name of the first node within the network group; the script looks for it."""
ENDED_WITH_ANOTHER = "exit code: 75"
"""How a node's message begins that ended because another one did: ``rendering/runtime/nodes.py`` says so."""
ENDED_TOGETHER = re.compile(r"exit code: 7[67]\b")
"""The same of one that ended at a step on which all agreed: the others are about to end too, once all is saved."""

YOUTH = timedelta(minutes=1)
"""How old a job is at most whose fellows may not be listed yet; those of an older one that are not are gone."""


@dataclass(frozen=True, slots=True)
class NodeGroup:
    """The jobs of one run.

    Attributes:
        namespace: Whose jobs they are.
        members: Ids of the jobs by rank; without unknown ones.
        size: How many there should be.
    """

    namespace: str
    members: Mapping[int, str]
    size: int

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids that ``Job.from_id`` takes, by rank."""
        return tuple(f"{self.namespace}/{name}" for _, name in sorted(self.members.items()))


def submit_nodes(
    connection: Connection,
    request: JobRequest,
    namespace: str,
    secrets: dict[str, Secret],
    duplicates: Duplicates[JobInfo],
    kind: Callable[..., Submission] = Submission,
) -> list[JobInfo]:
    """Create one job per node, all of them or none; the script is in the bucket.

    Args:
        connection: The Hub.
        request: What each of them runs.
        namespace: User or organization that runs and pays.
        secrets: Values of the secrets by name.
        duplicates: Told of second jobs that may yet show up.
        kind: Makes the creation of one job, from what ``Submission`` takes.

    Returns:
        The jobs by rank.

    Raises:
        BackendError: As for one job; those that were created before it are canceled, and the message says so.
    """
    group = f"hft-{uuid.uuid4().hex}"
    jobs: list[JobInfo] = []
    submission: Submission | None = None
    try:
        for rank in range(request.nodes):
            env = {"HFT_NODE_RANK": str(rank), "HFT_NODE_GROUP": f"{namespace}/{group}"}
            labels = {GROUP_LABEL: group, RANK_LABEL: str(rank), NODES_LABEL: str(request.nodes)}
            member = dataclasses.replace(request, env={**request.env, **env}, labels={**request.labels, **labels})
            network = (group, None if rank else MAIN_ALIAS)
            submission = kind(connection, member, namespace, secrets, duplicates, network)
            jobs.append(submission.create())
    except KeyboardInterrupt:
        jobs += [] if submission is None or submission.created in (None, *jobs) else [submission.created]
        raise _tell_interrupt(connection, request.nodes, namespace, group, jobs, submission) from None
    except BaseException as error:
        is_certain = submission is None or not submission.may_exist
        with within(connection.patience.aftermath):
            became = _withdraw(connection, namespace, group, jobs, is_certain=is_certain)
        told = f"node {len(jobs)} of {request.nodes}: {error} {became}"
        if isinstance(error, BackendError):
            raise type(error)(told, error.cause) from error.__cause__
        error.add_note(told)
        raise
    return jobs


def _tell_interrupt(
    connection: Connection,
    nodes: int,
    namespace: str,
    group: str,
    jobs: Sequence[JobInfo],
    submission: Submission | None,
) -> SubmitInterrupted:
    """What became of the jobs of a group whose creation was interrupted: all go on, or none."""
    ids = [f"{namespace}/{job.id}" for job in jobs]
    if len(jobs) == nodes:
        return SubmitInterrupted(f"{JOBS.tell_created(ids[0])}; its nodes are {', '.join(ids)}", ids)
    if not jobs and (submission is None or not submission.may_exist):
        return SubmitInterrupted(NOTHING)
    made = f"interrupted: {len(jobs)} of {nodes} nodes {'was' if len(jobs) == 1 else 'were'} created"
    made += f" ({', '.join(ids)})" if ids else ""
    tell(f"{made}; canceling what there is (interrupt again to leave it)")
    left = [job.id for job in jobs]
    seconds = connection.patience.farewell
    is_known = submission is not None and not submission.may_exist
    with contextlib.suppress(KeyboardInterrupt, BackendError):
        if not is_known:
            listed = connection.glance(lambda api: JOBS.find(api, {GROUP_LABEL: group}, namespace), seconds)
            left = [*dict.fromkeys([*left, *(job.id for job in listed.value or ())])]
        for name in [*left]:
            done = connection.glance(lambda api, name=name: JOBS.end(api, name, namespace), seconds)
            if done.failure is None:
                left.remove(name)
    if left:
        ways = ", ".join(JOBS.tell_how_to_end(f"{namespace}/{name}") for name in left)
        return SubmitInterrupted(
            f"{made}; not canceled, and may be running: {ways}", [f"{namespace}/{n}" for n in left]
        )
    if is_known:
        return SubmitInterrupted(f"{made}, and canceled: nothing was left running")
    look = f'hft.Client(namespace="{namespace}").jobs(labels={{"{GROUP_LABEL}": "{group}"}})'
    return SubmitInterrupted(f"{made}, and canceled; whether the next one was created is not known: look with {look}")


def _withdraw(connection: Connection, namespace: str, group: str, jobs: Sequence[JobInfo], *, is_certain: bool) -> str:
    """Cancel what was created of a group, even a job whose creation got no answer; say what became of it."""
    listed = connection.ask(lambda api: JOBS.find(api, {GROUP_LABEL: group}, namespace))
    names = dict.fromkeys(job.id for job in [*jobs, *(listed.get() if listed.failure is None else [])])
    left = [
        name
        for name in names
        if connection.ask(lambda api, name=name: api.cancel_job(job_id=name, namespace=namespace)).failure
    ]
    if left:
        calls = ", ".join(f'hft.Job.from_id("{namespace}/{name}").cancel()' for name in left)
        return f"Nodes that could not be canceled may be running: {calls}."
    left_running = "No node was left running" if is_certain else "No node that is listed was left running"
    return f"{left_running} ({len(names)} canceled)."


def find_group(job: JobInfo, namespace: str, connection: Connection, *, patiently: bool = True) -> NodeGroup | None:
    """The group of a job; ``None`` if it is a run of its own.

    Members are found by their label; missing ones are left out.

    Args:
        job: Any of its members.
        namespace: Whose jobs they are.
        connection: The Hub.
        patiently: Whether those of a job that was just created are waited for, ``Patience.search`` at most.
    """
    labels = job.labels or {}
    name, size = labels.get(GROUP_LABEL), labels.get(NODES_LABEL, "")
    if not name or not size.isdecimal():
        return None
    is_young = job.created_at is not None and datetime.now(UTC) - job.created_at < YOUTH
    deadline = time.monotonic() + (connection.patience.search if patiently and is_young else 0)
    while True:
        found = connection.ask(lambda api: JOBS.find(api, {GROUP_LABEL: name}, namespace))
        jobs = [job, *(found.get() if found.failure is None else [])]
        group = NodeGroup(namespace, _by_rank(jobs), int(size))
        left = deadline - time.monotonic()
        if len(group.members) >= group.size or left <= 0:
            return group
        time.sleep(min(connection.patience.pause, left))


def record_of(namespace: str, job: JobInfo, group: NodeGroup | None = None) -> JobRecord:
    """The record of a job; with its group, that of the whole run."""
    return JobRecord(
        id=f"{namespace}/{job.id}",
        url=job.url,
        labels=dict(job.labels or {}),
        flavor=flavor_of(job),
        created_at=job.created_at,
        members=group.ids if group else (),
        exposes=bool(job.expose),
        planned=read_planned(job.environment or {}),
    )


def group_of(jobs: Sequence[JobInfo], namespace: str) -> NodeGroup:
    """The group that these jobs are."""
    return NodeGroup(namespace, _by_rank(jobs), len(jobs))


def _by_rank(jobs: Sequence[JobInfo]) -> dict[int, str]:
    """Ids by rank; of two of one rank, which a lost answer can leave behind, the older counts that was not canceled."""
    ranked: dict[int, str] = {}
    for job in sorted(jobs, key=lambda job: (job.status.stage == "CANCELED", str(job.created_at), job.id)):
        rank = (job.labels or {}).get(RANK_LABEL, "")
        if rank.isdecimal():
            ranked.setdefault(int(rank), job.id)
    return dict(sorted(ranked.items()))


def has_failed(status: JobStatus) -> bool:
    """Whether a node has ended otherwise than well."""
    return status.is_terminal and not status.succeeded


def breaks_others(status: JobStatus) -> bool:
    """Whether the other nodes cannot go on without one that has ended so."""
    return has_failed(status) and ENDED_TOGETHER.search(status.message or "") is None


def fold_statuses(statuses: Mapping[int, JobStatus], size: int) -> JobStatus:
    """One status for all nodes.

    It waits (SCHEDULING) until every node runs, is final once all have ended, and of several endings shows the worst,
    with the message of the node that failed by itself.

    Args:
        statuses: Of each node, by rank.
        size: How many there should be.
    """
    members = tuple(status for _, status in sorted(statuses.items()))
    failed = [rank for rank in blamed(statuses) if has_failed(statuses[rank])]
    starts = [status.started_at for status in members if status.started_at]
    ends = [status.finished_at for status in members if status.finished_at]
    ended = all(status.is_terminal for status in members)
    message = None
    if failed:
        culprit = statuses[failed[-1]]
        stage = culprit.stage if ended else "RUNNING"
        message = f"node {failed[-1]} of {size}: {culprit.message or culprit.stage}"
        if ended and any(statuses[rank].stage == "ERROR" for rank in failed):
            stage = "ERROR"
    elif ended:
        stage = "COMPLETED"
    else:
        waiting = [rank for rank, status in sorted(statuses.items()) if status.stage == "SCHEDULING"]
        stage = "SCHEDULING" if waiting else "RUNNING"
        if waiting:
            said = next((f": {said}" for rank in waiting if (said := statuses[rank].message)), "")
            message = f"waiting for node {', '.join(map(str, waiting))} of {size}{said}"
    if len(members) < size:
        message = "; ".join(filter(None, [message, f"{size - len(members)} of {size} nodes cannot be found"]))
    return JobStatus(
        stage=stage,
        message=message,
        created_at=min((status.created_at for status in members if status.created_at), default=None),
        started_at=min(starts, default=None),
        finished_at=max(ends, default=None) if ended else None,
        members=members,
    )


def blamed(statuses: Mapping[int, JobStatus]) -> list[int]:
    """Ranks, the least to blame for a failure first: of those that failed by themselves, the first is the last."""

    def blame(rank: int) -> tuple[bool, bool, bool, float]:
        status = statuses[rank]
        by_itself = ENDED_WITH_ANOTHER not in (status.message or "")
        failed, when = has_failed(status), status.finished_at
        return failed, status.stage == "ERROR", failed and by_itself, -when.timestamp() if failed and when else 0.0

    return sorted(statuses, key=blame)


def label_line(rank: int, line: str) -> str:
    """A line of a log with its node before it; the first node's events stay as they are, to be read."""
    return line if not rank and parse_event(line) else f"[node {rank}] {line}"


def merge_logs(
    streams: Mapping[int, Iterator[str]], on_end: Callable[[int], None], left: threading.Event
) -> Generator[tuple[int, str], None, None]:
    """Lines of several logs as they come, each with its rank.

    Args:
        streams: The lines of each node; each is read in a thread of its own.
        on_end: Called with the rank of a node whose log is over.
        left: Set once nobody reads any more; the streams end then.
    """
    lines: queue.SimpleQueue[tuple[int, str | BaseException | None]] = queue.SimpleQueue()

    def read(rank: int, stream: Iterator[str]) -> None:
        try:
            for line in stream:
                lines.put((rank, line))
        except Exception as error:
            lines.put((rank, error))
        else:
            lines.put((rank, None))

    try:
        for rank, stream in streams.items():
            threading.Thread(target=read, args=(rank, stream), daemon=True, name=f"hfjobs-trainer-log-{rank}").start()
        running = len(streams)
        while running:
            rank, line = lines.get()
            if isinstance(line, BaseException):
                raise line
            if line is None:
                running -= 1
                on_end(rank)
            else:
                yield rank, line
    finally:
        left.set()
