"""Templates are compiled once, and anew when anything changes that went into them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from jinja2 import Environment, FileSystemLoader

from hfjobs_trainer.rendering.compiled import CompiledTemplates


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", None)
    (tmp_path / "greet.j2").write_text("hello {{ name }}", encoding="utf-8")
    return tmp_path


def render(folder: Path, options: bytes = b"") -> str:
    environment = Environment(loader=FileSystemLoader(folder), bytecode_cache=CompiledTemplates(options))
    return environment.get_template("greet.j2").render(name="you")


def kept(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.rglob("*.pyc")}


def test_a_template_is_compiled_once(folder: Path) -> None:
    assert render(folder) == "hello you"
    first = kept(folder)
    assert len(first) == 1
    assert render(folder) == "hello you"
    assert kept(folder) == first
    assert not list(folder.rglob("*.tmp"))


def test_it_is_compiled_anew_when_source_or_options_change(folder: Path) -> None:
    render(folder)
    first = kept(folder)
    (folder / "greet.j2").write_text("bye {{ name }}", encoding="utf-8")
    assert render(folder) == "bye you"
    second = kept(folder)
    assert render(folder, b"other options") == "bye you"
    assert len({*first.items(), *second.items(), *kept(folder).items()}) == 3


@pytest.mark.parametrize("content", [b"", b"no marshal", b"\xa9\x02\xda\x01a\xda\x01b"])
def test_what_is_broken_is_compiled_anew(folder: Path, content: bytes) -> None:
    render(folder)
    (path,) = folder.rglob("*.pyc")
    path.write_bytes(content)
    assert render(folder) == "hello you"
    assert path.read_bytes() != content


def test_nothing_is_kept_where_python_keeps_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "__pycache__").write_text("a file where the folder would be", encoding="utf-8")
    assert render(folder) == "hello you"
    (folder / "__pycache__").unlink()
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    assert render(folder) == "hello you"
    assert not kept(folder)
