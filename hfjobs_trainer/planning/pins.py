"""The package versions to which a script is pinned: sets that were tested together, one per method family."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True, slots=True)
class Pins:
    """A set of exact versions that were tested together.

    Attributes:
        requires_python: Such as ``">=3.11"``.
        exclude_newer: Packages published after this time are ignored, RFC 3339.
        unbounded: Packages that are exempt, since their builds depend on the machine's driver.
        packages: Versions by package, for every script of the family.
        extras: Versions by package, for scripts that need them.
    """

    requires_python: str
    exclude_newer: str
    unbounded: tuple[str, ...]
    packages: dict[str, str]
    extras: dict[str, str]

    def requirement(self, package: str, feature: str = "") -> str:
        """``name==version`` of a package or an extra, or ``name[feature]==version``."""
        return f"{package}{f'[{feature}]' if feature else ''}=={(self.packages | self.extras)[package]}"


def pinned_image(package: str) -> str:
    """Docker image of the pinned release of a package."""
    return _data()["images"][package]


@cache
def _data() -> Any:
    return json.loads(files("hfjobs_trainer.data").joinpath("pins.json").read_text(encoding="utf-8"))


@cache
def pins(family: str = "default") -> Pins:
    """The pins of a method family.

    Raises:
        KeyError: There is no such family.
    """
    data = _data()
    entry = data["families"][family]
    return Pins(
        requires_python=entry["python"],
        exclude_newer=entry["exclude_newer"],
        unbounded=tuple(entry["exempt"]),
        packages=entry["packages"],
        extras=data["extras"],
    )
