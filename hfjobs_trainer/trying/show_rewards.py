"""How a trial of rewards looks: a table of mean values, as text and as HTML."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hfjobs_trainer.display import html_pairs, html_section, html_table, plural, text, text_table, visible
from hfjobs_trainer.errors import count_problems
from hfjobs_trainer.problems import html_problems

if TYPE_CHECKING:
    from hfjobs_trainer.trying.reward_trial import RewardTrial

# Columns of completions that are shown, and rows of a notebook's table.
_COMPLETIONS, _ROWS = 8, 16
_CUT = 80


def headline(trial: RewardTrial) -> str:
    """What came of it, in one line."""
    told = [trial.method, plural(len(trial.rewards), "reward function")]
    if trial.rows:
        most = max(len(row.completions) for row in trial.rows)
        told.append(f"{plural(len(trial.rows), 'row')} with {plural(most, 'completion')} each")
    return visible(", ".join([*told, count_problems(trial.problems) if trial.problems else "no problems"]))


def show(trial: RewardTrial) -> str:
    """The trial as text, for ``print``."""
    lines = [f"rewards: {headline(trial)}"]
    header, rows = _table(trial)
    if rows:
        caption = "Mean over the rows; flat: share of rows whose completions all get the same."
        cells = [[visible(cell) for cell in row] for row in rows]
        lines.append(text_table([visible(name) for name in header], cells, caption, right=header[1:]))
    if trial.columns:
        lines.append(f"columns passed by keyword: {', '.join(map(visible, trial.columns))}")
    for problem in trial.problems:
        lines += [f"  {visible(line)}" for line in str(problem).split("\n")]
    lines += [f"note: {visible(note)}" for note in trial.notes]
    return "\n".join(lines)


def show_html(trial: RewardTrial) -> str:
    """The trial for a notebook."""
    parts = [f"<b>rewards: {text(headline(trial))}</b>"]
    if trial.problems:
        parts.append(html_problems(trial.problems))
    header, rows = _table(trial)
    if rows:
        parts.append(html_table(header, rows, right=header[1:]))
    if trial.rows:
        names = _shown(trial)
        cells = [
            [_cut(row.prompt), name, _cut(completion), _number(total)]
            for row in trial.rows[:_ROWS]
            for name, completion, total in zip(names, row.completions, row.totals, strict=False)
        ]
        table = html_table(("prompt", "completion", "text", "total"), cells, right=("total",))
        parts.append(html_section(plural(len(trial.rows), "row"), table))
    pairs = {"columns passed by keyword": ", ".join(trial.columns)} if trial.columns else {}
    pairs |= {f"note {number}": note for number, note in enumerate(trial.notes, 1)}
    return f"<div>{''.join(parts)}{html_pairs(pairs) if pairs else ''}</div>"


def _shown(trial: RewardTrial) -> Sequence[str]:
    return trial.completions[:_COMPLETIONS]


def _table(trial: RewardTrial) -> tuple[list[str], list[list[str]]]:
    names = _shown(trial)
    header = ["reward", "weight", *names, "flat", "seconds"]
    rows: list[list[str]] = []
    for reward in trial.rewards:
        means = [_mean([row[at] for row in reward.values if at < len(row)]) for at in range(len(names))]
        took = "" if reward.seconds is None else f"{reward.seconds:.3f}"
        rows.append([reward.name, f"{reward.weight:g}", *means, _share(reward.without_variance), took])
    if len(trial.rewards) > 1 or any(reward.weight != 1 for reward in trial.rewards):
        totals = [_mean([row.totals[at] for row in trial.rows if at < len(row.totals)]) for at in range(len(names))]
        rows.append(["total", "", *totals, _share(trial.without_variance), ""])
    return header, rows


def _mean(values: Sequence[float | None]) -> str:
    numbers = [value for value in values if value is not None and not math.isnan(value)]
    return _number(sum(numbers) / len(numbers)) if numbers else "none"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4g}"


def _share(share: float | None) -> str:
    return "" if share is None else f"{share:.0%}"


def _cut(value: str) -> str:
    return visible(value if len(value) <= _CUT else f"{value[:_CUT]}...")
