"""A run that is killed goes on as if nothing had happened, on one machine and on several."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.planning import assemble
from tests.e2e.methods import Inputs, Warm

pytestmark = pytest.mark.torch

# Kills itself in its fifth step, once a checkpoint was kept: only as long as the file `kill` is there.
KILL = """
def killed(*_: Any, **__: Any) -> None:
    if trainers[0].state.global_step == 4 and Path("kill").exists():
        trainers[0].callback_handler  # as good as any point within a step
        stops[0].keeper.finish(60)
        os.kill(os.getpid(), 9)
"""
