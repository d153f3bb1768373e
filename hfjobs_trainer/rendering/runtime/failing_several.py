"""Failures where several processes train: one tells, or who started one that died."""

import os
import re
from pathlib import Path
from typing import Any

from hfjobs_trainer.rendering.runtime.relaunch import run_processes

# Accelerate's launcher, which alone sees how its processes end.
LAUNCHES = """\
import sys
import traceback
from accelerate.commands.launch import main
try:
    main()
except Exception as error:
    traceback.print_exc()
    failures = getattr(error, "failures", {}).values()
    sys.exit(137 if -9 in [each.exitcode for each in failures] else 1)
"""


def run_told(command: list[str], run: Any = None) -> int:
    """Run what starts processes of this script, and give their exit code.

    Raises:
        MemoryError: One was killed: it could not tell so itself.
    """
    if command[1:3] == ["-m", "accelerate.commands.launch"]:
        command = [command[0], "-c", LAUNCHES, *command[3:]]
    if (code := (run or run_processes)(command)) == 137:
        why = "by signal 9, as happens where memory is full"
        raise MemoryError(f"a process of this run was killed {why}")
    return code


def first_to_fail(_error: Any, found: list[Any]) -> list[Any]:
    """Find nothing where another process has told, or has caused this failure."""
    if file := os.environ.get("HFT_EXIT_FILE"):
        mark, echo = Path(file).with_name("failed"), "Dist.*Error|by peer|[Gg]loo|NCCL"
        what, _, why = found[0]
        if mark.exists() or (what == "other" and re.search(echo, why)):
            return []
        mark.touch()
    return found
