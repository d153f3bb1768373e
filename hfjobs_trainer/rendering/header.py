"""The PEP 723 block at the top of a script."""

from __future__ import annotations

from hfjobs_trainer.rendering.literals import json_block, toml_key, toml_string, toml_value
from hfjobs_trainer.rendering.page import Header


def write_header(header: Header) -> str:
    """The block, from ``# /// script`` to ``# ///``."""
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
    lines += ["", "[tool.hf-jobs]", *(f"{key} = {toml_value(value)}" for key, value in header.job.items())]
    lines += [
        "",
        "[tool.hfjobs-trainer]",
        f"digest = {toml_string(header.digest)}",
        f"spec = {json_block(header.spec)}",
    ]
    content = "\n".join(lines).split("\n")
    return "\n".join(["# /// script", *(f"# {line}" if line else "#" for line in content), "# ///"])
