"""Expressions that would have another value on another machine: refused where a script would evaluate them."""

from __future__ import annotations

import ast
import builtins
import io
import os
import random
import re
from collections.abc import Callable, Iterator
from types import FunctionType, ModuleType
from typing import Any, cast

from hfjobs_trainer.specs.capture.errors import CaptureError
from hfjobs_trainer.specs.capture.names import evaluated
from hfjobs_trainer.specs.capture.origins import is_own
from hfjobs_trainer.specs.capture.text import Definition
from hfjobs_trainer.specs.capture.values import secrets_here

Find = Callable[[Any], tuple[Definition, dict[str, Any]] | None]
"""Finds the definition of a function or class of the user's own, and the names it sees."""

_NETWORK = frozenset(
    ["aiohttp", "anthropic", "boto3", "botocore", "ftplib", "http.client", "httpx", "huggingface_hub", "openai"]
) | {"requests", "smtplib", "socket", "ssl", "urllib.request", "urllib3", "wandb", "websockets"}
# A client of these asks nothing before it is used.
_CLIENTS = frozenset(["aiohttp", "httpx", "requests"])
_PROGRAMS = re.compile(r"(?:os\.)?(?:system|popen)")
_PROGRAM_MODULES = frozenset(["subprocess", "pty"])
_MODELS = frozenset(["evaluate", "spacy", "sentence_transformers", "nltk.data", "nltk.downloader"])
_MACHINE = frozenset(["getpass", "glob", "platform", "shutil", "tempfile", "pwd", "posix", "nt", "os", "genericpath"])
_CHANCE = frozenset(["secrets", "time", "uuid"])
_GENERATORS = frozenset(["Random", "RandomState", "SystemRandom", "default_rng"])

# What reads is told by its name where it cannot be told by its module.
_FILES = re.compile(
    r"abspath|absolute|cwd|exists|expanduser|from_file|fromfile|genfromtxt|getcwd|home|is_dir|is_file|iterdir|listdir|"
    r"loadtxt|read_bytes|read_csv|read_excel|read_json|read_parquet|read_pickle|read_table|read_text|readlines|realpath|"
    r"resolve|rglob"
)
_LOADERS = re.compile(
    r"from_pretrained|hf_hub_download|load_dataset|load_from_disk|load_metric|pipeline|snapshot_download|urlopen|"
    r"urlretrieve"
)
_PURE_PATHS = frozenset(["join", "basename", "dirname", "normpath", "split", "splitext", "fspath"])
_NOW = frozenset(["now", "today", "utcnow"])
# Functions that call what they are given.
_CALLERS = frozenset(["filter", "map", "max", "min", "reduce", "sorted"])

_VARIABLE = re.compile(r"""(?:environb?\[|environb?\.get\(|getenv\()\s*['"](\w+)['"]""")
_UNKNOWN = object()


def refuse_reads(name: str, nodes: list[ast.AST], scope: dict[str, Any], find: Find, user: str) -> None:
    """Refuse what a script would evaluate at its top, if it reads the environment, a file or the network.

    Args:
        name: What is evaluated, for the message.
        nodes: The statements or expressions.
        scope: The names they see.
        find: Finds what they call.
        user: The function that needs it.

    Raises:
        CaptureError: It does, itself or in what it calls.
    """
    for what, fix in _reads(nodes, scope, find, set()):
        named = _VARIABLE.search("\n".join(map(ast.unparse, nodes)))
        said = fix.format(user=user, variable=named[1] if named else "NAME")
        does = f"{user} uses {name}, which {what}" if name != user else f"{user} {what} where it is defined"
        raise CaptureError(f"{does}: {said}")


def _reads(nodes: list[ast.AST], scope: dict[str, Any], find: Find, seen: set[int]) -> Iterator[tuple[str, str]]:
    for node in evaluated(*nodes):
        if isinstance(node, ast.Name | ast.Attribute | ast.Call):
            yield from _environment(node, scope)
        if not isinstance(node, ast.Call):
            continue
        value = _value(node.func, scope)
        if (found := _called(node, value, scope)) is not None:
            yield found
        callees = [node.func]
        if getattr(value, "__name__", None) in _CALLERS:
            callees += [*node.args, *(word.value for word in node.keywords)]
        for callee in callees:
            if isinstance(callee, ast.Lambda):
                yield from _reads([callee.body], scope, find, seen)
            else:
                yield from _inside(_value(callee, scope), find, seen)
    for node in nodes:
        for decorator in getattr(node, "decorator_list", ()):
            yield from _inside(_value(decorator, scope), find, seen)


def _inside(callee: Any, find: Find, seen: set[int]) -> Iterator[tuple[str, str]]:
    """What a function of the user's own reads when it is called, or a class when it is built."""
    if not isinstance(callee, FunctionType | type) or id(callee) in seen or not is_own(callee):
        return
    seen.add(id(callee))
    found = find(callee)
    if found is None:
        return
    definition, scope = found
    if isinstance(definition, ast.Lambda):
        bodies: list[ast.AST] = [definition.body]
    elif isinstance(definition, ast.ClassDef):
        built = {"__init__", "__new__", "__post_init__"}
        methods = [item for item in definition.body if isinstance(item, ast.FunctionDef) and item.name in built]
        bodies = [statement for method in methods for statement in method.body] + [*_factories(definition)]
        assert isinstance(callee, type)
        for base in callee.__mro__[1:]:
            yield from _inside(base, find, seen)
    else:
        bodies = list(definition.body)
    yield from _reads(bodies, scope, find, seen)


def _factories(definition: ast.ClassDef) -> Iterator[ast.AST]:
    """What a dataclass calls for the defaults of its fields."""
    for item in definition.body:
        if isinstance(item, ast.AnnAssign) and isinstance(item.value, ast.Call):
            for word in item.value.keywords:
                if word.arg == "default_factory":
                    yield ast.Call(word.value, [], [])


def _environment(node: ast.Name | ast.Attribute | ast.Call, scope: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.Call) and _value(node.func, scope) is not getattr:
        return
    value = _value(node, scope)
    if any(value is item for item in (os.environ, getattr(os, "environb", os), os.getenv, os.path.expandvars)):
        fix = 'read it inside {user}, `os.environ["{variable}"]`, with secrets=["{variable}"]'
        yield "reads the environment", fix
    elif isinstance(node, ast.Name) and node.id == "__file__":
        yield "reads the place of a file of this machine", "write its contents into the source of {user}"
    elif isinstance(value, list) and isinstance(node, ast.Attribute) and ast.unparse(node) == "sys.argv":
        yield "reads the command line", "write its value"


def _called(node: ast.Call, value: Any, scope: dict[str, Any]) -> tuple[str, str] | None:
    if value is os.getenv or value is os.path.expandvars or (isinstance(value, FunctionType | type) and is_own(value)):
        return None  # told already, or looked into
    text = ast.unparse(node.func)
    name = getattr(value, "__name__", None) if value is not _UNKNOWN else None
    last = name if isinstance(name, str) else text.rpartition(".")[2]
    module = getattr(value, "__module__", None) if value is not _UNKNOWN else None
    module = module if isinstance(module, str) else ""
    parents = {module.rsplit(".", depth)[0] for depth in range(module.count(".") + 1)}
    if _LOADERS.fullmatch(last) or parents & _MODELS:
        return f"loads something by `{text}(...)`", "load it inside {user}, once, with functools.lru_cache"
    if parents & _NETWORK and not (isinstance(value, type) and parents & _CLIENTS):
        return f"reaches the network by `{text}(...)`", "call it inside {user}"
    if parents & _PROGRAM_MODULES or _PROGRAMS.fullmatch(text):
        return f"runs a program by `{text}(...)`", "call it inside {user}"
    if value is builtins.eval or value is builtins.exec:
        return f"runs text as code by `{text}(...)`", "write the code itself"
    if value is builtins.input:
        return "asks for input", "write its value"
    if value is io.open or value is os.open or _FILES.fullmatch(last) or (last == "open" and "." in text):
        return f"reads a file of this machine by `{text}(...)`", "write its contents into the source"
    if _loads_file(last, module, node):
        return f"reads a file of this machine by `{text}(...)`", "write its contents into the source"
    if parents & _MACHINE and last not in _PURE_PATHS:
        return f"reads this machine by `{text}(...)`", "call it inside {user}"
    if last in _NOW or parents & _CHANCE or value is os.urandom or _by_chance(node, value, last, scope):
        return f"has another value each time, by `{text}(...)`", "write its value, or call it inside {user}"
    return None


def _by_chance(node: ast.Call, value: Any, name: str, scope: dict[str, Any]) -> bool:
    """Whether it draws from a generator that every module shares, or makes one without a seed."""
    owner = getattr(value, "__self__", None)
    if owner is vars(random)["_inst"] or (type(owner).__name__ == "RandomState" and not isinstance(owner, type)):
        return True
    if name in _GENERATORS and not (node.args or node.keywords):
        return True
    base = _value(node.func.value, scope) if isinstance(node.func, ast.Attribute) else None
    return name.startswith("rand") and getattr(base, "__name__", None) == "torch"


def _loads_file(name: str, module: str, node: ast.Call) -> bool:
    """Whether it is ``numpy.load``, ``torch.load`` or the like."""
    top = module.split(".")[0]
    return name in {"load", "safe_open", "load_file"} and top in {"numpy", "torch", "joblib", "safetensors", "pickle"}


def _value(node: ast.expr, scope: dict[str, Any]) -> Any:
    """What a name with dots stands for now, without running anything."""
    if isinstance(node, ast.Name):
        return scope.get(node.id, getattr(builtins, node.id, _UNKNOWN))
    if isinstance(node, ast.Attribute):
        base = _value(node.value, scope)
        if isinstance(base, ModuleType):
            return vars(base).get(node.attr, _UNKNOWN)
        kind = cast("type[Any]", base if isinstance(base, type) else type(base))
        if kind is base or is_own(kind):
            found: Any = next((vars(item)[node.attr] for item in kind.__mro__ if node.attr in vars(item)), _UNKNOWN)
            return getattr(found, "__func__", found)  # of a static or a class method
    if isinstance(node, ast.Call):
        value = _value(node.func, scope)
        if value is getattr and len(node.args) > 1 and isinstance(name := node.args[1], ast.Constant):
            return _value(ast.Attribute(node.args[0], str(name.value), ast.Load()), scope)
        return value
    return _UNKNOWN


def secret_in(source: str) -> str | None:
    """The environment variable that holds a secret, and whose value stands in this source."""
    constants = [node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)]
    written = [source, *(value for value in constants if isinstance(value, str))]
    return next((name for name, value in secrets_here() if any(value in text for text in written)), None)
