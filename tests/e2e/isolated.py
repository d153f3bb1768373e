"""Scripts run with the packages of their own header."""

from __future__ import annotations

import shutil


def uv_run() -> tuple[str, ...]:
    """The command that runs a script in an environment of its own, made of its exact pins."""
    uv = shutil.which("uv")
    if uv is None:
        from uv import find_uv_bin

        uv = find_uv_bin()
    return (uv, "run", "--no-project", "--script")
