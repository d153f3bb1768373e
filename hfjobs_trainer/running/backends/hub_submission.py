"""Creating a job once and only once, although the Hub's answer may be lost."""

from __future__ import annotations

import time
import uuid
import warnings
from collections.abc import Iterator, KeysView
from typing import TYPE_CHECKING

from hfjobs_trainer.errors import BackendError, HubUnavailable
from hfjobs_trainer.running.backends.hub_connection import Connection, Outcome, Secret
from hfjobs_trainer.running.backends.hub_duplicates import SUBMIT_LABEL, Duplicates
from hfjobs_trainer.running.backends.hub_failures import Asked, Failure

if TYPE_CHECKING:
    from huggingface_hub import HfApi, JobInfo

    from hfjobs_trainer.planning.plan import JobRequest


class WithdrawableLabels(dict[str, str]):
    """Labels that tell whether they were read, and cannot be read once they are withdrawn.

    The client reads them between the upload and the creation of the job: while nobody has read them, no job was asked
    for; and an upload which was given up, and is still under way, creates no job afterwards.
    """

    is_withdrawn = False
    were_read = False

    def __iter__(self) -> Iterator[str]:
        self._check()
        return super().__iter__()

    def keys(self) -> KeysView[str]:  # pyright: ignore[reportIncompatibleMethodOverride] - dict's own type is private
        """Their names, unless they are withdrawn."""
        self._check()
        return super().keys()

    def _check(self) -> None:
        self.were_read = True  # before the look, so that who withdraws them and finds them unread can rely on it
        if self.is_withdrawn:
            raise RuntimeError("this submission was given up")


class Submission:
    """One job to be created.

    Args:
        connection: The Hub.
        request: What is to run.
        namespace: User or organization that runs and pays.
        script: The script's file.
        secrets: Values of the secrets by name.
        duplicates: Told if the creation had to be repeated although a job may exist.
        network: Network group that the job joins, and the name it answers to in it, if any; ``None`` for no group.

    Attributes:
        may_exist: Whether a request that was sent got neither its job nor a refusal: what it made may show up yet.
    """

    def __init__(
        self,
        connection: Connection,
        request: JobRequest,
        namespace: str,
        script: str,
        secrets: dict[str, Secret],
        duplicates: Duplicates,
        network: tuple[str, str | None] | None = None,
    ) -> None:
        self._connection = connection
        self._patience = connection.patience
        self._request = request
        self._namespace = namespace
        self._script = script
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
            interrupt.add_note(f"A job may have been created all the same: look with {self._way_to_look}.")
            raise

    def _create(self) -> JobInfo:
        attempt = 1
        while True:
            outcome, was_sent = self._post()
            failure = outcome.failure
            if failure is None:
                created = outcome.get()
                # an earlier request may have been carried out later than it was looked for
                earlier = (self._find() or []) if self.may_exist else []
                return self._choose([created, *earlier])
            found: list[JobInfo] | None = []
            if was_sent and not failure.is_refusal:
                found = self._search()
                if found:
                    return self._choose(found)
                self.may_exist = True
            # what no repetition can cure may be an answer that the client cannot read
            is_hopeless = found is None or outcome.timed_out or not failure.is_transient
            if is_hopeless or attempt == self._patience.attempts:
                raise self._explain(failure)
            self._patience.wait(attempt)
            attempt += 1

    def _post(self) -> tuple[Outcome[JobInfo], bool]:
        """What came of one creation, and whether its request may have been sent."""
        request = self._request
        labels = WithdrawableLabels(self._labels)

        def run(api: HfApi) -> JobInfo:
            return api.run_uv_job(  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - untyped decorator
                self._script,
                flavor=request.flavor,
                timeout=request.timeout_seconds,
                env=dict(request.env),
                secrets=dict(self._secrets),
                labels=labels,
                name=request.name,
                namespace=self._namespace,
                image=request.image,
                network_group=self._group,
                network_aliases=[self._alias] if self._alias else None,
            )

        try:
            outcome = self._connection.attempt(run, self._patience.submission, tuple(self._secrets.values()))
        except KeyboardInterrupt:
            labels.is_withdrawn = True
            self.may_exist = self.may_exist or labels.were_read
            raise
        labels.is_withdrawn = outcome.timed_out
        return outcome, labels.were_read

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
        """Compare the job with what was asked for: the Hub drops what it does not know, in silence."""
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
            made = f"the Hub made another job than was asked for, {self._namespace}/{job.id}: {'; '.join(wrong)}."
            became = f"It could not be canceled and may be running: {left}" if left else "It is canceled."
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
        return HubUnavailable(f"{error} No job was created.", error.cause) if failure.is_transient else error
