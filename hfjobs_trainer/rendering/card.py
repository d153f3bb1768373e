"""The card of a model, filled in as far as it is known before the run.

The script fills in the rest by ``%``, line by line. Values reach the template as text alone: whatever could be markup
in them is spelt out, so that no name can become a link, a row of a table or a line.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from hfjobs_trainer.errors import RenderError
from hfjobs_trainer.rendering.literals import python_literal
from hfjobs_trainer.rendering.page import Card
from hfjobs_trainer.rendering.places import template_folder

if TYPE_CHECKING:
    from jinja2 import Template

# What means nothing in Markdown, HTML, a table or a format string.
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ./:-_@,=()")


def fill_card(card: Card, digest: str) -> Mapping[str, Any]:
    """What the block at the end of a script holds of the card.

    Args:
        card: The card.
        digest: Digest of the spec.

    Raises:
        RenderError: The template is wrong, which is a defect of this package.
    """
    from jinja2 import TemplateError

    options = "".join(f", {name}={python_literal(value)}" for name, value in card.load_options.items())
    try:
        text = _template().render(card=card, digest=digest, options=options)
    except TemplateError as error:
        raise RenderError(f"template card.md.j2: {error}") from error
    values = {
        "card": text.strip("\n"),
        "metadata": card.metadata,
        "usd_per_hour": card.usd_per_hour,
        "replaces": card.replaces or None,
        "published": card.published or None,
    }
    return {name: value for name, value in values.items() if value is not None}


def as_text(value: object) -> str:
    """A value as plain text in a line of Markdown, in ASCII."""
    return "".join(char if char in _PLAIN else f"&#{ord(char)};" for char in str(value))


@cache
def _template() -> Template:
    from jinja2 import FileSystemLoader, StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        loader=FileSystemLoader(template_folder()),
        undefined=StrictUndefined,
        finalize=as_text,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    return environment.get_template("card.md.j2")
