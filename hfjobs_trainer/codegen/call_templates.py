"""Generator of ``data/call_templates.json``: the chat templates of which TRL can read calls of tools, by their text."""

from __future__ import annotations

import hashlib
import importlib
import json
from importlib.resources import files
from types import SimpleNamespace
from typing import Any

PATH = "hfjobs_trainer/data/call_templates.json"


def generate() -> dict[str, str]:
    """Return the path of the table -> its text: the digest of each template, and what TRL calls it."""
    trl: Any = importlib.import_module("trl")
    known = {}
    for entry in sorted(files("trl").joinpath("chat_templates").iterdir(), key=lambda item: item.name):
        text = entry.read_text(encoding="utf-8")
        if entry.name.endswith(".jinja") and _is_read(text):
            known[hashlib.sha256(text.encode()).hexdigest()] = entry.name.removesuffix(".jinja")
    return {PATH: json.dumps({"trl": trl.__version__, "templates": known}, indent=2) + "\n"}


def _is_read(template: str) -> bool:
    """Whether TRL finds how to read an answer by the text of the template."""
    utils: Any = importlib.import_module("trl.chat_template_utils")
    try:
        utils.add_response_schema(SimpleNamespace(chat_template=template))
    except ValueError:
        return False
    return True
