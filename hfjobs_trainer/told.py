"""What the user is told on the way, of what takes long or goes on without them."""

from __future__ import annotations

import contextlib
import sys

NOTHING = "interrupted: nothing was submitted"


def tell_created(job_id: str, *, noun: str = "job", kind: str = "Job", end: str = "cancel") -> str:
    """That what a user interrupted was created, and what to type now.

    Args:
        job_id: Its id.
        noun: What it is.
        kind: The class of ``hft`` that stands for it.
        end: The method that ends it.
    """
    back = f'hft.{kind}.from_id("{job_id}")'
    return f"interrupted: {noun} {job_id} was created and goes on: {back} comes back to it, .{end}() stops it"


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
