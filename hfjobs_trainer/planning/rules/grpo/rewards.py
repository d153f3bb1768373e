"""Rules about the rewards of online methods."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from hfjobs_trainer.display import plural
from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.problems import Found, rule
from hfjobs_trainer.specs.columns import closest_column
from hfjobs_trainer.specs.extras import RewardedSpec, environments_in
from hfjobs_trainer.specs.fixes import change, keywords
from hfjobs_trainer.specs.locations import is_local_path
from hfjobs_trainer.specs.rewards import BUILTIN_REWARDS, RewardFunction

if TYPE_CHECKING:
    from hfjobs_trainer.specs.methods.grpo import GRPO
    from hfjobs_trainer.specs.methods.online_dpo import OnlineDPO
    from hfjobs_trainer.specs.methods.rloo import RLOO

# What TRL passes to every reward beside the columns of the dataset, and what to those of some methods only.
_PASSED = frozenset({"prompts", "completions", "completion_ids", "trainer_state"})
_LOGGERS = frozenset({"log_extra", "log_metric"})
_COLUMNS_OF_BUILTINS = {"accuracy_reward": ("solution",), "reasoning_accuracy_reward": ("solution",)}


def _functions(context: Context[RewardedSpec]) -> list[RewardFunction]:
    return [item for item in context.spec.reward_funcs if isinstance(item, RewardFunction)]


@rule("GRPO010", fields=["reward_funcs"])
def built_in_reward_exists(context: Context[RewardedSpec]) -> Iterator[Found]:
    """A reward's name is one that TRL knows.

    What it does:
        Refuses text in `reward_funcs` that is neither a built-in reward of TRL nor the id of a reward model, which has
        the form `namespace/name`, nor a path.

    Why:
        Any other name would be looked for as a model on the Hub.

    Example:
        ```python
        hft.GRPO(model=..., dataset=..., reward_funcs="acuracy_reward")
        ```

    Use instead:
        ```python
        hft.GRPO(model=..., dataset=..., reward_funcs="accuracy_reward")
        ```
    """
    rewards = context.spec.reward_funcs
    for item in rewards:
        if isinstance(item, str) and item not in BUILTIN_REWARDS and "/" not in item and not is_local_path(item):
            close = difflib.get_close_matches(item, BUILTIN_REWARDS, 1)
            known = ", ".join(BUILTIN_REWARDS)
            right = [close[0] if close and other == item else other for other in rewards]
            fix = keywords({"reward_funcs": right if len(right) > 1 else right[0]}) if close else ""
            yield Found("reward_funcs", f'TRL has no reward "{item}"; it has {known}', fix)


@rule("GRPO011", fields=["reward_funcs"])
def reward_takes_any_keyword(context: Context[RewardedSpec]) -> Iterator[Found]:
    """A reward function takes what TRL passes.

    What it does:
        Refuses functions whose signature does not end in `**kwargs`, and parameters that cannot be given by name.

    Why:
        TRL passes prompts, completions, token ids, the trainer's state and every column of the dataset by keyword. A
        function that does not take them fails at the first step, when the model has been loaded and has generated.

    Example:
        ```python
        def brevity(completions):
            return [-len(completion) for completion in completions]
        ```

    Use instead:
        ```python
        def brevity(completions, **kwargs):
            return [-len(completion) for completion in completions]
        ```
    """
    for function in _functions(context):
        if not function.takes_any_keyword:
            names = ", ".join([*_parameters(function), "**kwargs"])
            why = f"does not take all that TRL passes by keyword, as `def {function.name}({names})` does"
            yield Found("reward_funcs", f"{function.name} {why}")
        positional = function.definition.args.posonlyargs
        if positional:
            by_name = "TRL passes it by name: remove the / from its signature"
            yield Found("reward_funcs", f"{function.name} takes {positional[0].arg} by position only, and {by_name}")


def _parameters(function: RewardFunction) -> list[str]:
    arguments = function.definition.args
    return [argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]


def _required(function: RewardFunction) -> list[str]:
    """Parameters without a default."""
    arguments = function.definition.args
    plain = [*arguments.posonlyargs, *arguments.args]
    needed = plain[: len(plain) - len(arguments.defaults)]
    needed += [item for item, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if value is None]
    return [argument.arg for argument in needed]


@rule("GRPO016", methods=["online_dpo"])
def rewards_of_online_dpo_are_synchronous(context: Context[RewardedSpec]) -> Iterator[Found]:
    """Rewards of online DPO are synchronous.

    What it does:
        Refuses rewards that are defined with `async def` in `hft.OnlineDPO`.

    Why:
        Its trainer calls a reward and does not await it, which ends in a `TypeError` at the first step; GRPO's and
        RLOO's trainers do.

    Example:
        ```python
        async def brevity(completions, **kwargs): ...
        ```

    Use instead:
        ```python
        def brevity(completions, **kwargs): ...
        ```
    """
    for reward in _functions(context):
        if isinstance(reward.definition, ast.AsyncFunctionDef):
            why = f"{reward.name} is async, which OnlineDPOTrainer does not await: define it without async"
            yield Found("reward_funcs", why)


@rule("GRPO014", fields=["reward_funcs"])
def rewards_find_their_columns(context: Context[RewardedSpec]) -> Iterator[Found]:
    """The dataset has the columns that the rewards ask for.

    What it does:
        Compares the parameters of reward functions that have no default, and the `solution` that `accuracy_reward` and
        `reasoning_accuracy_reward` need, with the columns of the dataset, renamed as `columns=` says.

    Why:
        TRL passes columns by their names; a missing one is a `TypeError` at the first step.

    Example:
        ```python
        hft.GRPO(model=..., dataset=hft.Dataset(id="openai/gsm8k", config="main", columns={"question": "prompt"}),
                 reward_funcs="accuracy_reward")
        ```

    Use instead:
        ```python
        hft.GRPO(model=..., dataset=hft.Dataset(id="openai/gsm8k", config="main",
                                                columns={"question": "prompt", "answer": "solution"}),
                 reward_funcs="accuracy_reward")
        ```
    """
    wanted: list[tuple[str, str]] = []
    passed = _PASSED if not context.spec.LOGS_FROM_REWARDS else _PASSED | _LOGGERS
    if environments_in(context.spec):
        passed |= {"environments"}
    for item in context.spec.reward_funcs:
        if isinstance(item, RewardFunction):
            wanted += [(item.name, name) for name in _required(item) if name not in passed]
        else:
            wanted += [(item, name) for name in _COLUMNS_OF_BUILTINS.get(item, ())]
    if not wanted:
        return
    for data in context.datasets:
        # the prompt goes to the rewards as prompts
        columns = [name for name in data.need_columns() if name != "prompt"]
        prompt = None if "prompt" in data.need_columns() else closest_column("prompt", columns)
        free = [name for name in columns if name != prompt]
        close = {name: closest_column(name, free) for _, name in wanted if name not in columns and name != "prompt"}
        mapping = {found: name for name, found in close.items() if found is not None}
        fix = change(context.spec, {f"{data.path}.columns": data.renaming(mapping)})
        for reward, name in wanted:
            if name not in columns:
                has = f"it has {', '.join(columns)}" if columns else "it has only prompt"
                named = ", and the prompt itself comes as prompts" if name == "prompt" else ""
                why = f"{reward} needs a column {name} of {data.id}; {has}{named}"
                yield Found("reward_funcs", why, fix if close.get(name) else "")


@rule("GRPO006", fields=["reward_funcs"])
def rewards_see_their_columns(context: Context[GRPO | RLOO | OnlineDPO]) -> Iterator[Found]:
    """Rewards see the columns of the dataset.

    What it does:
        Refuses `remove_unused_columns=True`.

    Why:
        It drops every column but `prompt`, and with them what the rewards compare the answers with.

    Example:
        ```python
        hft.GRPO(model=..., dataset=..., reward_funcs="accuracy_reward", remove_unused_columns=True)
        ```

    Use instead:
        ```python
        hft.GRPO(model=..., dataset=..., reward_funcs="accuracy_reward")
        ```
    """
    if context.spec.remove_unused_columns:
        why = "would drop the columns that the rewards are given"
        yield Found("remove_unused_columns", why, "remove_unused_columns=False")


@rule("GRPO007", fields=["reward_funcs", "reward_weights"])
def one_weight_per_reward(context: Context[GRPO | RLOO | OnlineDPO]) -> Iterator[Found]:
    """Each reward has its weight.

    What it does:
        Refuses `reward_weights` that are not as many as the rewards.

    Why:
        TRL refuses them once the model is loaded.

    Example:
        ```python
        hft.GRPO(model=..., dataset=..., reward_funcs="accuracy_reward", reward_weights=[1.0, 0.5])
        ```

    Use instead:
        ```python
        hft.GRPO(model=..., dataset=..., reward_funcs=["accuracy_reward", "think_format_reward"],
                 reward_weights=[1.0, 0.5])
        ```
    """
    rewards, weights = context.spec.reward_funcs, context.spec.reward_weights
    if weights is not None and len(weights) != len(rewards):
        good = [*weights, *[1.0] * len(rewards)][: len(rewards)]
        why = f"gives {len(weights)} for {plural(len(rewards), 'reward')}"
        yield Found("reward_weights", why, keywords({"reward_weights": good or None}))


@rule("GRPO019", fields=["reward_funcs"])
def something_scores_the_answers(context: Context[RewardedSpec]) -> Iterator[Found]:
    """Something scores the answers.

    What it does:
        Refuses `hft.GRPO` without rewards whose environments, by their source, have no method `get_reward`.

    Why:
        TRL refuses it once the model is loaded: "No reward source provided".

    Example:
        ```python
        hft.GRPO(model=..., dataset=..., environment_factory=Shop)  # a class with reset alone
        ```

    Use instead:
        ```python
        hft.GRPO(model=..., dataset=..., environment_factory=Shop, reward_funcs="accuracy_reward")
        ```
    """
    if context.spec.reward_funcs:
        return
    environments = environments_in(context.spec)
    if all(item.rewards is False for item in environments):
        names = ", ".join(dict.fromkeys(item.name for item in environments))
        why = f"nothing scores the answers: add a reward, or to {names} a method `def get_reward(self) -> float: ...`"
        yield Found("reward_funcs", why if names else "nothing scores the answers", 'reward_funcs="accuracy_reward"')
