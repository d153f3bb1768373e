"""What a rule is given to look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from hfjobs_trainer.facts import Facts, Flavor
from hfjobs_trainer.specs.base import JobSpec

S = TypeVar("S", bound=JobSpec, covariant=True)


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
    arguments: Mapping[str, Any] = field(default_factory=dict[str, Any])
    choice: Any = None
    memory: Any = None
    duration: Any = None
    timeout_seconds: int | None = None
