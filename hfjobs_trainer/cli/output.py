"""What a command prints: data on stdout, as text or JSON, and notes on stderr."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from hfjobs_trainer.errors import BudgetExceeded, HFTError, JobFailed, SpecError, describe

if TYPE_CHECKING:
    from hfjobs_trainer.facts import Flavor
    from hfjobs_trainer.planning.duration.ranges import Range
    from hfjobs_trainer.planning.estimate import Estimate
    from hfjobs_trainer.planning.plan import Plan
    from hfjobs_trainer.problems import Problem, Report
    from hfjobs_trainer.running.backends.base import JobStatus
    from hfjobs_trainer.running.job import Job
    from hfjobs_trainer.running.result import JobResult

Record = dict[str, Any]


def note(line: str) -> None:
    """Say something that is no data."""
    click.echo(line, err=True)


def print_json(value: Any) -> None:
    """Print a value as JSON: two spaces deep, NaN and infinity as null."""
    click.echo(json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False))


def tell_error(error: HFTError, *, as_json: bool) -> None:
    """Say what went wrong: on stderr, or as JSON on stdout where that was asked for."""
    has_problems = isinstance(error, SpecError | BudgetExceeded)
    if not as_json:
        told = describe([*map(in_shell_words, error.problems)], error.subject) if has_problems else str(error)
        note(told if has_problems else f"{type(error).__name__}: {told}")
        return
    record: Record = {"ok": False, "error": type(error).__name__, "message": str(error)}
    if has_problems:
        record["problems"] = [problem_record(problem) for problem in error.problems]
    if isinstance(error, JobFailed):
        record |= {"id": error.job_id, "status": status_record(error.status), "log_tail": list(error.log_tail)}
    print_json(record)


def in_shell_words(problem: Problem) -> Problem:
    """The problem with its fix as options of this command line."""
    import dataclasses

    from hfjobs_trainer.cli.flags import as_flags

    return dataclasses.replace(problem, fix=as_flags(problem.fix))


def problem_record(problem: Problem) -> Record:
    """A problem: code, path, why, fix, severity."""
    return {
        "code": problem.code,
        "path": problem.path,
        "why": problem.why,
        "fix": problem.fix,
        "severity": problem.severity,
    }


def report_record(report: Report) -> Record:
    """What ``hft check --json`` prints."""
    return {
        "ok": report.ok,
        "problems": [problem_record(problem) for problem in report.problems],
        "unchecked": [{"code": each.code, "needs": each.needs} for each in report.unchecked],
    }


def plan_record(plan: Plan) -> Record:
    """What ``hft plan --json`` prints; the script is what ``hft render`` writes."""
    request = plan.request
    return {
        "ok": not any(problem.severity == "error" for problem in plan.problems),
        "backend": plan.backend,
        "flavor": None if plan.flavor is None else plan.flavor.name,
        "usd_per_hour": None if plan.flavor is None else plan.flavor.usd_per_hour,
        "timeout_seconds": plan.timeout_seconds,
        "estimate": None if plan.estimate is None else estimate_record(plan.estimate),
        "alternatives": [each.text for each in plan.alternatives],
        "decisions": [{"path": each.path, "value": each.value, "why": each.why} for each in plan.decisions],
        "problems": [problem_record(problem) for problem in plan.problems],
        "unchecked": [{"code": each.code, "needs": each.needs} for each in plan.unchecked],
        "unanswered": list(plan.unanswered),
        "unasked": plan.unasked,
        "name": request.name,
        "labels": dict(request.labels),
        "secrets": list(request.secrets),
        "nodes": request.nodes,
    }


def estimate_record(estimate: Estimate) -> Record:
    """Memory, time and dollars; what is unknown is null."""
    layout = estimate.layout
    return {
        "flavor": estimate.flavor.name if estimate.flavor else None,
        "gpu": estimate.gpu,
        "num_gpus": estimate.num_gpus,
        "verdict": estimate.verdict,
        "why_not": None if estimate.reason is None else str(estimate.reason),
        "fix": estimate.fix,
        "memory_gib": estimate.memory_gib,
        "usable_gib": estimate.usable_gib,
        "seconds": range_record(estimate.seconds),
        "usd": range_record(estimate.usd),
        "strategy": layout.strategy if layout else None,
        "per_device_train_batch_size": layout.per_device_train_batch_size if layout else None,
        "gradient_accumulation_steps": layout.gradient_accumulation_steps if layout else None,
    }


def range_record(found: Range | None) -> Record | None:
    """A range: low, expected, high."""
    return None if found is None else {"low": found.low, "expected": found.expected, "high": found.high}


def flavor_record(flavor: Flavor) -> Record:
    """A flavor, as ``Flavor`` has it."""
    import dataclasses

    return dataclasses.asdict(flavor)


def status_record(status: JobStatus) -> Record:
    """A status: stage, message, times, whether it can be resumed."""
    return {
        "stage": status.stage,
        "message": status.message,
        "created_at": status.created_at,
        "started_at": status.started_at,
        "finished_at": status.finished_at,
        "resumable": status.resumable,
    }


def job_record(job: Job) -> Record:
    """A job: id, url, labels, flavor, when it was created."""
    record = job.record
    return {
        "id": job.id,
        "url": job.url,
        "backend": job.backend.name,
        "flavor": record.flavor,
        "labels": dict(record.labels),
        "created_at": record.created_at,
        "folder": record.folder,
    }


def result_record(result: JobResult) -> Record:
    """A result, as ``JobResult`` has it."""
    import dataclasses

    return {field.name: getattr(result, field.name) for field in dataclasses.fields(result)}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in cast("Mapping[object, Any]", value).items()}
    if isinstance(value, Sequence | set | frozenset) and not isinstance(value, str | bytes):
        return [_plain(item) for item in cast("Sequence[Any]", value)]
    if isinstance(value, float):
        return value if value - value == 0 else None
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, datetime):
        return value.isoformat()
    return value.as_posix() if isinstance(value, Path) else str(value)
