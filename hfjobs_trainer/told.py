"""What the user is told on the way, of what takes long or goes on without them."""

from __future__ import annotations

import contextlib
import sys


def tell(line: str) -> None:
    """Write one line to stderr, where a notebook shows it too; nothing where stderr is closed or missing.

    Args:
        line: What is told, without secrets; further lines of it are joined.
    """
    stream = sys.stderr
    if stream is None:  # pyright: ignore[reportUnnecessaryComparison]  # pythonw has none
        return
    text = " ".join(line.split("\n"))
    with contextlib.suppress(OSError, ValueError):
        try:
            stream.write(f"hft: {text}\n")
        except UnicodeEncodeError:  # stderr of a terminal without Unicode
            stream.write(f"hft: {text.encode('ascii', 'backslashreplace').decode()}\n")
        stream.flush()
