"""Stand-ins of the Hub that misbehave, and many faults tried side by side, in processes of their own."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import random
import sys
import tempfile
import warnings
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.faults.report import Violation

ROOT = Path(__file__).parents[2]
TOKEN = "hf_alice_write"  # of the stand-in
C = TypeVar("C")

_QUIET = {
    "HF_HUB_DISABLE_EXPERIMENTAL_WARNING": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
}
_UNWANTED = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_DEBUG", "HF_HUB_OFFLINE", "HF_ENDPOINT")


@contextmanager
def stand_in() -> Generator[Any]:
    """A stand-in with nothing in it, of ``tests/hubsim``; its jobs are played, not run."""
    with tempfile.TemporaryDirectory(prefix="hft-faults-") as folder:
        hubsim = import_hubsim()
        hub, server = hubsim.start(folder, isolate="off", config={"settings": {"exec": "off"}})
        try:
            yield hub
        finally:
            hubsim.stop(hub, server)


def import_hubsim() -> Any:
    """The package of the stand-in."""
    place = str(ROOT / "tests")
    if place not in sys.path:
        sys.path.append(place)
    return importlib.import_module("hubsim")


def sample(cells: Sequence[C], scale: float, seed: int) -> list[C]:
    """A share of the cells, in random order: of neighbours, some take long together."""
    return random.Random(seed).sample(cells, min(len(cells), max(1, round(len(cells) * scale))))


def try_all(
    judge: Callable[[C], list[Violation]], cells: Sequence[C], *, processes: int, threads: int = 1
) -> tuple[Violation, ...]:
    """What ``judge``, a function of a module, finds in each of the cells."""
    shares = [share for first in range(processes) if (share := cells[first::processes])]
    with ProcessPoolExecutor(len(shares), multiprocessing.get_context("spawn"), _begin) as pool:
        done = [pool.submit(_judge_share, judge, share, threads) for share in shares]
        return tuple(found for share in done for found in share.result())


def _begin() -> None:
    """The client reads its settings when it is imported, which comes later."""
    for name in _UNWANTED:
        os.environ.pop(name, None)
    os.environ.update(_QUIET, HF_HOME=tempfile.mkdtemp(prefix="hf-home-"))
    warnings.simplefilter("ignore")


def _judge_share(judge: Callable[[C], list[Violation]], cells: Sequence[C], threads: int) -> list[Violation]:
    with ThreadPoolExecutor(threads) as pool:
        return [found for each in pool.map(judge, cells) for found in each]
