"""The PEP 723 block of a script that exists already."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from hfjobs_trainer.planning.requirements import chooses_version, package_names
from hfjobs_trainer.specs.blocks import read_block


@dataclass(frozen=True, slots=True)
class ScriptHeader:
    """What a script says of the environment it needs.

    Attributes:
        found: Whether it says anything.
        requires_python: Such as ``">=3.10"``; ``None`` if it does not say.
        dependencies: Its requirements.
        uv: Its ``[tool.uv]`` table.
    """

    found: bool = False
    requires_python: str | None = None
    dependencies: tuple[str, ...] = ()
    uv: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def names(self) -> frozenset[str]:
        """Names of the packages, in normal form."""
        return package_names(self.dependencies)

    def pinned(self, packages: Mapping[str, str]) -> bool:
        """Whether it has an opinion on the versions of any of these packages, or on when they were published."""
        fixed = package_names(item for item in self.dependencies if chooses_version(item))
        opinions = {"exclude-newer", "constraint-dependencies", "override-dependencies", "sources"}
        return not fixed.isdisjoint(packages) or not opinions.isdisjoint(self.uv)


def read_header(text: str) -> ScriptHeader:
    """The block of a script.

    Raises:
        ValueError: There is more than one, or it is no TOML, or its values are not of the right types.
    """
    table = read_block(text, "script")
    if table is None:
        return ScriptHeader()
    python, dependencies = table.get("requires-python"), table.get("dependencies", [])
    tool = table.get("tool", {})
    uv = cast("dict[str, Any]", tool).get("uv", {}) if isinstance(tool, dict) else None
    if not isinstance(python, str | None) or not isinstance(dependencies, list) or not isinstance(uv, dict):
        raise ValueError("requires-python, dependencies or tool.uv is of the wrong type")
    requirements = tuple(str(item) for item in cast("list[Any]", dependencies))
    return ScriptHeader(True, python, requirements, cast("dict[str, Any]", uv))
