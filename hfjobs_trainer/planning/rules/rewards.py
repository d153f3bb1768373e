"""Rules about the rewards of online methods."""

from __future__ import annotations

import ast
import difflib
import re
import sys
from collections.abc import Iterator

from hfjobs_trainer.planning.rules.columns import closest_column
from hfjobs_trainer.problems import Found, rule
from hfjobs_trainer.rendering.taken import imported_by, taken_names
from hfjobs_trainer.specs.context import Context
from hfjobs_trainer.specs.inputs import data_inputs, need_columns
from hfjobs_trainer.specs.locations import is_local_path
from hfjobs_trainer.specs.methods.grpo import GRPO, REWARDED
from hfjobs_trainer.specs.rewards import BUILTIN_REWARDS, INSTALLED, RewardFunction

CODED = [*REWARDED, "distillation"]
"""Methods that take Python functions: as rewards, or as tools."""

# What TRL passes to every reward beside the columns of the dataset, and what to those of some methods only.
_PASSED = frozenset({"prompts", "completions", "completion_ids", "trainer_state"})
_LOGGERS = frozenset({"log_extra", "log_metric"})
_COLUMNS_OF_BUILTINS = {"accuracy_reward": ("solution",), "reasoning_accuracy_reward": ("solution",)}


def _code(context: Context[GRPO]) -> list[tuple[str, RewardFunction]]:
    """The rewards and the tools that are functions, each with the field that it was given in."""
    fields = [(path, item) for path in ("reward_funcs", "tools") for item in getattr(context.spec, path, ())]
    return [(path, item) for path, item in fields if isinstance(item, RewardFunction)]


def _functions(context: Context[GRPO]) -> list[RewardFunction]:
    return [item for item in context.spec.reward_funcs if isinstance(item, RewardFunction)]


@rule("GRPO010", methods=REWARDED)
def built_in_reward_exists(context: Context[GRPO]) -> Iterator[Found]:
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
    for item in context.spec.reward_funcs:
        if isinstance(item, str) and item not in BUILTIN_REWARDS and "/" not in item and not is_local_path(item):
            close = difflib.get_close_matches(item, BUILTIN_REWARDS, 1)
            known = ", ".join(BUILTIN_REWARDS)
            fix = f'"{close[0]}"' if close else 'one of these, "namespace/name" of a reward model, or a function'
            yield Found("reward_funcs", f'TRL has no reward "{item}"; it has {known}', fix)


@rule("GRPO011", methods=REWARDED)
def reward_takes_any_keyword(context: Context[GRPO]) -> Iterator[Found]:
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
            why = f"{function.name} does not take all that TRL passes by keyword"
            names = ", ".join([*_parameters(function), "**kwargs"])
            yield Found("reward_funcs", why, f"def {function.name}({names}):")
        positional = _arguments(function).posonlyargs
        if positional:
            why = f"{function.name} takes {positional[0].arg} by position only, and TRL passes it by name"
            yield Found("reward_funcs", why, "leave out the / in its signature")


def _arguments(function: RewardFunction) -> ast.arguments:
    definition = ast.parse(function.source).body[0]
    assert isinstance(definition, ast.FunctionDef | ast.AsyncFunctionDef)
    return definition.args


def _parameters(function: RewardFunction) -> list[str]:
    arguments = _arguments(function)
    return [argument.arg for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]


def _required(function: RewardFunction) -> list[str]:
    """Parameters without a default."""
    arguments = _arguments(function)
    plain = [*arguments.posonlyargs, *arguments.args]
    needed = plain[: len(plain) - len(arguments.defaults)]
    needed += [item for item, value in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if value is None]
    return [argument.arg for argument in needed]


@rule("GRPO012", methods=CODED)
def reward_imports_are_installed(context: Context[GRPO]) -> Iterator[Found]:
    """Modules that a reward function imports are installed.

    What it does:
        Refuses functions that import a module which is neither in the standard library nor brought by the script's
        dependencies, unless `extra_dependencies` is given for it.

    Why:
        The machine that trains installs what the script's header lists, and nothing else.

    Example:
        ```python
        def similarity(completions, answer, **kwargs):
            import rapidfuzz
            return [rapidfuzz.fuzz.ratio(*pair) for pair in zip(completions, answer)]
        ```

    Use instead:
        ```python
        hft.GRPO(model=..., dataset=..., reward_funcs=similarity, extra_dependencies=["rapidfuzz"])
        ```
    """
    extra = {_plain(re.split(r"[^A-Za-z0-9._-]", text, maxsplit=1)[0]) for text in context.spec.extra_dependencies}
    for path, function in _code(context):
        unknown = sorted(function.modules - sys.stdlib_module_names - INSTALLED - {""})
        # what a package calls its module cannot be told from its name, so one extra package is taken for one module
        missing = [
            name for name in unknown if not any(_plain(name) in known or known in _plain(name) for known in extra)
        ]
        if len(missing) > max(0, len(extra) - (len(unknown) - len(missing))):
            why = f"{function.name} imports {', '.join(missing)}, which the script would not install"
            names = ", ".join(f'"{name}"' for name in [*context.spec.extra_dependencies, *missing])
            yield Found(path, why, f"extra_dependencies=[{names}], with the names of the packages")


def _plain(name: str) -> str:
    return name.lower().replace("-", "_").replace(".", "_")


@rule("GRPO013", methods=CODED)
def reward_names_are_free(context: Context[GRPO]) -> Iterator[Found]:
    """A reward function's name is not taken in the script.

    What it does:
        Refuses functions, and names under which their imports are known, that are called like something of the
        script, such as `main` or `report`, or of another reward, and two functions of one name.

    Why:
        Reward functions stand in the script beside its own: the later definition would replace the earlier one.

    Example:
        ```python
        def report(completions, **kwargs):
            return [len(completion) for completion in completions]
        ```

    Use instead:
        ```python
        def length(completions, **kwargs):
            return [len(completion) for completion in completions]
        ```
    """
    seen: set[str] = set()
    imported: dict[str, str] = {}
    rewards = {item for item in getattr(context.spec, "reward_funcs", ()) if isinstance(item, str)}
    names = {item.name for _, item in _code(context)}
    if not names:
        return
    taken = taken_names(type(context.spec).METHOD)
    for path, function in _code(context):
        name = function.name
        if name in seen:
            yield Found(path, f"two functions are called {name}", "give each a name of its own")
        elif name in taken or name in rewards:
            other = f"{name}_reward"
            yield Found(path, f"the script has a {name} of its own", f"another name, such as {other}")
        seen.add(name)
        for line in function.imports:
            for bound, origin in imported_by(line):
                if bound in taken.top and origin not in taken.imported:
                    why = f"{name} needs `{line}`, and the script has a {bound} of its own"
                    yield Found(path, why, f"import it inside {name}")
                elif bound in names or imported.setdefault(bound, origin) != origin:
                    why = f"{name} needs `{line}`, and another reward means something else by {bound}"
                    yield Found(path, why, f"import it inside {name}")


@rule("GRPO016", methods=["online_dpo"])
def rewards_of_online_dpo_are_synchronous(context: Context[GRPO]) -> Iterator[Found]:
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
        if isinstance(ast.parse(reward.source).body[0], ast.AsyncFunctionDef):
            why = f"{reward.name} is async, which OnlineDPOTrainer does not await"
            yield Found("reward_funcs", why, f"def {reward.name}(...), without async")


@rule("GRPO014", methods=REWARDED)
def rewards_find_their_columns(context: Context[GRPO]) -> Iterator[Found]:
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
    passed = _PASSED if type(context.spec).METHOD.name == "online_dpo" else _PASSED | _LOGGERS
    for item in context.spec.reward_funcs:
        if isinstance(item, RewardFunction):
            wanted += [(item.name, name) for name in _required(item) if name not in passed]
        else:
            wanted += [(item, name) for name in _COLUMNS_OF_BUILTINS.get(item, ())]
    if not wanted:
        return
    for data in data_inputs(context):
        if data.exists is False:
            continue
        # the prompt goes to the rewards as prompts
        columns = [name for name in need_columns(data) if name != "prompt"]
        prompt = None if "prompt" in need_columns(data) else closest_column("prompt", columns)
        free = [name for name in columns if name != prompt]
        for reward, name in wanted:
            if name not in columns:
                has = f"it has {', '.join(columns)}" if columns else "it has only prompt"
                close = closest_column(name, free)
                fix = f'columns={{"{close}": "{name}"}}' if close else f"a dataset with {name}"
                if name == "prompt":
                    fix = "call the parameter prompts"
                yield Found("reward_funcs", f"{reward} needs a column {name} of {data.id}; {has}", fix)
