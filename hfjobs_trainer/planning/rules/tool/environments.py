"""Rules about the environments in which a model acts, told by their source alone."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import TYPE_CHECKING

from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.problems import Found, need, rule
from hfjobs_trainer.specs.environment_state import kept_state
from hfjobs_trainer.specs.environments import (
    GET_REWARD,
    RESET,
    Environment,
    Function,
    kind_of,
    made_with,
    own_nodes,
    parameters_of,
    required_of,
    returned,
)
from hfjobs_trainer.specs.extras import ActingSpec, environments_in
from hfjobs_trainer.specs.rewards import RewardFunction

if TYPE_CHECKING:
    from hfjobs_trainer.specs.methods.grpo import GRPO


@rule("TOOL003", fields=["environment_factory"])
def environments_can_be_made_and_reset(context: Context[ActingSpec]) -> Iterator[Found]:
    """An environment can be made without arguments, and reset with a row of the dataset.

    What it does:
        Refuses environments that cannot be made without arguments or have no method `reset`; a `reset` that is async,
        that asks for what is no column of the dataset, that does not take a column which is there, and one that
        returns neither a text nor `None`.

    Why:
        TRL makes an instance for each answer, calls `reset` with every column of the row by keyword, does not await it,
        and appends what it returns to the last message of the prompt. All else is a `TypeError`, mostly at the first
        step, when the model has been loaded.

    Example:
        ```python
        class Shop:
            def reset(self):
                return {"price": 3}
        ```

    Use instead:
        ```python
        class Shop:
            def reset(self, **kwargs):
                return "The price is 3."
        ```
    """
    several = isinstance(context.spec.environment_factory, dict)
    for environment in environments_in(context.spec):
        yield from _made(environment)
        name, path, reset = environment.name, environment.path, environment.reset
        if RESET not in environment.methods and environment.whole:
            why = (
                f"{name} has no method reset, which TRL calls before each answer: add `def reset(self, **kwargs): ...`"
            )
            yield Found(path, why)
        if reset is None:
            continue
        if isinstance(reset, ast.AsyncFunctionDef):
            yield Found(path, f"{name}.reset is async, and TRL does not await it: define it without async")
        elif wrong := _wrong_observation(reset):
            why = f"{name}.reset returns {wrong}, and TRL appends it to the prompt: return a text, or nothing"
            yield Found(path, why)
        if reset.args.posonlyargs[1:]:
            first = reset.args.posonlyargs[1].arg
            why = f"{name}.reset takes {first} by position only, and TRL passes it by name: remove the / from it"
            yield Found(path, why)
        else:
            yield from _takes_the_row(context, environment, reset, several=several)


def _made(environment: Environment) -> Iterator[Found]:
    made_by, name = environment.made_by, environment.made_by.name
    if isinstance(made_by, RewardFunction) and isinstance(made_by.definition, ast.AsyncFunctionDef):
        yield Found(environment.path, f"{name} is async, and TRL does not await it: define it without async")
    elif missing := made_with(environment):
        why = f"{name} cannot be made without {', '.join(missing)}, and TRL passes nothing"
        yield Found(environment.path, f"{why}: give a default, or a function without parameters that makes one")


def _takes_the_row(
    context: Context[ActingSpec], environment: Environment, reset: Function, *, several: bool
) -> Iterator[Found]:
    name, path = environment.name, environment.path
    parameters = parameters_of(reset)
    named, required = {item.arg for item in parameters}, required_of(reset, parameters)
    anything = reset.args.kwarg is not None
    how = f"as `def reset(self, {', '.join([*(item.arg for item in parameters), '**kwargs'])})` does"
    why = f"{name}.reset does not take all that TRL passes by keyword, the columns of the dataset, {how}"
    # rows have a prompt unless reset writes it, and some column in any case
    if not anything and "prompt" not in named and (not environment.asks or (not named and not several)):
        yield Found(path, why)
        return
    if anything and not required:
        return
    for data in context.datasets:
        columns = [column for column in data.need_columns() if not (several and column == "environment")]
        if missing := [item for item in required if item not in columns]:
            has = ", ".join(columns) or "none"
            asks = f"{name}.reset needs {', '.join(missing)}, which is no column of {data.id}"
            yield Found(path, f"{asks}; it has {has}")
        elif not anything and not set(columns) <= named:
            yield Found(path, why)


def _wrong_observation(reset: Function) -> str | None:
    """What ``reset`` returns for certain, at least once, that cannot be appended to a prompt."""
    if any(isinstance(node, ast.Yield | ast.YieldFrom) for node in own_nodes(reset)):
        return "a generator"
    return next((wrong for value in returned(reset) if (wrong := kind_of(value)) in _NO_OBSERVATION), None)


_NO_OBSERVATION = frozenset(["a tuple", "a dict", "a set", "a number", "a truth value"])
_NO_REWARD = frozenset(["a tuple", "a dict", "a set", "a text", "a list"])


@rule("TOOL005", fields=["environment_factory"])
def rows_name_an_environment(context: Context[ActingSpec]) -> Iterator[Found]:
    """Each row names one of the environments.

    What it does:
        Compares the values of the column `environment`, in the rows that were sampled, with the names of
        `environment_factory`, if it has several.

    Why:
        A row that names none of them is a `ValueError` as soon as its turn comes, which may be after hours.

    Example:
        ```python
        hft.GRPO(model=..., dataset=..., environment_factory={"maze": Maze})  # where rows say "labyrinth"
        ```

    Use instead:
        ```python
        hft.GRPO(model=..., dataset=..., environment_factory={"labyrinth": Maze})
        ```
    """
    factory = context.spec.environment_factory
    if not isinstance(factory, dict):
        return
    known = ", ".join(factory)
    for data in context.datasets:
        if "environment" not in data.need_columns():
            continue  # of which DATA004 tells
        named = need(data.facts.environments, f"the environments that rows of {data.id} name", data.path)
        if strange := [name for name in named if name not in factory]:
            what = ", ".join(f'"{name}"' if name is not None else "none" for name in strange[:3])
            more = f" and {len(strange) - 3} more" if len(strange) > 3 else ""
            yield Found("environment_factory", f"rows of {data.id} name {what}{more}; it has {known}")


@rule("TOOL006", fields=["environment_factory"])
def rewards_of_environments_are_numbers(context: Context[ActingSpec]) -> Iterator[Found]:
    """`get_reward` takes nothing and returns a number.

    What it does:
        Refuses a `get_reward` with a parameter that has no default, one that never returns anything, and one that
        returns, by its source alone, something else than a number.

    Why:
        TRL calls it without arguments once an answer is complete, and makes a tensor of what all of them return. What
        returns nothing scores nothing: the model learns from the other rewards, or not at all.

    Example:
        ```python
        class Shop:
            def reset(self, **kwargs): ...

            def get_reward(self, completion):
                return f"{self.paid}"
        ```

    Use instead:
        ```python
        class Shop:
            def reset(self, **kwargs): ...

            def get_reward(self):
                return float(self.paid)
        ```
    """
    for environment in environments_in(context.spec):
        method, shown = environment.methods.get(GET_REWARD), f"{environment.name}.{GET_REWARD}"
        if method is None:
            continue
        if required := required_of(method, parameters_of(method)):
            why = f"{shown} needs {', '.join(required)}, and TRL passes nothing: keep what it scores in the environment"
            yield Found(environment.path, why)
        nodes = list(own_nodes(method))
        if any(isinstance(node, ast.Raise) for node in method.body):
            continue
        values = [node.value for node in nodes if isinstance(node, ast.Return)]
        if any(isinstance(node, ast.Yield | ast.YieldFrom) for node in nodes):
            yield Found(environment.path, f"{shown} returns a generator: return a number")
        elif all(value is None for value in values):
            yield Found(environment.path, f"{shown} returns nothing: return a number")
        elif wrong := next((kind for value in values if (kind := kind_of(value)) in _NO_REWARD), None):
            yield Found(environment.path, f"{shown} returns {wrong}: return a number")


@rule("TOOL007", severity="warning", fields=["environment_factory", "reward_funcs"])
def environments_start_anew(context: Context[GRPO]) -> Iterator[Found]:
    """An environment starts anew with each answer.

    What it does:
        Warns of an attribute that `__init__` sets to a literal, that a method adds to and a reward reads, and that
        neither `reset` nor a method which `reset` calls sets again.

    Why:
        TRL keeps instances and resets them: what one answer has left behind counts for the next one, and so do its
        rewards.

    Example:
        ```python
        class Shop:
            def __init__(self):
                self.paid = 0

            def reset(self, **kwargs): ...

            def pay(self, amount: int) -> str:
                self.paid += amount

            def get_reward(self):
                return -float(self.paid)
        ```

    Use instead:
        ```python
        class Shop:
            def reset(self, **kwargs):
                self.paid = 0

            def pay(self, amount: int) -> str:
                self.paid += amount

            def get_reward(self):
                return -float(self.paid)
        ```
    """
    for environment in environments_in(context.spec):
        scoring = [item.definition for item in context.spec.reward_funcs if isinstance(item, RewardFunction)]
        for attribute, method, value in kept_state(environment, scoring):
            why = f"{environment.name}.{method} adds to {attribute}, which reset does not set again, and TRL uses"
            yield Found(
                environment.path, f"{why} instances for many answers: set `self.{attribute} = {value}` in reset"
            )


@rule("TOOL008", fields=["environment_factory", "tools"])
def tools_have_names_of_their_own(context: Context[ActingSpec]) -> Iterator[Found]:
    """A tool and a method of an environment have different names.

    What it does:
        Refuses a function in `tools` that is called like a public method of an environment.

    Why:
        TRL describes both to the model, and whichever it means, the method is called.

    Example:
        ```python
        hft.GRPO(model=..., dataset=..., tools=[look], environment_factory=Maze)  # where Maze has a method look
        ```

    Use instead:
        ```python
        hft.GRPO(model=..., dataset=..., environment_factory=Maze)
        ```
    """
    for environment in environments_in(context.spec):
        for tool in context.spec.tools:
            if tool.name in environment.tools:
                why = f"{environment.name} has a method {tool.name} too, which would be called in its place"
                yield Found("tools", f"{why}: rename one of them")
