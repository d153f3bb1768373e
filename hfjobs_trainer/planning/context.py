"""What a rule is given to look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

from hfjobs_trainer.facts import Facts, Flavor, HardwareFacts
from hfjobs_trainer.planning.flavors import find_flavor, snapshot
from hfjobs_trainer.specs.base import JobSpec

if TYPE_CHECKING:
    from hfjobs_trainer.planning.duration import DurationEstimate
    from hfjobs_trainer.planning.estimate import MemoryEstimate
    from hfjobs_trainer.planning.flavors import FlavorChoice

S = TypeVar("S", bound=JobSpec, covariant=True)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Context(Generic[S]):
    """A spec, what is known about the outside, and, for run rules, what was decided.

    Attributes:
        spec: The spec.
        facts: What is known of model, dataset, hardware and account.
        backend: ``"hub"`` or ``"local"``.
        flavor: The chosen machine; ``None`` before the choice and on the local backend.
        num_gpus: Processes that will train, one per GPU; 1 before the choice.
        arguments: Resolved arguments of TRL's config, by name; empty before the choice.
        choice: How the flavor was chosen; ``None`` before the choice and on the local backend.
        memory: The memory estimate; ``None`` where the model's size is unknown.
        duration: How long the run takes and what it costs; ``None`` before the choice, and where nobody can say.
        timeout_seconds: When the job is ended, padding and caps included; ``None`` before the choice, and without one.
    """

    spec: S
    facts: Facts = field(default_factory=Facts)
    backend: str = "hub"
    flavor: Flavor | None = None
    num_gpus: int = 1
    arguments: Mapping[str, object] = field(default_factory=dict[str, object])
    choice: FlavorChoice | None = None
    memory: MemoryEstimate | None = None
    duration: DurationEstimate | None = None
    timeout_seconds: int | None = None

    @property
    def hardware(self) -> HardwareFacts:
        """The flavors on offer: the live ones, or those of the snapshot."""
        return self.facts.hardware or snapshot()

    @property
    def named_flavor(self) -> Flavor | None:
        """The flavor that the user named; ``None`` for "auto" and for one that is not on offer."""
        return find_flavor(self.spec.hardware.flavor, self.hardware)

    def field(self, name: str, kind: type[T]) -> T | None:
        """A field that only some methods have; ``None`` for the others, and where it has no value.

        Raises:
            TypeError: It is not of this type.
        """
        value = getattr(self.spec, name) if name in type(self.spec).model_fields else None
        if value is not None and not isinstance(value, kind):
            raise TypeError(f"{name} is {value!r}, and a {kind.__name__} is expected")
        return value

    def argument(self, name: str, otherwise: T) -> T:
        """The value that TRL's config will get: the resolved one, or ``otherwise``, the spec's own.

        Raises:
            TypeError: What was resolved is not of the type of ``otherwise``.
        """
        value = self.arguments.get(name, otherwise)
        if not isinstance(value, type(otherwise)):
            raise TypeError(f"{name} was resolved to {value!r}, and a {type(otherwise).__name__} is expected")
        return value
