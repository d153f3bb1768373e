"""An environment that can render rows, where the running one cannot: tokenizers and templates, without torch."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from hfjobs_trainer.contents import cache_home
from hfjobs_trainer.find_uv import find_links, find_uv
from hfjobs_trainer.gathering.attempt import attempt
from hfjobs_trainer.planning.pins import pins

# What TRL's functions for rows and templates import; its other requirements, torch among them, are left out.
_NEEDED, _ALONE = ("transformers", "jinja2"), ("trl",)
# Longest that one step of uv may take, seconds: whoever waits does not wait that long, but the next one gains by it.
_STEP_SECONDS = 120.0


def is_here() -> bool:
    """Whether the running interpreter has the libraries."""
    return all(importlib.util.find_spec(name) is not None for name in (*_NEEDED, *_ALONE))


def is_possible() -> bool:
    """Whether there are the libraries, or uv, which can fetch them."""
    return is_here() or _uv() is not None or _python().exists()


class LightEnvironment:
    """The environment, made with uv when it is first needed and kept in the cache of this package.

    Safe to use from several threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._maker: threading.Thread | None = None
        self._tried: set[bool] = set()

    def begin(self, *, offline: bool) -> None:
        """Begin to make it, if it is needed and is not there.

        Args:
            offline: Take only what uv has in its cache.
        """
        with self._lock:
            if self._maker is not None and self._maker.is_alive():
                return
            if not is_here() and not _python().exists() and _uv() and offline not in self._tried:
                self._tried.add(offline)
                self._maker = threading.Thread(
                    target=lambda: attempt(lambda: _make(offline)), name="hfjobs-trainer-uv", daemon=True
                )
                self._maker.start()

    def python(self, seconds: float, *, offline: bool) -> str | None:
        """The interpreter that can render; ``None`` if there is none within so many seconds."""
        if is_here():
            return sys.executable
        self.begin(offline=offline)
        if self._maker is not None:
            self._maker.join(seconds)
        return str(_python()) if _python().exists() else None


def label() -> str:
    """What stands for the versions in it."""
    return _folder().name


def _requirements(names: tuple[str, ...]) -> list[str]:
    known = pins().packages
    return [f"{name}=={known[name]}" if name in known else name for name in names]


def _folder() -> Path:
    text = "\n".join([*_requirements(_NEEDED), *_requirements(_ALONE), pins().exclude_newer, sys.version])
    return cache_home() / "environments" / f"render-{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _python(folder: Path | None = None) -> Path:
    place = folder or _folder()
    return place / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def _uv() -> str | None:
    return attempt(find_uv)


def _make(offline: bool) -> None:
    """Make it elsewhere and move it into its place, so that what is there is whole."""
    target = _folder()
    target.parent.mkdir(parents=True, exist_ok=True)
    made = Path(tempfile.mkdtemp(dir=target.parent, prefix=".new-"))
    try:
        _run("venv", "--python", sys.executable, "--allow-existing", str(made))
        install = ("pip", "install", "--only-binary", ":all:", "--exclude-newer", pins().exclude_newer)
        install = (*install, "--offline") if offline else install
        place = ("--python", str(_python(made)))
        _run(*install, *place, *_requirements(_NEEDED))
        _run(*install, *place, "--no-deps", *_requirements(_ALONE))
        with contextlib.suppress(OSError):  # another process was faster
            made.replace(target)
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _run(*words: str) -> None:
    uv = _uv()
    assert uv is not None
    # uv needs what the user has set about package indexes, but no token of the Hub
    env = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING_FACE_"))}
    env |= find_links()
    silent = subprocess.DEVNULL
    command = [uv, *words, "--quiet"]
    subprocess.run(command, check=True, timeout=_STEP_SECONDS, env=env, stdin=silent, stdout=silent, stderr=silent)
