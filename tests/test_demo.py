"""`make demo` does what it promises: two models are planned, rendered, trained and found where it says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.torch
def test_the_demo_trains_two_models_and_says_where_they_are(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "examples.demo", str(tmp_path)]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr

    losses = re.findall(r"loss +([\d.]+) before, ([\d.]+) after", ran.stdout)
    assert len(losses) == 2
    assert all(float(after) < float(before) / 2 for before, after in losses)
    places = re.findall(r"^  (model|script|trackio) +(\S+)$", ran.stdout, re.MULTILINE)
    assert [name for name, _ in places] == ["model", "script", "trackio"] * 2
    assert all(Path(path).exists() for _, path in places)
    assert "'The sea is blue.'" in ran.stdout
    assert "hft.submit(spec)" in ran.stdout
