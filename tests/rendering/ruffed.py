"""Ruff over many texts at once."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path


def _run(folder: Path, texts: Mapping[str, str], *command: str) -> str:
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8", newline="\n")
    result = subprocess.run(
        [sys.executable, "-m", "ruff", *command, "--isolated", "--no-cache", "."],
        cwd=folder,
        capture_output=True,
        text=True,
        encoding="utf-8",
    )
    return "" if result.returncode == 0 else result.stdout + result.stderr


def format_changes(folder: Path, texts: Mapping[str, str]) -> str:
    """What ``ruff format`` would change in these modules, as a diff; empty if nothing."""
    return _run(folder, texts, "format", "--diff")


def lint_findings(folder: Path, texts: Mapping[str, str]) -> str:
    """What ``ruff check`` finds in these modules; empty if nothing."""
    return _run(folder, texts, "check", "--output-format=concise", "--target-version=py311")
