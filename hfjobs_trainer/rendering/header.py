"""The two blocks of a script: what uv and Jobs read at its top, and the spec at its end."""

from __future__ import annotations

import json
from typing import Any

from hfjobs_trainer.rendering.literals import LINE_LENGTH, json_block, toml_inline, toml_key, toml_string, toml_value
from hfjobs_trainer.rendering.page import Header


def write_header(header: Header) -> str:
    """The PEP 723 block, from ``# /// script`` to ``# ///``."""
    lines = [
        f"requires-python = {toml_string(header.requires_python)}",
        f"dependencies = {toml_value(header.dependencies)}",
    ]
    if header.exclude_newer or header.uv:
        lines += ["", "[tool.uv]"]
    lines += [f"{toml_key(name)} = {toml_value(value)}" for name, value in header.uv.items()]
    if header.exclude_newer:
        lines.append(f"exclude-newer = {toml_string(header.exclude_newer)}")
    if header.unbounded:
        exempt = ", ".join(f"{toml_string(name)} = false" for name in header.unbounded)
        lines.append(f"exclude-newer-package = {{ {exempt} }}")
    # read by `hf jobs uv run`; submit() passes the same values itself
    lines += ["", "[tool.hf-jobs]", *(f"{key} = {toml_inline(value)}" for key, value in header.job.items())]
    return _block("script", lines)


def write_spec(header: Header) -> str:
    """The block that ``hft.load`` reads, from ``# /// hfjobs-trainer`` to ``# ///``."""
    fields: dict[str, Any] = json.loads(header.spec)
    lines = [""]
    for name, value in fields.items():
        item = f"{json.dumps(name)}: {json.dumps(value)},"
        # as many to a line as fit, behind the "# " of the comment
        if lines[-1] and len(lines[-1]) + 1 + len(item) > LINE_LENGTH - 2:
            lines.append("")
        lines[-1] += f" {item}" if lines[-1] else f"  {item}"
    text = "\n".join(["{", *lines])[:-1] + "\n}"
    more = [f"{name} = {(json_block if name == 'card' else toml_value)(value)}" for name, value in header.card.items()]
    return _block("hfjobs-trainer", [f"digest = {toml_string(header.digest)}", f"spec = {json_block(text)}", *more])


def _block(kind: str, lines: list[str]) -> str:
    content = "\n".join(lines).split("\n")
    return "\n".join([f"# /// {kind}", *(f"# {line}" if line else "#" for line in content), "# ///"])
