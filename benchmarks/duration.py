"""How far the estimated speed of training is from published speeds: tokens a second, predicted against measured.

Run with ``python -m benchmarks.duration CSV [--json] [--rows] [--held-out]``. The CSV has the columns that
``benchmarks/measurements.py`` reads, and ``tokens_per_s`` and ``gpu_type``; rows without a speed are passed over. The
error is predicted over measured, less one. Rows of stacks that are nothing like TRL's (Megatron, Composer, torchtitan,
FP8) are scored apart: they show what the hardware gives at best.

The utilisation in ``data/gpus.json`` follows from published runs, so a score on the same runs says how well the formula
fits, not how well it foretells. With ``--held-out``, each source is scored with the utilisation that the other sources
give, of the same GPU or else of the one most like it.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.measurements import Measurement, measurement_of
from hfjobs_trainer.planning.duration.amounts import Amounts
from hfjobs_trainer.planning.duration.arithmetic import arithmetic_of
from hfjobs_trainer.planning.duration.estimate import estimate_duration
from hfjobs_trainer.planning.duration.pace import Setup
from hfjobs_trainer.planning.duration.ranges import Range
from hfjobs_trainer.planning.duration.rows import RowLengths, row_lengths
from hfjobs_trainer.planning.hardware.gpus import Gpu, all_gpus, find_gpu
from hfjobs_trainer.specs.training import Passes

# Stacks whose steps are not those of transformers' Trainer and its models.
OPTIMISED = ("llm-foundry", "nemo", "torchtitan")
# GPUs of one machine at most in these measurements.
GPUS_PER_NODE = 8


@dataclass(frozen=True, slots=True)
class Speed:
    """One published speed, and the estimate of it.

    Attributes:
        row: The run.
        gpu: Its GPU.
        measured: Tokens a second, all GPUs together.
        predicted: The estimate of the same.
        fixed: Whether all rows had one length, so that the tokens are known.
    """

    row: Measurement
    gpu: Gpu
    measured: float
    predicted: Range
    fixed: bool

    @property
    def error(self) -> float:
        """Predicted over measured, less one."""
        return self.predicted.expected / self.measured - 1

    @property
    def optimised(self) -> bool:
        """Whether the stack is nothing like TRL's."""
        return self.row.framework.startswith(OPTIMISED)

    @property
    def tuning(self) -> str:
        """``"full"``, ``"lora"`` or ``"qlora"``."""
        return self.row.tuning


SUBSETS: dict[str, Callable[[Speed], bool]] = {
    "all": lambda speed: True,
    "like TRL": lambda speed: not speed.optimised,
    "core": lambda speed: speed.row.core and not speed.optimised,
    "one GPU": lambda speed: not speed.optimised and speed.row.num_gpus == 1,
    "several": lambda speed: not speed.optimised and speed.row.num_gpus > 1,
    "optimised": lambda speed: speed.optimised,
}


def read_speeds(path: str | Path) -> tuple[list[Speed], Counter[str]]:
    """The rows that can be scored, and why the others with a speed cannot."""
    found: list[Speed] = []
    left: Counter[str] = Counter()
    with Path(path).open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            if not (row.get("tokens_per_s") or "").strip():
                continue
            speed = _speed(row)
            if isinstance(speed, str):
                left[speed] += 1
            else:
                found.append(speed)
    return found, left


def read_held_out(path: str | Path) -> tuple[list[Speed], Counter[str]]:
    """As ``read_speeds``, for stacks like TRL's, with each source's own runs unknown to the estimate of it."""
    speeds, left = read_speeds(path)
    like = [speed for speed in speeds if not speed.optimised]
    left["a stack that is nothing like TRL's"] = len(speeds) - len(like)
    with Path(path).open(newline="", encoding="utf-8") as lines:
        rows = {row["row_id"]: row for row in csv.DictReader(lines)}
    implied = [(speed, _implied(rows[speed.row.row_id], speed)) for speed in like]
    found: list[Speed] = []
    for speed in like:
        others = [(other, share) for other, share in implied if other.row.source != speed.row.source and share]
        again = _speed(rows[speed.row.row_id], _share_of(speed, others))
        assert isinstance(again, Speed)
        found.append(again)
    return found, left


def _implied(row: dict[str, str], speed: Speed) -> float | None:
    """The utilisation with which the estimate would be right; ``None`` if it does not decide the speed."""
    low, high = 0.01, 1.5

    def predicted(share: float) -> float:
        found = _speed(row, share)
        return found.predicted.expected if isinstance(found, Speed) else 0.0

    if predicted(high) < 1.15 * speed.measured:
        return None
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if predicted(middle) < speed.measured else (low, middle)
    # where a fifth more of it changes little, something else takes the time
    return low if predicted(1.2 * low) > 1.05 * speed.measured else None


def _share_of(speed: Speed, others: Sequence[tuple[Speed, float]]) -> float:
    """Median utilisation of others' runs: of this GPU and tuning, of this GPU, of one that it is like, of any."""
    # "assumed to be as on NVIDIA H100 (qlora): ..." names the GPU
    like = {gpu.name for gpu in all_gpus() if f"as on {gpu.name} (" in speed.gpu.utilisation["full"].source}
    closest: list[Callable[[Speed], bool]] = [
        lambda other: other.gpu.name == speed.gpu.name and other.tuning == speed.tuning,
        lambda other: other.gpu.name == speed.gpu.name,
        lambda other: other.gpu.name in like,
        lambda other: True,
    ]
    for belongs in closest:
        shares = [share for other, share in others if belongs(other)]
        if shares:
            return statistics.median(shares)
    return speed.gpu.utilisation["full"].expected


def _speed(row: dict[str, str], share: float | None = None) -> Speed | str:
    """A row and its estimate, or why there is none; with ``share`` as the GPU's utilisation, if given."""
    measured, gpu = measurement_of(row), find_gpu(row["gpu_type"])
    if gpu is not None and share is not None:
        known = gpu.utilisation
        scaled = {
            kind: replace(
                each, low=share * each.low / each.expected, expected=share, high=share * each.high / each.expected
            )
            for kind, each in known.items()
        }
        gpu = replace(gpu, utilisation=scaled)
    if gpu is None:
        return f"no figures of {row['gpu_type'] or 'an unnamed GPU'}"
    if measured.workload is None:
        return measured.reason or "cannot be modelled"
    arithmetic = arithmetic_of(measured.workload)
    if arithmetic is None:
        return "the size of the model is unknown"
    asked = measured.workload
    fixed = row["seq_kind"] == "fixed"
    exact = RowLengths(Range.exact(asked.sequence_length), limit=asked.sequence_length)
    lengths = exact if fixed else row_lengths(None, asked.sequence_length, asked.sequence_length)
    amounts = Amounts(
        arithmetic=arithmetic,
        passes=Passes(),
        rows=None,
        lengths=lengths,
        max_length=asked.sequence_length,
        max_steps=1,
    )
    setup = Setup(
        gpu=gpu,
        num_gpus=measured.num_gpus,
        nodes=-(-measured.num_gpus // GPUS_PER_NODE),
        strategy=asked.strategy,
        per_device_train_batch_size=asked.per_device_train_batch_size,
        gradient_accumulation_steps=asked.gradient_accumulation_steps,
        gradient_checkpointing=asked.gradient_checkpointing,
    )
    return Speed(measured, gpu, float(row["tokens_per_s"]), estimate_duration(amounts, setup).tokens_per_second, fixed)


def scores(speeds: Sequence[Speed]) -> dict[str, Any]:
    """Errors of several rows: absolute ones but for ``bias``, the median of the signed."""
    errors = sorted(abs(speed.error) for speed in speeds)
    if not errors:
        return {"n": 0}
    return {
        "n": len(errors),
        "median": statistics.median(errors),
        "p90": errors[min(len(errors) - 1, int(0.9 * len(errors)))],
        "within_25": sum(error <= 0.25 for error in errors) / len(errors),
        "in_range": sum(speed.measured in speed.predicted for speed in speeds) / len(speeds),
        "bias": statistics.median(speed.error for speed in speeds),
    }


def tables(speeds: Sequence[Speed]) -> dict[str, dict[str, Any]]:
    """The scores by subset, and of those like TRL's by GPU and tuning."""
    found = {name: scores([speed for speed in speeds if belongs(speed)]) for name, belongs in SUBSETS.items()}
    like = [speed for speed in speeds if not speed.optimised]
    for kind in ("full", "lora", "qlora"):
        found[kind] = scores([speed for speed in like if speed.tuning == kind])
    for gpu, kind in sorted({(speed.gpu.name, speed.tuning) for speed in like}):
        found[f"{gpu}, {kind}"] = scores([s for s in like if (s.gpu.name, s.tuning) == (gpu, kind)])
    return found


def implied(path: str | Path) -> dict[str, dict[str, float]]:
    """The share of the peak with which estimates would be right, by GPU and tuning: what ``data/gpus.json`` has."""
    speeds, _ = read_speeds(path)
    with Path(path).open(newline="", encoding="utf-8") as lines:
        rows = {row["row_id"]: row for row in csv.DictReader(lines)}
    found: dict[str, list[float]] = {}
    for speed in speeds:
        share = None if speed.optimised else _implied(rows[speed.row.row_id], speed)
        if share is not None:
            found.setdefault(f"{speed.gpu.name}, {speed.tuning}", []).append(share)
    return {name: _spread(sorted(shares)) for name, shares in sorted(found.items())}


def _spread(shares: Sequence[float]) -> dict[str, float]:
    last = len(shares) - 1
    tenth, ninetieth = shares[round(0.1 * last)], shares[round(0.9 * last)]
    return {"n": len(shares), "p10": tenth, "median": statistics.median(shares), "p90": ninetieth}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables, or the same as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("csv", help="measurements with tokens_per_s and gpu_type")
    parser.add_argument("--json", action="store_true", help="print the scores as JSON")
    parser.add_argument("--rows", action="store_true", help="list every row")
    parser.add_argument("--held-out", action="store_true", help="score each source with what the others say")
    parser.add_argument("--implied", action="store_true", help="print the utilization that the runs imply")
    options = parser.parse_args(arguments)
    if options.implied:
        for name, found in implied(options.csv).items():
            print(f"{name:<28}{found['n']:>4}" + "".join(f"{found[key]:>8.2f}" for key in ("p10", "median", "p90")))
        return
    speeds, left = (read_held_out if options.held_out else read_speeds)(options.csv)
    if options.json:
        print(json.dumps({"scores": tables(speeds), "left_out": dict(left)}))
        return
    columns = ("median", "p90", "within_25", "in_range", "bias")
    print(f"{'rows':<28}{'n':>4} " + "".join(f"{name:>11}" for name in columns))
    for name, found in tables(speeds).items():
        cells = "".join(f"{found[key]:>11.0%}" if key in found else f"{'-':>11}" for key in columns)
        print(f"{name:<28}{found['n']:>4} {cells}")
    print(f"not scored: {sum(left.values())} of {sum(left.values()) + len(speeds)}")
    for reason, count in left.most_common():
        print(f"  {count:>3}  {reason}")
    if options.rows:
        for speed in sorted(speeds, key=lambda item: item.error):
            asked = speed.row.workload
            shape = f"{asked.per_device_train_batch_size} x {asked.sequence_length}" if asked else ""
            print(
                f"{speed.row.row_id} {speed.error:+5.0%} measured {speed.measured:,.0f}, estimated {speed.predicted}:"
                f" {speed.row.framework}, {speed.row.tuning}, {shape}, {speed.row.num_gpus} x {speed.gpu.name}"
            )


if __name__ == "__main__":
    main()
