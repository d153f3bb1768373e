"""Commands for runs that were submitted: list, watch, read, wait for, resume, stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from hfjobs_trainer.cli.output import job_record, note, print_json, result_record, status_record
from hfjobs_trainer.cli.source import JSON, client_of
from hfjobs_trainer.cli.submitting import follow

if TYPE_CHECKING:
    from hfjobs_trainer.running.job import Job

F = TypeVar("F", bound=Callable[..., Any])
_ID = click.argument("job_id", metavar="ID")
_SHOW_HF = click.option("--show-hf", is_flag=True, help="Print the line of `hf jobs` that does the same, and stop.")


def _find(job_id: str) -> Job:
    from hfjobs_trainer.running.job import Job

    return Job.from_id(job_id)


def _shown(command: str, job_id: str, *options: str) -> None:
    """Print the line of the Hub's own client."""
    import shlex

    click.echo(shlex.join(["hf", "jobs", command, *options, job_id]))


@click.command()
@click.option("--group", help="Only those of this tracking group.")
@click.option("--method", help="Only those of this training method.")
@click.option("--backend", type=click.Choice(("hub", "local")), help="Only those there; default: both.")
@click.option("--namespace", help="User or organization; default: the token's owner.")
@JSON
@click.option("--show-hf", is_flag=True, help="Print the line of `hf jobs` that does the same, and stop.")
def jobs(
    group: str | None, method: str | None, backend: str | None, namespace: str | None, as_json: bool, show_hf: bool
) -> None:
    """List runs, newest first.

    \b
      hft jobs
      hft jobs --group beta --json
    """  # noqa: D301
    if show_hf:
        wanted = {"sdk": "hfjobs-trainer", "group": group, "method": method}
        labels = " ".join(f"--label {name}={value}" for name, value in wanted.items() if value)
        click.echo(f"hf jobs ls --all {labels}" + (f" --namespace {namespace}" if namespace else ""))
        return
    client = client_of(backend, namespace)
    found = client.jobs(group=group, method=method)
    if as_json:
        print_json([job_record(job) for job in found])
    else:
        click.echo(repr(found))


@click.command()
@_ID
@click.pass_context
def watch(context: click.Context, job_id: str) -> None:
    """Show a run's progress until it has ended; interrupting this leaves it running.

    \b
      hft watch username/687f911eaea852de79c4a50a
    """  # noqa: D301
    context.exit(follow(_find(job_id), as_json=False, shown=True))


@click.command()
@_ID
@click.option("-f", "--follow", "follows", is_flag=True, help="Go on until the run has ended.")
@_SHOW_HF
def logs(job_id: str, follows: bool, show_hf: bool) -> None:
    """Print a run's log.

    \b
      hft logs -f username/687f911eaea852de79c4a50a
    """  # noqa: D301
    if show_hf:
        _shown("logs", job_id, *(["--follow"] if follows else []))
        return
    for line in _find(job_id).logs(follow=follows):
        click.echo(line)


@click.command()
@_ID
@click.option("--timeout", type=float, help="Longest wait, seconds; default: no limit.")
@JSON
@click.pass_context
def wait(context: click.Context, job_id: str, timeout: float | None, as_json: bool) -> None:
    """Wait until a run has ended; exit with 1 if it did not end well.

    \b
      hft wait username/687f911eaea852de79c4a50a && hft result username/687f911eaea852de79c4a50a
    """  # noqa: D301
    job = _find(job_id)
    try:
        job.wait(timeout)
    except TimeoutError as error:
        note(str(error))
        context.exit(1)
    context.exit(follow(job, as_json=as_json, shown=False))


@click.command()
@_ID
@JSON
def result(job_id: str, as_json: bool) -> None:
    """Show model, metrics and files of a run that ended well; wait for its end.

    \b
      hft result username/687f911eaea852de79c4a50a --json
    """  # noqa: D301
    found = _find(job_id).result()
    if as_json:
        print_json(result_record(found))
        return
    for name, value in result_record(found).items():
        if value not in (None, {}):
            click.echo(f"{name:12} {value}")


@click.command()
@click.argument("what", metavar="ID|FILE|-")
@click.option("--exit-code", type=int, help="Of a log: the exit code of the run.")
@JSON
@click.pass_context
def diagnose(context: click.Context, what: str, exit_code: int | None, as_json: bool) -> None:
    """Say why a run failed, likeliest first, and what to type instead; of a job, or of a log in a file.

    \b
      hft diagnose username/687f911eaea852de79c4a50a
      hft diagnose train.log --exit-code 1
      uv run train.py 2>&1 | tee train.log | hft diagnose -
    """  # noqa: D301
    import dataclasses
    from pathlib import Path

    from hfjobs_trainer.running.diagnose import diagnose as explain

    if what == "-" or Path(what).is_file():
        with click.open_file(what, errors="replace") as log:
            found = explain(log.read(), exit_code)
    else:
        found = _find(what).diagnose()
    if as_json:
        print_json([dataclasses.asdict(each) for each in found])
    elif found:
        click.echo("\n".join(map(str, found)))
    else:
        note("nothing is known of it")
    context.exit(0)


@click.command()
@_ID
@click.option("--timeout", help="How long the rest takes, such as 2h; 25% is added. Default: the job's.")
@click.option("--flavor", help="Flavor of the new job; default: the job's.")
@JSON
def resume(job_id: str, timeout: str | None, flavor: str | None, as_json: bool) -> None:
    """Go on with a run from its last checkpoint. On Hugging Face Jobs this costs money.

    \b
      hft resume username/687f911eaea852de79c4a50a --timeout 2h
    """  # noqa: D301
    try:
        job = _find(job_id).resume(timeout=timeout, flavor=flavor)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--timeout") from None
    if as_json:
        print_json(job_record(job))
        return
    click.echo(job.id)
    note(f"{job.url or job.record.folder}\nhft watch {job.id}")


@click.command()
@_ID
@JSON
@_SHOW_HF
def cancel(job_id: str, as_json: bool, show_hf: bool) -> None:
    """Stop a run; do nothing if it has ended already.

    \b
      hft cancel username/687f911eaea852de79c4a50a
    """  # noqa: D301
    if show_hf:
        _shown("cancel", job_id)
        return
    job = _find(job_id)
    job.cancel()
    status = job.status()
    if as_json:
        print_json({**job_record(job), "status": status_record(status)})
    else:
        note(f"{job.id}: {status}" if status.is_terminal else f"{job.id} was asked to stop")
