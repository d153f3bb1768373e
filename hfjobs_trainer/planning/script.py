"""The plan of an existing script."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hfjobs_trainer.errors import SpecError
from hfjobs_trainer.facts import Facts, Flavor, ScriptFacts
from hfjobs_trainer.facts.backends import BackendTraits
from hfjobs_trainer.planning.arguments.trackers import resolve_tracking, tracks_files
from hfjobs_trainer.planning.check import check
from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.planning.estimate import FlavorChoice
from hfjobs_trainer.planning.hardware.catalogue import find_flavor, snapshot
from hfjobs_trainer.planning.hardware.machine import Machine, hourly_usd
from hfjobs_trainer.planning.pins import pins
from hfjobs_trainer.planning.plan import Decision, JobRequest, Plan
from hfjobs_trainer.planning.request import job_table, request_of
from hfjobs_trainer.planning.timeout import decide_timeout
from hfjobs_trainer.problems import Problem, Unchecked
from hfjobs_trainer.rendering.page import Header
from hfjobs_trainer.rendering.render import render_wrapper
from hfjobs_trainer.rendering.wrapper import Wrapper
from hfjobs_trainer.specs.script import Script
from hfjobs_trainer.specs.script_header import ScriptHeader, read_header

SUBJECT = "Script spec"


def choose_for_script(spec: Script, facts: Facts) -> FlavorChoice:
    """The flavor that the user named; otherwise none, since what the script needs is unknown."""
    return FlavorChoice(find_flavor(spec.hardware.flavor, facts.hardware or snapshot()))


def check_script(
    spec: Script, facts: Facts, *, backend: BackendTraits
) -> tuple[tuple[Problem, ...], tuple[Unchecked, ...]]:
    """Apply every rule; never raises."""
    machine = _machine(spec, facts, backend)
    timeout, _ = decide_timeout(spec, None, hourly_usd(machine.flavor, spec.hardware) if machine.flavor else None)
    problems, unchecked = check(Context(spec, facts, backend, machine=machine, timeout_seconds=timeout))
    return problems, unchecked if backend.rents else ()


def _machine(spec: Script, facts: Facts, backend: BackendTraits) -> Machine:
    flavor = choose_for_script(spec, facts).flavor if backend.rents else None
    return Machine(flavor, max(1, _gpus(spec, flavor)))


def assemble_script(spec: Script, facts: Facts, *, backend: BackendTraits) -> Plan:
    """Plan the job of a script in full: a pure function.

    Raises:
        SpecError: The script cannot be read, or cannot run. Problems of a run on Jobs alone are in ``plan.problems``.
    """
    problems, unchecked = check_script(spec, facts, backend=backend)
    if any(problem.scope == "script" and problem.severity == "error" for problem in problems):
        raise SpecError(problems, SUBJECT)
    hardware = facts.hardware or snapshot()
    choice = choose_for_script(spec, facts) if backend.rents else None
    flavor = choice.flavor if choice else None
    found = facts.script or ScriptFacts()
    decisions: list[Decision] = []

    def decide(path: str, value: Any, why: str) -> Any:
        decisions.append(Decision(path, value, why))
        return value

    namespace = spec.namespace or facts.account.name
    tracking = resolve_tracking(spec.tracking, spec.stem, None, namespace, backend, decide, "script")
    pushes = any(item.split("=")[0] in ("--push_to_hub", "--push-to-hub") for item in spec.script_args)
    timeout, timed = decide_timeout(spec, None, hourly_usd(flavor, spec.hardware) if flavor else None)
    request = request_of(
        spec,
        subject=spec.stem,
        flavor=flavor,
        timeout_seconds=timeout,
        namespace=namespace,
        needs_token=pushes or bool(tracking and tracking.get("space_id")),
        backend=backend,
    )
    decisions += timed
    text = found.text or ""
    page = Wrapper(
        header=_header(spec, read_header(text), request, decide),
        origin=spec.script,
        sha256=found.sha256 or "",
        name=f"{spec.stem}.py",
        source=text,
        # on this machine the script runs in a folder of its own
        arguments=[found.local_files.get(item, item) if backend.absolute_paths else item for item in spec.script_args],
        num_gpus=_gpus(spec, flavor),
        max_gpus=1 if spec.hardware.strategy == "single" else spec.hardware.num_gpus or 0,
        launches=spec.hardware.strategy != "user",
        tracker=spec.tracking.report_to,
        tracks_files=tracks_files(spec.tracking.report_to),
        tracking=tracking,
        tracked=spec.tracking.config,
    )
    return Plan(
        spec=spec,
        backend=backend.name,
        request=replace(request, script=render_wrapper(page)),
        flavor=flavor,
        choice=choice,
        decisions=(Decision("script", f"sha256 {found.sha256}", f"the current text of {spec.script}"), *decisions),
        problems=problems,
        unchecked=unchecked,
        prices=hardware.source,
        gaps=facts.gaps,
        unasked=facts.unasked,
        traits=backend,
        revisions={"script": found.sha256} if found.sha256 else {},
    )


def _gpus(spec: Script, flavor: Flavor | None) -> int:
    if flavor is None:
        return 0
    most = 1 if spec.hardware.strategy == "single" else spec.hardware.num_gpus or flavor.num_gpus
    return min(flavor.num_gpus, most)


def _header(spec: Script, theirs: ScriptHeader, request: JobRequest, decide: Any) -> Header:
    tested = pins()
    dependencies = [*theirs.dependencies, *spec.extra_dependencies]
    reporter = spec.tracking.report_to
    # the default tracker is used where the script brings it
    if reporter in tested.extras and reporter not in theirs.names():
        dependencies.append(decide("extra_dependencies", tested.requirement(reporter), f"report_to is {reporter}"))
    uv = dict(theirs.uv)
    versions = not theirs.pinned(tested.packages) and not theirs.names().isdisjoint(tested.packages)
    if versions:
        why = "the script does not pin versions; these were tested together"
        decide("script.versions", f"TRL {tested.packages['trl']} and the versions tested with it", why)
        uv["constraint-dependencies"] = [tested.requirement(package) for package in sorted(tested.packages)]
    return Header(
        requires_python=theirs.requires_python or tested.requires_python,
        dependencies=tuple(dependencies),
        exclude_newer=tested.exclude_newer if versions else "",
        unbounded=tested.unbounded if versions and "exclude-newer-package" not in uv else (),
        job=job_table(request),
        spec=spec.to_json(),
        digest=spec.digest,
        uv=uv,
    )
