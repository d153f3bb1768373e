"""What a rule is given to look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from hfjobs_trainer.facts import Facts, Flavor, HardwareFacts
from hfjobs_trainer.facts.backends import HUB, BackendTraits
from hfjobs_trainer.planning.duration.estimate import DurationEstimate
from hfjobs_trainer.planning.estimate import UNKNOWN, Estimate, FlavorChoice
from hfjobs_trainer.planning.hardware.catalogue import find_flavor, snapshot
from hfjobs_trainer.planning.hardware.machine import NO_MACHINE, Machine
from hfjobs_trainer.planning.memory.estimate import MemoryEstimate
from hfjobs_trainer.planning.run import Run
from hfjobs_trainer.specs.base import JobSpec
from hfjobs_trainer.specs.unparsed import Unparsed

S = TypeVar("S", bound=JobSpec, covariant=True)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Context(Generic[S]):
    """A spec, what is known about the outside, and what was decided.

    Attributes:
        spec: The spec.
        facts: What is known of model, dataset, hardware and account.
        backend: Where it will run.
        understood: The spec, understood; ``None`` of one that did not parse in full, and of a script.
        machine: The machine.
        arguments: Arguments of TRL's config, by name.
        needs_token: Why the script needs HF_TOKEN, as far as is known.
        choice: How the flavor was chosen; ``None`` where no machine is rented.
        estimate: What the run needs, and what it costs.
        timeout_seconds: When the job is ended, padding and caps included; ``None`` without a limit.
    """

    spec: S
    facts: Facts = field(default_factory=Facts)
    backend: BackendTraits = HUB
    understood: Run | None = None
    machine: Machine = NO_MACHINE
    arguments: Mapping[str, object] = field(default_factory=dict[str, object])
    needs_token: tuple[str, ...] = ()
    choice: FlavorChoice | None = None
    estimate: Estimate = UNKNOWN
    timeout_seconds: int | None = None

    @property
    def run(self) -> Run:
        """The spec, understood.

        Raises:
            Unparsed: A field did not parse, so that it cannot be; the rule then says nothing.
        """
        if self.understood is None:
            raise Unparsed
        return self.understood

    @property
    def flavor(self) -> Flavor | None:
        """The chosen flavor; ``None`` if none was, and where no machine is rented."""
        return self.machine.flavor

    @property
    def num_gpus(self) -> int:
        """Processes that will train, one per GPU, over all machines."""
        return self.machine.world_size

    @property
    def memory(self) -> MemoryEstimate | None:
        """The memory estimate; ``None`` where the model's size is unknown."""
        return self.estimate.memory

    @property
    def duration(self) -> DurationEstimate | None:
        """How long the run takes and what it costs; ``None`` where nobody can say."""
        return self.estimate.duration

    @property
    def hardware(self) -> HardwareFacts:
        """The flavors on offer: the live ones, or those of the snapshot."""
        return self.facts.hardware or snapshot()

    @property
    def named_flavor(self) -> Flavor | None:
        """The flavor that the user named; ``None`` for "auto" and for one that is not on offer."""
        return find_flavor(self.spec.hardware.flavor, self.hardware)

    def argument(self, name: str, otherwise: T) -> T:
        """The value that TRL's config will get: the resolved one, or ``otherwise``, the spec's own.

        Raises:
            TypeError: What was resolved is not of the type of ``otherwise``.
        """
        value = self.arguments.get(name, otherwise)
        if not isinstance(value, type(otherwise)):
            raise TypeError(f"{name} was resolved to {value!r}, and a {type(otherwise).__name__} is expected")
        return value
