"""Rules about Python code that travels into the script: rewards, tools and environments."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.problems import Found, rule
from hfjobs_trainer.rendering.taken import imported_by, taken_names
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.capture.names import bound_names
from hfjobs_trainer.specs.capture.origins import INSTALLED
from hfjobs_trainer.specs.extras import RewardedSpec, own_code
from hfjobs_trainer.specs.fixes import keywords
from hfjobs_trainer.specs.requirements import package_name, package_names
from hfjobs_trainer.specs.rewards import CapturedClass


def _named_rewards(spec: TrainSpec) -> set[str]:
    given = spec.reward_funcs if isinstance(spec, RewardedSpec) else []
    return {item for item in given if isinstance(item, str)}


@rule("GRPO012")
def reward_imports_are_installed(context: Context[TrainSpec]) -> Iterator[Found]:
    """Modules that a function of the user imports are installed.

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
    extra = package_names(context.spec.extra_dependencies)
    for path, function in own_code(context.spec):
        unknown = sorted(function.modules - sys.stdlib_module_names - INSTALLED - {""})
        # what a package calls its module cannot be told from its name, so one extra package is taken for one module
        plain = {name: package_name(name) for name in unknown}
        missing = [name for name in unknown if not any(plain[name] in known or known in plain[name] for known in extra)]
        if len(missing) > max(0, len(extra) - (len(unknown) - len(missing))):
            why = f"{function.name} imports {', '.join(missing)}, which the script would not install"
            packages = [*context.spec.extra_dependencies, *missing]
            yield Found(path, f"{why} (give the packages' names)", keywords({"extra_dependencies": packages}))


@rule("GRPO013")
def reward_names_are_free(context: Context[TrainSpec]) -> Iterator[Found]:
    """The name of a function of the user is not taken in the script.

    What it does:
        Refuses functions, what they lean on, and names under which their imports are known, that are called like
        something of the script, such as `main` or `report`, and two different things of one name.

    Why:
        Functions of the user stand in the script beside its own: the later definition would replace the earlier one.

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
    owners: dict[str, tuple[str, str]] = {}
    rewards = _named_rewards(context.spec)
    names = {name for _, item in own_code(context.spec) for name in item.bound}
    if not names:
        return
    taken = taken_names(type(context.spec).METHOD)
    for path, function in own_code(context.spec):
        name = function.name
        if name in seen:
            yield Found(path, f"two functions are named {name}: rename one of them")
        elif name in taken or name in rewards:
            made = "row" if path == "dataset.map" else "reward"
            other = f"Own{name}" if isinstance(function, CapturedClass) else f"{name}_{made}"
            yield Found(path, f"the script defines {name} itself: rename it, to {other} for example")
        seen.add(name)
        for source in function.sources:
            for part in sorted(bound_names(source)):
                user, known = owners.setdefault(part, (name, source))
                if part != name and (part in taken.top or part in rewards):
                    other = f"OWN_{part}" if part.isupper() else f"own_{part}"
                    why = f"{name} leans on {part}, and the script defines {part} itself"
                    yield Found(path, f"{why}: rename it, to {other} for example")
                elif known != source and user != name:
                    yield Found(path, f"{user} and {name} lean on different things named {part}: rename one of them")
        for line in function.imports:
            for bound, origin in imported_by(line):
                if bound in taken.top and origin not in taken.imported:
                    why = f"{name} needs `{line}`, and the script defines {bound} itself: import it inside {name}"
                    yield Found(path, why)
                elif bound in names or imported.setdefault(bound, origin) != origin:
                    other = f"another function uses {bound} for something else"
                    yield Found(path, f"{name} needs `{line}`, and {other}: import it inside {name}")
