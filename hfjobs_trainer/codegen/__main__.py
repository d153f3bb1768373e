"""``python -m hfjobs_trainer.codegen [--check]``: write every generated file, or say which ones are stale."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from hfjobs_trainer.codegen import (
    architectures,
    call_templates,
    examples,
    exports,
    fields,
    references,
    rules,
    trl_args,
)
from hfjobs_trainer.errors import HFTError

ROOT = Path(__file__).resolve().parents[2]
Generator = Callable[[], dict[str, str]]
GENERATORS: tuple[Generator, ...] = (
    trl_args.generate,
    architectures.generate,
    call_templates.generate,
    fields.generate,
    exports.generate,
    examples.generate,
    references.generate,
    rules.generate,
)
"""Each returns path from the repository's root -> text, and may import what those before it wrote."""

FOLDERS: tuple[str, ...] = (trl_args.FOLDER,)
"""Folders that hold generated Python files only."""


def difference(path: str, text: str, root: Path = ROOT) -> str:
    """Return a unified diff from the file at ``root/path`` to ``text``, empty if equal; or that the file is missing."""
    file = root / path
    if not file.is_file():
        return f"{path} is missing"
    found = file.read_text(encoding="utf-8")
    names = (f"{path} (found)", f"{path} (generated)")
    return "\n".join(difflib.unified_diff(found.splitlines(), text.splitlines(), *names, lineterm="", n=1))


def stale_files(files: dict[str, str], root: Path = ROOT) -> list[str]:
    """Return the Python files in the generated folders that no generator writes anymore."""
    found = {file.relative_to(root).as_posix() for folder in FOLDERS for file in (root / folder).glob("*.py")}
    return sorted(found - files.keys())


def report(files: dict[str, str], root: Path = ROOT) -> int:
    """Print the diff of every file that is not up to date, and return how many there are."""
    diffs = [diff for path, text in files.items() if (diff := difference(path, text, root))]
    print("\n".join(diffs), end="\n" if diffs else "")
    return len(diffs)


def write(files: dict[str, str], root: Path = ROOT) -> int:
    """Write every file that is not up to date, and return how many there were."""
    changed = [path for path, text in files.items() if difference(path, text, root)]
    for path in changed:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(files[path], encoding="utf-8", newline="\n")
        print(f"wrote {path}")
    return len(changed)


def made_by(generator: Generator) -> dict[str, str]:
    """Return what a generator makes.

    Raises:
        HFTError: It failed, or a file of ours imports a name that no generator before it wrote.
    """
    try:
        return generator()
    except ImportError as error:
        raise HFTError(
            f"{error}. What is generated for a class X in specs/methods/x.py is XArgs in specs/trl_args/x.py "
            "and XFields in submitters.py"
        ) from error


def main(argv: Sequence[str] | None = None) -> int:
    """Run every generator.

    Returns:
        0 if the files were written or are up to date, 1 if ``--check`` found a difference, 2 if a generator failed.
    """
    parser = argparse.ArgumentParser(prog="python -m hfjobs_trainer.codegen", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a file is not up to date")
    check = parser.parse_args(argv).check
    files: dict[str, str] = {}
    outdated = 0
    try:
        for generator in GENERATORS:
            made = made_by(generator)
            files |= made
            outdated += report(made) if check else write(made)
    except HFTError as error:
        print(f"codegen: {error}", file=sys.stderr)
        return 2
    for path in stale_files(files):
        print(f"{path}: no generator writes this file{'' if check else '; removed'}")
        outdated += 1
        if not check:
            (ROOT / path).unlink()
    if check and outdated:
        print(f"{outdated} generated files are not up to date; write them with: python -m hfjobs_trainer.codegen")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
