"""The one place where the stages meet: gather, plan, submit."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

from hfjobs_trainer.client.rehearsal import Rehearsal
from hfjobs_trainer.errors import BackendError
from hfjobs_trainer.facts.backends import BackendName

if TYPE_CHECKING:
    from hfjobs_trainer.planning.plan import Plan
    from hfjobs_trainer.running.backends.base import Backend
    from hfjobs_trainer.running.job import Job
    from hfjobs_trainer.running.job_list import JobList
    from hfjobs_trainer.running.scheduled import ScheduledJob
    from hfjobs_trainer.running.submitting import Submitting
    from hfjobs_trainer.specs.base import TrainSpec
    from hfjobs_trainer.specs.script import Script

BackendLike: TypeAlias = "Backend | BackendName | None"


@dataclass(frozen=True, repr=False)
class Client(Rehearsal):
    """The functions of the package for one backend and one account; ``hft.plan`` and the rest are a default client's.

    What the Hub says of account, prices, models and datasets is remembered for 5 minutes; a new client knows nothing.

    Args:
        backend: ``"hub"`` (Hugging Face Jobs), ``"local"`` (this machine), or a ``Backend`` of your own. A
            ``HubBackend`` has its own token, namespace and endpoint, which are then used for planning too.
        token: Hub token; default: ``HF_TOKEN``, then the one that ``hf auth login`` stored. Never shown and never
            pickled: an unpickled client or job uses the default.
        namespace: User or organization that runs and pays; default: the token's owner.
        endpoint: URL of the Hub; default: ``HF_ENDPOINT``, then the public Hub.
    """

    @overload
    def submit(
        self,
        what: Plan | TrainSpec | Script | Mapping[str, Any],
        *,
        backend: BackendLike = None,
        smoke_test: bool | BackendName = False,
        dry_run: Literal[True],
        schedule: str | None = None,
        max_resumes: int = 0,
        reuse: bool = False,
    ) -> Plan: ...
    @overload
    def submit(
        self,
        what: Plan | TrainSpec | Script | Mapping[str, Any],
        *,
        backend: BackendLike = None,
        smoke_test: bool | BackendName = False,
        dry_run: Literal[False] = False,
        schedule: None = None,
        max_resumes: int = 0,
        reuse: bool = False,
    ) -> Job: ...
    @overload
    def submit(
        self,
        what: Plan | TrainSpec | Script | Mapping[str, Any],
        *,
        backend: BackendLike = None,
        smoke_test: bool | BackendName = False,
        dry_run: Literal[False] = False,
        schedule: str,
        max_resumes: Literal[0] = 0,
        reuse: Literal[False] = False,
    ) -> ScheduledJob: ...
    @overload
    def submit(
        self,
        what: Plan | TrainSpec | Script | Mapping[str, Any],
        *,
        backend: BackendLike = None,
        smoke_test: bool | BackendName = False,
        dry_run: bool,
        schedule: str | None = None,
        max_resumes: int = 0,
        reuse: bool = False,
    ) -> Job | ScheduledJob | Plan: ...
    def submit(
        self,
        what: Plan | TrainSpec | Script | Mapping[str, Any],
        *,
        backend: BackendLike = None,
        smoke_test: bool | BackendName = False,
        dry_run: bool = False,
        schedule: str | None = None,
        max_resumes: int = 0,
        reuse: bool = False,
    ) -> Job | ScheduledJob | Plan:
        """Submit a run, exactly as planned. On Hugging Face Jobs this costs money.

        Where the Hub had not answered when the plan was made, it is asked once more, for what was missing alone. The
        run is submitted if it is as planned; else the error says what is another.

        Args:
            what: A plan, a spec, or a mapping with the key ``method``.
            backend: Where to run; default: the backend of the plan, else the client's.
            smoke_test: Run a smoke test of the very script first (``Client.smoke_test``), and submit only if it goes
                well: on this machine, or with ``"hub"`` as a job of about a cent. Not with ``dry_run``.
            dry_run: Return the plan and submit nothing.
            schedule: Run it again and again on Jobs, in UTC: ``"@hourly"``, ``"@daily"``, ``"@weekly"``,
                ``"@monthly"``, ``"@yearly"``, or a cron line of five fields such as ``"0 3 * * 1"``. Each run begins
                the training anew and costs what the plan says: ``max_usd`` is for each. The secrets are sent once, with
                their values of now. Default: the schedule of the plan, else once and now.
            max_resumes: How often the run is resumed by itself, while ``wait``, ``watch`` or ``result`` of the job is
                up: after it was stopped at its deadline, or lost its machine, and a checkpoint was kept; never after
                ruin, a cancellation or an error of the script. All of its jobs together stay within ``max_usd``. The
                ``Job`` then stands for the newest one.
            reuse: Return the identical run that goes on, or else the newest that ended well, if there is one: of the
                same spec, with the same commits of models and datasets, the same local data and the same versions of
                packages. Nothing is submitted then. By default, one that goes on is only warned of. Of one that
                failed, ``job.resume()`` goes on. Not with a schedule.

        Returns:
            The job, with ``reuse`` perhaps one that was there; with ``schedule``, the scheduled job; with ``dry_run``,
            the plan.

        Raises:
            SpecError: The run would fail, its smoke test did not go well, or it cannot be on this schedule;
                ``.problems`` has all reasons.
            BudgetExceeded: The run is expected to cost more than ``max_usd``; ``.problems`` has any other reasons too.
            AuthError, QuotaError: The Hub refused the token, or the account has no credits or has reached a limit.
            HubUnavailable: The Hub did not answer, or not for a fact that must be known before money is spent.
            BackendError: The Hub has now answered what the plan lacked, and the run is another; or it refuses the job.
            NotAsked: The plan was made offline, so the Hub was not asked for such a fact: plan again online.
            ValueError: There is no backend of this name, ``max_resumes`` is negative, or it or ``reuse`` is given with
                a schedule.
            SubmitInterrupted: The user interrupted it (a ``KeyboardInterrupt``); the message says what is known of the
                job.
        """
        from hfjobs_trainer.running.submitting import Submitting

        with Submitting() as progress:
            return self._submit(progress, what, backend, smoke_test, dry_run, schedule, max_resumes, reuse)

    def _submit(
        self,
        progress: Submitting,
        what: Plan | TrainSpec | Script | Mapping[str, Any],
        backend: BackendLike,
        smoke_test: bool | BackendName,
        dry_run: bool,
        schedule: str | None,
        max_resumes: int,
        reuse: bool,
    ) -> Job | ScheduledJob | Plan:
        from hfjobs_trainer.planning.plan import Plan
        from hfjobs_trainer.planning.refusal import answered, refusal, unanswered
        from hfjobs_trainer.planning.schedule import on_schedule
        from hfjobs_trainer.running.backends.base import Scheduling
        from hfjobs_trainer.running.backends.registry import traits_at
        from hfjobs_trainer.running.job import Job
        from hfjobs_trainer.running.planned import planned_env
        from hfjobs_trainer.running.resuming import resuming_of
        from hfjobs_trainer.running.reuse import find_identical, keep_earlier, with_inputs
        from hfjobs_trainer.running.scheduled import ScheduledJob, schedules_of

        chosen = backend if backend is not None else self.backend
        if backend is None and isinstance(what, Plan) and what.backend != self._traits(None).name:
            chosen = what.backend
        running = self._open(chosen)
        traits = traits_at(running)
        # paths and problems differ between backends, so a plan for another one is made again
        plan = what if isinstance(what, Plan) and what.backend == traits.name else None
        if plan is None:
            plan = replace(self, backend=chosen).plan(what.spec if isinstance(what, Plan) else what)
        elif not dry_run and unanswered(plan, traits):
            plan = answered(plan, replace(self, backend=chosen).plan(plan.spec))
        if schedule is None and isinstance(what, Plan):
            schedule = what.request.schedule
        if schedule is not None:
            plan = on_schedule(plan, schedule, is_possible=isinstance(running, Scheduling))
            if reuse:
                why = "a scheduled job starts each run anew; hft.scheduled_jobs() lists those that are there"
                raise ValueError(f"reuse=True is for one run: leave it out with a schedule, since {why}")
        resuming = resuming_of(plan, max_resumes)
        if dry_run:
            return plan
        if (error := refusal(plan, traits)) is not None:
            raise error
        _refuse_added_files(plan)
        ready = plan
        if schedule is None:
            ready = with_inputs(plan, running)
            if (known := find_identical(ready, running, reuse=reuse)) is not None:
                return Job(known, running, resuming)
        if smoke_test:
            where = "local" if smoke_test is True else smoke_test
            replace(self, backend=chosen).smoke_test(plan, backend=where).raise_for_problems()
        if schedule is not None:
            # no HFT_RUN_ID: each run is one of its own
            return ScheduledJob(schedules_of(running).submit(plan), running)
        env = {"HFT_RUN_ID": secrets.token_hex(16), **planned_env(ready), **ready.request.env}
        ready = replace(ready, request=replace(ready.request, env=env))
        progress.begin(ready, running)
        progress.record = running.submit(ready)
        record = keep_earlier(ready, running, progress.record) if reuse else progress.record
        return Job(record, running, resuming)

    def jobs(
        self, *, group: str | None = None, method: str | None = None, labels: Mapping[str, str] | None = None
    ) -> JobList:
        """List the runs submitted by this package, newest first: the token owner's, and those on this machine.

        A client that was made for an account (``token``, ``namespace``, ``endpoint``) or for one backend lists what is
        there, and nothing else. Without a token, the Hub is not asked, which the list says, and a warning.

        Args:
            group: Only those of this tracking group.
            method: Only those of this training method.
            labels: Only those with these labels.
        """
        from hfjobs_trainer.running.job_list import list_jobs

        places = [self._open(self.backend)]
        if (self.backend, self.token, self.namespace, self.endpoint) == ("hub", None, None, None):
            with contextlib.suppress(BackendError):  # Windows has none
                places.append(self._open("local"))
        return list_jobs(places, group=group, method=method, labels=labels)

    def scheduled_jobs(
        self, *, group: str | None = None, method: str | None = None, labels: Mapping[str, str] | None = None
    ) -> list[ScheduledJob]:
        """List the scheduled jobs of this package in the client's namespace (or the token owner's), newest first.

        The arguments are those of ``jobs``.

        Raises:
            BackendError: The backend has no schedules.
        """
        from hfjobs_trainer.running.job_list import wanted_labels
        from hfjobs_trainer.running.scheduled import ScheduledJob, schedules_of

        backend = self._open(self.backend)
        found = schedules_of(backend).list(wanted_labels(group, method, labels))
        return [ScheduledJob(record, backend) for record in found]

    def job(self, job_id: str) -> Job:
        """Find a job by its id, with this client's backend, token and endpoint.

        Raises:
            JobNotFound: There is no such job, or the token may not see it.
        """
        from hfjobs_trainer.running.job import Job

        return Job.from_id(job_id, backend=self._open(self.backend))

    def submit_fields(
        self, method: str, fields: Mapping[str, Any], *, backend: Any, dry_run: bool, **options: Any
    ) -> Any:
        """What ``submit_<method>`` does with its keyword arguments."""
        return self.submit({"method": method, **fields}, backend=backend, dry_run=dry_run, **options)


def _refuse_added_files(plan: Plan) -> None:
    from hfjobs_trainer.gathering.local_files import added_file

    for item in plan.request.data:
        if not item.content.is_folder:
            continue
        added = added_file(Path(item.place), item.content, of_dataset="dataset" in item.fields[0])
        if added is not None:
            told = f"nothing was submitted: {item.content.name}/{added} was added since the run was planned"
            raise BackendError(f"{told}. Plan it again")


default = Client()
"""The client behind the functions of the package."""

gather = default.gather
load = default.load
check = default.check
plan = default.plan
recommend = default.recommend
preview = default.preview
render = default.render
pick_flavor = default.pick_flavor
compare_flavors = default.compare_flavors
estimate = default.estimate
hardware_table = default.hardware_table
smoke_test = default.smoke_test
try_rewards = default.try_rewards
submit = default.submit
jobs = default.jobs
scheduled_jobs = default.scheduled_jobs
submit_fields = default.submit_fields
