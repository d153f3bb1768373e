"""The words of a command that name a spec: a file, standard input or a command line, and fields that win over it."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from hfjobs_trainer.client import Client
    from hfjobs_trainer.specs.base import TrainSpec
    from hfjobs_trainer.specs.script import Script

F = TypeVar("F", bound=Callable[..., Any])

BACKENDS = ("hub", "local")
SETTINGS: dict[str, Any] = {"ignore_unknown_options": True}
"""Context settings of a command that takes fields as options."""


def takes_spec(function: F) -> F:
    """Add the arguments of a command that reads a spec."""
    added = (
        click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="FILE|- [--FIELD VALUE ...]"),
        click.option("--backend", type=click.Choice(BACKENDS), default="hub", show_default=True, help="Where it runs."),
        click.option("--namespace", help="User or organization that runs and pays; default: the token's owner."),
        click.option("--max-usd", type=float, help="Most US dollars that the run may cost."),
    )
    for each in reversed(added):
        function = each(function)
    return function


OFFLINE = click.option("--offline", is_flag=True, help="Do not contact the Hub.")
JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON (references/command_line.md has its form).")


def client_of(backend: str | None = None, namespace: str | None = None) -> Client:
    """The client for a backend, by default that of Hugging Face Jobs, and an account."""
    from hfjobs_trainer.client import Client

    chosen: Any = backend or "hub"
    return Client(backend=chosen, namespace=namespace)


def read_spec(client: Client, words: Sequence[str], max_usd: float | None = None) -> TrainSpec | Script:
    """The spec that the words of a command name.

    Args:
        client: Reads it.
        words: A file, ``-`` for standard input or a command line, and options of fields.
        max_usd: ``hardware.max_usd``; ``None`` leaves it as it is.

    Raises:
        click.UsageError: There are no words.
        SpecError: The spec is wrong.
    """
    if not words:
        raise click.UsageError("name a spec: a .yaml, .json or .py file, - for standard input, or `-- trl sft ...`")
    cap = [] if max_usd is None else ["--hardware.max_usd", str(max_usd)]
    first, flags = words[0], [*words[1:], *cap]
    if first == "-" or _is_own_script(first):
        from hfjobs_trainer.specs.load import load_text

        text = sys.stdin.read() if first == "-" else json.dumps({"method": "script", "script": first})
        return load_text(text, flags=flags)
    if is_command(words):
        return client.load([*words, *cap])
    return client.load(first, flags=flags)


def _is_own_script(path: str) -> bool:
    """Whether this is a script that this package has not rendered, so that it carries no spec."""
    from hfjobs_trainer.specs.blocks import opens_block

    file = Path(path)
    if file.suffix != ".py" or not file.is_file():
        return False
    text = file.read_text("utf-8", "replace")
    return not opens_block(text, "hfjobs-trainer") and "[tool.hfjobs-trainer]" not in text


def is_command(words: Sequence[str]) -> bool:
    """Whether the words are the command line of a training rather than a file and options."""
    from hfjobs_trainer.specs.launchers import is_command_line

    return len(words) > 1 and not Path(words[0]).exists() and is_command_line(f"{words[0]} ...")
