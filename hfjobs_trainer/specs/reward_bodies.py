"""What the source of a reward says for certain, without running it: what it returns, and the form it reads."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from typing import Literal

from hfjobs_trainer.specs.capture.names import parsed
from hfjobs_trainer.specs.rewards import RewardFunction

Function = ast.FunctionDef | ast.AsyncFunctionDef
Form = Literal["messages", "text"]

ONLY_NONE = "None for each completion"
"""What a reward returns that scores nothing."""

# Methods that texts have and lists lack.
_TEXT_METHODS = frozenset(set(dir(str)) - set(dir(list)))
_SEARCHES = frozenset(["findall", "finditer", "fullmatch", "match", "search", "split", "sub"])
_NUMBERS = frozenset(["abs", "bool", "float", "int", "len", "round", "sum"])
# How the completions come, of which a loop takes one after the other.
_PAIRED = frozenset(["enumerate", "zip", "list", "reversed", "tuple"])


def body_of(reward: RewardFunction) -> Function:
    """The function in which a reward does its work: the one that it calls, where it does nothing but call another."""
    function = reward.definition
    defined = {
        node.name: node
        for source in reward.beside
        for node in parsed(source).body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
    }
    made = {
        target.id: node.value
        for source in reward.beside
        for node in parsed(source).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    call = _only_call(function)
    if call is None:
        return function
    method = "__call__"
    if isinstance(call, ast.Attribute):
        call, method = call.value, call.attr
    value = made.get(call.id) if isinstance(call, ast.Name) and call.id.startswith(reward.name) else None
    while isinstance(value, ast.Call):
        called = value.func.id if isinstance(value.func, ast.Name) else ast.unparse(value.func)
        if called in ("partial", "functools.partial") and value.args:
            first = value.args[0]
            inner = defined.get(first.id) if isinstance(first, ast.Name) else None
            value = first
            if isinstance(inner, Function):
                return inner
            continue
        inner = defined.get(called)
        if isinstance(inner, ast.ClassDef):
            methods = [item for item in inner.body if isinstance(item, Function) and item.name == method]
            return methods[0] if methods else function
        return _returned(inner) or function if isinstance(inner, Function) else function
    return function


def _only_call(function: Function) -> ast.expr | None:
    """What a function calls, if it does nothing else."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    if not body:
        return None
    (first, *more) = body
    value = first.value if isinstance(first, ast.Return) and not more else None
    value = value.value if isinstance(value, ast.Await) else value
    return value.func if isinstance(value, ast.Call) else None


def _returned(factory: Function) -> Function | None:
    """The function that another one makes."""
    last = factory.body[-1]
    name = last.value.id if isinstance(last, ast.Return) and isinstance(last.value, ast.Name) else None
    return next((item for item in factory.body if isinstance(item, Function) and item.name == name), None)


def _own(function: Function) -> Iterator[ast.AST]:
    """All nodes of a function but those of functions inside it."""
    todo: list[ast.AST] = list(function.body)
    while todo:
        node = todo.pop()
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            todo += ast.iter_child_nodes(node)


def wrong_result(function: Function) -> str | None:
    """What a function returns for certain, if that is no list of one number per completion, such as ``"None"``."""
    nodes = list(_own(function))
    if any(isinstance(node, ast.Yield | ast.YieldFrom) for node in nodes):
        return "an asynchronous generator" if isinstance(function, ast.AsyncFunctionDef) else None
    values = [node.value for node in nodes if isinstance(node, ast.Return)]
    if not values and any(isinstance(node, ast.Raise) for node in function.body):
        return None
    kinds = {_kind(value) for value in values} or {"nothing"}
    return kinds.pop() if len(kinds) == 1 else None


def _kind(value: ast.expr | None) -> str | None:
    if value is None or (isinstance(value, ast.Constant) and value.value is None):
        return "nothing"
    if _is_number(value):
        return "one number for all completions"
    if _is_text(value):
        return "a text"
    inner: list[ast.expr] = []
    if isinstance(value, ast.ListComp):
        inner = [value.elt]
    elif isinstance(value, ast.List):
        inner = value.elts
    elif isinstance(value, ast.BinOp) and isinstance(value.op, ast.Mult) and isinstance(value.left, ast.List):
        inner = value.left.elts
    if inner and all(isinstance(item, ast.Constant) and item.value is None for item in inner):
        return ONLY_NONE
    return "texts" if inner and all(map(_is_text, inner)) else None


def _is_number(value: ast.expr) -> bool:
    if isinstance(value, ast.Constant):
        return isinstance(value.value, int | float)
    if isinstance(value, ast.UnaryOp):
        return _is_number(value.operand) or isinstance(value.op, ast.Not)
    if isinstance(value, ast.BinOp):
        return _is_number(value.left) and _is_number(value.right)
    return isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id in _NUMBERS


def _is_text(value: ast.expr) -> bool:
    return isinstance(value, ast.JoinedStr) or (isinstance(value, ast.Constant) and isinstance(value.value, str))


def form_read(reward: RewardFunction, parameter: str = "completions") -> tuple[Form, str] | None:
    """The form in which a reward reads what it is given, with the expression that shows it; ``None`` if not certain."""
    trees = [parsed(source) for source in reward.sources]
    helpers = {node.name: node for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)}
    function = body_of(reward)
    arguments = function.args
    named = {item.arg for item in (*arguments.args, *arguments.kwonlyargs)}
    if parameter not in named:
        return None
    found = dict(_forms(function, parameter, helpers, frozenset(), _patterns(trees)))
    return next(iter(found.items())) if len(found) == 1 else None


def _patterns(trees: list[ast.Module]) -> frozenset[str]:
    """Names of compiled patterns at the top of the source."""
    return frozenset(
        target.id
        for tree in trees
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.value).startswith("re.compile(")
        for target in node.targets
        if isinstance(target, ast.Name)
    ) | {"re"}


def _forms(
    function: Function,
    parameter: str,
    helpers: Mapping[str, ast.FunctionDef],
    seen: frozenset[str],
    patterns: frozenset[str],
) -> Iterator[tuple[Form, str]]:
    """What each use of an item of a parameter shows."""
    if _is_careful(function):
        return
    if any(_binds(node, parameter) for node in _own(function)):
        return
    for node in _own(function):
        if isinstance(node, ast.For | ast.AsyncFor):
            name = _item(node.target, node.iter, parameter)
            if name:
                yield from _uses(_until_bound(node.body, name), name, helpers, seen, patterns)
        elif isinstance(node, ast.ListComp | ast.SetComp | ast.GeneratorExp | ast.DictComp):
            first = node.generators[0]
            name = _item(first.target, first.iter, parameter)
            if name and len(node.generators) == 1:
                parts = [node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]
                yield from _uses([*parts, *first.ifs], name, helpers, seen, patterns)
        elif isinstance(node, ast.Subscript) and _is_first(node, parameter):
            yield from _shown(node, function, patterns)


def _until_bound(body: list[ast.stmt], name: str) -> list[ast.stmt]:
    """The statements of a loop in which a name stands for the item that the loop gives it."""
    kept: list[ast.stmt] = []
    for statement in body:
        binds = any(_binds(node, name) for node in ast.walk(statement))
        if not binds or isinstance(statement, ast.Assign):  # whose right side still sees the item
            kept.append(statement)
        if binds:
            break
    return kept


def _always(node: ast.AST) -> Iterator[ast.AST]:
    """A node and all inside it that runs whenever it runs."""
    yield node
    if isinstance(node, ast.If | ast.IfExp):
        yield from _always(node.test)
    elif isinstance(node, ast.BoolOp):
        yield from _always(node.values[0])
    elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
        for child in ast.iter_child_nodes(node):
            yield from _always(child)


def _is_careful(function: Function) -> bool:
    """Whether a function looks at the form of what it is given, or is ready for another."""
    return any(
        isinstance(node, ast.Try | ast.Match)
        or (isinstance(node, ast.Name) and node.id in ("isinstance", "type", "hasattr", "callable"))
        for node in _own(function)
    )


def _binds(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name and not isinstance(node.ctx, ast.Load)


def _item(target: ast.expr, source: ast.expr, parameter: str) -> str | None:
    """The name that stands for an item of the parameter in a loop over it, alone or beside others."""
    if isinstance(source, ast.Name) and source.id == parameter:
        return target.id if isinstance(target, ast.Name) else None
    if not isinstance(source, ast.Call) or not isinstance(source.func, ast.Name) or source.func.id not in _PAIRED:
        return None
    if source.func.id in ("list", "reversed", "tuple"):
        return _item(target, source.args[0], parameter) if source.args else None
    if not isinstance(target, ast.Tuple):
        return None
    if source.func.id == "enumerate":
        return _item(target.elts[-1], source.args[0], parameter) if source.args and len(target.elts) == 2 else None
    if len(target.elts) != len(source.args):
        return None
    pairs = zip(target.elts, source.args, strict=True)
    return next((found for inner, given in pairs if (found := _item(inner, given, parameter))), None)


def _is_first(node: ast.Subscript, parameter: str) -> bool:
    """Whether it is one item of the parameter, such as ``completions[0]``."""
    is_index = isinstance(node.slice, ast.Constant | ast.UnaryOp) and not isinstance(node.slice, ast.Slice)
    return isinstance(node.value, ast.Name) and node.value.id == parameter and is_index


def _shown(item: ast.expr, function: Function, patterns: frozenset[str]) -> Iterator[tuple[Form, str]]:
    for node in (inner for part in function.body for inner in _always(part)):
        if found := _use(node, item, patterns):
            yield found


def _uses(
    parts: list[ast.stmt] | list[ast.expr],
    name: str,
    helpers: Mapping[str, ast.FunctionDef],
    seen: frozenset[str],
    patterns: frozenset[str],
) -> Iterator[tuple[Form, str]]:
    for part in parts:
        for node in _always(part):
            inner = getattr(node, "generators", ())
            if any(_binds(bound, name) for item in inner for bound in ast.walk(item.target)):
                return  # another thing of this name
            for child in ast.iter_child_nodes(node):
                if isinstance(child, ast.Name) and child.id == name and (found := _use_in(node, part, child, patterns)):
                    yield found
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in helpers:
                helper = helpers[node.func.id]
                if node.func.id not in seen and len(node.args) <= len(helper.args.args):
                    for argument, given in zip(helper.args.args, node.args, strict=False):
                        if isinstance(given, ast.Name) and given.id == name and not _is_careful(helper):
                            if any(_binds(item, argument.arg) for item in _own(helper)):
                                continue
                            yield from _uses(helper.body, argument.arg, helpers, seen | {node.func.id}, patterns)


def _use_in(node: ast.AST, part: ast.AST, child: ast.Name, patterns: frozenset[str]) -> tuple[Form, str] | None:
    if isinstance(node, ast.Subscript) and node.value is child:
        outer = next((item for item in ast.walk(part) if isinstance(item, ast.Subscript) and item.value is node), None)
        return _use(outer, child, patterns) if outer is not None else None
    return _use(node, child, patterns)


def _use(node: ast.AST | None, item: ast.expr, patterns: frozenset[str]) -> tuple[Form, str] | None:
    """What a node shows of the form of an item that it uses."""
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Subscript) and _same(node.value.value, item):
        key, index = node.slice, node.value.slice
        is_message = isinstance(key, ast.Constant) and isinstance(key.value, str)
        if is_message and not isinstance(index, ast.Slice):
            return "messages", ast.unparse(node)
    if isinstance(node, ast.Attribute) and _same(node.value, item) and node.attr in _TEXT_METHODS:
        return "text", f"{ast.unparse(node)}(...)"
    if not isinstance(node, ast.Call) or not any(_same(given, item) for given in node.args):
        return None
    if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Name):
        if node.func.value.id in patterns and node.func.attr in _SEARCHES:
            return "text", ast.unparse(node)
        if (node.func.value.id, node.func.attr) == ("json", "loads"):
            return "text", ast.unparse(node)
    if isinstance(node.func, ast.Name) and node.func.id in ("float", "int") and len(node.args) == 1:
        return "text", ast.unparse(node)
    return None


def _same(one: ast.expr, other: ast.expr) -> bool:
    return ast.dump(one) == ast.dump(other)
