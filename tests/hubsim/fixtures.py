"""Fixtures around a running simulator, and a session that knows no real account."""

from __future__ import annotations

import os
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import hubsim

QUIET = {
    "HF_HUB_DISABLE_EXPERIMENTAL_WARNING": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_UPDATE_CHECK": "1",
}
# Longer than any question that is asked of the Hub about a spec may take, seconds.
PATIENCE = 10.0
UNWANTED = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_OIDC_RESOURCE", "HF_DEBUG", "HF_HUB_OFFLINE")


def pytest_configure(config: pytest.Config) -> None:
    """No test may find the developer's token or fill their cache: the client reads most of this when imported."""
    home = tempfile.TemporaryDirectory(prefix="hf-home-", ignore_cleanup_errors=True)
    config.add_cleanup(home.cleanup)
    for name in UNWANTED:
        os.environ.pop(name, None)
    os.environ.update(QUIET, HF_HOME=home.name)


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[hubsim.Hub]:
    """A running simulator with a fresh root; jobs run with the interpreter of the tests."""
    hub, server = hubsim.start(tmp_path / "hub", python=sys.executable)
    yield hub
    # a session that is closed while it is asked something loses the connection, and Python warns of that later
    for thread in threading.enumerate():
        if thread.name == "hfjobs-trainer-gather":
            thread.join(PATIENCE)
    if "huggingface_hub" in sys.modules:
        from huggingface_hub import close_session

        close_session()
    hubsim.stop(hub, server)


@pytest.fixture
def hub_env(hub: hubsim.Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> hubsim.Hub:
    """The simulator as this process's Hub, with alice's token. Endpoint and home reach fresh processes only."""
    monkeypatch.setenv("HF_ENDPOINT", hub.endpoint)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf-home"))
    monkeypatch.setenv("HF_TOKEN", "hf_alice_write")
    return hub
