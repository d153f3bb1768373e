"""Calls of reward functions, kept: what each gave for each completion, how long it took, and what went wrong.

This file lies beside the script whose rewards are tried, and imports nothing of this package.
"""

from __future__ import annotations

import inspect
import json
import math
import time
from collections.abc import Callable, Coroutine, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, cast

# What TRL passes beside the columns of the dataset.
OWN = {"prompts", "completions", "completion_ids", "trainer_state", "log_extra", "log_metric", "environments"}
# Of a message, and of a value that is quoted, characters.
LONGEST, QUOTED = 500, 60
# How long a function that fails on a batch is called with its completions one by one, seconds.
ALONE_SECONDS = 10.0


class Calls:
    """What became of the calls.

    Args:
        place: File in which it is kept, so that it is known whatever becomes of the process.
        source: Path of the script, in which the user's functions are.
        secrets: Values that no text may have.
    """

    def __init__(self, place: Path, source: str, secrets: list[str]) -> None:
        self.place = place
        self.source = source
        self.secrets = secrets
        self.found: dict[str, Any] = {"functions": [], "calling": [], "done": False}
        self.layout: list[tuple[int, int]] = []
        self.counts: list[int] = []
        self.second = False

    def write(self) -> None:
        """Keep what is known by now."""
        new = self.place.with_suffix(".new")
        new.write_text(json.dumps(self.found), "utf-8")
        new.replace(self.place)

    def begin(self, layout: list[tuple[int, int]], counts: list[int]) -> None:
        """Take the order in which completions come.

        Args:
            layout: For each completion of the batch its row, and its number among those of the row.
            counts: How many completions each row has; those beyond fill groups up, and are not kept.
        """
        self.layout, self.counts = layout, counts
        for entry in self.found["functions"]:
            entry["values"] = [[None] * count for count in counts]

    def wrap(self, name: str, function: Callable[..., Any], *, awaited: bool) -> Callable[..., Any]:
        """A function that calls another, keeps what that gives, and never fails."""
        entry: dict[str, Any] = {"name": name, "seconds": None, "failures": [], "wrong": "", "is_same": None}
        self.found["functions"].append(entry)

        async def call_async(**given: Any) -> list[float]:
            return await self.call(entry, function, given, awaited=True)

        def call(**given: Any) -> list[float]:
            return driven(self.call(entry, function, given, awaited=False))

        return call_async if awaited else call

    async def call(
        self, entry: dict[str, Any], function: Callable[..., Any], given: dict[str, Any], *, awaited: bool
    ) -> list[float]:
        """Call a function with a batch, and keep what it gives; TRL gets zeros."""
        blank = [0.0] * len(self.layout)
        if self.second and (entry["failures"] or entry["wrong"]):
            return blank
        self.found["calling"].append(entry["name"])
        if not self.second:
            self.found["columns"] = sorted(given.keys() - OWN)
            self.write()
        before = {name: list(cast("list[Any]", value)) for name, value in given.items() if isinstance(value, list)}
        started = time.perf_counter()
        items: list[Any] | None = None
        wrong, failure = "", None
        try:
            output = await attempt(function, given, awaited)
            items = listed(output)
            wrong = wrong_result(output, items, len(self.layout), self.quoted)
        except BaseException as error:  # whatever it is, TRL's run would end
            failure = error
            entry["failures"].append({**self.told(error), "again": self.second})
        if self.second:
            entry["is_same"] = failure is None and not wrong and self.is_same(entry, items or [])
        else:
            entry["seconds"] = time.perf_counter() - started
            entry["changes"] = [name for name, values in before.items() if not is_unchanged(given[name], values)]
            entry["wrong"] = wrong
            if failure is not None and is_inside(failure):
                await self.call_alone(entry, function, given, awaited=awaited)
            elif failure is None and not wrong:
                self.keep(entry, items or [])
        self.found["calling"].remove(entry["name"])
        self.write()
        return blank

    def keep(self, entry: dict[str, Any], items: list[Any]) -> None:
        """Keep the values of a batch, those that filled groups up left out."""
        for (row, slot), item in zip(self.layout, items, strict=True):
            if slot < self.counts[row]:
                entry["values"][row][slot] = None if item is None else float(item)

    def is_same(self, entry: dict[str, Any], items: list[Any]) -> bool:
        """Whether a second call gave what the first did."""
        return all(
            equal(entry["values"][row][slot], None if item is None else float(item))
            for (row, slot), item in zip(self.layout, items, strict=True)
            if slot < self.counts[row]
        )

    async def call_alone(
        self, entry: dict[str, Any], function: Callable[..., Any], given: dict[str, Any], *, awaited: bool
    ) -> None:
        """Call a function that failed on a batch with each completion alone, to find those on which it fails."""
        deadline = time.perf_counter() + ALONE_SECONDS
        entry["failures"][0]["batch"] = True
        for index, (row, slot) in enumerate(self.layout):
            if slot >= self.counts[row]:
                continue
            if time.perf_counter() > deadline:
                break
            alone = {name: one_of(value, index, len(self.layout)) for name, value in given.items()}
            try:
                output = await attempt(function, alone, awaited)
                items = listed(output)
                if not wrong_result(output, items, 1, self.quoted):
                    entry["values"][row][slot] = None if (items or [None])[0] is None else float((items or [0])[0])
            except BaseException as error:
                entry["failures"].append({**self.told(error), "row": row, "slot": slot})

    def told(self, error: BaseException) -> dict[str, Any]:
        """An error, and the innermost line of the script in which it arose."""
        told: dict[str, Any] = {"type": type(error).__name__, "message": self.shown(str(error))[:LONGEST]}
        step = error.__traceback__
        while step is not None:
            if step.tb_frame.f_code.co_filename == self.source:
                told["at"] = step.tb_lineno
            step = step.tb_next
        if isinstance(error, ImportError):
            told["module"] = self.shown(error.name or "")
        return told

    def shown(self, text: str) -> str:
        """A text without secrets, so that it can be cut."""
        for value in self.secrets:
            text = text.replace(value, "***")
        return text

    def quoted(self, value: Any) -> str:
        """A value in short."""
        text = self.shown(repr(value))
        return text if len(text) <= QUOTED else text[:QUOTED] + "..."


async def attempt(function: Callable[..., Any], given: dict[str, Any], awaited: bool) -> Any:
    """Call a function as TRL does."""
    output = function(**given)
    return await output if awaited else output


def driven(coroutine: Coroutine[Any, Any, list[float]]) -> list[float]:
    """Run a coroutine that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        return cast("list[float]", end.value)
    raise RuntimeError("it waits")


def listed(output: Any) -> list[Any] | None:
    """What a function gave, as a list; ``None`` if TRL cannot go through it."""
    try:
        each = iter(output)
    except TypeError:
        return None
    return list(each)


def wrong_result(output: Any, items: list[Any] | None, count: int, quoted: Callable[[Any], str]) -> str:
    """What a function gave that TRL does not take as a number for each completion, in words; empty if it does."""
    if inspect.isawaitable(output) or inspect.isasyncgen(output):
        if inspect.iscoroutine(output):
            output.close()
        return "a coroutine, which this trainer does not await"
    if output is None:
        return "nothing"
    if isinstance(output, str | bytes):
        return f"a text, {quoted(output)}"
    if isinstance(output, Mapping):
        return "a dict"
    if items is None:
        return f"one value for all completions, {quoted(output)}"
    if len(items) != count:
        return f"{len(items)} value{'' if len(items) == 1 else 's'} for {count} completion{'' if count == 1 else 's'}"
    return wrong_items(items, quoted)


def wrong_items(items: list[Any], quoted: Callable[[Any], str]) -> str:
    """What is wrong with the values of a list, by what torch makes of them."""
    torch: Any = import_module("torch")
    values = [math.nan if item is None else item for item in items]
    try:
        tensor = torch.tensor(values, dtype=torch.float32)
        if tuple(tensor.shape) == (len(items),):
            return ""
    except (TypeError, ValueError, RuntimeError):
        pass
    for item in items:
        if isinstance(item, str):
            return f"texts, such as {quoted(item)}"
        try:
            if item is None or tuple(torch.tensor(item, dtype=torch.float32).shape) == ():
                continue
        except (TypeError, ValueError, RuntimeError):
            pass
        return f"values that are no numbers, such as {quoted(item)}"
    return "values of which torch makes no row of numbers"


def equal(one: float | None, other: float | None) -> bool:
    """Whether two values are the same, one that is not a number being equal to itself."""
    return one == other or (one is not None and other is not None and math.isnan(one) and math.isnan(other))


def one_of(value: Any, index: int, count: int) -> Any:
    """What is given for one completion of a batch."""
    if not isinstance(value, list):
        return value
    items = cast("list[Any]", value)
    return [items[index]] if len(items) == count else items


def is_unchanged(now: list[Any], then: list[Any]) -> bool:
    """Whether a list still has what it had."""
    return len(now) == len(then) and all(one is other for one, other in zip(now, then, strict=True))


def is_inside(error: BaseException) -> bool:
    """Whether an error arose within the function, not from the call itself; the first two steps are of this file."""
    steps, step = 0, error.__traceback__
    while step is not None:
        steps, step = steps + (step.tb_frame.f_code.co_filename != __file__), step.tb_next
    return steps > 0
