"""Runs scripts one after the other, each in a fork of a process that has imported what they all import.

A script runs unchanged, as ``__main__`` of a process of its own; only the seconds of importing torch and TRL are spent
once. Requests come as lines of JSON on stdin, ``{"script", "folder", "env"}``; the answer to each is its exit status.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import sys
import traceback
from pathlib import Path

MODULES = ("datasets", "peft", "trackio", "transformers.integrations.integration_utils", "transformers.trainer", "trl")
NAMES = ("SFT", "DPO", "KTO", "Reward", "GRPO", "RLOO", "Distillation")
EXPERIMENTS = ("orpo", "cpo", "online_dpo", "gkd")


def import_all() -> None:
    os.environ["TRL_EXPERIMENTAL_SILENCE"] = "1"
    for name in (*MODULES, *(f"trl.experimental.{name}" for name in EXPERIMENTS)):
        importlib.import_module(name)
    trl = importlib.import_module("trl")
    for name in NAMES:
        getattr(trl, f"{name}Trainer")


def run(script: str, folder: str, env: dict[str, str]) -> None:
    """Become the script; never returns."""
    os.chdir(folder)
    os.environ.update(env)
    for number, name in ((1, "out.txt"), (2, "err.txt")):
        file = os.open(Path(folder) / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
    sys.argv = [script]
    status = 1
    try:
        runpy.run_path(script, run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    import_all()
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            run(**request)
        _, status = os.waitpid(child, 0)
        answers.write(f"{os.waitstatus_to_exitcode(status)}\n")


if __name__ == "__main__":
    main()
