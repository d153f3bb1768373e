"""The quickstart notebook, run as a user would, against a simulated Hub whose job really trains."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hubsim
import pytest

ROOT = Path(__file__).parents[2]
SECONDS = 180
# What a cell shows where HTML cannot be shown, and in the saved notebook beside it.
LONGEST_TEXT = 400


@pytest.fixture
def outputs(
    hub_env: hubsim.Hub,
    tiny_model: Path,
    tiny_data: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, list[Any]]:
    """What the cells of the notebook put out, by their source."""
    import nbclient
    import nbformat

    monkeypatch.setenv("HFT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("HF_HUB_DISABLE_PROGRESS_BARS")  # a user has not set it
    shutil.copytree(tiny_model, hub_env.root / "models/Qwen/Qwen2.5-0.5B-Instruct")
    folder = hub_env.root / "datasets/trl-lib/Capybara"
    folder.mkdir(parents=True)
    shutil.copy(tiny_data("messages"), folder / "train.jsonl")
    untyped: Any = nbformat
    notebook = untyped.read(ROOT / "examples/quickstart.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "the notebook is kept without outputs"
    nbclient.NotebookClient(notebook, timeout=SECONDS, resources={"metadata": {"path": str(tmp_path)}}).execute()
    return {cell.source: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}


@pytest.mark.torch
@pytest.mark.slow
def test_every_cell_shows_something_small_and_readable(outputs: dict[str, list[Any]]) -> None:
    shown = {source: output for source, made in outputs.items() for output in made if output.output_type != "stream"}
    assert set(shown) == set(outputs)
    for source, output in shown.items():
        if output.output_type == "error":
            continue
        assert "text/html" in output.data, source
        assert len(output.data["text/plain"]) <= LONGEST_TEXT, source

    plan = next(output.data["text/html"] for source, output in shown.items() if source.endswith("\nplan"))
    assert plan.count("<details") == plan.count("<details open") + 2  # the decisions and the script are folded
    assert "<summary>the script, " in plan

    streams = [output.text for made in outputs.values() for output in made if output.output_type == "stream"]
    assert not any(word in text for text in streams for word in ("Upload", "MB/s", "Warning"))

    error = next(output for output in shown.values() if output.output_type == "error")
    told = "\n".join(error.traceback)
    assert "SpecError: " in told
    assert "eval_strategy" in told
    assert "learning_rate" in told
    assert "fix: " in told
    assert "hfjobs_trainer/" not in told

    result = shown["job.result()"].data["text/html"]
    assert "alice/qwen-capybara" in result
    assert "COMPLETED" in shown["job.watch()"].data["text/html"]
    assert "1 run" in shown[next(source for source in shown if source.startswith("hft.jobs("))].data["text/html"]
