"""The backends that are called by name. One that is added is a file, its traits in ``facts/backends.py``, and a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from hfjobs_trainer.errors import BackendError
from hfjobs_trainer.facts.backends import TRAITS, BackendTraits, traits_of, unknown_backend
from hfjobs_trainer.running.backends.base import Backend


def _hub(token: str | None, namespace: str | None, endpoint: str | None) -> Backend:
    from hfjobs_trainer.running.backends.hub import HubBackend

    return HubBackend(token=token, namespace=namespace, endpoint=endpoint)


def _local(token: str | None, namespace: str | None, endpoint: str | None) -> Backend:
    from hfjobs_trainer.running.backends.local import LocalBackend

    return LocalBackend()


BACKENDS: Mapping[str, Callable[[str | None, str | None, str | None], Backend]] = MappingProxyType(
    {"hub": _hub, "local": _local}
)
"""What opens each backend, for a token, namespace and endpoint."""


def open_backend(
    name: str, *, token: str | None = None, namespace: str | None = None, endpoint: str | None = None
) -> Backend:
    """The backend of this name; one that has no account needs none of the arguments.

    Raises:
        ValueError: There is none of this name.
    """
    if name not in BACKENDS:
        raise unknown_backend(name)
    return BACKENDS[name](token, namespace, endpoint)


def traits_at(backend: Backend | str) -> BackendTraits:
    """The traits of a backend, or of the one of this name; the defaults for one of another's that has none.

    Raises:
        ValueError: There is none of this name.
    """
    if isinstance(backend, str):
        return traits_of(backend)
    found = getattr(backend, "traits", None)
    return found if isinstance(found, BackendTraits) else BackendTraits(backend.name)


def backend_of(job_id: str) -> str:
    """Name of the backend that gave this id: ``"local/..."`` was given here, any other ``"namespace/id"`` by the Hub.

    Raises:
        BackendError: The id does not tell.
    """
    prefix, slash, rest = job_id.partition("/")
    if not (slash and rest) or (prefix in TRAITS and prefix not in BACKENDS):
        raise BackendError(
            f"{job_id!r} does not tell where the job runs: give its whole id, such as"
            ' "namespace/687f911eaea852de79c4a50a" or "local/...", or backend=...'
        )
    return prefix if prefix in BACKENDS else "hub"
