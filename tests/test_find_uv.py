"""uv, which runs a script in an environment of its own: where it is, and what it is told of pip's configuration."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from hfjobs_trainer import find_uv
from hfjobs_trainer.running.backends.local import LocalBackend
from hfjobs_trainer.running.job import Job
from tests.running.places import LocalPlace, plan_of

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture
def place(tmp_path: Path) -> LocalPlace:
    return LocalPlace(tmp_path / "runs")


def test_no_uv_is_told_with_the_remedy(place: LocalPlace, tmp_path: Path):
    code = f"""
        import sys
        sys.path.append({str(REPOSITORY)!r})
        from hfjobs_trainer.errors import BackendError
        from hfjobs_trainer.running.backends.local import LocalBackend
        from tests.running.places import plan_of
        try:
            LocalBackend({str(place.root)!r}).submit(plan_of("print()"))
        except BackendError as error:
            print(error)
    """
    # An interpreter without packages, in a folder without uv.
    python = tmp_path / "python"
    python.symlink_to(sys.executable)
    told = subprocess.check_output(
        [python, "-I", "-S", "-c", textwrap.dedent(code)], env={"PATH": str(tmp_path)}, text=True
    )
    assert "type `pip install uv`" in told
    assert 'LocalBackend(python="current")' in told
    assert not place.root.exists()


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"PIP_FIND_LINKS": "/a /b"}, {"UV_FIND_LINKS": "/a,/b"}),
        ({"PIP_FIND_LINKS": "/a", "UV_FIND_LINKS": "/c"}, {}),
    ],
)
def test_uv_is_told_of_the_local_wheels_that_pip_knows(environ: dict[str, str], told: dict[str, str]):
    assert find_uv.find_links(environ) == told


def test_uv_is_told_what_pip_was_configured_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "pip.conf").write_text("[global]\nfind-links =\n    /wheels/a\n    /wheels/b\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.delenv("UV_FIND_LINKS", raising=False)
    find_uv.configured_find_links.cache_clear()
    try:
        assert find_uv.find_links() == {"UV_FIND_LINKS": "/wheels/a,/wheels/b"}
    finally:
        find_uv.configured_find_links.cache_clear()


def test_uv_runs_the_script_with_the_versions_that_its_header_pins(tmp_path: Path):
    script = """
        # /// script
        # requires-python = ">=3.11"
        # dependencies = ["iniconfig==2.1.0"]
        # ///
        import importlib.util
        from importlib.metadata import version
        print(version("iniconfig"), importlib.util.find_spec("pytest"))
    """
    backend = LocalBackend(tmp_path / "runs")
    plan = plan_of(textwrap.dedent(script), env={"UV_TORCH_BACKEND": "auto"})
    job = Job(backend.submit(plan), backend).wait(120).raise_for_status()
    assert list(job.logs())[-1] == "2.1.0 None"
