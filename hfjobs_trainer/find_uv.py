"""Where uv is on this machine, and the local wheels that pip is configured with."""

from __future__ import annotations

import ast
import functools
import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from hfjobs_trainer.errors import BackendError

# Longest wait for pip's configuration, seconds; without it, uv uses its own.
PIP_SECONDS = 30.0


def find_uv() -> str:
    """Path of uv: on ``PATH``, beside the running interpreter, or in the ``uv`` package.

    Raises:
        BackendError: There is none.
    """
    beside = str(Path(sys.executable).with_name("uv"))
    found = shutil.which("uv") or shutil.which(beside)
    if found:
        return found
    try:
        return str(importlib.import_module("uv").find_uv_bin())
    except (ImportError, FileNotFoundError) as error:
        raise BackendError(
            "uv, which runs the script in an environment of its own, was not found: type `pip install uv`, or use"
            ' LocalBackend(python="current") to run in the environment of this interpreter',
            error,
        ) from error


def find_links(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Where uv finds local wheels (a CPU build of torch, say): it does not read pip's configuration.

    Returns:
        ``UV_FIND_LINKS`` and its value; empty if it is set already or pip has no such folder.
    """
    if environ.get("UV_FIND_LINKS"):
        return {}
    told = environ.get("PIP_FIND_LINKS") or configured_find_links()
    return {"UV_FIND_LINKS": ",".join(told.split())} if told.split() else {}


@functools.cache
def configured_find_links() -> str:
    """What pip's configuration files say, asked from pip: they are up to five, and may lie in several places."""
    pythons = (sys.executable, f"{sys.base_prefix}/bin/python3")  # a virtual environment may lack pip
    for pip in (*([python, "-m", "pip"] for python in pythons), ["pip"]):
        # Not `config get`, which reads the user's file alone.
        try:
            asked = subprocess.run(
                [*pip, "config", "list"],
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                timeout=PIP_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        if asked.returncode == 0:
            settings = dict(line.split("=", 1) for line in asked.stdout.splitlines() if "=" in line)
            return str(ast.literal_eval(settings.get("global.find-links", "''")))
    return ""
