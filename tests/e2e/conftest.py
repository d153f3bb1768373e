"""Fixtures of the tests that train: one warm process in each process of pytest, and what is trained on."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from examples import tiny
from tests.e2e.methods import Inputs, Warm


@pytest.fixture(scope="session")
def inputs(
    tiny_folder: Path, tiny_model: Path, tiny_reward_model: Path, tiny_data: Callable[[tiny.Format], Path]
) -> Inputs:
    return Inputs(tiny_model, tiny.make_model(tiny_folder / "teacher", seed=2), tiny_reward_model, tiny_data)


@pytest.fixture(scope="session")
def pinned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where scripts lie that run in environments of their own: a folder for each, and the same ones for all workers."""
    own = tmp_path_factory.getbasetemp()
    folder = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "pinned"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    process = Warm(tmp_path_factory.mktemp("warm"))
    yield process
    process.close()
