"""What an environment keeps from one answer to the next, as far as its source says so for certain."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping

from hfjobs_trainer.specs.environments import GET_REWARD, Environment, Function, own_nodes, self_of

# Methods of lists, sets and dicts that add to them.
_ADDS = frozenset(["add", "append", "extend", "insert", "setdefault", "update"])


def kept_state(environment: Environment, rewards: Iterable[Function]) -> Iterator[tuple[str, str, str]]:
    """Attributes that start as literals, grow, are scored and never set again: name, what adds to it, first value.

    Args:
        environment: The environment.
        rewards: Reward functions, which may be given the environments.
    """
    methods = environment.methods
    init, reset = methods.get("__init__"), environment.reset
    if not environment.whole or init is None or reset is None or None in methods.values():
        return
    again = _reached(methods, reset)
    if again is None:
        return
    scored = {name for function in rewards for name in _read_of_environments(function)}
    if (score := methods.get(GET_REWARD)) is not None:
        scored |= {node.attr for node in ast.walk(score) if isinstance(node, ast.Attribute)}
    for name, value in _literals(init):
        if name not in scored or any(_touches(function, name) for function in again):
            continue
        for method, function in methods.items():
            if function is not None and function not in (init, *again) and _adds(function, name):
                yield name, method, ast.unparse(value)
                break


def _read_of_environments(reward: Function) -> set[str]:
    named = {item.arg for item in (*reward.args.args, *reward.args.kwonlyargs)}
    attributes = {node.attr for node in ast.walk(reward) if isinstance(node, ast.Attribute)}
    return attributes if "environments" in named else set()


def _literals(init: Function) -> Iterator[tuple[str, ast.expr]]:
    """Attributes that are set to a literal, at the top of ``__init__``."""
    for node in init.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        value = node.value if isinstance(node, ast.Assign | ast.AnnAssign) else None
        if value is None or not _is_literal(value):
            continue
        for target in targets:
            if _is_attribute(target, self_of(init)):
                assert isinstance(target, ast.Attribute)
                yield target.attr, value


def _is_literal(value: ast.expr) -> bool:
    if isinstance(value, ast.Call):  # set(), list()
        return isinstance(value.func, ast.Name) and value.func.id in ("dict", "list", "set") and not value.args
    try:
        ast.literal_eval(value)
    except (ValueError, TypeError):
        return False
    return True


def _reached(known: Mapping[str, Function | None], reset: Function) -> list[Function] | None:
    """``reset`` and the methods that it calls; ``None`` if it hands the instance on, or does what no source shows."""
    found, todo = [reset], [reset]
    while todo:
        function = todo.pop()
        me = self_of(function)
        called = {id(node.value) for node in ast.walk(function) if isinstance(node, ast.Attribute)}
        for node in ast.walk(function):
            if isinstance(node, ast.Name) and node.id == me and id(node) not in called:
                return None
            if isinstance(node, ast.Name) and node.id in ("super", "setattr", "vars"):
                return None
            if _is_attribute(node, me) and isinstance(node, ast.Attribute):
                if node.attr == "__dict__":
                    return None
                other = known.get(node.attr)
                if other is not None and other not in found:
                    found.append(other)
                    todo.append(other)
    return found


def _touches(function: Function, name: str) -> bool:
    """Whether a method reads or sets an attribute at all: what it does with it is its own affair."""
    return any(_is_attribute(node, self_of(function), name) for node in ast.walk(function))


def _adds(function: Function, name: str) -> bool:
    me = self_of(function)
    for node in own_nodes(function):
        if isinstance(node, ast.AugAssign) and _is_attribute(node.target, me, name):
            return True
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and node.func.attr in _ADDS
            and _is_attribute(node.func.value, me, name)
        ):
            return True
    return False


def _is_attribute(node: ast.AST, me: str | None, name: str | None = None) -> bool:
    return (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == me
        and (name is None or node.attr == name)
    )
