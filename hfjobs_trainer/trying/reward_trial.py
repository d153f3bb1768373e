"""What the reward functions of a run gave for completions of real rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from hfjobs_trainer.errors import SpecError
from hfjobs_trainer.problems import Problem

# Of a line that is quoted, characters.
LONGEST = 120


@dataclass(frozen=True, slots=True)
class Place:
    """A line of your code.

    Attributes:
        function: The function or class at the top of the script in which it is.
        number: Its number in that function's source, the first being 1.
        line: Its text.
    """

    function: str
    number: int
    line: str

    def __str__(self) -> str:
        return f"line {self.number} of {self.function}, `{self.line[:LONGEST]}`"


@dataclass(frozen=True, slots=True)
class RewardFailure:
    """An error of a reward function.

    Attributes:
        error: Name of its class.
        message: Its text; values of secrets are masked.
        place: Where in your code it arose; ``None`` if it arose from the call itself, or in code that is not yours.
        row: Row of the completion on which it fails; ``None`` if it fails on a batch alone.
        completion: Name of that completion, such as ``"empty"``.
        module: The module that could not be imported, if that is what went wrong.
        again: Whether it arises only when the function is called a second time.
    """

    error: str
    message: str
    place: Place | None = None
    row: int | None = None
    completion: str = ""
    module: str = ""
    again: bool = False


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
        changes: Arguments that it changed, which the functions after it get so.
    """

    name: str
    weight: float
    values: tuple[tuple[float | None, ...], ...] = field(repr=False)
    seconds: float | None
    failures: tuple[RewardFailure, ...] = field(default=(), repr=False)
    wrong: str = ""
    is_same: bool | None = None
    changes: tuple[str, ...] = ()

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
