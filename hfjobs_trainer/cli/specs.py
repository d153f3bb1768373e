"""``hft check``, ``plan``, ``render``, ``recommend`` and ``estimate``: nothing is submitted, nothing costs money."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from hfjobs_trainer.cli.main import OVER_BUDGET, WRONG
from hfjobs_trainer.cli.output import (
    estimate_record,
    in_shell_words,
    note,
    plan_record,
    print_json,
    report_record,
)
from hfjobs_trainer.cli.source import JSON, OFFLINE, SETTINGS, client_of, read_spec, takes_spec

if TYPE_CHECKING:
    from hfjobs_trainer.specs.base import TrainSpec


@click.command(context_settings=SETTINGS)
@takes_spec
@OFFLINE
@JSON
@click.pass_context
def check(
    context: click.Context,
    words: tuple[str, ...],
    backend: str,
    namespace: str | None,
    max_usd: float | None,
    offline: bool,
    as_json: bool,
) -> None:
    """Report everything that is wrong with a spec, and what to type instead.

    \b
      hft check dpo.yaml
      hft check dpo.yaml --learning_rate 5e-6 --lora.r 32 --offline
      hft check --json - < dpo.yaml
      hft check -- trl sft --model_name_or_path Qwen/Qwen2.5-0.5B --dataset_name trl-lib/Capybara
    """  # noqa: D301
    from hfjobs_trainer.errors import SpecError
    from hfjobs_trainer.problems import Report

    client = client_of(backend, namespace)
    try:
        report = client.check(read_spec(client, words, max_usd), offline=offline)
    except SpecError as error:
        report = Report(error.problems, subject=error.subject)
    if as_json:
        print_json(report_record(report))
    else:
        click.echo(str(replace(report, problems=tuple(map(in_shell_words, report.problems)))))
    context.exit(0 if report.ok else WRONG)


@click.command(context_settings=SETTINGS)
@takes_spec
@OFFLINE
@JSON
@click.pass_context
def plan(
    context: click.Context,
    words: tuple[str, ...],
    backend: str,
    namespace: str | None,
    max_usd: float | None,
    offline: bool,
    as_json: bool,
) -> None:
    """Show what would run, where, for how long and for how much. Nothing is submitted.

    \b
      hft plan dpo.yaml
      hft plan dpo.yaml --hardware.flavor l4x1 --json
    """  # noqa: D301
    from hfjobs_trainer.planning.timeout import over_budget

    client = client_of(backend, namespace)
    planned = client.plan(read_spec(client, words, max_usd), offline=offline)
    if as_json:
        print_json(plan_record(planned))
    else:
        click.echo(str(planned))
    if any(problem.severity == "error" for problem in planned.problems):
        context.exit(WRONG if over_budget(planned, "spec") is None else OVER_BUDGET)


@click.command(context_settings=SETTINGS)
@takes_spec
@OFFLINE
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="File to write; default: stdout.")
def render(
    words: tuple[str, ...],
    backend: str,
    namespace: str | None,
    max_usd: float | None,
    offline: bool,
    output: Path | None,
) -> None:
    """Write the training script, which runs with `uv run` on any machine and needs nothing of this package.

    \b
      hft render dpo.yaml -o train.py
      hft render dpo.yaml --backend local --offline | less
    """  # noqa: D301
    client = client_of(backend, namespace)
    script = client.render(read_spec(client, words, max_usd), offline=offline)
    if output is None:
        click.echo(script, nl=False)
        return
    try:
        output.write_text(script, encoding="utf-8")
    except OSError as error:
        raise click.FileError(str(output), error.strerror or str(error)) from None
    note(f"wrote {output}")


@click.command(context_settings=SETTINGS)
@takes_spec
@OFFLINE
@JSON
def recommend(
    words: tuple[str, ...],
    backend: str,
    namespace: str | None,
    max_usd: float | None,
    offline: bool,
    as_json: bool,
) -> None:
    """Show starting values from published recipes, each with its range, reason and source.

    \b
      hft recommend dpo.yaml
    """  # noqa: D301
    client = client_of(backend, namespace)
    found = client.recommend(cast("TrainSpec", read_spec(client, words, max_usd)), offline=offline)
    if not as_json:
        click.echo(str(found))
        return
    import dataclasses

    print_json({"rows": [dataclasses.asdict(row) for row in found.rows], "spec": found.spec.to_dict()})


@click.command(context_settings=SETTINGS)
@takes_spec
@OFFLINE
@JSON
@click.option("--gpu", help='A GPU of your own, such as "RTX 4090" or "2x H100".')
def estimate(
    words: tuple[str, ...],
    backend: str,
    namespace: str | None,
    max_usd: float | None,
    offline: bool,
    as_json: bool,
    gpu: str | None,
) -> None:
    """Estimate memory, time and dollars: on the flavor that the spec names, the one that would be chosen, or your GPU.

    \b
      hft estimate dpo.yaml
      hft estimate dpo.yaml --gpu "RTX 4090"
    """  # noqa: D301
    client = client_of(backend, namespace)
    given: Any = read_spec(client, words, max_usd)
    found = client.estimate(given, gpu=gpu, offline=offline)
    if as_json:
        print_json(estimate_record(found))
    else:
        click.echo(str(found))
