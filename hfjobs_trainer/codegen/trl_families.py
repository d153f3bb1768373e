"""Methods that are pinned to another TRL than the rest: their configs are read in a process with that TRL.

All other packages are the default family's, so only TRL is installed, into a folder that comes first on the path.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from hfjobs_trainer.codegen import trl_args
from hfjobs_trainer.errors import BackendError, HFTError
from hfjobs_trainer.find_uv import find_links, find_uv
from hfjobs_trainer.planning.pins import pins

ROOT = Path(__file__).resolve().parents[2]
# Enough to download TRL's wheel and to import torch on a busy machine.
SECONDS = 300.0

_READ = "from hfjobs_trainer.codegen.trl_families import read; print(read({method!r}))"


@dataclasses.dataclass(frozen=True, slots=True)
class Config:
    """The output of a process with the other TRL.

    Attributes:
        fields: Names of all arguments of the config.
        arguments: Those that the generated class may have.
        trainer: Names of the arguments of the trainer.
    """

    fields: frozenset[str]
    arguments: dict[str, trl_args.Argument]
    trainer: tuple[str, ...]


@functools.cache
def config_elsewhere(method: str) -> Config:
    """Read the config of ``method`` with the TRL that its family pins.

    Raises:
        HFTError: That TRL could not be installed, or its config no longer matches the tables.
    """
    family = trl_args.configs()[method].family
    with tempfile.TemporaryDirectory() as folder:
        _install(f"trl=={pins(family).packages['trl']}", folder)
        path = os.pathsep.join([folder, str(ROOT)])
        told = _run([sys.executable, "-c", _READ.format(method=method)], {"PYTHONPATH": path})
    found = json.loads(told.splitlines()[-1])
    arguments = {name: trl_args.Argument(**argument) for name, argument in found["arguments"].items()}
    return Config(frozenset(found["fields"]), arguments, tuple(found["trainer"]))


def read(method: str) -> str:
    """Return the method's config as JSON; called where its TRL is installed."""
    trl_args.require_pinned("trl", trl_args.configs()[method].family)
    arguments = {name: dataclasses.asdict(item) for name, item in trl_args.arguments_of(method).items()}
    fields, trainer = sorted(trl_args.fields_of(method)), trl_args.trainer_arguments_of(method)
    return json.dumps({"fields": fields, "arguments": arguments, "trainer": trainer})


def _install(requirement: str, folder: str) -> None:
    try:
        uv = find_uv()
    except BackendError as error:
        raise HFTError(f"codegen needs uv to read {requirement}: {error}") from error
    command = [uv, "pip", "install", "--quiet", "--python", sys.executable, "--no-deps", "--target", folder]
    _run([*command, requirement], find_links())


def _run(command: list[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    if done.returncode != 0:
        raise HFTError(f"codegen could not read another TRL: {done.stderr.strip()[-2000:]}")
    return done.stdout
