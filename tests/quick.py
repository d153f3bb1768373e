"""Runs the quick tests, which need no torch, where nothing can import it unnoticed: ``make quick``.

A test that imports torch, or starts a process that does, carries the marker ``torch`` and is left out. That none lacks
it is not left to its author: the tests run in an interpreter of its own, which their processes run in too, and which
finds, before the real one, a torch that can only be reported.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Most of their time, they wait: for a timeout, a retry, the end of a process.
PROCESSES = min(8, 3 * (os.cpu_count() or 1))
TORCH = '''\
"""Not torch, but the report that somebody wants it."""

import os
from pathlib import Path

test = os.environ.get("PYTEST_CURRENT_TEST", "a test file, or a process without the environment of its test")
with Path(__file__).parents[1].joinpath("wanted.txt").open("a") as wanted:
    wanted.write(f"{test}\\n")
raise RuntimeError(f"torch is imported by {test}, which lacks @pytest.mark.torch")
'''


def interpreter(folder: Path) -> Path:
    """Make the environment: all packages of this one, and a torch before the real one."""
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, symlinks=True)
    torch = folder / "instead" / "torch" / "__init__.py"
    torch.parent.mkdir(parents=True)
    torch.write_text(TORCH)
    (site_packages,) = folder.glob("lib/python*/site-packages")
    here = Path(pytest.__file__).parents[1]
    (site_packages / "instead.pth").write_text(f"{folder / 'instead'}\nimport site; site.addsitedir({str(here)!r})\n")
    return folder / "bin" / "python"


def run(folder: Path, arguments: list[str]) -> int:
    """The exit status of pytest, or 1 if torch was wanted."""
    python = interpreter(folder)
    # an environment that uv makes for a script is not this one, but its processes inherit the variable
    paths = {
        "PYTHONPATH": f"{folder}/instead",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    pytest_ = [python, "-m", "pytest", "-c", ROOT / "pyproject.toml", "-m", "not torch and not slow", *arguments]
    done = subprocess.run(pytest_, cwd=ROOT, env={**os.environ, **paths}, check=False)
    wanted = folder / "instead" / "wanted.txt"
    if not wanted.exists():
        return done.returncode
    print("\nThese import torch, or start a process that does, and lack @pytest.mark.torch:")
    for test in sorted({line.rpartition(" (")[0] or line for line in wanted.read_text().splitlines()}):
        print(f"  {test}")
    return 1


if __name__ == "__main__":
    sys.exit(run(ROOT / ".venv" / "quick", ["--numprocesses", str(PROCESSES), "--dist", "worksteal", *sys.argv[1:]]))
