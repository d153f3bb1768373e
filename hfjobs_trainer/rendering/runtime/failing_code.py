"""Failures of the user's own code: which function, and at which line."""

import linecache
import re
from traceback import walk_tb
from typing import Any


def blame_own_code(error: Any, found: list[Any]) -> list[Any]:
    """Find the function of the user's that failed: they all stand before `main`."""
    code: Any = globals()["main"].__code__
    name, at, why = "", "", found[-1][2]
    for frame, line in walk_tb(error.__traceback__):
        own = frame.f_code.co_filename == code.co_filename
        if own and line < code.co_firstlineno:
            name = name or frame.f_code.co_name
            text = linecache.getline(code.co_filename, line).strip()
            at = f", at line {line}: {text}"
    notes = "\n".join(getattr(error, "__notes__", ()))
    if reward := re.search(r"raised by the reward (\S+)", notes):
        found.insert(-1, ("reward", f"the reward {reward[1]} failed", why + at))
    elif name:
        found.insert(-1, ("code", f"your function {name} failed", why + at))
    return found
