"""Specs of which some fields did not parse, and what the rules say of the others.

Rules stand above specs, which do not import them: they are handed in, by the package before it gives out a name, and
by the module that runs them once it is loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hfjobs_trainer.facts.backends import BackendTraits
    from hfjobs_trainer.problems import Problem
    from hfjobs_trainer.specs.base import JobSpec

Check = Callable[["JobSpec", "Set[str]", "BackendTraits"], "list[Problem]"]
"""Is given a spec, the fields that did not parse and the backend, and returns the problems of the other fields."""

_checks: list[Check] = []


class Unparsed(Exception):
    """A field was asked for that did not parse: nothing can be said of it."""


def provide_check(check: Check) -> None:
    """Say who checks the fields that did parse."""
    _checks[:] = [check]


def check_parsed(spec: JobSpec, unparsed: Set[str], backend: BackendTraits) -> list[Problem]:
    """Problems of the fields that did parse.

    Args:
        spec: A spec without the fields that did not: to ask for one of them raises ``Unparsed``.
        unparsed: Names of those fields.
        backend: Where it would run: problems of a remote run are told where a machine is rented.
    """
    return [problem for check in _checks for problem in check(spec, unparsed, backend)]
