"""Fixtures that several test modules share: tiny models and datasets, made once per test run."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from examples import tiny

pytest_plugins = ["hubsim.fixtures"]

# What a test asks for and is made with torch.
MADE_WITH_TORCH = {"tiny_model", "tiny_reward_model", "vlm", "warm"}

# Tests run beside each other, a process per core: a training that takes all of them would be slower.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Environments that uv makes for scripts are used more than once: what they import is compiled once.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Whoever starts the tests in the background may have SIGINT ignored, which processes of the tests would inherit.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Examples that hypothesis tries of each property: some while one works, many where nobody waits.
settings.register_profile("local", max_examples=25, deadline=None)
settings.register_profile("large", max_examples=100, deadline=None)
settings.load_profile("large" if os.environ.get("CI") else "local")


def pytest_configure(config: pytest.Config) -> None:
    """No test fills the developer's cache."""
    home = tempfile.TemporaryDirectory(prefix="hft-home-", ignore_cleanup_errors=True)
    config.add_cleanup(home.cleanup)
    os.environ["HFT_HOME"] = home.name


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and MADE_WITH_TORCH & set(item.fixturenames):
            item.add_marker(pytest.mark.torch)


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tiny")


@pytest.fixture(scope="session")
def tiny_model(tiny_folder: Path) -> Path:
    """A folder with a random Qwen2 model, its tokenizer and a chat template."""
    return tiny.make_model(tiny_folder / "model")


@pytest.fixture(scope="session")
def tiny_reward_model(tiny_folder: Path) -> Path:
    """A folder with a random Qwen2 reward model: one score per sequence."""
    return tiny.make_model(tiny_folder / "reward-model", reward=True, seed=1)


@pytest.fixture(scope="session")
def tiny_data(tiny_folder: Path) -> Callable[[tiny.Format], Path]:
    """A function from a format's name to a .jsonl file of 32 such rows."""

    def write(format: tiny.Format) -> Path:
        path = tiny_folder / f"{format}.jsonl"
        return path if path.exists() else tiny.write_dataset(path, format)

    return write


@pytest.fixture(autouse=True)
def nothing_known() -> None:
    """The functions of the package know no answers of an earlier test's Hub, whose port may be another's by now."""
    client = sys.modules.get("hfjobs_trainer.client")
    if client is not None:
        client.default._answers.clear()
