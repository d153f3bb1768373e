"""Create a job once and only once, even if the Hub's answer is lost.

The script is in the bucket by then (``hub_scripts``): a job takes one request, and nothing else is repeated
with it.
"""

from __future__ import annotations

import time
import uuid
import warnings
from typing import TYPE_CHECKING

from hfjobs_trainer.errors import BackendError, HubUnavailable
from hfjobs_trainer.running.backends.hub_connection import Connection, Outcome, Secret
from hfjobs_trainer.running.backends.hub_duplicates import SUBMIT_LABEL, Duplicates
from hfjobs_trainer.running.backends.hub_failures import Asked, Failure
from hfjobs_trainer.running.backends.hub_scripts import FILE, MOUNT, bucket_of, folder_of

if TYPE_CHECKING:
    from huggingface_hub import HfApi, JobInfo, Volume

    from hfjobs_trainer.planning.plan import JobRequest

UV_IMAGE = "ghcr.io/astral-sh/uv:python3.12-bookworm"
"""Image of a job whose request names none: that of the client's ``run_uv_job``."""


class Submission:
    """One job to be created.

    Args:
        connection: The Hub.
        request: What is to run.
        namespace: User or organization that runs and pays.
        secrets: Values of the secrets by name.
        duplicates: Notified if the creation was repeated although a job may exist.
        network: Network group that the job joins, and the name it answers to in it, if any; ``None`` for no group.

    Attributes:
        may_exist: Whether a request got neither a job nor a refusal, so that its job may yet show up.
    """

    def __init__(
        self,
        connection: Connection,
        request: JobRequest,
        namespace: str,
        secrets: dict[str, Secret],
        duplicates: Duplicates,
        network: tuple[str, str | None] | None = None,
    ) -> None:
        self._connection = connection
        self._patience = connection.patience
        self._request = request
        self._namespace = namespace
        self._secrets = secrets
        self._duplicates = duplicates
        self.may_exist = False
        self._group, self._alias = network or (None, None)
        self._asked = Asked("submit a job", "job.write", namespace)
        self._id = uuid.uuid4().hex
        self._labels = {name: value for name, value in request.labels.items() if name != "name"}
        self._labels[SUBMIT_LABEL] = self._id

    def create(self) -> JobInfo:
        """Create the job.

        Before a creation without an answer is repeated, the job is looked for; if even that is not possible, it is not
        repeated.
        """
        try:
            return self._create()
        except KeyboardInterrupt as interrupt:
            interrupt.add_note(f"A job may have been created nevertheless: look with {self._way_to_look}.")
            raise

    def _create(self) -> JobInfo:
        attempt = 1
        while True:
            outcome = self._post()
            failure = outcome.failure
            if failure is None:
                created = outcome.get()
                # an earlier request may have been carried out later than it was looked for
                earlier = (self._find() or []) if self.may_exist else []
                return self._choose([created, *earlier])
            found: list[JobInfo] | None = []
            if not failure.is_refusal:
                found = self._search()
                if found:
                    return self._choose(found)
                self.may_exist = True
            # an error that is not transient may be an answer that the client cannot read
            is_hopeless = found is None or outcome.timed_out or failure.is_refusal or not failure.is_transient
            if is_hopeless or attempt == self._patience.attempts:
                raise self._explain(failure)
            self._patience.wait(attempt)
            attempt += 1

    def _post(self) -> Outcome[JobInfo]:
        """Ask for the job once."""
        try:
            return self._connection.attempt(self._run, self._patience.submission, tuple(self._secrets.values()))
        except KeyboardInterrupt:
            self.may_exist = True
            raise

    def _run(self, api: HfApi) -> JobInfo:
        """The request that ``run_uv_job`` makes for a script that it has uploaded."""
        request = self._request
        return api.run_job(
            image=request.image or UV_IMAGE,
            command=["uv", "run", f"{MOUNT}/{FILE}"],
            env=dict(request.env),
            secrets=dict(self._secrets),
            flavor=request.flavor,
            timeout=request.timeout_seconds,
            attempts=request.attempts if request.attempts > 1 else None,
            name=request.name,
            labels=self._labels,
            volumes=self._volumes(),
            expose=list(request.expose) or None,
            ssh=request.ssh,
            network_group=self._group,
            network_aliases=[self._alias] if self._alias else None,
            resource_group_id=request.resource_group_id,
            namespace=self._namespace,
        )

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
            path=folder_of(self._request.script),
            read_only=True,
        )
        return [*asked, script]

    def _qualified(self, kind: str, source: str) -> str:
        return f"{self._namespace}/{source}" if kind == "bucket" and "/" not in source else source

    def _search(self) -> list[JobInfo] | None:
        """Jobs of this submission; empty if none shows up in good time, ``None`` if the Hub does not even list them."""
        deadline = time.monotonic() + self._patience.search
        while True:
            found = self._find()
            left = deadline - time.monotonic()
            if found or left <= 0:
                return found
            time.sleep(min(self._patience.pause, left))

    def _find(self) -> list[JobInfo] | None:
        wanted = {SUBMIT_LABEL: self._id}
        outcome = self._connection.ask(lambda api: list(api.list_jobs(labels=wanted, namespace=self._namespace)))
        return None if outcome.failure else outcome.get()

    def _choose(self, jobs: list[JobInfo]) -> JobInfo:
        job = self._check(self._keep_oldest(jobs))
        if self.may_exist:
            self._duplicates.expect(self._namespace, job)
        return job

    def _keep_oldest(self, jobs: list[JobInfo]) -> JobInfo:
        distinct = sorted({job.id: job for job in jobs}.values(), key=lambda job: (str(job.created_at), job.id))
        for job in distinct[1:]:
            if left := self._cancel(job):
                told = f"job {self._namespace}/{distinct[0].id} runs, and so may a second one of the same submission"
                warnings.warn(f"{told}: {left}", RuntimeWarning, stacklevel=2)
        return distinct[0]

    def _cancel(self, job: JobInfo) -> str | None:
        """Cancel a job; if that fails, say why, and how to do it."""
        job_id = f"{self._namespace}/{job.id}"
        failure = self._connection.ask(lambda api: api.cancel_job(job_id=job.id, namespace=self._namespace)).failure
        if failure is None:
            return None
        error = failure.explain(Asked("cancel the job", "job.write", self._namespace, job_id))
        return f'hft.Job.from_id("{job_id}").cancel() stops it. {error}'

    def _check(self, job: JobInfo) -> JobInfo:
        """Compare the job with what was asked for: the Hub silently drops what it does not know."""
        flavor = None if job.flavor is None else getattr(job.flavor, "value", job.flavor)
        got = {"flavor": flavor} | {f"label {name}": value for name, value in (job.labels or {}).items()}
        wanted = {"flavor": self._request.flavor, "label name": self._request.name}
        wanted |= {f"label {name}": value for name, value in self._labels.items()}
        if self._group:
            network = job.network
            got |= {"network group": network.group, "aliases": network.aliases or []} if network else {}
            wanted |= {"network group": self._group, "aliases": [self._alias] if self._alias else []}
        wrong = [
            f"{what} is {got.get(what)!r}, not {value!r}" for what, value in wanted.items() if got.get(what) != value
        ]
        if wrong:
            left = self._cancel(job)
            made = f"the Hub created a different job than requested, {self._namespace}/{job.id}: {'; '.join(wrong)}."
            became = f"It could not be canceled and may be running: {left}" if left else "It was canceled."
            raise BackendError(f"{made} {became} Check huggingface_hub's version, or report this")
        return job

    @property
    def _way_to_look(self) -> str:
        return f'hft.Client(namespace="{self._namespace}").jobs(labels={{"{SUBMIT_LABEL}": "{self._id}"}})'

    def _explain(self, failure: Failure) -> BackendError:
        error = failure.explain(self._asked)
        if self.may_exist:
            look = f"Whether a job was created is not known: before you submit again, look with {self._way_to_look}."
            kind = type(error) if failure.is_refusal else HubUnavailable
            return kind(f"{error} {look}", error.cause)
        return HubUnavailable(f"{error} No job was created.", error.cause) if type(error) is HubUnavailable else error
