"""No test of `make quick` imports torch, in whatever process, without being told of."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import quick

CHILD = "subprocess.run([sys.executable, {options}'-c', 'import torch'], env={env})"
WANTING = {
    "in_itself": "ignore('torch')",
    "through_another_package": "ignore('peft')",
    "in_a_child": CHILD.format(options="", env="None"),
    "in_an_isolated_child": CHILD.format(options="'-I', ", env="None"),
    "in_a_child_without_its_environment": CHILD.format(options="", env="{}"),
}
TOP = """\
import importlib, subprocess, sys
import pytest

def ignore(name):
    try:
        importlib.import_module(name)
    except Exception:
        pass

def test_without():
    import hfjobs_trainer, pydantic
"""


def written(folder: Path, bodies: dict[str, str], mark: str = "") -> str:
    tests = [f"\n{mark}\ndef test_{name}():\n    {body}\n" for name, body in bodies.items()]
    path = folder / "test_it.py"
    path.write_text(TOP + "".join(tests), "utf-8")
    return str(path)


def test_what_needs_no_torch_runs(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = written(tmp_path, WANTING, "@pytest.mark.torch")
    assert quick.run(tmp_path / "quick", ["-n0", path]) == 0
    assert f"1 passed, {len(WANTING)} deselected" in capfd.readouterr().out


def test_whoever_wants_torch_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Though every one of these tests passes."""
    assert quick.run(tmp_path / "quick", ["-n0", written(tmp_path, WANTING)]) == 1
    out = capfd.readouterr().out
    assert f"{1 + len(WANTING)} passed" in out
    told = {line.strip().removeprefix("::test_") for line in out.split("@pytest.mark.torch:\n")[1].splitlines()}
    without = "in_a_child_without_its_environment"
    assert told == WANTING.keys() - {without} | {"a test file, or a process without the environment of its test"}


def test_a_failure_is_one(tmp_path: Path) -> None:
    assert quick.run(tmp_path / "quick", ["-n0", written(tmp_path, {"it": "assert False"})]) == 1
