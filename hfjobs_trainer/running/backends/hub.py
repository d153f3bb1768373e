"""Hugging Face Jobs, through the official client."""

from __future__ import annotations

import contextlib
import os
import re
import threading
import time
from collections.abc import Generator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from hfjobs_trainer.answers import Answers, fingerprint
from hfjobs_trainer.errors import AuthError, BackendError, JobNotFound, SubmitInterrupted
from hfjobs_trainer.facts.backends import HUB, BackendTraits
from hfjobs_trainer.planning.hardware.catalogue import find_flavor, parse_live, snapshot
from hfjobs_trainer.running.backends.base import JobRecord, JobStatus, LogLines, Usage
from hfjobs_trainer.running.backends.hub_checkpoints import with_bucket
from hfjobs_trainer.running.backends.hub_connection import (
    Connection,
    Patience,
    Secret,
    without_progress_bars,
    without_request_bodies,
)
from hfjobs_trainer.running.backends.hub_duplicates import JOBS, Duplicates
from hfjobs_trainer.running.backends.hub_failures import Asked
from hfjobs_trainer.running.backends.hub_find import find_runs
from hfjobs_trainer.running.backends.hub_log import LogReader, tell_missing
from hfjobs_trainer.running.backends.hub_nodes import (
    GROUP_LABEL,
    NodeGroup,
    blamed,
    breaks_others,
    find_group,
    fold_statuses,
    group_of,
    label_line,
    merge_logs,
    record_of,
    submit_nodes,
)
from hfjobs_trainer.running.backends.hub_resume import Resumption, check_flavor, with_run
from hfjobs_trainer.running.backends.hub_schedules import HubSchedules
from hfjobs_trainer.running.backends.hub_scripts import MOUNT, store, time_for
from hfjobs_trainer.running.backends.hub_submission import Submission, status_of
from hfjobs_trainer.running.backends.hub_usage import usage_reader
from hfjobs_trainer.running.events import Event
from hfjobs_trainer.running.time_limit import within
from hfjobs_trainer.told import NOTHING

if TYPE_CHECKING:
    from huggingface_hub import JobInfo

    from hfjobs_trainer.facts import HardwareFacts
    from hfjobs_trainer.planning.plan import JobRequest, Plan
    from hfjobs_trainer.running.outage import Tolerance

_OWNERS = Answers()
"""Owners of tokens, by endpoint and token."""
VERIFIED_SECONDS = 86400.0
"""How long after its end a run's models are expected to be as it pushed them, seconds."""
_JOB_ID = re.compile(r"(?:([A-Za-z0-9][\w.-]*)/)?([A-Za-z0-9]+)")


class HubBackend:
    """Hugging Face Jobs.

    Args:
        token: Hub token; default: ``HF_TOKEN``, then the one that ``hf auth login`` stored. Never shown and never
            pickled: an unpickled backend or job uses the default.
        namespace: User or organization that runs and pays; default: the token's owner.
        endpoint: URL of the Hub; default: ``HF_ENDPOINT``, then the public Hub.
        patience: Timeouts and retries for the Hub.
    """

    def __init__(
        self,
        token: str | None = None,
        namespace: str | None = None,
        endpoint: str | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._connection = Connection(token, endpoint, patience or Patience())
        self._namespace = namespace
        self._duplicates = Duplicates(self._connection, JOBS)
        self._schedules = HubSchedules(self._connection, self._prepare, self._split, self._home)
        # by id of any member; None for a run of one node
        self._groups: dict[str, NodeGroup | None] = {}

    def __repr__(self) -> str:
        return f"HubBackend(namespace={self._namespace!r}, endpoint={self._connection.endpoint!r})"

    @property
    def name(self) -> str:
        """``"hub"``."""
        return self.traits.name

    @property
    def traits(self) -> BackendTraits:
        """What planning needs to know about this backend."""
        return HUB

    @property
    def account(self) -> tuple[Secret | None, str | None, str | None]:
        """Token, endpoint and namespace as given; ``None`` for what comes from the environment."""
        return self._connection.token, self._connection.endpoint, self._namespace

    def submit(self, plan: Plan) -> JobRecord:
        """Upload the plan's script and local data, and create one job that runs it, or one per node: all or none.

        Each submission has a fresh ``submit-id`` label. If an answer is lost, the label shows whether the job exists
        before the request is repeated. A job that the Hub lists later than ``Patience.search`` is a duplicate, which
        ``status``, ``cancel`` or a wait finds and cancels.

        Raises:
            AuthError: No token, a wrong one, or one without the permission; or a secret is not set in the environment.
            QuotaError: No credits left, or too many requests.
            HubUnavailable: No answer after retries. The message says whether a job may exist nevertheless.
            BackendError: The Hub refuses the job, or created a different one, which is then canceled.
            SubmitInterrupted: The user interrupted it; the message says what is known of the job.
        """
        with time_for(self._connection, plan.request.data), without_progress_bars(), without_request_bodies():
            try:
                request, namespace, secrets = self._prepare(plan.request)
                request = with_run(request)
                store(self._connection, namespace, [request.script], request.data, request.files)
            except KeyboardInterrupt:
                raise SubmitInterrupted(NOTHING) from None
            if request.nodes > 1:
                jobs = submit_nodes(self._connection, request, namespace, secrets, self._duplicates)
            else:
                jobs = [Submission(self._connection, request, namespace, secrets, self._duplicates).create()]
        return self._keep(namespace, jobs)

    @property
    def schedules(self) -> HubSchedules:
        """Scheduled jobs."""
        return self._schedules

    def resume(self, job_id: str, *, timeout_seconds: int | None = None, flavor: str | None = None) -> JobRecord:
        """Create a job, or one per node, like one that has ended and as the same run, so that it goes on with it.

        It is created once and only once, as a job is; of two at once, the later one is canceled.

        Raises:
            BackendError: It has not ended, another job of the run goes on or has ended well, no whole checkpoint is in
                the bucket, the Hub has no such flavor, or as for ``submit``.
        """
        namespace, name = self._split(job_id)
        job = self._look(namespace, name)
        group = self._learn(namespace, job)
        if flavor is not None:
            check_flavor(flavor, self._offered())
        old = [job] if group is None else [self._look(namespace, member) for member in group.members.values()]
        resumption = Resumption(self._connection, namespace, old, timeout_seconds, flavor)
        resumption.refuse_rivals()
        resumption.require_checkpoint()
        secrets = self._read_secrets(resumption.request)
        with time_for(self._connection), without_request_bodies():
            return self._keep(namespace, resumption.create(secrets, self._duplicates))

    def _prepare(self, request: JobRequest) -> tuple[JobRequest, str, dict[str, Secret]]:
        """The request as it is made, the namespace and the values of the secrets, once it is clear that it can be."""
        if request.flavor is None:
            raise BackendError('cannot submit without a flavor: set one, such as hardware="a10g-small"')
        if not request.timeout_seconds:
            raise BackendError('cannot submit without a timeout: set one, such as timeout="2h"')
        if any(volume.mount_path.rstrip("/") == MOUNT for volume in request.volumes):
            raise BackendError(f"a volume is mounted at {MOUNT}, where the script will be: choose another mount_path")
        self._connection.read_token()
        secrets = self._read_secrets(request)
        namespace = request.namespace or self._home()
        return with_bucket(self._connection, request, namespace), namespace, secrets

    def _read_secrets(self, request: JobRequest) -> dict[str, Secret]:
        values = {name: Secret(os.environ.get(name, "")) for name in request.secrets}
        if "HF_TOKEN" in values:
            values["HF_TOKEN"] = self._connection.read_token()
        if missing := [name for name, value in values.items() if not value]:
            raise AuthError(
                f"no value for {', '.join(missing)}: secrets are read from the environment when a job is submitted."
                f" Set {'it' if len(missing) == 1 else 'them'} first, as in `export {missing[0]}=...`, or remove the"
                " name from secrets. Nothing was submitted"
            )
        return values

    def inspect(self, job_id: str) -> JobRecord:
        """The record of a job; for the job of one node, that of the whole run.

        Raises:
            JobNotFound: There is no such job, or the token may not see it.
        """
        namespace, name = self._split(job_id)
        job = self._look(namespace, name)
        group = self._learn(namespace, job)
        first = name if group is None else next(iter(group.members.values()))
        return record_of(namespace, job if first == name else self._look(namespace, first), group)

    def status(self, job_id: str) -> JobStatus:
        """The current status of the job; if one node has failed, the others are stopped.

        Raises:
            JobNotFound: There is no such job, or the token may not see it.
        """
        namespace, name = self._split(job_id)
        job = self._look(namespace, name)
        group = self._learn(namespace, job)
        self._duplicates.cancel(namespace, [name] if group is None else group.members.values())
        if group is None:
            return status_of(job)
        statuses = {
            rank: status_of(job if member == name else self._look(namespace, member))
            for rank, member in group.members.items()
        }
        if any(map(breaks_others, statuses.values())):
            for rank, status in statuses.items():
                if not status.is_terminal:
                    # they end by themselves too, but for those that still queue
                    with contextlib.suppress(BackendError):
                        self._cancel(namespace, group.members[rank])
        return fold_statuses(statuses, group.size)

    @property
    def tolerance(self) -> Tolerance:
        """Which failures of the Hub are waited out while a job goes on."""
        return self._connection.patience.tolerance

    def logs(self, job_id: str, *, follow: bool) -> LogLines:
        """The lines of the log, each once; with ``follow``, until the job has ended.

        The log of a job that has ended is read until it is known to be whole, ``Patience.late`` after its end at most,
        through broken connections, outages and streams that do not end; what may be missing then is warned of.
        With several nodes each line begins with its node, except the events of the first; without ``follow``, the log
        of the failed node comes last.

        Raises:
            JobNotFound: There is no such job, or the token may not see it.
        """
        left = threading.Event()
        return LogLines(self._read_log(job_id, left, follow=follow), left)

    def _read_log(self, job_id: str, left: threading.Event, *, follow: bool) -> Generator[str, None, str | None]:
        namespace, name = self._split(job_id)
        job_id = f"{namespace}/{name}"
        if job_id not in self._groups:
            self._learn(namespace, self._look(namespace, name))
        group = self._groups[job_id]
        members = {0: name} if group is None else group.members
        readers = {rank: LogReader(self._connection, namespace, member, left) for rank, member in members.items()}
        if group is None:
            yield from readers[0].follow() if follow else readers[0].read()
        elif follow:

            def look(_: int) -> None:
                with contextlib.suppress(BackendError):
                    self.status(job_id)  # a node that failed takes the others with it

            for rank, line in merge_logs({rank: reader.follow() for rank, reader in readers.items()}, look, left):
                yield label_line(rank, line)
        else:
            statuses = {rank: status_of(self._look(namespace, member)) for rank, member in members.items()}
            for rank in blamed(statuses):
                for line in readers[rank].read():
                    yield label_line(rank, line)
        return tell_missing(job_id, readers)

    def verify(self, events: Iterable[Event]) -> str | None:
        """What of the models that a run says it pushed is not on the Hub; asked of a run of the last day only.

        Later, its owner may have deleted or replaced them.
        """
        from hfjobs_trainer.running.audit import verify_push

        told = list(events)
        is_new = time.time() - max((event.time for event in told), default=0.0) < VERIFIED_SECONDS
        return verify_push(told, self._connection) if is_new else None

    def usage(self, job_id: str) -> Usage | None:
        """What the job, or this node of it, uses of its machine now; ``None`` unless it runs."""
        namespace, name = self._split(job_id)
        asked = Asked("read the job's metrics", "job.read", namespace, f"{namespace}/{name}")
        return self._connection.get(asked, usage_reader(namespace, name))

    def cancel(self, job_id: str) -> None:
        """Stop the job, with all its nodes; do nothing if it has ended already.

        Raises:
            JobNotFound: There is no such job, or the token may not see it.
            BackendError: It cannot be stopped; with several nodes, those that can be stopped are.
        """
        namespace, name = self._split(job_id)
        group = self._groups.get(f"{namespace}/{name}")
        if f"{namespace}/{name}" not in self._groups:
            with contextlib.suppress(BackendError):
                group = self._learn(namespace, self._look(namespace, name))
        failures: list[BackendError] = []
        members = [name] if group is None else [*group.members.values()]
        self._duplicates.cancel(namespace, members)
        for member in members:
            try:
                self._cancel(namespace, member)
            except BackendError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def _cancel(self, namespace: str, name: str) -> None:
        asked = Asked("cancel the job", "job.write", namespace, f"{namespace}/{name}")
        outcome = self._connection.ask(lambda api: api.cancel_job(job_id=name, namespace=namespace))
        if outcome.failure is None:
            return
        error = outcome.failure.explain(asked)
        # any other refusal may mean that there is nothing left to stop
        if type(error) is not BackendError or not status_of(self._look(namespace, name)).is_terminal:
            raise error

    def usd_per_hour(self, flavor: str | None) -> float | None:
        """Price of a machine, US dollars per hour: the Hub's, or the dated snapshot's if it does not answer."""
        if flavor is None:
            return None
        found = find_flavor(flavor, self._offered())
        return None if found is None else found.usd_per_hour

    def _offered(self) -> HardwareFacts:
        asked = Asked("read the prices", "job.read")
        with contextlib.suppress(BackendError):
            return parse_live(self._connection.get(asked, lambda api: [*api.list_jobs_hardware()]))
        return snapshot()

    def list(self, labels: dict[str, str]) -> list[JobRecord]:
        """Jobs of the namespace with all of these labels, newest first; a run of several nodes is one job."""
        namespace = self._home()
        asked = Asked("list jobs", "job.read", namespace)
        jobs = self._connection.get(asked, lambda api: JOBS.find(api, dict(labels), namespace))
        jobs.sort(key=lambda job: (str(job.created_at), job.id), reverse=True)
        groups: dict[str, list[JobInfo]] = {}
        for job in jobs:
            groups.setdefault((job.labels or {}).get(GROUP_LABEL) or job.id, []).append(job)
        return [self._list_one(namespace, members) for members in groups.values()]

    def find(
        self, labels: Mapping[str, str], namespace: str | None = None, *, patiently: bool = True
    ) -> list[tuple[JobRecord, JobStatus]]:
        """The runs with all of these labels, by one request, newest first, each with its status.

        Args:
            labels: Labels of their jobs.
            namespace: Whose jobs; ``None`` for those of the backend's.
            patiently: Whether the Hub is asked again if it does not answer.
        """
        patience = self._connection.patience
        with within(patience.answer + patience.quota):
            return find_runs(self._connection, labels, namespace or self._home(), patiently=patiently)

    def _list_one(self, namespace: str, jobs: Sequence[JobInfo]) -> JobRecord:
        """A run of which some nodes at least were listed: a filter may have left others out."""
        group = self._learn(namespace, jobs[0], patiently=False)
        first = jobs[0].id if group is None else next(iter(group.members.values()))
        found = next((job for job in jobs if job.id == first), None)
        return record_of(namespace, found or self._look(namespace, first), group)

    def _learn(self, namespace: str, job: JobInfo, *, patiently: bool = True) -> NodeGroup | None:
        """The group of a job, looked for anew until all of its nodes are known."""
        job_id = f"{namespace}/{job.id}"
        known = self._groups.get(job_id)
        if job_id in self._groups and (known is None or len(known.members) >= known.size):
            return known
        group = find_group(job, namespace, self._connection, patiently=patiently)
        self._groups.update(dict.fromkeys(group.ids if group else (job_id,), group))
        return group

    def _keep(self, namespace: str, jobs: Sequence[JobInfo]) -> JobRecord:
        """The record of jobs that were just created, which need not be looked for."""
        group = group_of(jobs, namespace) if len(jobs) > 1 else None
        self._groups.update({f"{namespace}/{job.id}": group for job in jobs})
        return record_of(namespace, jobs[0], group)

    def _look(self, namespace: str, name: str) -> JobInfo:
        asked = Asked("read the job", "job.read", namespace, f"{namespace}/{name}")
        return self._connection.get(asked, lambda api: api.inspect_job(job_id=name, namespace=namespace))

    def _home(self) -> str:
        """The namespace; asked for once, since the Hub limits the rate of that request."""
        if self._namespace is not None:
            return self._namespace
        key = (self._connection.endpoint, fingerprint(self._connection.read_token()))
        owner = _OWNERS.find(key)
        if owner is None:
            asked = Asked("look up the token's owner", "user.read")
            owner = self._connection.get(asked, lambda api: str(cast("Any", api).whoami()["name"]))
            _OWNERS.keep(key, owner)
        return str(owner)

    def _split(self, job_id: str) -> tuple[str, str]:
        found = _JOB_ID.fullmatch(job_id)
        if found is None:
            raise JobNotFound(f"{job_id!r} is not a job id: they look like 'namespace/687f911eaea852de79c4a50a'")
        return found[1] or self._home(), found[2]
