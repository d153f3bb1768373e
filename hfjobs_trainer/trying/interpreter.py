"""Which interpreter a script is tried with: the running one where it has what the script pins, else one made by uv."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Collection
from importlib.metadata import PackageNotFoundError, requires, version

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from hfjobs_trainer.contents import cache_home
from hfjobs_trainer.display import visible
from hfjobs_trainer.errors import BackendError, HFTError
from hfjobs_trainer.find_uv import find_links, find_uv
from hfjobs_trainer.rendering.literals import toml_string
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
    items = [_without(item, unneeded) for item in read_header(script).dependencies]
    needed = [item for item in items if item]
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
        if wanted.url or not wanted.specifier.contains(version(wanted.name), prereleases=True):
            return False
        return all(_has_extra(wanted.name, extra) for extra in wanted.extras)
    except (InvalidRequirement, PackageNotFoundError):
        return False


def _has_extra(name: str, extra: str) -> bool:
    """Whether what an extra of a package stands for is installed."""
    found = [Requirement(text) for text in requires(name) or ()]
    asked = [item for item in found if item.marker is not None and not item.marker.evaluate({"extra": ""})]
    return all(
        _is_met(str(item).partition(";")[0]) for item in asked if item.marker and item.marker.evaluate({"extra": extra})
    )


def _without(text: str, unneeded: Collection[str]) -> str:
    """A requirement without the extras that are not needed; empty if it is not needed itself."""
    try:
        item = Requirement(text)
    except InvalidRequirement:
        return text
    if canonicalize_name(item.name) in unneeded:
        return ""
    kept = {extra for extra in item.extras if canonicalize_name(extra) not in unneeded}
    if kept == item.extras:
        return text
    item.extras = kept
    return str(item)


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
    """A header with these dependencies in place of its own."""
    header = re.sub(r"#\n# \[tool\.hf-jobs\]\n(?s:.*?)(?=# ///\n)", "", header)  # which is another for each run
    lines = "".join(f"#     {toml_string(item)},\n" for item in needed)
    return re.sub(r"(?m)^# dependencies = \[(?s:.*?)\]$", lambda _: f"# dependencies = [\n{lines}# ]", header, count=1)
