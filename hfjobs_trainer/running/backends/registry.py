"""The backends that have a name. To add one: its file, its traits in ``facts/backends.py``, and a row here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from hfjobs_trainer.display import shown
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
"""How to open each backend, given a token, namespace and endpoint."""


def open_backend(
    name: str, *, token: str | None = None, namespace: str | None = None, endpoint: str | None = None
) -> Backend:
    """The backend of this name; one without an account ignores the other arguments.

    Raises:
        ValueError: There is no backend of this name.
    """
    if name not in BACKENDS:
        raise unknown_backend(name)
    return BACKENDS[name](token, namespace, endpoint)


def traits_at(backend: Backend | str) -> BackendTraits:
    """The traits of a backend, given itself or its name; the defaults for a user's own that has none.

    Raises:
        ValueError: There is no backend of this name.
    """
    if isinstance(backend, str):
        return traits_of(backend)
    found = getattr(backend, "traits", None)
    return found if isinstance(found, BackendTraits) else BackendTraits(backend.name)


def backend_of(job_id: str) -> str:
    """Name of the backend that a job id belongs to: ``"local/..."`` to this machine, ``"namespace/id"`` to the Hub.

    Raises:
        BackendError: The id does not say.
    """
    prefix, slash, rest = job_id.partition("/")
    if not (slash and rest) or (prefix in TRAITS and prefix not in BACKENDS):
        raise BackendError(
            f"{shown(job_id)} does not tell where the job runs: give its whole id, such as"
            ' "namespace/687f911eaea852de79c4a50a" or "local/...", or backend=...'
        )
    return prefix if prefix in BACKENDS else "hub"
