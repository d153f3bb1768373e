"""What a trial of rewards shows: problems with codes of their own, and notes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from hfjobs_trainer.display import plural
from hfjobs_trainer.problems import Problem
from hfjobs_trainer.specs.fixes import keywords

if TYPE_CHECKING:
    from hfjobs_trainer.trying.reward_trial import Place, RewardFailure, RewardTrial, TriedReward

CODES: dict[str, str] = {
    "REWARD001": "A reward function raises an error.",
    "REWARD002": "A reward function does not give one number for each completion.",
    "REWARD003": "A reward function gives infinity, or (a warning) what is not a number.",
    "REWARD004": "A reward function does not end, ends the process, or takes more memory or output than it may.",
    "REWARD005": "A reward function gives no reward at all, or (a warning) the same to every completion.",
    "REWARD006": "The completions of each prompt all get the same total (a warning): nothing is learned from that.",
    "REWARD007": "The method has no reward functions.",
}
"""Codes that only ``try_rewards`` gives: what they mean."""

PATH = "reward_funcs"
# Of a message, characters that a problem quotes.
_MESSAGE = 200


def problems_of(
    trial: RewardTrial,
    calling: Collection[str],
    *,
    late: Place | None,
    ended: str,
    environments: Collection[str],
    installed: Sequence[str],
    is_given: bool,
) -> Iterator[Problem]:
    """What went wrong, or would train nothing.

    Args:
        trial: What was tried.
        calling: Functions that were running when the process ended.
        late: Where they were when their time was over.
        ended: How the process ended.
        environments: Names of the environments, which may have a reward of their own.
        installed: Requirements that the spec asks for beside the tested ones.
        is_given: Whether completions were given.
    """
    for name in calling:
        yield _stopped(name, late, ended)
    for reward in trial.rewards:
        path = "environment_factory" if reward.name in environments else PATH
        if reward.failures:
            yield from _failures(reward, trial, path, installed)
        elif reward.wrong:
            why = f"{reward.name} returns {reward.wrong}: return a list with a number for each completion"
            yield Problem("REWARD002", path, why)
        elif reward.seconds is not None and reward.name not in calling:
            yield from _values(reward, trial, path, is_given=is_given)
    yield from _totals(trial, is_given=is_given)


def _stopped(name: str, late: Place | None, ended: str) -> Problem:
    if late is not None or ended.startswith("it "):
        limit = ended if ended.startswith("it ") else "its time was over"
        why = f"{name} did not end: {limit}" + (f", at {late}" if late is not None else "")
    else:
        why = f"{name} ended the process, with {ended}: a reward function must return"
    return Problem("REWARD004", PATH, why)


def _failures(reward: TriedReward, trial: RewardTrial, path: str, installed: Sequence[str]) -> Iterator[Problem]:
    """A problem for each kind of error, with the completions on which it arises."""
    kinds: dict[tuple[str, str], list[RewardFailure]] = {}
    for item in reward.failures:
        kinds.setdefault((item.error, str(item.place or item.message)), []).append(item)
    for several in kinds.values():
        first = several[0]
        said = " ".join(first.message.split())[:_MESSAGE]
        why = f"{reward.name} raises {first.error}" + (f": {said}" if said else "")
        if first.place is not None:
            why += f", at {first.place}"
        if first.again:
            why += ", when it is called a second time"
        if first.row is not None:
            why += f", for {_which(several, trial)}"
        package = first.module.split(".")[0]
        if package:
            why = f"{reward.name} needs the package {package}, which is not installed where the script runs"
        yield Problem(
            "REWARD001", path, why, keywords({"extra_dependencies": [*installed, package]}) if package else ""
        )


def _which(failures: Sequence[RewardFailure], trial: RewardTrial) -> str:
    """The completions on which it fails."""
    counts = Counter(item.completion for item in failures)
    if len(failures) >= sum(len(row.completions) for row in trial.rows):
        return "every completion"
    first = failures[0]
    kinds = [f"{name} ({count} of {plural(len(trial.rows), 'row')})" for name, count in counts.items()]
    row = (first.row or 0) + 1
    return (
        f"the completions {', '.join(kinds)}, the first being of row {row}"
        if len(kinds) > 1
        else (f"the completion {kinds[0]}, the first being of row {row}")
    )


def _values(reward: TriedReward, trial: RewardTrial, path: str, *, is_given: bool) -> Iterator[Problem]:
    numbers = reward.given
    where = "every completion that was given" if is_given else "every completion that was tried"
    if not numbers:
        # one reward among others may only log
        if len(trial.rewards) + len(trial.not_called) == 1:
            yield Problem("REWARD005", path, f"{reward.name} gives None for {where}: nothing would be learned")
        return
    if infinite := [value for value in numbers if math.isinf(value)]:
        why = f"{reward.name} gives {infinite[0]} for {plural(len(infinite), 'completion')} of {len(numbers)}"
        yield Problem("REWARD003", path, f"{why}: one is enough to ruin the step")
    if undefined := sum(math.isnan(value) for value in numbers):
        why = f"{reward.name} gives NaN for {plural(undefined, 'completion')} of {len(numbers)}"
        yield Problem("REWARD003", path, f"{why}, which TRL takes for no reward, as it takes None", severity="warning")
    if reward.never_differs:
        why = f"{reward.name} gives {numbers[0]:g} for {where}"
        if not is_given:
            why += ": try completions as the model should write them, completions=[...]"
        yield Problem("REWARD005", path, why, severity="warning")


def _totals(trial: RewardTrial, *, is_given: bool) -> Iterator[Problem]:
    totals = {value for row in trial.rows for value in row.totals if value is not None}
    if trial.not_called or len(totals) < 2 or trial.without_variance != 1.0:
        return  # where all are the same, it is told of the functions
    what = "completions given for a prompt get" if is_given else "completions of a prompt, of whatever kind, get"
    why = f"all {what} the same total, so that their advantages are 0 and nothing is learned from them"
    yield Problem("REWARD006", PATH, why, severity="warning")


def notes_on(trial: RewardTrial, stopped: Collection[str], *, given: int) -> Iterator[str]:
    """What else is worth knowing."""
    for reward in trial.rewards:
        if reward.is_same is False and not reward.failures:
            yield f"{reward.name} gives something else when it is called again with the same completions"
        if reward.changes:
            yield f"{reward.name} changes {', '.join(reward.changes)}, which functions after it get as it leaves it"
        if reward.seconds is None and reward.name not in stopped:
            yield f"{reward.name} was not called, since one before it ended the trial"
    if trial.not_called:
        yield f"reward models are not called, and are not in the totals: {', '.join(trial.not_called)}"
    if given > len(trial.rows) > 0:
        yield f"there are {plural(len(trial.rows), 'row')}: the completions beyond them were not tried"
