"""How long a run takes and what it costs, before it starts.

``benchmarks/duration.py`` scores the training part against published speeds; generation, start and checkpoints rest on
few measurements or none, and ``DurationEstimate.assumed`` says so.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hfjobs_trainer.display import html_pairs
from hfjobs_trainer.planning.duration.amounts import Amounts
from hfjobs_trainer.planning.duration.pace import EXPECTED, FAST, SLOW, Pace, Setup
from hfjobs_trainer.planning.duration.ranges import Range
from hfjobs_trainer.planning.duration.saves import SHORT, Saves, choose_every
from hfjobs_trainer.planning.hardware.gpus import Tuning


@dataclass(frozen=True, slots=True)
class DurationEstimate:
    """How long a run takes and what it costs.

    Attributes:
        steps: Expected optimizer steps.
        tokens: Training tokens, without padding.
        tokens_per_second: Training throughput of all GPUs together.
        seconds: The whole run, from the start of the machine.
        parts: Seconds of each part: ``"start"``, ``"data"``, ``"training"``, ``"generation"``, ``"evaluation"``,
            ``"checkpoints"``, ``"push"``; only those that the run has.
        usd: Cost, US dollars; each started minute is billed.
        assumed: The assumptions about this run.
        basis: The constants of the estimate, with their sources.
        saves: When it saves, and what is at risk in between; ``None`` if it has no steps.
        one_evaluation: Expected seconds of one evaluation; 0 without.
    """

    steps: int
    tokens: Range
    tokens_per_second: Range
    seconds: Range
    parts: Mapping[str, Range]
    usd: Range
    assumed: tuple[str, ...]
    basis: tuple[str, ...] = ()
    saves: Saves | None = None
    one_evaluation: float = 0.0

    @property
    def assumptions(self) -> list[str]:
        """``assumed`` as lines of text."""
        return [what if ", assumed " in what else f"assumed: {what}" for what in self.assumed]

    def __repr__(self) -> str:
        first, *_ = str(self).split("\n")
        return f"DurationEstimate({first})"

    def _repr_html_(self) -> str:
        parts = {name: part.as_duration() for name, part in self.parts.items()}
        rows = {"time": self.seconds.as_duration(), "cost": self.usd.as_usd(), "steps": f"{self.steps:,}", **parts}
        return html_pairs({**rows, "assumed": self.assumed or "nothing"})

    def __str__(self) -> str:
        lines = [f"about {self.seconds.as_duration()}, {self.usd.as_usd()}, {self.steps:,} steps"]
        width = max(len(name) for name in self.parts)
        lines += [f"  {name:<{width}}  {part.as_duration()}" for name, part in self.parts.items()]
        return "\n".join([*lines, *(f"  {line}" for line in self.assumptions)])


def estimate_duration(amounts: Amounts, setup: Setup) -> DurationEstimate:
    """How long ``amounts`` takes on ``setup``, and what that costs.

    Each bound of the result combines the same bounds of all its inputs, so the range is wider than if their errors were
    independent.
    """
    rate = setup.usd_per_hour
    low, expected, high = paces = [Pace(amounts, setup, case) for case in (FAST, EXPECTED, SLOW)]
    working = [_work(pace) for pace in paces]
    every = _save_every(expected, working[EXPECTED], sum(working[SLOW].values()))
    least, likely, most = (_seconds(pace, work, every) for pace, work in zip(paces, working, strict=True))
    parts = {name: Range(least[name], likely[name], most[name]) for name in likely}
    totals = [sum(each.values()) for each in (least, likely, most)]
    training = parts["training"]
    pairs = ((low.tokens, training.low), (expected.tokens, training.expected), (high.tokens, training.high))
    speeds = [tokens / spent if spent else 0.0 for tokens, spent in pairs]
    return DurationEstimate(
        steps=expected.steps,
        tokens=Range(low.tokens, expected.tokens, high.tokens),
        tokens_per_second=Range(min(speeds), speeds[EXPECTED], max(speeds)),
        seconds=Range(*totals),
        parts=parts,
        usd=Range(*(billed_usd(seconds, rate) for seconds in totals)),
        assumed=(*amounts.assumed, *_assumed(amounts, setup)),
        basis=_basis(amounts, setup),
        saves=_saves(paces, working, every),
        one_evaluation=expected.one_evaluation(),
    )


def expected_seconds(amounts: Amounts, setup: Setup) -> tuple[float, float]:
    """Only the expected US dollars and seconds of ``estimate_duration``, at a third of its cost."""
    pace = Pace(amounts, setup, EXPECTED)
    work = _work(pace)
    seconds = sum(_seconds(pace, work, _save_every(pace, work)).values())
    return billed_usd(seconds, setup.usd_per_hour), seconds


def _work(pace: Pace) -> dict[str, float]:
    """Seconds of each part of the training loop that the run has, but for saving."""
    amounts, found = pace.amounts, {"training": pace.training()}
    if amounts.generation is not None:
        found["generation"] = pace.generation()
    if amounts.eval_rows:
        found["evaluation"] = pace.evaluation()
    return found


def _seconds(pace: Pace, work: Mapping[str, float], save_every: float | None) -> dict[str, float]:
    """Seconds of each part that the run has."""
    found = {"start": pace.start(), "data": pace.data(), **work, "checkpoints": pace.checkpoints(save_every)}
    if pace.amounts.push_bytes:
        found["push"] = pace.push()
    return found


def _save_every(pace: Pace, work: Mapping[str, float], slow: float = math.inf) -> float | None:
    """Steps between two saves: as the planner chooses if it may and the run is long, else as the amounts say."""
    amounts, setup = pace.amounts, pace.setup
    if not setup.chooses_saves or slow < SHORT or not pace.steps:
        return amounts.save_every
    return choose_every(pace.steps, sum(work.values()), pace.save(), pace.copy(), setup.save_multiple)


def _saves(paces: Sequence[Pace], working: Sequence[Mapping[str, float]], every: float | None) -> Saves | None:
    """When a run saves, in the expected case; ``None`` if it has no steps."""
    expected = paces[EXPECTED]
    if not expected.steps:
        return None
    interval = min(expected.interval(every), expected.steps)
    between = Range(
        *(interval * sum(work.values()) / max(1, pace.steps) for pace, work in zip(paces, working, strict=True))
    )
    seconds, copying = (Range(*(cost(pace) for pace in paces)) for cost in (Pace.save, Pace.copy))
    usd = (between + seconds + copying) * (expected.setup.usd_per_hour / 3600)
    return Saves(math.ceil(interval), seconds, copying, between, usd, every != expected.amounts.save_every)


def billed_usd(seconds: float, usd_per_hour: float) -> float:
    """Cost of a run: each started minute is billed (huggingface/hub-docs docs/hub/jobs-pricing.md)."""
    return math.ceil(seconds / 60) * usd_per_hour / 60


_TUNING: Mapping[Tuning, str] = {"full": "all weights trained", "lora": "LoRA", "qlora": "QLoRA"}


def _assumed(amounts: Amounts, setup: Setup) -> list[str]:
    """The assumptions about the machine."""
    found: list[str] = []
    tuning, gpu = amounts.arithmetic.tuning, setup.gpu
    if gpu.utilisation[tuning].assumed:
        found.append(f"the speed of {gpu.name} with {_TUNING[tuning]}: no runs published")
    if amounts.arithmetic.experts:
        found.append("experts reach half the utilization of a dense model")
    if not amounts.half_precision:
        found.append("float32 arithmetic is 12 times slower than half precision")
    if setup.nodes > 1:
        found.append("a network of 100 Gbit/s between machines")
    if amounts.generation is not None:
        found.append(f"the speed of generation with {'vLLM' if amounts.generation.vllm else 'transformers'}")
    return found


def _basis(amounts: Amounts, setup: Setup) -> tuple[str, ...]:
    tuning, gpu = amounts.arithmetic.tuning, setup.gpu
    share = gpu.utilisation[tuning]
    found = [f"matrix products at {share.expected:.0%} of the peak of {gpu.name} ({tuning}): {share.source}"]
    if setup.num_gpus > 1 and setup.nodes == 1:
        found.append(f"links over {gpu.link}")
    return (*found, "usual times for start, packages, downloads, tokenization, checkpoints and pushes")
