"""Rewards on real rows: the reward functions of a run, called with given completions, or with probes."""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from hfjobs_trainer.errors import SpecError
from hfjobs_trainer.problems import Problem
from hfjobs_trainer.specs.rewards import BUILTIN_REWARDS
from hfjobs_trainer.trying.preview import UNNEEDED, preview_settings
from hfjobs_trainer.trying.reward_trial import Place, RewardFailure, RewardTrial, TriedReward, TriedRow
from hfjobs_trainer.trying.run import Limits, TrialError, try_plan

if TYPE_CHECKING:
    from hfjobs_trainer.facts import Facts
    from hfjobs_trainer.planning.plan import Plan

ROWS = 16
"""Rows that are tried: the first prepared ones."""
SECONDS = 180.0
"""How long a trial may take, seconds; the making of an environment is not counted."""
# Before the process is killed, it tells at which line it is: seconds.
_LAST_WORDS = 1.5

Messages = Sequence[Mapping[str, Any]]
Completion = str | Messages
Completions = Sequence[Completion | Sequence[Completion]]


def listed_completions(completions: Completions | None) -> list[list[Any]] | None:
    """The completions of each row, as lists.

    Raises:
        ValueError: One is neither a text nor messages.
    """
    if completions is None:
        return None
    if isinstance(completions, str | Mapping) or not completions:
        raise ValueError("completions: one text, one list of messages, or a list of those, for each row")
    found = [list(_of_row(item, number)) for number, item in enumerate(completions, 1)]
    if empty := [number for number, each in enumerate(found, 1) if not each]:
        raise ValueError(f"completions: there is none for row {empty[0]}")
    return found


def _of_row(item: Any, row: int) -> Iterator[Any]:
    one = _completion(item)
    if one is not None:
        yield one
        return
    several: list[Any] = list(cast("Any", item)) if isinstance(item, Sequence) else [item]
    for each in several:
        one = _completion(each)
        if one is None:
            told = f"row {row} has {each!r:.60}"
            raise ValueError(f"completions: {told}, which is neither a text nor a list of messages with a role")
        yield one


def _completion(item: Any) -> str | list[dict[str, Any]] | None:
    """A text, or messages with a role; ``None`` if it is neither."""
    if isinstance(item, str):
        return item
    messages: list[Any] = []
    if isinstance(item, Mapping):
        messages = [item]
    elif isinstance(item, list | tuple):
        messages = list(cast("Sequence[Any]", item))
    if messages and all(isinstance(each, Mapping) and "role" in each for each in messages):
        return [dict(each) for each in messages]
    return None


def sources_of(spec: Any) -> list[Any]:
    """What rewards a run, models among it.

    Args:
        spec: Its spec.

    Raises:
        SpecError: Its method has no reward functions.
    """
    found = list(getattr(spec, "reward_funcs", None) or ())
    if getattr(spec, "environment_factory", None):
        found.append(spec.environment_factory)
    if not found:
        label = spec.METHOD.label
        why = f"{label} has no reward functions, so there are none to try"
        if getattr(spec, "reward_model", None):
            why = f"{label} is rewarded by a model alone, so there are no reward functions to try"
        raise SpecError([Problem("REWARD007", "method", why)], f"{label} spec")
    return found


def try_plan_rewards(
    plan: Plan,
    completions: Completions | None = None,
    *,
    rows: int = ROWS,
    seconds: float = SECONDS,
    facts: Facts | None = None,
    token: str | None = None,
    endpoint: str | None = None,
    offline: bool = False,
    limits: Limits | None = None,
) -> RewardTrial:
    """Run a plan's script up to its trainer, and have that call the reward functions.

    Args:
        plan: The plan of a spec that trains.
        completions: One for each row, or a list of them; default: probes.
        rows: Rows to try; as many as there are completions, if these are given.
        seconds: How long it may take.
        facts: Facts about the models and datasets, which tell whether a token is needed.
        token: Hub token, used only where one is private or gated.
        endpoint: URL of the Hub.
        offline: Do not contact the Hub.
        limits: What the process may take; default: these seconds and 12 GiB.

    Raises:
        SpecError: The method has no reward functions.
        ValueError: A completion is neither a text nor messages.
        TrialError: The script ended with an error before its rewards were called.
        HFTError: There is no interpreter for it.
    """
    given = listed_completions(completions)
    called = [item for item in sources_of(plan.spec) if item not in _models(plan.spec)]
    label = cast("Any", plan.spec).METHOD.label
    if not called:
        note = "there are reward models alone, which are not called"
        return RewardTrial(label, not_called=_models(plan.spec), notes=(note,))
    limits = limits or Limits(seconds=seconds)
    tried = try_plan(
        plan,
        "rewards",
        settings_of(plan, given, rows=rows, seconds=limits.seconds, facts=facts),
        facts=facts,
        limits=limits,
        without=UNNEEDED,
        passes_secrets=True,
        token=token,
        endpoint=endpoint,
        offline=offline,
    )
    found = tried.result
    if found is None or not (found.get("done") or found.get("calling")):
        raise TrialError(tried.explain("the trial of the rewards"))
    ended = tried.stopped or (f"signal {-tried.exit_code}" if tried.exit_code < 0 else f"status {tried.exit_code}")
    return read_trial(found, plan, seconds=tried.seconds, ended=ended, log=tried.log, given=len(given) if given else 0)


def settings_of(
    plan: Plan, given: list[list[Any]] | None, *, rows: int, seconds: float, facts: Facts | None = None
) -> dict[str, Any]:
    """What the mode is told."""
    return {
        **preview_settings(plan, len(given) if given else rows, facts),
        "completions": given,
        "seconds": seconds - _LAST_WORDS,
        "secrets": [*plan.request.secrets, "HF_TOKEN"],
    }


def read_trial(
    found: Mapping[str, Any], plan: Plan, *, seconds: float, ended: str = "", log: str = "", given: int = 0
) -> RewardTrial:
    """The trial that a mode's result describes.

    Args:
        found: The result.
        plan: The plan.
        seconds: How long it took.
        ended: How the process ended, if it did not come to its end.
        log: What it wrote.
        given: For how many rows completions were given.
    """
    from hfjobs_trainer.trying.reward_findings import notes_on, problems_of

    names = tuple(str(name) for name in found["names"])
    rewards = tuple(_reward(entry, names, plan.script) for entry in found["functions"])
    rows = tuple(
        TriedRow(row["prompt"], tuple(row["completions"]), _totals(rewards, index, len(row["completions"])))
        for index, row in enumerate(found["rows"])
    )
    spec = cast("Any", plan.spec)
    trial = RewardTrial(
        method=spec.METHOD.label,
        rewards=rewards,
        rows=rows,
        completions=names,
        columns=tuple(found.get("columns") or ()),
        not_called=_models(spec),
        seconds=seconds,
    )
    problems = problems_of(
        trial,
        found["calling"],
        late=late_place(log, plan.script),
        ended=ended,
        environments=_environments(spec),
        installed=spec.extra_dependencies,
        is_given=given > 0,
    )
    return replace(trial, problems=tuple(problems), notes=tuple(notes_on(trial, found["calling"], given=given)))


def _models(spec: Any) -> tuple[str, ...]:
    """Reward models of a spec."""
    return tuple(
        item
        for item in getattr(spec, "reward_funcs", None) or ()
        if isinstance(item, str) and item not in BUILTIN_REWARDS
    )


def _environments(spec: Any) -> set[str]:
    """Names of the environments of a spec."""
    given: Any = getattr(spec, "environment_factory", None)
    several: list[Any] = list(cast("Mapping[str, Any]", given).values()) if isinstance(given, Mapping) else [given]
    return {name for item in several if isinstance(name := getattr(item, "name", None), str)}


def _reward(entry: Mapping[str, Any], names: tuple[str, ...], script: str) -> TriedReward:
    failures: list[Mapping[str, Any]] = entry["failures"]
    alone = [item for item in failures if not item.get("batch")]
    return TriedReward(
        name=entry["name"],
        weight=entry["weight"],
        values=tuple(tuple(row) for row in entry.get("values") or ()),
        seconds=entry["seconds"],
        failures=tuple(
            RewardFailure(
                error=item["type"],
                message=item["message"],
                place=place_of(script, item.get("at")),
                row=item.get("row"),
                completion=names[int(item["slot"])] if "slot" in item else "",
                module=item.get("module") or "",
                again=bool(item.get("again")),
            )
            for item in alone or failures
        ),
        wrong=entry["wrong"],
        is_same=entry["is_same"],
        changes=tuple(entry.get("changes") or ()),
    )


def place_of(script: str, number: int | None) -> Place | None:
    """Where a line of the script is in the function or class of the user's at its top; ``None`` if in none."""
    for statement in ast.parse(script).body if number is not None else ():
        if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        first = min([statement.lineno, *(item.lineno for item in statement.decorator_list)])
        if first <= (number or 0) <= (statement.end_lineno or 0) and statement.name != "main":
            return Place(statement.name, (number or 0) - first + 1, script.splitlines()[(number or 0) - 1].strip())
    return None


def late_place(log: str, script: str) -> Place | None:
    """Where the functions were when their time was over, by what Python then writes of its threads."""
    told = log.rpartition("Timeout (")[2] if "Timeout (" in log else ""
    numbers = re.findall(r'^  File ".*script\.py", line (\d+) in ', told, re.MULTILINE)
    return next((place for number in numbers if (place := place_of(script, int(number))) is not None), None)


def _totals(rewards: Sequence[TriedReward], row: int, count: int) -> tuple[float | None, ...]:
    """The weighted sum of the rewards of each completion, as the trainers make it."""
    totals: list[float | None] = []
    for slot in range(count):
        told = [
            (each.weight, value)
            for each in rewards
            if row < len(each.values) and slot < len(each.values[row]) and (value := each.values[row][slot]) is not None
        ]
        numbers = [weight * value for weight, value in told if not math.isnan(value)]
        totals.append(sum(numbers) if numbers else None)
    return tuple(totals)
