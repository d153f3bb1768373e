"""How far the estimates of training memory are from published measurements.

Run with ``python -m benchmarks.memory CSV`` or ``python benchmarks/memory.py CSV``; errors are relative to the
published peak, under-estimates negative. Options: ``--json``, ``--level closed_form|simulation|both``, ``--worst N``,
``--sources``.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, get_args

if __package__ in (None, ""):  # run as a file, not as a module
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.measurements import Measurement, read_measurements
from benchmarks.simulation import predict as simulate_rows
from benchmarks.simulation import reasons as simulation_reasons
from hfjobs_trainer.errors import HFTError
from hfjobs_trainer.planning.memory.closed_form import estimate_memory
from hfjobs_trainer.planning.memory.estimate import (
    GIB,
    MARGIN_FACTOR,
    MARGIN_GIB,
    MemoryEstimate,
    Verdict,
)

Predictions = dict[str, float | None]
"""Predicted peak in GiB by row, in the metric of that row's measurement."""

UNKNOWN = "cannot be modelled"
"""The outcome of a row that has no estimate, or that names no GPU."""

SUBSETS: dict[str, Callable[[Measurement], bool]] = {
    "core": lambda row: row.core,
    "all": lambda row: True,
    "full": lambda row: row.core and row.tuning == "full",
    "lora": lambda row: row.core and row.tuning == "lora",
    "qlora": lambda row: row.core and row.tuning == "qlora",
}
"""Which measurements each line of the table is about; full, lora and qlora lie within core."""

SPREAD: dict[str, Callable[[Measurement], bool]] = {
    "one GPU": lambda row: row.core and not row.sharded,
    "sharded": lambda row: row.core and row.sharded,
}
"""Further lines of the printed table, within core."""


def scores(errors: Iterable[float]) -> dict[str, float | int | None]:
    """Figures of a list of relative errors; under-estimates are negative.

    Args:
        errors: (predicted - measured) / measured of each row.

    Returns:
        ``n``; ``median``, ``p90``, ``p95`` and ``max`` of the absolute errors as fractions; the shares ``within_10``
        and ``within_25`` percent; ``bias``, the mean of the signed errors; ``under``, the number of under-estimates.
        All but the counts are ``None`` of no rows.
    """
    signed = list(errors)
    sizes = sorted(abs(error) for error in signed)
    n = len(sizes)
    return {
        "n": n,
        "median": statistics.median(sizes) if n else None,
        "p90": quantile(sizes, 0.90) if n else None,
        "p95": quantile(sizes, 0.95) if n else None,
        "max": sizes[-1] if n else None,
        "within_10": sum(size <= 0.10 for size in sizes) / n if n else None,
        "within_25": sum(size <= 0.25 for size in sizes) / n if n else None,
        "bias": statistics.mean(signed) if n else None,
        "under": sum(error < 0 for error in signed),
    }


def quantile(ordered: Sequence[float], share: float) -> float:
    """The value below which ``share`` of an ascending list lies, between neighbours linear."""
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def estimates(rows: Sequence[Measurement]) -> dict[str, MemoryEstimate]:
    """The closed form's estimate of each row that can be modelled."""
    found = {row.row_id: estimate_memory(row.workload, row.num_gpus) for row in rows if row.workload is not None}
    return {row_id: estimate for row_id, estimate in found.items() if estimate is not None}


def comparable_gib(estimate: MemoryEstimate, metric: str) -> float:
    """An estimate's peak in the metric of a measurement."""
    if metric == "allocated":
        return estimate.allocated_gib
    return estimate.reserved_gib if metric == "reserved" else estimate.device_gib


def predict_closed_form(rows: Sequence[Measurement]) -> Predictions:
    """Peaks by the closed form."""
    found = estimates(rows)
    return {row.row_id: comparable_gib(found[row.row_id], row.metric) for row in rows if row.row_id in found}


def predict_simulation(rows: Sequence[Measurement]) -> Predictions | None:
    """Peaks by simulation, ``None`` without the libraries that it needs; the device's overhead is the closed form's."""
    try:
        return simulate_rows(rows, estimates(rows))
    except HFTError as error:
        print(error, file=sys.stderr)
        return None


LEVELS: dict[str, Callable[[Sequence[Measurement]], Predictions | None]] = {
    "closed_form": predict_closed_form,
    "simulation": predict_simulation,
}


def errors_of(rows: Sequence[Measurement], predicted: Predictions) -> dict[str, float]:
    """Relative error of each row that has a published peak and a prediction."""
    found: dict[str, float] = {}
    for row in rows:
        peak, guess = row.peak_gib, predicted.get(row.row_id)
        if peak is not None and guess is not None and row.fitted:
            found[row.row_id] = guess / peak - 1
    return found


def table(rows: Sequence[Measurement], predicted: Predictions, subsets: dict[str, Any]) -> dict[str, Any]:
    """The scores of each subset."""
    found = errors_of(rows, predicted)
    return {
        name: scores(found[row.row_id] for row in rows if belongs(row) and row.row_id in found)
        for name, belongs in subsets.items()
    }


def show(rows: Sequence[Measurement], level: str, predicted: Predictions) -> None:
    """Print one level's table, what it leaves out, and what it says of runs whose outcome is known."""
    columns = "".join(f"{name:>8}" for name in ("median", "p90", "p95", "max", "<=10%", "<=25%", "bias"))
    print(f"{level}\n  {'rows':<10}{'n':>5} {columns}{'under':>7}")
    for name, found in table(rows, predicted, SUBSETS | SPREAD).items():
        shares = [found[key] for key in ("median", "p90", "p95", "max", "within_10", "within_25")]
        cells = "".join(f"{'-' if share is None else f'{share:.1%}':>8}" for share in shares)
        bias = "-" if found["bias"] is None else f"{found['bias']:+.1%}"
        print(f"  {name:<10}{found['n']:>5} {cells}{bias:>8}{found['under']:>7}")
    scored = errors_of(rows, predicted)
    known = simulation_reasons(rows) if level == "simulation" else {}
    left = Counter(known.get(row.row_id) or _left_out(row) for row in rows if row.row_id not in scored)
    print(f"  not scored: {sum(left.values())} of {len(rows)}")
    for reason, count in left.most_common():
        print(f"    {count:>3}  {reason}")


METRICS: dict[str, Callable[[Measurement], bool]] = {
    "allocated": lambda row: row.core and row.metric == "allocated",
    "reserved": lambda row: row.core and row.metric == "reserved",
    "device": lambda row: row.core and row.metric == "device",
}
"""Core rows by the figure of theirs that was published."""


def show_both(rows: Sequence[Measurement], found: dict[str, Predictions]) -> None:
    """Print what a simulation buys: both levels on the rows that both estimate."""
    known = [errors_of(rows, predicted) for predicted in found.values()]
    shared = [row for row in rows if all(row.row_id in errors for errors in known)]
    print(f"{' and '.join(found)}, on the rows that both estimate: median and 95% of the error")
    for name, belongs in (SUBSETS | SPREAD | METRICS).items():
        scored = [scores(errors[row.row_id] for row in shared if belongs(row)) for errors in known]
        cells = "".join(f"{each['median']:>8.1%}{each['p95']:>8.1%}" for each in scored if each["n"])
        print(f"  {name:<10}{scored[0]['n']:>5} {cells}")


def _left_out(row: Measurement) -> str:
    if not row.fitted:
        return "ran out of memory, see below"
    if row.peak_gib is None:
        return "no peak published"
    return row.reason or "this level has no estimate of it"


def outcomes(rows: Sequence[Measurement], *, fitted: bool) -> dict[str, int]:
    """What the closed form's verdict says of all runs that went through, or of all that ran out of memory."""
    found = estimates(rows)
    said: dict[str, int] = dict.fromkeys((*get_args(Verdict), UNKNOWN), 0)
    for row in rows:
        if row.fitted is fitted:
            known = row.row_id in found and row.gpu_gib is not None
            said[found[row.row_id].verdict(row.gpu_gib or 0.0) if known else UNKNOWN] += 1
    return said


def show_outcomes(rows: Sequence[Measurement]) -> None:
    """Print what the verdict says of runs that ran out of memory, and of those that went through."""
    for fitted, text in ((False, "ran out of memory"), (True, "went through")):
        said = outcomes(rows, fitted=fitted)
        print(f"{sum(said.values())} runs {text}; the verdict: " + ", ".join(f"{name} {n}" for name, n in said.items()))


def show_margin(rows: Sequence[Measurement], predicted: Predictions) -> None:
    """Print how many published peaks of core rows lie outside of a level's margin."""
    known = errors_of(rows, predicted)
    scored = [row for row in rows if row.core and row.row_id in known]
    above: list[str] = []
    below: list[str] = []
    for row in scored:
        peak, guess = row.peak_gib or 0.0, predicted[row.row_id] or 0.0
        margin = guess * (MARGIN_FACTOR - 1) + MARGIN_GIB
        above += [row.row_id] if peak > guess + margin else []
        below += [row.row_id] if peak < guess - margin else []
    print(
        f"  core peaks above the estimate and its margin: {len(above)} of {len(scored)} ({', '.join(above)}); "
        f"below the estimate less its margin: {len(below)} ({', '.join(below)})"
    )


def show_sources(rows: Sequence[Measurement], predicted: Predictions) -> None:
    """Print the median of the signed errors of core rows by source and tuning: what is wrong with a whole source."""
    scored = errors_of(rows, predicted)
    groups: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        if row.core and row.row_id in scored:
            groups.setdefault((row.source, row.tuning), []).append(scored[row.row_id])
    for (source, tuning), found in sorted(groups.items()):
        print(f"  {source:<24}{tuning:<6}{len(found):>4} rows, median {statistics.median(found):+.1%}")


def show_worst(rows: Sequence[Measurement], predicted: Predictions, count: int) -> None:
    """Print the rows that are furthest off, with the components of the closed form's estimate."""
    scored, found = errors_of(rows, predicted), estimates(rows)
    by_id = {row.row_id: row for row in rows}
    for row_id, error in sorted(scored.items(), key=lambda item: -abs(item[1]))[:count]:
        row, work = by_id[row_id], by_id[row_id].workload
        assert work is not None
        print(
            f"{row_id} {error:+.0%} measured {row.peak_gib} GiB {row.metric}, estimated {predicted[row_id]:.1f}"
            f"{' (core)' if row.core else ''}: {row.framework}, {work.model.model_type} {row.tuning},"
            f" {work.per_device_train_batch_size} x {work.sequence_length}, {row.num_gpus} GPU {work.strategy}"
        )
        if row_id in found:
            parts = ((name, size / GIB) for name, size in found[row_id].components.items())
            print(
                f"    {found[row_id].moment}: " + ", ".join(f"{name} {size:.2f}" for name, size in parts if size > 0.05)
            )


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables, or the same as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("csv", help="measurements; the columns are those that benchmarks/measurements.py reads")
    parser.add_argument("--json", action="store_true", help="print scores and verdicts as JSON")
    parser.add_argument("--level", choices=[*LEVELS, "both"], default="both")
    parser.add_argument("--worst", type=int, default=0, metavar="N", help="list the N rows that are furthest off")
    parser.add_argument("--sources", action="store_true", help="signed errors of core rows by source")
    options = parser.parse_args(arguments)
    rows = read_measurements(options.csv)
    levels = [level for level in LEVELS if options.level in (level, "both")]
    found = {level: LEVELS[level](rows) for level in levels}
    if options.json:
        known = {level: found.get(level) for level in LEVELS}
        scored = {level: table(rows, p, SUBSETS) if p is not None else None for level, p in known.items()}
        print(json.dumps(scored | {"out_of_memory": outcomes(rows, fitted=False)}))
        return
    for level, predicted in found.items():
        if predicted is None:
            print(f"{level}: not available")
            continue
        show(rows, level, predicted)
        show_margin(rows, predicted)
        if options.sources:
            show_sources(rows, predicted)
        show_worst(rows, predicted, options.worst)
    both = {level: predicted for level, predicted in found.items() if predicted is not None}
    if len(both) > 1:
        show_both(rows, both)
    show_outcomes(rows)


if __name__ == "__main__":
    main()
