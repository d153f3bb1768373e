"""What planning needs to know about a backend, for the backends of this package."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, get_args

BackendName = Literal["hub", "local"]
"""The backends that have a name: the rows of ``running/backends/registry.py``."""


@dataclass(frozen=True, slots=True)
class BackendTraits:
    """What planning needs to know about a backend.

    A backend of your own has these traits as its attribute ``traits``; the defaults are those of one without it.

    Attributes:
        name: Name of the backend, as in ``plan.backend``.
        rents: A machine is rented for the run: a flavor is chosen and paid for, there is a timeout, the environment is
            not the user's own, and rules of scope ``"remote"`` apply. Otherwise the run is on this machine, on one
            node.
        absolute_paths: The run sees this machine's disk, from a folder of its own: local paths are checked, and become
            absolute in the script.
        ships_data: Local models and datasets travel with the job: they are read whole to plan it, and mounted in it.
        uses_account: A Hub account runs and pays: it is looked up, as are the prices, and nothing is submitted if the
            Hub does not answer for them.
        keeps_files: The files of the run can be read after its end; otherwise metrics and model go to the Hub.
        env: Environment variables of every run, as pairs; the spec's own take precedence.
        place: Where its runs are, as ``print(plan)`` says it; empty for its name.
    """

    name: str
    rents: bool = True
    absolute_paths: bool = False
    ships_data: bool = False
    uses_account: bool = False
    keeps_files: bool = True
    env: tuple[tuple[str, str], ...] = ()
    place: str = ""

    @property
    def is_here(self) -> bool:
        """Whether the run is known to be on this machine."""
        return not self.rents and self != ANYWHERE


HUB = BackendTraits(
    "hub",
    place="Hugging Face Jobs",
    ships_data=True,
    uses_account=True,
    keeps_files=False,
    # torch's version is pinned, its CUDA build depends on the machine: `uv pip` reads this, `uv run` does not
    # (astral-sh/uv#18157), so the script checks its GPUs itself
    env=(("UV_TORCH_BACKEND", "auto"),),
)
LOCAL = BackendTraits("local", place="this machine", rents=False, absolute_paths=True)
INPROCESS = BackendTraits("inprocess", place=HUB.place, ships_data=True)
ANYWHERE = BackendTraits("anywhere", rents=False)
"""Of a run of which nobody knows yet where it would be: only what is wrong everywhere is told of it."""

TRAITS: Mapping[str, BackendTraits] = MappingProxyType({traits.name: traits for traits in (HUB, LOCAL, INPROCESS)})
"""The traits of each backend of this package, by name."""


def traits_of(backend: str | BackendTraits) -> BackendTraits:
    """The traits of the backend of this name; traits are returned unchanged.

    Raises:
        ValueError: This package has no backend of this name.
    """
    if isinstance(backend, BackendTraits):
        return backend
    if backend not in TRAITS:
        raise unknown_backend(backend)
    return TRAITS[backend]


def unknown_backend(name: str) -> ValueError:
    """The error for an unknown backend name."""
    known = ", ".join(f'"{name}"' for name in get_args(BackendName))
    return ValueError(f"backend={name!r}: must be {known} or a Backend")
