"""Rewards on real rows: what the reward functions of a run give for given completions, or for probes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from hfjobs_trainer.errors import SpecError
from hfjobs_trainer.problems import Problem
from hfjobs_trainer.specs.rewards import BUILTIN_REWARDS, RewardFunction
from hfjobs_trainer.trying.preview import UNNEEDED, preview_settings
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


@dataclass(frozen=True, slots=True)
class RewardFailure:
    """An error of a reward function.

    Attributes:
        error: Name of its class.
        message: Its text; values of secrets are masked.
        function: The function or class of yours in which it arose; empty if it arose from the call itself, or in code
            that is not yours.
        number: Line of that function's source, the first being 1; ``None`` as above.
        line: Text of that line.
        row: Row of the completion on which it fails; ``None`` if it fails on a batch alone.
        completion: Name of that completion, such as ``"empty"``.
        module: The module that could not be imported, if that is what went wrong.
    """

    error: str
    message: str
    function: str = ""
    number: int | None = None
    line: str = ""
    row: int | None = None
    completion: str = ""
    module: str = ""


@dataclass(frozen=True, slots=True)
class TriedReward:
    """A reward function, and what it gave.

    Attributes:
        name: Its name.
        weight: Its weight in the total.
        values: For each row the value of each completion; ``None`` where it gave ``None``, or failed.
        seconds: How long a call took, with all completions of all rows; ``None`` if it was not called.
        failures: Its errors.
        wrong: What it gave in place of one number per completion, in words; empty if it gave that.
        is_same: Whether a second call gave the same; ``None`` if there was none.
    """

    name: str
    weight: float
    values: tuple[tuple[float | None, ...], ...] = field(repr=False)
    seconds: float | None
    failures: tuple[RewardFailure, ...] = field(default=(), repr=False)
    wrong: str = ""
    is_same: bool | None = None

    @property
    def given(self) -> tuple[float, ...]:
        """All values but ``None``."""
        return tuple(value for row in self.values for value in row if value is not None)

    @property
    def never_differs(self) -> bool:
        """Whether it gave one value to several completions."""
        return len(self.given) > 1 and len(set(self.given)) == 1

    @property
    def without_variance(self) -> float | None:
        """Share of the rows whose completions all got the same, 0 to 1; ``None`` where no row has several."""
        return share_without_variance(self.values)


@dataclass(frozen=True, slots=True)
class TriedRow:
    """A row on which the rewards were tried; its texts are cut.

    Attributes:
        prompt: The prompt, or the last message of it.
        completions: The completions.
        totals: For each completion the weighted sum of its rewards, which the trainer would log as ``reward``; ``None``
            if it got none. Reward models are not in it.
    """

    prompt: str
    completions: tuple[str, ...]
    totals: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class RewardTrial:
    """What the reward functions of a run gave; printed, or a notebook cell's last value, it is a table.

    Attributes:
        method: Name of the method, as people write it.
        rewards: The reward functions, in their order.
        rows: The rows.
        completions: Names of the completions of a row: ``"completion 1"`` and so on of given ones; of probes
            ``"reference"``, ``"boxed"``, ``"tags"``, ``"empty"``, ``"prompt"`` and ``"long"``.
        columns: Columns of the dataset that TRL passes by keyword.
        not_called: Reward models.
        problems: What went wrong, or would train nothing.
        notes: What else is worth knowing.
        seconds: How long it took, the making of an environment not counted.
    """

    method: str
    rewards: tuple[TriedReward, ...] = ()
    rows: tuple[TriedRow, ...] = field(default=(), repr=False)
    completions: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    not_called: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = field(default=0.0, compare=False)

    @property
    def ok(self) -> bool:
        """Whether there are no errors; warnings are allowed."""
        return not any(problem.severity == "error" for problem in self.problems)

    @property
    def without_variance(self) -> float | None:
        """Share of the rows whose completions all got the same total, 0 to 1; ``None`` where no row has several."""
        return share_without_variance([row.totals for row in self.rows])

    def raise_for_problems(self) -> None:
        """Raise ``SpecError`` with all problems unless it went well."""
        if not self.ok:
            raise SpecError(self.problems, f"{self.method} spec")

    def __repr__(self) -> str:
        from hfjobs_trainer.trying.show_rewards import headline

        return f"<RewardTrial: {headline(self)}>"

    def __str__(self) -> str:
        from hfjobs_trainer.trying.show_rewards import show

        return show(self)

    def _repr_html_(self) -> str:
        from hfjobs_trainer.trying.show_rewards import show_html

        return show_html(self)


def share_without_variance(rows: Sequence[Sequence[float | None]]) -> float | None:
    """Share of rows whose values are all the same, of those with several."""
    groups = [[value for value in row if value is not None] for row in rows]
    several = [group for group in groups if len(group) > 1]
    return sum(len(set(group)) == 1 for group in several) / len(several) if several else None


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
    messages: list[Any] = [item] if isinstance(item, Mapping) else list(item) if isinstance(item, list | tuple) else []
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
    called = [item for item in sources_of(plan.spec) if not isinstance(item, str) or item in BUILTIN_REWARDS]
    label = cast("Any", plan.spec).METHOD.label
    if not called:
        models = tuple(str(item) for item in sources_of(plan.spec))
        return RewardTrial(label, not_called=models, notes=("there are reward models alone, which are not called",))
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
    return read_trial(found, plan, seconds=tried.seconds, ended=ended, given=len(given) if given else 0)


def settings_of(
    plan: Plan, given: list[list[Any]] | None, *, rows: int, seconds: float, facts: Facts | None = None
) -> dict[str, Any]:
    """What the mode is told."""
    return {
        **preview_settings(plan, len(given) if given else rows, facts),
        "completions": given,
        "seconds": seconds - _LAST_WORDS,
        "secrets": list(plan.request.secrets),
    }


def read_trial(found: Mapping[str, Any], plan: Plan, *, seconds: float, ended: str = "", given: int = 0) -> RewardTrial:
    """The trial that a mode's result describes.

    Args:
        found: The result.
        plan: The plan.
        seconds: How long it took.
        ended: How the process ended, if it did not come to its end.
        given: For how many rows completions were given.
    """
    from hfjobs_trainer.trying.reward_findings import notes_on, problems_of

    names = tuple(str(name) for name in found["names"])
    rewards = tuple(_reward(entry, names) for entry in found["functions"])
    rows = tuple(
        TriedRow(row["prompt"], tuple(row["completions"]), _totals(rewards, index, len(row["completions"])))
        for index, row in enumerate(found["rows"])
    )
    spec = cast("Any", plan.spec)
    own = tuple(item.name for item in getattr(spec, "reward_funcs", None) or () if isinstance(item, RewardFunction))
    trial = RewardTrial(
        method=spec.METHOD.label,
        rewards=rewards,
        rows=rows,
        completions=names,
        columns=tuple(found.get("columns") or ()),
        not_called=tuple(found.get("models") or ()),
        seconds=seconds,
    )
    problems = problems_of(trial, found, ended=ended, own=own, installed=spec.extra_dependencies, is_given=given > 0)
    notes = notes_on(trial, given=given)
    return RewardTrial(
        **{name: getattr(trial, name) for name in ("method", "rewards", "rows", "completions", "columns")},
        not_called=trial.not_called,
        problems=tuple(problems),
        notes=tuple(notes),
        seconds=seconds,
    )


def _reward(entry: Mapping[str, Any], names: Sequence[str]) -> TriedReward:
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
                function=item.get("function") or "",
                number=item.get("number"),
                line=item.get("line") or "",
                row=item.get("row"),
                completion=names[item["slot"]] if "slot" in item else "",
                module=item.get("module") or "",
            )
            for item in alone or failures
        ),
        wrong=entry["wrong"],
        is_same=entry["is_same"],
    )


def _totals(rewards: Sequence[TriedReward], row: int, count: int) -> tuple[float | None, ...]:
    """The weighted sum of the rewards of each completion, as the trainers make it."""
    totals: list[float | None] = []
    for slot in range(count):
        told = [
            (each.weight, value)
            for each in rewards
            if row < len(each.values) and slot < len(each.values[row]) and (value := each.values[row][slot]) is not None
        ]
        numbers = [weight * value for weight, value in told if value == value]  # noqa: PLR0124 - not NaN
        totals.append(sum(numbers) if numbers else None)
    return tuple(totals)
