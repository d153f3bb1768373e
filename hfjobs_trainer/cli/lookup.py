"""``hft hardware``, ``rules`` and ``explain``: what there is to know without a run."""

from __future__ import annotations

import difflib
import inspect
from typing import TYPE_CHECKING, cast

import click

from hfjobs_trainer.cli.output import estimate_record, flavor_record, print_json
from hfjobs_trainer.cli.source import JSON, OFFLINE, SETTINGS, client_of, read_spec

if TYPE_CHECKING:
    from hfjobs_trainer.specs.base import TrainSpec


@click.command(context_settings=SETTINGS)
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[FILE|- [--FIELD VALUE ...]]")
@OFFLINE
@JSON
def hardware(words: tuple[str, ...], offline: bool, as_json: bool) -> None:
    """List the flavors of Hugging Face Jobs with their prices; with a spec, compare them for its run.

    \b
      hft hardware
      hft hardware dpo.yaml
    """  # noqa: D301
    client = client_of()
    if not words:
        table = client.hardware_table(offline=offline)
        if as_json:
            print_json([flavor_record(flavor) for flavor in table])
        else:
            click.echo(str(table))
        return
    found = client.compare_flavors(cast("TrainSpec", read_spec(client, words)), offline=offline)
    if as_json:
        print_json([estimate_record(row) for row in found])
    else:
        click.echo(str(found))


@click.command()
@click.argument("code", required=False)
@JSON
def rules(code: str | None, as_json: bool) -> None:
    """List the rules that specs are checked by; with a code, explain it, with an area such as LORA, list that.

    \b
      hft rules
      hft rules LORA
      hft rules DATA001
    """  # noqa: D301
    told = _codes()
    wanted = (code or "").upper()
    if wanted in told:
        _explain(wanted, told, as_json=as_json)
        return
    found = {each: words for each, words in told.items() if each.startswith(wanted)}
    if not found:
        raise _unknown(wanted, told)
    lines = {each: _headline(words) for each, words in found.items()}
    if as_json:
        print_json([{"code": each, "what": line} for each, line in lines.items()])
    else:
        click.echo("\n".join(f"{each}  {line}" for each, line in lines.items()))


@click.command()
@click.argument("code")
@JSON
def explain(code: str, as_json: bool) -> None:
    """Explain a problem's code, with an example.

    \b
      hft explain DATA001
    """  # noqa: D301
    told = _codes()
    if code.upper() not in told:
        raise _unknown(code.upper(), told)
    _explain(code.upper(), told, as_json=as_json)


def _explain(code: str, told: dict[str, str], *, as_json: bool) -> None:
    if as_json:
        print_json({"code": code, "what": _headline(told[code]), "text": told[code]})
    else:
        click.echo(f"{code}: {told[code]}")


def _codes() -> dict[str, str]:
    """What each code means, by code."""
    from hfjobs_trainer.planning import schedule
    from hfjobs_trainer.planning.check import all_rules
    from hfjobs_trainer.specs import load, parse

    plain = {**parse.CODES, **load.CODES, **schedule.CODES}
    documented = {code: inspect.cleandoc(rule.doc) for code, rule in all_rules().items()}
    return dict(sorted((plain | documented).items()))


def _headline(words: str) -> str:
    return words.split("\n", 1)[0]


def _unknown(code: str, told: dict[str, str]) -> click.UsageError:
    close = difflib.get_close_matches(code, told, 1)
    hint = f"; did you mean {close[0]}?" if close else ""
    return click.UsageError(f"there is no code {code}{hint} `hft rules` lists them.")
