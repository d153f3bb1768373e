"""The hub backend, connected to a simulated Hub."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import hubsim
import pytest

from hfjobs_trainer.running.backends.hub import HubBackend
from hfjobs_trainer.running.backends.hub_connection import Patience
from tests.running.hub_runs import QUICK


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Every test leaves the folder of temporary files empty."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def connect(hub: hubsim.Hub) -> Callable[..., HubBackend]:
    def connect(
        token: str | None = "hf_alice_write", namespace: str | None = "alice", patience: Patience = QUICK
    ) -> HubBackend:
        return HubBackend(token, namespace, hub.endpoint, patience)

    return connect


@pytest.fixture
def backend(connect: Callable[..., HubBackend]) -> HubBackend:
    return connect()
