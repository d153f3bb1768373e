"""``hft submit``: the one command that starts something new."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING, Any, cast

import click

from hfjobs_trainer.cli.main import FAILED
from hfjobs_trainer.cli.output import job_record, note, plan_record, print_json, result_record, status_record
from hfjobs_trainer.cli.source import JSON, SETTINGS, client_of, is_command, read_spec, takes_spec

if TYPE_CHECKING:
    from hfjobs_trainer.planning.plan import Plan
    from hfjobs_trainer.running.job import Job


@click.command(context_settings=SETTINGS)
@takes_spec
@JSON
@click.option("-y", "--yes", is_flag=True, help="Do not ask before it costs money.")
@click.option("--dry-run", is_flag=True, help="Show the plan, and submit nothing.")
@click.option("--wait", is_flag=True, help="Wait for its end; exit with 1 if it fails.")
@click.option("--watch", is_flag=True, help="Show its progress until its end; exit with 1 if it fails.")
@click.option("--smoke-test", is_flag=True, help="Run a smoke test on this machine first.")
@click.option("--max-resumes", type=click.IntRange(0), default=0, help="With --wait or --watch: resumes by itself.")
@click.option("--reuse", is_flag=True, help="Take the identical run that goes on or ended well, if there is one.")
@click.option("--schedule", help='Run it again and again, such as "@weekly" or "0 3 * * 1" (UTC).')
@click.option("--show-hf", is_flag=True, help="Print the line of `hf jobs` that does the same, and submit nothing.")
@click.pass_context
def submit(
    context: click.Context,
    words: tuple[str, ...],
    backend: str,
    namespace: str | None,
    max_usd: float | None,
    as_json: bool,
    yes: bool,
    dry_run: bool,
    wait: bool,
    watch: bool,
    smoke_test: bool,
    max_resumes: int,
    reuse: bool,
    schedule: str | None,
    show_hf: bool,
) -> None:
    """Submit a run. On Hugging Face Jobs this costs money; in a terminal, it asks before.

    \b
      hft submit dpo.yaml
      hft submit dpo.yaml --max-usd 5 --yes --wait
      hft submit dpo.yaml --backend local --watch
    """  # noqa: D301
    client = client_of(backend, namespace)
    if schedule is not None and (reuse or max_resumes or wait or watch):
        raise click.UsageError("--schedule starts each run anew: leave out --reuse, --max-resumes, --wait and --watch")
    if show_hf and words:
        click.echo(_hf_lines(words))
        return
    plan = client.plan(read_spec(client, words, max_usd))
    options: Any = {"schedule": schedule, "max_resumes": max_resumes, "reuse": reuse}
    plan = client.submit(plan, dry_run=True, **options)
    if dry_run:
        if as_json:
            print_json(plan_record(plan))
        else:
            click.echo(str(plan))
        return
    if plan.flavor is not None and not yes and sys.stdin.isatty() and sys.stderr.isatty():
        note(str(plan))
        click.confirm(f"Submit this run ({_price(plan)})?", default=False, abort=True, err=True)
    job = cast("Any", client.submit(plan, smoke_test=smoke_test, **options))
    if schedule is not None:
        if as_json:
            print_json({"id": job.id, "schedule": schedule})
        else:
            click.echo(job.id)
        return
    if not wait and not watch:
        if as_json:
            print_json(job_record(job))
            return
        click.echo(job.id)
        note(f"{job.url or job.record.folder}\nhft watch {job.id}")
        return
    context.exit(follow(cast("Job", job), as_json=as_json, shown=watch))


def follow(job: Job, *, as_json: bool, shown: bool) -> int:
    """Wait for a job's end, with its progress if ``shown``; print its result, and return the exit code."""
    if shown and not as_json:
        job.watch()
    else:
        job.wait()
    status = job.status()
    if not status.is_terminal:  # it was interrupted
        return 130
    if as_json:
        result = result_record(job.result()) if status.succeeded else None
        print_json({**job_record(job), "status": status_record(status), "result": result})
    elif status.succeeded:
        click.echo(job.result().model or job.id)
    if not status.succeeded and not as_json:
        job.raise_for_status()
    return 0 if status.succeeded else FAILED


def _price(plan: Plan) -> str:
    """What a run costs: as expected, and at most."""
    flavor, estimate = plan.flavor, plan.estimate
    if flavor is None:
        return "free, on this machine"
    usd = estimate.usd if estimate else None
    told = [f"{flavor.name}, ${flavor.usd_per_hour:.2f} an hour"]
    if usd is not None:
        told.append(f"about {usd.as_usd()}")
    if plan.timeout_seconds is not None:
        at_most = flavor.usd_per_hour * plan.timeout_seconds / 3600 * plan.request.nodes * plan.request.attempts
        told.append(f"at most ${at_most:.2f}")
    return ", ".join(told)


def _hf_lines(words: tuple[str, ...]) -> str:
    """The commands that do the same with the Hub's own client, which reads the options in the script's header."""
    spec = shlex.join(["--", *words] if is_command(words) else words)
    return f"hft render -o train.py {spec}\nhf jobs uv run train.py"
