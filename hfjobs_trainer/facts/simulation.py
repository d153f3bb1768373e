"""Facts from simulated training steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SimulatedPeak:
    """What one simulated step of one run holds on one GPU, bytes.

    Attributes:
        question: The numbers of the run, as ``planning.simulated.question_of`` writes them.
        unsupported: Why there is no answer; ``None`` if there is one.
        static: What is held throughout: ``weights``, ``adapter``, ``optimizer_states``, ``reference_model``.
        peaks: The most that is held within each moment of the step, static parts included.
        gradients: Gradients among it.
        needed: What torch's allocator must have of the GPU for it, bytes between the blocks included, of steps whose
            batches all have the same shape.
        reserved: What it takes if there is enough, segments included that it gives back before a request fails.
        depths: Numbers of layers that were run; the figures are for the full number.
        parameters: Parameters of the model that was built.
        seconds: What it took.
    """

    question: str
    unsupported: str | None = None
    static: Mapping[str, float] = field(default_factory=dict[str, float])
    peaks: Mapping[str, float] = field(default_factory=dict[str, float])
    gradients: Mapping[str, float] = field(default_factory=dict[str, float])
    needed: float = 0.0
    reserved: float = 0.0
    depths: tuple[int, ...] = ()
    parameters: int | None = None
    seconds: float = 0.0

    @property
    def moment(self) -> str:
        """When most is held."""
        return max(self.peaks, key=lambda name: self.peaks[name], default="")

    @property
    def peak_bytes(self) -> float | None:
        """Bytes of live tensors at the worst moment, as ``torch.cuda.max_memory_allocated`` counts them."""
        return self.peaks[self.moment] if self.peaks else None


@dataclass(frozen=True, slots=True)
class SimulationFacts:
    """Runs that were simulated.

    Attributes:
        peaks: One record of each.
    """

    peaks: tuple[SimulatedPeak, ...] = ()

    def find(self, question: str) -> SimulatedPeak | None:
        """The record of exactly this run."""
        return next((peak for peak in self.peaks if peak.question == question), None)
