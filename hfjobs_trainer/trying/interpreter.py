"""Which interpreter a script is tried with: the running one where it has what the script pins, else one that uv makes."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Collection
from importlib.metadata import PackageNotFoundError, version

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from hfjobs_trainer.contents import cache_home
from hfjobs_trainer.display import visible
from hfjobs_trainer.errors import BackendError, HFTError
from hfjobs_trainer.running.backends.find_uv import find_links, find_uv
from hfjobs_trainer.specs.script_header import read_header

# What uv may take to download and install the packages, seconds.
INSTALL_SECONDS = 1800.0


def find_python(script: str, without: Collection[str] = ()) -> str:
    """Path of an interpreter with the packages that a script's header pins.

    The running interpreter is taken where it has them all, in these versions. Otherwise uv makes an environment, once
    for each set of packages, in its own cache; its first time downloads them.

    Args:
        script: Text of the script.
        without: Names of packages that are not needed, since the mode takes their place.

    Raises:
        HFTError: uv is not installed, or the environment cannot be made.
    """
    unneeded = {canonicalize_name(name) for name in without}
    needed = [item for item in read_header(script).dependencies if _name(item) not in unneeded]
    missing = lacking(needed)
    return sys.executable if not missing else _made_by_uv(script, needed, missing)


def lacking(requirements: Collection[str]) -> list[str]:
    """Those of some requirements that the packages of the running interpreter do not meet."""
    return [item for item in requirements if not _is_met(item)]


def _is_met(text: str) -> bool:
    try:
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate():
            return True
        # extras and URLs say nothing that the metadata of an installed package would tell
        return not wanted.url and not wanted.extras and wanted.specifier.contains(version(wanted.name), prereleases=True)
    except (InvalidRequirement, PackageNotFoundError):
        return False


def _name(text: str) -> str:
    try:
        return canonicalize_name(Requirement(text).name)
    except InvalidRequirement:
        return text


def _made_by_uv(script: str, needed: Collection[str], missing: list[str]) -> str:
    """The interpreter of an environment with the packages of a script's header, those left out that are not needed."""
    header = _only(script.partition("# ///\n")[0] + "# ///\n", needed)
    # uv keeps an environment for each path
    place = cache_home() / "environments" / f"{hashlib.sha256(header.encode()).hexdigest()[:16]}.py"
    why = f"this interpreter lacks {', '.join(visible(item) for item in missing)}"
    try:
        uv = find_uv()
    except BackendError as error:
        hint = 'type `pip install "hfjobs-trainer[local]"`, or `pip install uv`, which then makes an environment'
        raise HFTError(f"the script cannot be tried: {why}, and uv is not installed. Either {hint}") from error
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(header, "utf-8")
        _call([uv, "sync", "--quiet", "--script", str(place), "--python", sys.executable])
        found = _call([uv, "python", "find", "--script", str(place)]).strip()
    except (OSError, subprocess.SubprocessError) as error:
        told = getattr(error, "stderr", "") or str(error)
        raise HFTError(f"{why}, and uv could not make an environment: {visible(told.strip()[-1500:])}") from error
    return found


def _call(command: list[str]) -> str:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **find_links()},
        timeout=INSTALL_SECONDS,
        check=True,
    )
    return done.stdout


def _only(header: str, needed: Collection[str]) -> str:
    """A header without the dependencies that are not needed."""
    lines: list[str] = []
    is_dependency = False
    for line in header.splitlines(keepends=True):
        if line.startswith("# dependencies = ["):
            is_dependency = not line.rstrip().endswith("]")
        elif is_dependency and line.startswith("# ]"):
            is_dependency = False
        elif is_dependency and line[1:].strip().rstrip(",").strip('"') not in needed:
            continue
        lines.append(line)
    return "".join(lines)
