"""The hook of a script: every process of it runs the file that HFT_MODE_FILE names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from e2e.methods import environment, render_to

MODE = """
import os, sys
from pathlib import Path

script = sys.modules["__main__"]
rank = os.environ.get("RANK", "none")
Path(os.environ["HFT_MODE_SCRATCH"], f"rank-{rank}").write_text(script.DATASET)
if rank != "none":
    os._exit(0)
"""


@pytest.mark.torch
def test_processes_that_are_started_again_run_the_file_too(tmp_path: Path) -> None:
    mode, scratch = tmp_path / "mode.py", tmp_path / "scratch"
    mode.write_text(MODE)
    scratch.mkdir()
    fields = {"model": "org/model", "dataset": "org/data", "max_steps": 1}
    script = render_to(tmp_path / "run", "sft", fields)
    text = script.read_text("utf-8")
    env = environment(tmp_path / "cache", tmp_path / "trackio", HFT_NUM_PROCESSES="2")
    env |= {"HFT_MODE_FILE": str(mode), "HFT_MODE_SCRATCH": str(scratch)}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=script.parent, env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert sorted(path.name for path in scratch.iterdir()) == ["rank-0", "rank-1", "rank-none"]
    assert {path.read_text() for path in scratch.iterdir()} == {"org/data"}
    assert script.read_text("utf-8") == text
