"""How long a run takes and what it costs, before it starts.

``benchmarks/duration.py`` scores the training part against published speeds; generation, start and checkpoints rest on
few measurements or none, and ``DurationEstimate.assumed`` says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from hfjobs_trainer.planning.pace import Pace, Setup
from hfjobs_trainer.planning.ranges import Range, format_seconds
from hfjobs_trainer.planning.work import Work, unknown_work, work_of

__all__ = [
    "DurationEstimate",
    "Range",
    "Setup",
    "Work",
    "billed_usd",
    "estimate_duration",
    "format_seconds",
    "unknown_work",
    "work_of",
]


@dataclass(frozen=True, slots=True)
class DurationEstimate:
    """How long a run takes and what it costs.

    Attributes:
        steps: Optimizer steps, as expected.
        tokens: Tokens that are trained on, padding left out.
        tokens_per_second: Those over the seconds of the training part, all GPUs together.
        seconds: The whole run, from the start of the machine.
        parts: Seconds of each part: ``"start"``, ``"data"``, ``"training"``, ``"generation"``, ``"evaluation"``,
            ``"checkpoints"``, ``"push"``; of those that the run has.
        usd: Cost, US dollars: started minutes are billed as whole ones.
        assumed: What is guessed rather than known.
    """

    steps: int
    tokens: Range
    tokens_per_second: Range
    seconds: Range
    parts: Mapping[str, Range]
    usd: Range
    assumed: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"about {self.seconds.as_duration()}, {self.usd.as_usd()}, {self.steps:,} steps"]
        width = max(len(name) for name in self.parts)
        lines += [f"  {name:<{width}}  {part.as_duration()}" for name, part in self.parts.items()]
        return "\n".join([*lines, *(f"  assumed: {what}" for what in self.assumed)])


def estimate_duration(work: Work, setup: Setup) -> DurationEstimate:
    """How long ``work`` takes on ``setup``, and what that costs.

    Every bound of the result takes the bound of all that it follows from, so the range is wider than chance would
    make it.
    """
    cases = [Pace(work, setup, index) for index in range(3)]
    parts: dict[str, Range] = {
        "start": Range(*(case.start() for case in cases)),
        "data": Range(*(case.data() for case in cases)),
        "training": Range(*(case.training() for case in cases)),
        "generation": Range(*(case.generation() for case in cases)),
        "evaluation": Range(*(case.evaluation() for case in cases)),
        "checkpoints": Range(*(case.checkpoints() for case in cases)),
        "push": Range(*(case.push() for case in cases)),
    }
    parts = {name: part for name, part in parts.items() if part.high > 0}
    seconds = Range(
        sum(part.low for part in parts.values()),
        sum(part.expected for part in parts.values()),
        sum(part.high for part in parts.values()),
    )
    tokens = Range(*(case.tokens for case in cases))
    training = parts["training"]
    slow, fast = tokens.high / training.high, tokens.low / training.low
    pace = tokens.expected / training.expected
    return DurationEstimate(
        steps=cases[1].steps,
        tokens=tokens,
        tokens_per_second=Range(min(slow, fast, pace), pace, max(slow, fast, pace)),
        seconds=seconds,
        parts=parts,
        usd=Range(*(billed_usd(bound, setup.usd_per_hour) for bound in seconds.bounds)),
        assumed=(*work.assumed, *_assumed(work, setup)),
    )


def billed_usd(seconds: float, usd_per_hour: float) -> float:
    """Cost of a run: every minute that has started is billed (huggingface/hub-docs docs/hub/jobs-pricing.md)."""
    return math.ceil(seconds / 60) * usd_per_hour / 60


def _assumed(work: Work, setup: Setup) -> list[str]:
    """What the machine's part of the estimate rests on beside measurements."""
    found: list[str] = []
    costs, gpu = work.arithmetic, setup.gpu
    share = gpu.utilisation[costs.tuning]
    if share.assumed:
        found.append(f"{share.expected:.0%} of the peak of {gpu.name} ({costs.tuning}), {share.source}")
    if costs.experts:
        found.append("experts reach half of a dense model's share of the peak")
    if not work.half_precision:
        found.append("float32 arithmetic is 12 times slower than half precision")
    if setup.num_gpus > 1:
        joined = "a network of 100 Gbit/s between the machines" if setup.nodes > 1 else f"links over {gpu.link}"
        found.append(joined)
    if work.generation is not None:
        found.append(f"the speed at which {'vLLM' if work.generation.vllm else 'transformers'} writes answers")
    found.append("start, packages, downloads, tokenizing, checkpoints and pushes at usual speeds")
    return found
