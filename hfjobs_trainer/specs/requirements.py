"""Requirements as pip takes them (PEP 508), by ``packaging``, which is loaded once there is one to read."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.requirements import Requirement


def read_requirement(text: str) -> Requirement:
    """Read a requirement such as ``"einops>=0.8"``.

    Raises:
        ValueError: It is not in the form of PEP 508; the first line of the message says why.
    """
    from packaging.requirements import Requirement

    return Requirement(text)


@lru_cache(maxsize=1_000)
def package_name(text: str) -> str:
    """The package's name in normal form; of text that is not in the form of PEP 508, its first word."""
    from packaging.utils import canonicalize_name

    try:
        name = read_requirement(text).name
    except ValueError:
        name = text.split(maxsplit=1)[0] if text.strip() else ""
    return canonicalize_name(name)


def package_names(texts: Iterable[str]) -> frozenset[str]:
    """The names of all packages, in normal form."""
    return frozenset(package_name(text) for text in texts)


def chooses_version(text: str) -> bool:
    """Whether it says which versions of the package will do, or where the package is."""
    try:
        requirement = read_requirement(text)
    except ValueError:
        return True
    return bool(requirement.specifier or requirement.url)


def stays_within(text: str, low: str, high: str) -> bool:
    """Whether every version that it allows is at least ``low`` and some are below ``high``; a URL may bring any."""
    from packaging.version import Version

    try:
        requirement = read_requirement(text)
    except ValueError:
        return False
    if requirement.url:
        return True
    bounds = [item for item in requirement.specifier if item.operator in ("==", ">=", ">", "~=")]
    floors = [Version(item.version.removesuffix(".*")) for item in bounds]
    return any(Version(low) <= floor < Version(high) for floor in floors)
