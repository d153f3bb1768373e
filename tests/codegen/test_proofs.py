"""The table of what is tested names tests that exist, for every method."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from hfjobs_trainer.codegen.proofs import ASPECTS, proofs
from hfjobs_trainer.specs.registry import METHODS

ROOT = Path(__file__).parents[2]


def test_every_test_that_is_named_exists() -> None:
    named = {aspect.proof(method) for aspect in ASPECTS for method in METHODS}
    files = sorted({test.split("::")[0] for test in named})
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *files]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert named - set(done.stdout.splitlines()) == set()


def test_every_method_has_a_row_and_every_test_is_told() -> None:
    text = proofs({})
    assert [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")] == list(METHODS)
    for aspect in ASPECTS:
        assert {aspect.test, *aspect.others.values()} <= set(text.split("`"))
        assert aspect.without <= aspect.others.keys() <= set(METHODS)
