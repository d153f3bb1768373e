"""``hft preview`` and ``hft smoke-test``: the rendered script in its modes."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import click

from hfjobs_trainer.cli.main import WRONG
from hfjobs_trainer.cli.output import note, print_json, problem_record
from hfjobs_trainer.cli.source import BACKENDS, JSON, OFFLINE, SETTINGS, client_of, read_spec, takes_spec

if TYPE_CHECKING:
    from hfjobs_trainer.facts.backends import BackendName
    from hfjobs_trainer.specs.base import TrainSpec


@click.command(context_settings=SETTINGS)
@takes_spec
@OFFLINE
@click.option("--rows", type=click.IntRange(1), default=5, show_default=True, help="How many rows.")
def preview(
    words: tuple[str, ...], backend: str, namespace: str | None, max_usd: float | None, offline: bool, rows: int
) -> None:
    """Show rows as the model will see them: text, tokens, what is trained, what is cut.

    \b
      hft preview dpo.yaml --rows 2
    """  # noqa: D301
    client = client_of(backend, namespace)
    spec = cast("TrainSpec", read_spec(client, words, max_usd))
    click.echo(str(client.preview(spec, rows=rows, offline=offline)))


@click.command("smoke-test", context_settings=SETTINGS)
@takes_spec
@OFFLINE
@JSON
@click.option(
    "--on", type=click.Choice(BACKENDS), default="local", show_default=True, help="hub: as a job of about a cent."
)
@click.option("--seconds", type=float, help="How long it may take; default: 300 here, 900 as a job.")
@click.pass_context
def smoke_test(
    context: click.Context,
    words: tuple[str, ...],
    backend: str,
    namespace: str | None,
    max_usd: float | None,
    offline: bool,
    as_json: bool,
    on: str,
    seconds: float | None,
) -> None:
    """Run the very script for two steps on tiny random models with real rows, to its push (which is dry).

    \b
      hft smoke-test dpo.yaml
      hft smoke-test dpo.yaml --on hub
    """  # noqa: D301
    client = client_of(backend, namespace)
    spec = cast("TrainSpec", read_spec(client, words, max_usd))
    if not as_json:
        note("running the script for two steps ...")
    tried = client.smoke_test(spec, backend=cast("BackendName", on), offline=offline, seconds=seconds)
    if as_json:
        problems = [problem_record(problem) for problem in tried.problems]
        print_json({"ok": tried.ok, "problems": problems, "not_covered": list(tried.not_covered)})
    else:
        click.echo(str(tried))
    context.exit(0 if tried.ok else WRONG)
