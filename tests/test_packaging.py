"""What pyproject.toml, the constraints and the pins of a script say of versions is one and the same."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from hfjobs_trainer.planning.pins import pins

ROOT = Path(__file__).parents[1]
PACKAGE, TEMPLATES = ROOT / "hfjobs_trainer", ROOT / "templates"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
CONSTRAINTS = {
    requirement.name: requirement
    for line in (ROOT / "constraints" / "local.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
    for requirement in [Requirement(line)]
}


def _name(requirement: Requirement) -> str:
    return requirement.name.lower().replace("_", "-")


@pytest.mark.parametrize("name", CONSTRAINTS)
def test_every_constraint_is_one_exact_public_version(name: str) -> None:
    (specifier,) = CONSTRAINTS[name].specifier
    assert specifier.operator == "=="
    assert Version(specifier.version).local is None


@pytest.mark.parametrize(
    "line",
    [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["local"], *PROJECT["optional-dependencies"]["dev"]],
)
def test_every_requirement_is_pinned_to_a_version_that_it_allows(line: str) -> None:
    requirement = Requirement(line)
    (pinned,) = CONSTRAINTS[_name(requirement)].specifier
    assert requirement.specifier.contains(pinned.version)


def test_the_local_extra_is_what_a_script_is_pinned_to() -> None:
    extra = [Requirement(line) for line in EXTRAS["local"]]
    exact = {_name(requirement): str(requirement.specifier) for requirement in extra if requirement.name != "uv"}
    assert exact == {name: f"=={version}" for name, version in pins().packages.items()}


def test_the_wheel_carries_the_templates_and_the_data(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "uv", "build", "--wheel", "--quiet", "--out-dir", str(tmp_path), str(ROOT)], check=True
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {path.relative_to(ROOT).as_posix() for kind in ("py", "json") for path in PACKAGE.rglob(f"*.{kind}")}
    expected |= {f"hfjobs_trainer/_templates/{path.relative_to(TEMPLATES)}" for path in TEMPLATES.rglob("*.j2")}
    assert expected <= names
