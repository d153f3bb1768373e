"""Create a job once and only once, even if the Hub's answer is lost.

The script is in the bucket by then (``hub_scripts``): a job takes one request, and nothing else is repeated
with it.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, cast

from hfjobs_trainer.errors import BackendError, HubUnavailable, SubmitInterrupted
from hfjobs_trainer.running.backends.base import JobStatus
from hfjobs_trainer.running.backends.hub_connection import Connection, Json, Secret, read_json
from hfjobs_trainer.running.backends.hub_duplicates import SUBMIT_LABEL, Duplicates, T
from hfjobs_trainer.running.backends.hub_failures import Asked, Failure
from hfjobs_trainer.running.backends.hub_request import Outcome
from hfjobs_trainer.running.backends.hub_scripts import FILE, MOUNT, bucket_of, folder_of
from hfjobs_trainer.running.time_limit import time_left, within
from hfjobs_trainer.told import NOTHING, tell

if TYPE_CHECKING:
    from huggingface_hub import HfApi, JobInfo, Volume
    from huggingface_hub._jobs_api import JobSpec, ScheduledJobInfo

    from hfjobs_trainer.planning.plan import JobRequest
    from hfjobs_trainer.running.backends.base import Stage

UV_IMAGE = "ghcr.io/astral-sh/uv:python3.12-bookworm"
"""Image of a job whose request names none: that of the client's ``run_uv_job``."""


class Creation(ABC, Generic[T]):
    """A job, or a schedule of jobs, to be created.

    Args:
        connection: The Hub.
        request: What is to run.
        namespace: User or organization that runs and pays.
        secrets: Values of the secrets by name.
        duplicates: Notified if the creation was repeated although a job may exist.

    Attributes:
        may_exist: Whether a request got neither a job nor a refusal, so that its job may yet show up.
        created: The job, once it is known.
    """

    def __init__(
        self,
        connection: Connection,
        request: JobRequest,
        namespace: str,
        secrets: dict[str, Secret],
        duplicates: Duplicates[T],
    ) -> None:
        self._connection = connection
        self._patience = connection.patience
        self._request = request
        self._namespace = namespace
        self._secrets = secrets
        self._duplicates = duplicates
        self._kind = duplicates.kind
        self.may_exist = False
        self.created: T | None = None
        self._surplus: list[T] = []  # second ones that are not ended yet
        self._is_sent = False  # and neither carried out nor refused, as far as is known
        self._is_called_off = False
        self._sending = threading.Lock()
        self._asked = Asked(f"submit a {self._kind.noun}", "job.write", namespace)
        self._id = uuid.uuid4().hex
        self._labels = {name: value for name, value in request.labels.items() if name != "name"}
        self._labels[SUBMIT_LABEL] = self._id

    def create(self) -> T:
        """Create it.

        Before a creation without an answer is repeated, the job is looked for; if even that is not possible, it is not
        repeated.

        Raises:
            SubmitInterrupted: The user interrupted it; the job is then looked for, for some seconds.
        """
        try:
            self.created = self._create()
        except KeyboardInterrupt:
            raise self._tell_interrupt() from None
        return self.created

    def _create(self) -> T:
        attempt = 1
        while True:
            outcome = self._post()
            failure = outcome.failure
            if failure is None:
                created = outcome.get()
                with within(self._patience.aftermath):
                    # an earlier request may have been carried out later than it was looked for
                    earlier = (self._find() or []) if self.may_exist else []
                    return self._choose([created, *earlier])
            if outcome.timed_out:
                self._call_off()
            found: list[T] | None = []
            if self._is_sent:
                with within(self._patience.aftermath):
                    found = self._search()
                    if found:
                        return self._choose(found)
                self.may_exist = True
            # an error that is not transient may be an answer that the client cannot read
            is_hopeless = found is None or outcome.timed_out or failure.is_refusal or not failure.is_transient
            if is_hopeless or attempt == self._patience.attempts or time_left() <= 0:
                raise self._explain(failure)
            self._patience.wait(attempt)
            attempt += 1

    def _post(self) -> Outcome[T]:
        """Ask for it once; if the answer takes long, look for the job meanwhile."""
        return self._connection.attempt(
            self._send,
            self._patience.submission,
            tuple(self._secrets.values()),
            told=f"the Hub has not answered yet; looking for the {self._kind.noun} under its label",
            meanwhile=self._seek,
        )

    def _send(self, api: HfApi) -> T:
        with self._sending:
            if self._is_called_off:
                raise InterruptedError
            self._is_sent = True
        try:
            self.created = self._run(api)
        except Exception as error:
            self._is_sent = not Failure.of(error).is_refusal
            raise
        return self.created

    def _call_off(self) -> None:
        """From now on, a thread that was left alone sends nothing any more."""
        with self._sending:
            self._is_called_off = True

    def _seek(self, api: HfApi) -> T | None:
        """The job, if the Hub lists it by now."""
        return min(self._kind.find(api, {SUBMIT_LABEL: self._id}, self._namespace), key=_age, default=None)

    def _tell_interrupt(self) -> SubmitInterrupted:
        self._call_off()
        noun = self._kind.noun
        if self.created is None and (self._is_sent or self.may_exist):
            tell(f"interrupted; looking for the {noun} under its label (interrupt again to leave it)")
            with contextlib.suppress(KeyboardInterrupt, BackendError):
                self._look_hastily()
        if self.created is not None:
            job_id = f"{self._namespace}/{self.created.id}"
            ends = [self._kind.tell_how_to_end(f"{self._namespace}/{job.id}") for job in self._surplus]
            more = f"; a second one may be running: {', '.join(ends)} stops it" if ends else ""
            return SubmitInterrupted(f"{self._kind.tell_created(job_id)}{more}", [job_id])
        self.may_exist = self.may_exist or self._is_sent
        if self.may_exist:
            told = f"whether a {noun} was created is not known: look with {self._way_to_look}"
            return SubmitInterrupted(f"interrupted: {told}")
        return SubmitInterrupted(NOTHING)

    def _look_hastily(self) -> None:
        """Wait some seconds for the answer, and look for the job twice, since the answer may be lost."""
        deadline = time.monotonic() + self._patience.farewell
        for looks in (2, 1):
            seen = self._connection.glance(self._seek, (deadline - time.monotonic()) / looks)
            self.created = self.created or seen.value
            while self.created is None and time.monotonic() < deadline - self._patience.farewell * (looks - 1) / 2:
                time.sleep(0.05)

    @abstractmethod
    def _run(self, api: HfApi) -> T:
        """The request."""

    @abstractmethod
    def _compare(self, job: T) -> dict[str, tuple[object, object]]:
        """What the job is, and what was asked for, by what it is called."""

    def arguments(self) -> dict[str, Any]:
        """The arguments of the client's call: those of ``run_uv_job`` for a script that it has uploaded."""
        request = self._request
        return {
            "image": request.image or UV_IMAGE,
            "command": ["uv", "run", f"{MOUNT}/{FILE}"],
            "env": dict(request.env),
            "secrets": dict(self._secrets),
            "flavor": request.flavor,
            "timeout": request.timeout_seconds,
            "attempts": request.attempts if request.attempts > 1 else None,
            "name": request.name,
            "labels": self._labels,
            "volumes": self._volumes(),
            "expose": list(request.expose) or None,
            "resource_group_id": request.resource_group_id,
            "namespace": self._namespace,
        }

    def _compare_common(self, job: JobInfo | JobSpec, labels: Mapping[str, str]) -> dict[str, tuple[object, object]]:
        """As ``_compare``, for what a job and the jobs of a schedule have in common."""
        request = self._request
        wanted = {**self._labels, "name": request.name}
        return {
            "flavor": (flavor_of(job), request.flavor),
            **{f"label {name}": (labels.get(name), value) for name, value in wanted.items()},
            "number of attempts": (int(job.retry or 0) + 1, request.attempts),
            "exposed ports": (sorted(job.expose or []), sorted(request.expose)),
            "ports open to everyone": (job.expose_public or [], []),
        }

    def _compare_group(self, path: str, find: Callable[[Json], Json]) -> dict[str, tuple[object, object]]:
        """As ``_compare``, for the resource group, which the client's records leave out; empty if the Hub is silent."""
        answer = self._connection.ask(lambda api: read_json(api, path))
        if answer.failure is not None:
            return {}
        got, wanted = find(answer.get()).get("resourceGroupId"), self._request.resource_group_id
        return {"resource group": (got and str(got).lower(), wanted and wanted.lower())}

    def _volumes(self) -> list[Volume]:
        """The volumes that were asked for, and the script's, which is read-only: other jobs share it."""
        from huggingface_hub import Volume

        asked = [
            Volume(
                type=volume.type,
                source=self._qualified(volume.type, volume.source),
                mount_path=volume.mount_path,
                revision=volume.revision,
                read_only=volume.read_only,
                path=volume.path,
            )
            for volume in self._request.volumes
        ]
        script = Volume(
            type="bucket",
            source=bucket_of(self._namespace),
            mount_path=MOUNT,
            path=folder_of(self._request.script, self._request.files),
            read_only=True,
        )
        return [*asked, script]

    def _qualified(self, kind: str, source: str) -> str:
        return f"{self._namespace}/{source}" if kind == "bucket" and "/" not in source else source

    def _search(self) -> list[T] | None:
        """Those of this submission; empty if none shows up in time, ``None`` if the Hub does not even list them."""
        deadline = time.monotonic() + self._patience.search
        while True:
            found = self._find()
            left = deadline - time.monotonic()
            if found or left <= 0:
                return found
            time.sleep(min(self._patience.pause, left))

    def _find(self) -> list[T] | None:
        wanted = {SUBMIT_LABEL: self._id}
        outcome = self._connection.ask(lambda api: self._kind.find(api, wanted, self._namespace))
        return None if outcome.failure else outcome.get()

    def _choose(self, jobs: list[T]) -> T:
        job = self._check(self._keep_oldest(jobs))
        if self.may_exist:
            self._duplicates.expect(self._namespace, job)
        return job

    def _keep_oldest(self, jobs: list[T]) -> T:
        distinct = sorted({job.id: job for job in jobs}.values(), key=_age)
        self.created, self._surplus = distinct[0], distinct[1:]
        for job in distinct[1:]:
            left = self._end(job)
            self._surplus.remove(job)
            if left:
                kept = f"{self._kind.noun} {self._namespace}/{distinct[0].id}"
                told = f"{kept} runs, and so may a second one of the same submission"
                warnings.warn(f"{told}: {left}", RuntimeWarning, stacklevel=2)
        return distinct[0]

    def _end(self, job: T) -> str | None:
        """Cancel a job, or delete a schedule; if that fails, say why, and how to do it."""
        job_id = f"{self._namespace}/{job.id}"
        failure = self._connection.ask(lambda api: self._kind.end(api, job.id, self._namespace)).failure
        if failure is None:
            return None
        error = failure.explain(Asked(f"end the {self._kind.noun}", "job.write", self._namespace, job_id))
        return f"{self._kind.tell_how_to_end(job_id)} stops it. {error}"

    def _check(self, job: T) -> T:
        """Compare it with what was asked for: the Hub silently drops what it does not know."""
        wrong = [
            f"{what} is {got!r}, not {wanted!r}" for what, (got, wanted) in self._compare(job).items() if got != wanted
        ]
        if wrong:
            left = self._end(job)
            noun = self._kind.noun
            made = f"the Hub created a different {noun} than requested, {self._namespace}/{job.id}: {'; '.join(wrong)}."
            became = (
                f"It could not be {self._kind.ended} and may be running: {left}"
                if left
                else f"It was {self._kind.ended}."
            )
            raise BackendError(f"{made} {became} Check huggingface_hub's version, or report this")
        return job

    @property
    def _way_to_look(self) -> str:
        find = self._kind.way_to_find
        return f'hft.Client(namespace="{self._namespace}").{find}(labels={{"{SUBMIT_LABEL}": "{self._id}"}})'

    def _explain(self, failure: Failure) -> BackendError:
        error = failure.explain(self._asked)
        if self.may_exist:
            noun = self._kind.noun
            look = f"Whether a {noun} was created is not known: before you submit again, look with {self._way_to_look}."
            kind = type(error) if failure.is_refusal else HubUnavailable
            return kind(f"{error} {look}", error.cause)
        none = f"{error} No {self._kind.noun} was created."
        return HubUnavailable(none, error.cause) if type(error) is HubUnavailable else error


class Submission(Creation["JobInfo"]):
    """One job to be created.

    Args:
        connection, request, namespace, secrets, duplicates: As for ``Creation``.
        network: Network group that the job joins, and the name it answers to in it, if any; ``None`` for no group.
    """

    def __init__(
        self,
        connection: Connection,
        request: JobRequest,
        namespace: str,
        secrets: dict[str, Secret],
        duplicates: Duplicates[JobInfo],
        network: tuple[str, str | None] | None = None,
    ) -> None:
        super().__init__(connection, request, namespace, secrets, duplicates)
        self._group, self._alias = network or (None, None)

    def _run(self, api: HfApi) -> JobInfo:
        aliases = [self._alias] if self._alias else None
        return api.run_job(
            **self.arguments(), ssh=self._request.ssh, network_group=self._group, network_aliases=aliases
        )

    def _compare(self, job: JobInfo) -> dict[str, tuple[object, object]]:
        found = self._compare_common(job, job.labels or {})
        found["access by SSH"] = (job.status.ssh_url is not None, self._request.ssh)
        if self._group:
            network = job.network
            found["network group"] = (network and network.group, self._group)
            found["aliases"] = (network.aliases if network else [], [self._alias] if self._alias else [])
        if self._request.resource_group_id:
            found |= self._compare_group(f"/api/jobs/{self._namespace}/{job.id}", lambda answer: answer)
        return found


def _age(job: JobInfo | ScheduledJobInfo) -> tuple[str, str]:
    return str(job.created_at), job.id


def status_of(job: JobInfo) -> JobStatus:
    """The status of a job."""
    return JobStatus(
        stage=cast("Stage", getattr(job.status.stage, "value", job.status.stage)),
        message=job.status.message,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
    )


def flavor_of(job: JobInfo | JobSpec) -> str | None:
    """Name of the flavor of a job."""
    return None if job.flavor is None else str(getattr(job.flavor, "value", job.flavor))
