"""What a rule sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from hfjobs_trainer.planning.saving import NOTHING, Keeping
from hfjobs_trainer.problems import MissingFact, Unknown
from hfjobs_trainer.specs.base import JobSpec, TrainSpec
from hfjobs_trainer.specs.inputs import DataInput, data_inputs
from hfjobs_trainer.specs.unparsed import Unparsed

S = TypeVar("S", bound=JobSpec, covariant=True)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Context(Generic[S]):
    """A spec, the facts, and what was decided.

    Attributes:
        spec: The spec.
        facts: Facts about model, dataset, hardware and account.
        backend: Where it will run.
        understood: The run; ``None`` for a spec that did not parse in full, and for a script.
        machine: The machine.
        arguments: Arguments of TRL's config, by name.
        needs_token: Reasons why the script needs HF_TOKEN, as far as known.
        choice: How the flavor was chosen; ``None`` if no machine is rented.
        estimate: What the run needs and costs.
        with_vllm: If writing answers takes long, and vLLM could write them: what the run needs and costs with it.
        timeout_seconds: The job's timeout in seconds, padding and caps included; ``None`` for no limit.
        kept: What protects the work of the run.
        told: Paths of the problems that the rules that come first have found.
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
    with_vllm: Estimate | None = None
    timeout_seconds: int | None = None
    kept: Keeping = NOTHING
    told: frozenset[str] = frozenset()

    @property
    def run(self) -> Run:
        """The run.

        Raises:
            Unparsed: A field did not parse; the rule then finds nothing.
        """
        if self.understood is None:
            raise Unparsed
        return self.understood

    @property
    def flavor(self) -> Flavor | None:
        """The chosen flavor; ``None`` if none was chosen, or no machine is rented."""
        return self.machine.flavor

    @property
    def num_gpus(self) -> int:
        """Number of processes that train, one per GPU, over all machines."""
        return self.machine.world_size

    @property
    def memory(self) -> MemoryEstimate | None:
        """The memory estimate; ``None`` if the model's size is unknown."""
        return self.estimate.memory

    @property
    def duration(self) -> DurationEstimate | None:
        """How long the run takes and what it costs; ``None`` if unknown."""
        return self.estimate.duration

    @property
    def hardware(self) -> HardwareFacts:
        """The flavors on offer: live, or from the snapshot."""
        return self.facts.hardware or snapshot()

    @property
    def named_flavor(self) -> Flavor | None:
        """The flavor that the user named; ``None`` for "auto" and for one that is not on offer."""
        return find_flavor(self.spec.hardware.flavor, self.hardware)

    def is_told(self, *about: str) -> bool:
        """Whether a rule that comes first has told a problem of one of these fields, or of a part of it."""
        return any(
            path in (field, f"{field}_revision") or path.startswith(f"{field}.")
            for path in self.told
            for field in about
        )

    @property
    def datasets(self) -> list[DataInput]:
        """The datasets of the run, those of a mixture one by one, without those of which a first problem was told."""
        assert isinstance(self.spec, TrainSpec)
        wrong = {path.rpartition(".")[0] for path in self.told}
        return [data for data in data_inputs(self.spec, self.facts) if data.path not in wrong]

    def decided(self, unknown: Sequence[Unknown]) -> bool:
        """Whether there is something unknown that only the user can decide, since all of it was looked up.

        Raises:
            MissingFact: Some of it was not looked up, was not answered, or only follows from a problem that was told.
        """
        open = [item for item in unknown if not item.settled or self.is_told(*item.about)]
        if open:
            raise MissingFact(" and ".join(open), [path for item in open for path in item.about])
        return bool(unknown)

    def field(self, name: str, kind: type[T]) -> T | None:
        """A field that only some methods have; ``None`` for the others, and if it has no value.

        Raises:
            TypeError: The value is not of this type.
        """
        value = getattr(self.spec, name) if name in type(self.spec).model_fields else None
        if value is not None and not isinstance(value, kind):
            raise TypeError(f"{name} is {value!r}, expected a {kind.__name__}")
        return value

    def argument(self, name: str, otherwise: T) -> T:
        """The value that TRL's config will get: the resolved one, else ``otherwise``, the spec's own.

        Raises:
            TypeError: The resolved value is not of the type of ``otherwise``.
        """
        value = self.arguments.get(name, otherwise)
        if not isinstance(value, type(otherwise)):
            raise TypeError(f"{name} was resolved to {value!r}, expected a {type(otherwise).__name__}")
        return value
