"""A run that goes on as a new job on the Hub: made from what the Hub knows of the one that has ended.

Nothing of the process that submitted it is needed: script and data are in the bucket, the rest is in the job's record;
only the values of the secrets are read anew.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from hfjobs_trainer.errors import BackendError
from hfjobs_trainer.planning.hardware.catalogue import find_flavor, suggest_flavors
from hfjobs_trainer.planning.labels import (
    GROUP_LABEL,
    NODES_LABEL,
    RANK_LABEL,
    RESUMES_LABEL,
    RUN_ID,
    RUN_LABEL,
    SUBMIT_LABEL,
)
from hfjobs_trainer.planning.plan import JobRequest
from hfjobs_trainer.running.backends.base import TERMINAL
from hfjobs_trainer.running.backends.hub_connection import Connection, Json, Secret, read_json
from hfjobs_trainer.running.backends.hub_duplicates import JOBS, Duplicates
from hfjobs_trainer.running.backends.hub_failures import Asked
from hfjobs_trainer.running.backends.hub_nodes import submit_nodes
from hfjobs_trainer.running.backends.hub_submission import Submission, flavor_of
from hfjobs_trainer.running.planned import TIMEOUT

if TYPE_CHECKING:
    from huggingface_hub import HfApi, JobInfo, Volume

    from hfjobs_trainer.facts import HardwareFacts

_OF_ONE_JOB = {SUBMIT_LABEL, GROUP_LABEL, RANK_LABEL, NODES_LABEL, RUN_LABEL, RESUMES_LABEL, "name"}
_OF_ONE_NODE = {"HFT_NODE_RANK", "HFT_NODE_GROUP"}


def with_run(request: JobRequest) -> JobRequest:
    """The request with the label by which all jobs of its run are found; unchanged without a run."""
    run = request.env.get(RUN_ID)
    return request if not run else replace(request, labels={**request.labels, RUN_LABEL: label_of(run)})


def label_of(run: str) -> str:
    """An identity of a run as a label can hold it."""
    return re.sub(r"[^A-Za-z0-9_-]", "-", run)[:100]


def check_flavor(name: str, hardware: HardwareFacts) -> None:
    """Raise ``BackendError`` for a flavor that the Hub does not have."""
    if find_flavor(name, hardware) is None:
        close = ", ".join(f'flavor="{flavor}"' for flavor in suggest_flavors(name, hardware))
        known = f": did you mean {close}?" if close else ": hft.hardware_table() lists them"
        raise BackendError(f"there is no flavor {name!r} ({hardware.source}){known}")


class Resumption:
    """A job, or one per node, that goes on with a run.

    Args:
        connection: The Hub.
        namespace: User or organization that runs and pays.
        old: The jobs that have ended, by rank.
        timeout_seconds: Timeout of the new job; ``None``: that of the old one.
        flavor: Its flavor; ``None``: that of the old one.

    Attributes:
        request: What is to run, as far as it is not taken from the old job as it is: script, command, volumes.

    Raises:
        BackendError: One of the jobs has not ended, or the old timeout is unknown.
    """

    def __init__(
        self,
        connection: Connection,
        namespace: str,
        old: Sequence[JobInfo],
        timeout_seconds: int | None,
        flavor: str | None,
    ) -> None:
        for job in old:
            if job.status.stage not in TERMINAL:
                raise BackendError(
                    f"job {namespace}/{job.id} is {job.status.stage}: what goes on need not be resumed; wait for its"
                    f' end, or stop it with hft.Job.from_id("{namespace}/{job.id}").cancel()'
                )
        self._connection, self._namespace, self._old = connection, namespace, old
        first = old[0]
        asked = Asked("read the job", "job.read", namespace, f"{namespace}/{first.id}")
        # the client's record leaves out the timeout and the resource group
        answer = connection.get(asked, lambda api: read_json(api, f"/api/jobs/{namespace}/{first.id}"))
        self.request = _request(first, answer, namespace, timeout_seconds, flavor)

    @property
    def run(self) -> str:
        """The identity of the run."""
        return self.request.env[RUN_ID]

    def refuse_rivals(self, own: Sequence[JobInfo] = ()) -> None:
        """Raise ``BackendError`` if another job of the run goes on, or has ended well.

        Args:
            own: The new jobs, once there are any: then only those that were created before them count.
        """
        asked = Asked("list jobs", "job.read", self._namespace)
        wanted = {RUN_LABEL: label_of(self.run)}
        listed = self._connection.get(asked, lambda api: JOBS.find(api, wanted, self._namespace))
        known = {job.id for job in (*self._old, *own)}
        first = min((_age(job) for job in own), default=None)
        for job in sorted(listed, key=_age):
            if job.id in known or (first is not None and _age(job) > first):
                continue
            name = f"{self._namespace}/{job.id}"
            if job.status.stage == "COMPLETED":
                told = f"the run ended well as job {name}: nothing is left to do"
            elif job.status.stage in TERMINAL:
                continue
            else:
                told = f'the run goes on as job {name}: hft.Job.from_id("{name}") finds it'
            raise BackendError(f"job {self._namespace}/{self._old[0].id} cannot be resumed: {told}")

    def require_checkpoint(self) -> None:
        """Raise ``BackendError`` if the bucket has no whole checkpoint of the run: what was written last can be lost.

        A job would begin anew and cost as much again. Where the bucket cannot be asked, the script finds out.
        """
        bucket = self.request.env.get("HFT_BUCKET")
        if not bucket or "HFT_CHECKPOINTS" not in self.request.env:
            return  # they are elsewhere
        prefix = f"{self.run}/"

        def look(api: HfApi) -> bool:
            found = api.list_bucket_tree(bucket, prefix=self.run, recursive=True)
            return any(file.path.startswith(prefix) and "/hft_manifest" in file.path for file in found)

        outcome = self._connection.ask(look)
        is_gone = outcome.failure is not None and outcome.failure.status == 404
        if is_gone or (outcome.failure is None and not outcome.get()):
            raise BackendError(
                f"job {self._namespace}/{self._old[0].id} cannot be resumed: no whole checkpoint of its run is in"
                f" hf://buckets/{bucket}/{self.run} (it was deleted, or written too shortly before the end of the job,"
                " which does not wait for it): submit it again: hft.submit(spec)"
            )

    def create(self, secrets: dict[str, Secret], duplicates: Duplicates[JobInfo]) -> list[JobInfo]:
        """Create the jobs, by rank; cancel them if another job of the run turns out to be older.

        Raises:
            BackendError: As for ``Creation``, or another one was faster.
        """
        kind = partial(_Again, old=self._old[0])
        given = (self._connection, self.request, self._namespace, secrets, duplicates)
        jobs = submit_nodes(*given, kind=kind) if self.request.nodes > 1 else [kind(*given).create()]
        try:
            self.refuse_rivals(jobs)
        except BackendError as error:
            names = [job.id for job in jobs]
            left = [name for name in names if self._connection.ask(lambda api, name=name: self._end(api, name)).failure]
            if not left:
                raise
            ways = ", ".join(JOBS.tell_how_to_end(f"{self._namespace}/{name}") for name in left)
            raise type(error)(f"{error}. A second one could not be canceled and may be running: {ways}") from error
        return jobs

    def _end(self, api: HfApi, name: str) -> None:
        JOBS.end(api, name, self._namespace)


class _Again(Submission):
    """A job that has the script, the command and the volumes of another.

    Args:
        given: As for ``Submission``.
        old: The other job.
    """

    def __init__(self, *given: Any, old: JobInfo) -> None:
        super().__init__(*given)
        self._old = old

    def arguments(self) -> dict[str, Any]:
        return super().arguments() | {"command": [*(self._old.command or []), *(self._old.arguments or [])]}

    def _volumes(self) -> list[Volume]:
        return list(self._old.volumes or [])


def _request(job: JobInfo, answer: Json, namespace: str, timeout_seconds: int | None, flavor: str | None) -> JobRequest:
    env = {name: str(value) for name, value in (job.environment or {}).items() if name not in _OF_ONE_NODE}
    seconds = timeout_seconds or cast("int | None", answer.get("timeout")) or int(env.get(TIMEOUT) or 0)
    if not seconds:
        raise BackendError(f'the timeout of job {namespace}/{job.id} is not known: name one, as in timeout="2h"')
    env = {RUN_ID: job.id, **env} | ({TIMEOUT: str(seconds)} if TIMEOUT in env or timeout_seconds else {})
    labels = job.labels or {}
    kept = {name: value for name, value in labels.items() if name not in _OF_ONE_JOB}
    return JobRequest(
        script="",
        name=labels.get("name", "run"),
        flavor=flavor or flavor_of(job),
        timeout_seconds=seconds,
        env=env,
        secrets=tuple(job.secrets or ()),
        labels=kept | {RUN_LABEL: label_of(env[RUN_ID]), RESUMES_LABEL: job.id},
        namespace=namespace,
        image=job.docker_image or f"hf.co/spaces/{job.space_id}",
        nodes=int(labels.get(NODES_LABEL, 1)),
        attempts=int(job.retry or 0) + 1,
        ssh=job.status.ssh_url is not None,
        expose=tuple(job.expose or ()),
        resource_group_id=cast("str | None", answer.get("resourceGroupId")),
    )


def _age(job: JobInfo) -> tuple[str, str]:
    return str(job.created_at), job.id
