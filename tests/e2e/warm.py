"""Runs scripts one after the other, each in forks of a process that has imported what they all import.

A script runs unchanged, as ``__main__`` of a process of its own; only the seconds of importing torch and TRL are spent
once. Several processes find each other as torchrun's do: by the environment, and by a store that somebody else keeps.
Requests come as lines of JSON on stdin, ``{"script", "folder", "env", "processes"}``; the answer to each is its exit
status.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

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


def run(script: str, folder: str, env: Mapping[str, str]) -> None:
    """Become the script; never returns."""
    os.chdir(folder)
    os.environ.update(env)
    for number, name in ((1, "out"), (2, "err")):
        path = Path(folder) / f"{name}-{env.get('RANK', '0')}.txt"
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    sys.argv = [script]
    status = 1
    try:
        runpy.run_path(script, run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def rank_environment(rank: int, processes: int, port: int) -> dict[str, str]:
    """What torchrun and accelerate tell a process of theirs."""
    ranks = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "LOCAL_WORLD_SIZE": processes}
    master = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "TORCHELASTIC_USE_AGENT_STORE": True}
    return {name: str(value) for name, value in (ranks | master).items()}


def start(script: str, folder: str, env: Mapping[str, str], processes: int) -> int:
    """Run the script in as many forks; the first exit status that is not 0 ends them all."""
    if processes == 1:
        return first_failure([fork(script, folder, env)])
    # The store has threads, which a fork would lose, so that it comes after them.
    reading, writing = os.pipe()
    children = [fork(script, folder, env, rank=(rank, processes, reading)) for rank in range(processes)]
    store: Any = importlib.import_module("torch.distributed").TCPStore(
        "127.0.0.1", 0, is_master=True, wait_for_workers=False
    )
    for _ in children:
        os.write(writing, store.port.to_bytes(2, "big"))
    os.close(reading)
    os.close(writing)
    return first_failure(children)


def fork(script: str, folder: str, env: Mapping[str, str], rank: tuple[int, int, int] | None = None) -> int:
    """Process id of a child that becomes the script; as one of several, once it was told the port of their store."""
    child = os.fork()
    if child == 0:
        if rank:
            number, processes, port = rank
            env = {**env, **rank_environment(number, processes, int.from_bytes(os.read(port, 2), "big"))}
        run(script, folder, env)
    return child


def first_failure(children: list[int]) -> int:
    running, failure = set(children), 0
    while running:
        child, status = os.wait()
        running.discard(child)
        status = os.waitstatus_to_exitcode(status)
        if status and not failure:
            failure = status
            for other in running:
                os.kill(other, signal.SIGKILL)
    return failure


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    import_all()
    for line in sys.stdin:
        answers.write(f"{start(**json.loads(line))}\n")
    os._exit(0)  # tidying up what was imported takes seconds


if __name__ == "__main__":
    main()
