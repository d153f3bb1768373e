"""Facts from simulated training steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SimulatedPeak:
    """Memory of one simulated step of one run on one GPU, bytes.

    Attributes:
        question: The numbers of the run, as ``planning.memory.simulated.question_of`` writes them.
        unsupported: Why there is no result; ``None`` if there is one.
        static: What is held throughout: ``weights``, ``adapter``, ``optimizer_states``, ``reference_model``.
        peaks: The most bytes within each moment of the step, static parts included.
        gradients: Gradients among it.
        needed: What torch's allocator needs of the GPU, bytes between the blocks included, for steps whose batches all
            have the same shape.
        reserved: What it takes if there is enough, including segments that it frees before a request fails.
        depths: Numbers of layers that were run; the figures are for the full number.
        parameters: Parameters of the model that was built.
        seconds: The time that the simulation took.
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
        """The moment of the peak."""
        return max(self.peaks, key=lambda name: self.peaks[name], default="")

    @property
    def peak_bytes(self) -> float | None:
        """Bytes of live tensors at the peak, as ``torch.cuda.max_memory_allocated`` counts them."""
        return self.peaks[self.moment] if self.peaks else None


@dataclass(frozen=True, slots=True)
class SimulationFacts:
    """Simulated runs.

    Attributes:
        peaks: One record per run.
    """

    peaks: tuple[SimulatedPeak, ...] = ()

    def find(self, question: str) -> SimulatedPeak | None:
        """The record of exactly this run."""
        return next((peak for peak in self.peaks if peak.question == question), None)
