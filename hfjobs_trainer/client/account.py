"""Which account and which backend: what every function of a client goes by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from hfjobs_trainer.answers import Answers
from hfjobs_trainer.errors import SpecError
from hfjobs_trainer.facts.backends import BackendName, BackendTraits

if TYPE_CHECKING:
    from hfjobs_trainer.facts import Facts
    from hfjobs_trainer.running.backends.base import Backend
    from hfjobs_trainer.specs.base import JobSpec, TrainSpec
    from hfjobs_trainer.specs.script import Script

S = TypeVar("S", bound="JobSpec")


@dataclass(frozen=True)
class Account:
    """A backend, and the account that pays; ``Client`` documents the fields."""

    backend: Backend | BackendName = "hub"
    token: str | None = None
    namespace: str | None = None
    endpoint: str | None = None
    _answers: Answers = field(default_factory=Answers, repr=False, compare=False, kw_only=True)

    def __post_init__(self) -> None:
        if self.token is not None:
            from hfjobs_trainer.running.backends.hub_connection import Secret

            object.__setattr__(self, "token", Secret(self.token))

    def __repr__(self) -> str:
        where = self.backend if isinstance(self.backend, str) else self.backend.name
        return f"{type(self).__name__}(backend={where!r}, namespace={self.namespace!r})"

    def _account(self) -> tuple[str | None, str | None, str | None]:
        """Token, endpoint and namespace for submitting; ``None`` for what comes from the environment."""
        token, endpoint, namespace = self.token, self.endpoint, self.namespace
        if not isinstance(self.backend, str):
            from hfjobs_trainer.running.backends.hub import HubBackend

            if isinstance(self.backend, HubBackend):
                token, endpoint, home = self.backend.account
                namespace = namespace or home
        return token, endpoint, namespace

    def _named(self, spec: S) -> S:
        _, _, namespace = self._account()
        return spec if namespace is None or spec.namespace is not None else spec.replace(namespace=namespace)

    def _trained(
        self,
        spec: TrainSpec | Mapping[str, Any],
        why: str = "what a script needs is unknown, so there is no estimate; hft.hardware_table() lists the flavors",
    ) -> TrainSpec:
        from hfjobs_trainer.specs.base import TrainSpec

        parsed = parse_spec(spec)
        if not isinstance(parsed, TrainSpec):
            from hfjobs_trainer.problems import Problem

            raise SpecError([Problem("SCRIPT004", "script", why)], "Script spec")
        return parsed

    def _gather(self, spec: TrainSpec | Script, offline: bool, traits: BackendTraits) -> Facts:
        from hfjobs_trainer.gathering import gather

        token, endpoint, _ = self._account()
        return gather(spec, offline=offline, token=token, endpoint=endpoint, backend=traits, answers=self._answers)

    def _traits(self, backend: str | None) -> BackendTraits:
        """Traits of the backend of this name; by default, of the client's."""
        from hfjobs_trainer.running.backends.registry import traits_at

        return traits_at(self.backend if backend is None else backend)

    def _open(self, backend: Backend | str) -> Backend:
        from hfjobs_trainer.running.backends.registry import open_backend

        if not isinstance(backend, str):
            return backend
        return open_backend(backend, token=self.token, namespace=self.namespace, endpoint=self.endpoint)


def parse_spec(raw: TrainSpec | Script | Mapping[str, Any]) -> TrainSpec | Script:
    """The spec that a mapping with the key ``method`` describes; a spec as it is.

    Raises:
        SpecError: The mapping is not a valid spec.
    """
    from hfjobs_trainer.specs.parse import parse

    spec, problems, subject = parse(raw)
    if spec is None:
        raise SpecError(problems, subject)
    return spec
