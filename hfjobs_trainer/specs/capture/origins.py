"""Where things come from: a module that the job can install, or a file of the user's own."""

from __future__ import annotations

import ast
import importlib.util
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

# Modules beside the standard library that the dependencies of every script bring, by import name.
INSTALLED = frozenset(
    [
        "accelerate",
        "datasets",
        "filelock",
        "fsspec",
        "huggingface_hub",
        "jinja2",
        "numpy",
        "packaging",
        "pandas",
        "peft",
        "psutil",
        "pyarrow",
        "regex",
        "safetensors",
        "tokenizers",
        "torch",
        "tqdm",
        "trackio",
        "transformers",
        "trl",
        "yaml",
    ]
)


def own_file(module: str) -> str | None:
    """The file of a module of the user's own; ``None`` for one that is installed, and for one that is nowhere."""
    top = module.split(".")[0]
    if top in sys.stdlib_module_names or top in INSTALLED or top == "__main__":
        return None
    loaded = sys.modules.get(module) or sys.modules.get(top)
    file = getattr(loaded, "__file__", None)
    places = list(getattr(loaded, "__path__", ()))
    if loaded is None:
        try:
            spec = importlib.util.find_spec(top)
        except (ImportError, ValueError):
            return None
        file, places = (spec.origin, list(spec.submodule_search_locations or ())) if spec else (None, [])
    place = file or next(iter(places), None)
    return place if place is not None and not _is_installed(place) else None


@cache
def _is_installed(place: str) -> bool:
    path = Path(place).resolve()
    if {"site-packages", "dist-packages"} & set(path.parts):
        return True
    standard = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib")]
    return place in ("built-in", "frozen") or any(path.is_relative_to(folder) for folder in standard)


def is_own(value: Any) -> bool:
    """Whether a function or class was defined by the user: in a notebook, a script, or a file of their own."""
    module = getattr(value, "__module__", None)
    if not isinstance(module, str):
        return False
    # a module that is nowhere was made by hand
    return module == "__main__" or own_file(module) is not None or module not in sys.modules


def is_module(name: str) -> bool:
    """Whether a module of this name is loaded, as the module that it says."""
    return getattr(sys.modules.get(name), "__name__", None) == name  # os.path goes by another name


def import_module(module: str, name: str, chains: set[str]) -> list[str]:
    """The statements that bring a module under a name.

    Args:
        module: The module's own name.
        name: The name under which it is known.
        chains: Attributes that are read, with dots, such as ``"xml.etree.ElementTree"``.
    """
    if module == name:
        # `import xml` alone does not bring xml.etree, which `import xml.etree` did where the function was written
        parts = {chain for chain in chains if chain.startswith(f"{name}.") and is_module(chain)}
        deepest = {part for part in parts if not any(other.startswith(f"{part}.") for other in parts)}
        return [f"import {part}" for part in sorted(deepest)] or [f"import {module}"]
    parent, _, leaf = module.rpartition(".")
    renamed = f" as {name}" if leaf != name else ""
    return [f"from {parent} import {leaf}{renamed}" if parent else f"import {module} as {name}"]


def renamed_import(statement: ast.stmt | None, name: str) -> str | None:
    """The part of an import statement that gives a module a name of one's own, or takes it out of a package."""
    for alias in getattr(statement, "names", ()):
        if isinstance(statement, ast.ImportFrom) and not statement.level and (alias.asname or alias.name) == name:
            return f"from {statement.module} import {ast.unparse(alias)}"
        if isinstance(statement, ast.Import) and alias.asname == name:
            return f"import {ast.unparse(alias)}"
    return None


def chains(tree: ast.AST) -> set[str]:
    """The attributes that code reads, with dots."""
    return {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def own_members(value: ModuleType, name: str, read: set[str]) -> tuple[str, str]:
    """The module of the user's own in which what is read of another one is, and the names of it."""
    found: dict[str, list[str]] = {}
    for chain in sorted(read):
        if chain.startswith(f"{name}."):
            module, parts = value.__name__, chain.split(".")[1:]
            while len(parts) > 1 and is_module(f"{module}.{parts[0]}"):
                module = f"{module}.{parts.pop(0)}"
            if not is_module(f"{module}.{parts[0]}") and parts[0] not in found.setdefault(module, []):
                found[module].append(parts[0])
    if not found:
        return value.__name__, "..."
    module = next(iter(found))
    return module, ", ".join(found[module])


def origin(value: Any, scope: dict[str, Any]) -> tuple[str, str] | None:
    """Module and name from which a function or class can be imported; ``None`` if it is defined beside the function."""
    module, name = getattr(value, "__module__", None), getattr(value, "__name__", None)
    if not isinstance(module, str) or not isinstance(name, str) or module in {"__main__", scope.get("__name__")}:
        return None
    if own_file(module) is not None:
        return None
    return (module, name) if getattr(sys.modules.get(module), name, None) is value else None


def imports_inside(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Modules that code imports, at whatever depth, each with a statement that imports what it needs of it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, f"from {alias.name} import ...") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield f"{'.' * node.level}{node.module or ''}", ast.unparse(node)


def module_file(value: ModuleType) -> str | None:
    """The file of a module, if it is the user's own."""
    return own_file(value.__name__)
