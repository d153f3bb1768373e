"""``python -m hfjobs_trainer.codegen [--check]``: write every generated file, or say which ones are stale."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from hfjobs_trainer.codegen import trl_args
from hfjobs_trainer.errors import HFTError

ROOT = Path(__file__).resolve().parents[2]
Generator = Callable[[], dict[str, str]]
GENERATORS: tuple[Generator, ...] = (trl_args.generate,)
"""Each returns path from the repository's root -> text."""

FOLDERS: tuple[str, ...] = (trl_args.FOLDER,)
"""Folders that hold generated Python files only."""


def difference(path: str, text: str, root: Path = ROOT) -> str:
    """Return a unified diff from the file at ``root/path`` to ``text``; empty if they are equal."""
    file = root / path
    found = file.read_text(encoding="utf-8") if file.is_file() else ""
    if found == text and file.is_file():
        return ""
    lines = difflib.unified_diff(found.splitlines(), text.splitlines(), f"{path} (found)", f"{path} (generated)", lineterm="", n=1)
    return "\n".join(lines)


def stale_files(files: dict[str, str], root: Path = ROOT) -> list[str]:
    """Return the Python files in the generated folders that no generator gives any more."""
    found = {file.relative_to(root).as_posix() for folder in FOLDERS for file in (root / folder).glob("*.py")}
    return sorted(found - files.keys())


def main(argv: Sequence[str] | None = None) -> int:
    """Run every generator.

    Returns:
        0 if the files were written or are up to date, 1 if ``--check`` found a difference, 2 if a generator failed.
    """
    parser = argparse.ArgumentParser(prog="python -m hfjobs_trainer.codegen", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a generated file is not up to date")
    check = parser.parse_args(argv).check
    files: dict[str, str] = {}
    try:
        for generator in GENERATORS:
            files |= generator()
    except HFTError as error:
        print(f"codegen: {error}", file=sys.stderr)
        return 2
    stale = stale_files(files)
    changed = {path: diff for path, text in files.items() if (diff := difference(path, text))}
    if check:
        for diff in changed.values():
            print(diff)
        for path in stale:
            print(f"{path}: no generator gives this file")
        if changed or stale:
            print(f"{len(changed) + len(stale)} of {len(files)} generated files are not up to date: run make generate")
        return 1 if changed or stale else 0
    for path in changed:
        (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
        (ROOT / path).write_text(files[path], encoding="utf-8", newline="\n")
        print(f"wrote {path}")
    for path in stale:
        (ROOT / path).unlink()
        print(f"removed {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
