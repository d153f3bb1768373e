"""Answers requests on stdin, one JSON object per line, with one JSON object per line on stdout.

Run with ``python -m hfjobs_trainer.tokenizing``. A reply has what ``look.look`` returns, or ``unsupported`` with the
reason why there is nothing. It needs transformers, TRL and jinja2, and neither torch nor datasets, whose import would
take most of its time.
"""

from __future__ import annotations

import gc
import importlib.machinery
import json
import os
import signal
import sys
from types import ModuleType
from typing import Any

# Most memory that a tokenizer and a template may take, bytes, and how long a process waits for its next question.
MEMORY = 4 * 1024**3
IDLE_SECONDS = 600

# What TRL's module for rows imports for annotations and for functions that are not called here.
_ABSENT = ("datasets", "pyarrow", "pyarrow.compute", "pyarrow.types")


def main() -> None:
    """Answer requests until stdin ends, or none comes for some minutes."""
    gc.disable()
    # what the libraries print must not mix with the replies
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    _limit_memory()
    missing = _missing()
    gc.freeze()
    gc.enable()
    while True:
        _wake_within(IDLE_SECONDS)
        line = sys.stdin.readline()
        _wake_within(0)
        if not line:
            return
        answers.write(json.dumps({"missing": missing} if missing else answer(line)) + "\n")
        answers.flush()


def answer(line: str) -> dict[str, Any]:
    """The reply to one request."""
    from hfjobs_trainer.tokenizing.load import UnsupportedError
    from hfjobs_trainer.tokenizing.look import look

    try:
        return look(json.loads(line))
    except UnsupportedError as error:
        return {"unsupported": str(error)[:300]}
    except Exception as error:  # templates and files of others make libraries raise anything
        return {"unsupported": f"they cannot be rendered ({type(error).__name__}: {str(error)[:100]})"}


def _missing() -> str | None:
    """The first library that cannot be imported."""
    # without it transformers has tokenizers alone, in half a second
    sys.modules["torch"] = None  # pyright: ignore[reportArgumentType]
    try:
        __import__("jinja2")
        __import__("transformers")
        for name in _ABSENT:
            sys.modules[name] = _Absent(name)
        __import__("trl.chat_template_utils")
    except ImportError as error:
        return str(error)[:300]
    return None


class _Absent(ModuleType):
    """In place of a library that is named, but not used."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__spec__ = importlib.machinery.ModuleSpec(name, None)
        self.__path__ = []

    def __getattr__(self, name: str) -> type:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def _limit_memory() -> None:
    if sys.platform != "win32":
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_AS)
        limit = MEMORY if most == resource.RLIM_INFINITY else min(MEMORY, most)
        resource.setrlimit(resource.RLIMIT_AS, (limit, most))


def _wake_within(seconds: int) -> None:
    """End this process after so many seconds; 0: no more."""
    if sys.platform != "win32":
        signal.alarm(seconds)


if __name__ == "__main__":
    main()
