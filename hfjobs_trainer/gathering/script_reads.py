"""What a script takes from this machine's disk: modules beside it, and data by literal paths."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from hfjobs_trainer.gathering.attempt import attempt
from hfjobs_trainer.specs.source import path_of

# Calls that read what a path names, by the last part of their names.
_READERS = frozenset(
    (
        *("open", "load_dataset", "load_from_disk", "from_pretrained", "read_text", "read_bytes", "loadtxt"),
        *("read_csv", "read_json", "read_parquet", "read_table", "read_excel", "read_pickle", "read_feather"),
        *("from_json", "from_csv", "from_parquet", "from_text", "scan_csv", "scan_parquet"),
    )
)
# Of ``load_dataset``, the first argument where it names a kind of file and no path.
_BUILDERS = frozenset(
    (
        *("json", "csv", "parquet", "text", "arrow", "pandas"),
        *("webdataset", "imagefolder", "audiofolder", "videofolder"),
    )
)
# Arguments that are paths, by name.
_PATH_ARGUMENTS = frozenset(
    (
        *("data_files", "data_dir", "path", "file", "filepath_or_buffer", "path_or_buf", "io", "dataset_path"),
        *("pretrained_model_name_or_path", "path_or_paths", "source"),
    )
)


def modules_beside(tree: ast.Module, folder: Path) -> tuple[str, ...]:
    """Modules that a script imports from its own folder, as they are imported; those of the standard library are not.

    Args:
        tree: The script.
        folder: Where it is.
    """
    found: dict[str, None] = {}
    for name in _imported(tree):
        if name.startswith(".") or (name.split(".")[0] not in sys.stdlib_module_names and _is_beside(name, folder)):
            found[name] = None
    return tuple(found)


def _imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")


def _is_beside(name: str, folder: Path) -> bool:
    first, *rest = name.split(".")
    if (folder / f"{first}.py").is_file() or (folder / first / "__init__.py").is_file():
        return True
    # a folder without __init__.py is taken for a package only where no real one has its name
    return bool(rest) and folder.joinpath(first, *rest).with_suffix(".py").is_file()


def paths_read(tree: ast.Module, folder: Path | None) -> dict[str, str]:
    """Literal paths that a script reads and that are on this machine, with the absolute path of each.

    Args:
        tree: The script.
        folder: Where it is; paths are looked up there and in the working directory.
    """
    known = _constants(tree)
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (name := _name(node.func)) in _READERS:
            for text in _texts_read(node, name, known):
                if place := _on_disk(text, folder):
                    found[text] = place
    return found


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _texts_read(call: ast.Call, name: str, known: dict[str, str]) -> Iterator[str]:
    if isinstance(call.func, ast.Attribute) and name in ("open", "read_text", "read_bytes"):
        places = [call.func.value]
    elif name == "load_dataset":
        # path, name, data_dir, data_files
        places = [call.args[index] for index in (0, 2, 3) if index < len(call.args)]
    else:
        places = call.args[:1]
    if name == "open" and _writes(call):
        return
    named = [word.value for word in call.keywords if word.arg in _PATH_ARGUMENTS]
    for part in (part for place in (*places, *named) for part in _parts(place)):
        text = _literal(part, known)
        if text and not (name == "load_dataset" and text in _BUILDERS):
            yield text


def _writes(call: ast.Call) -> bool:
    """Whether a call of ``open`` writes."""
    modes = [*call.args[1:2], *(word.value for word in call.keywords if word.arg == "mode")]
    return any(isinstance(mode, ast.Constant) and not set("wax").isdisjoint(str(mode.value)) for mode in modes)


def _parts(node: ast.expr) -> list[ast.expr]:
    """The values of a list or a dictionary, such as those of ``data_files``."""
    if isinstance(node, ast.Dict):
        return [part for value in node.values for part in _parts(value)]
    if isinstance(node, ast.List | ast.Tuple):
        return [part for value in node.elts for part in _parts(value)]
    return [node]


def _constants(tree: ast.Module) -> dict[str, str]:
    """Names that are given one literal path, and nothing else."""
    texts: dict[str, str | None] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            texts[name] = None if name in texts else _literal(node.value, {})
    return {name: text for name, text in texts.items() if text}


def _literal(node: ast.expr, known: dict[str, str]) -> str | None:
    """The path that an expression of literals means."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        parts = [_literal(side, known) for side in (node.left, node.right)]
    elif isinstance(node, ast.Call) and (_name(node.func) in ("Path", "join", "expanduser")):
        parts = [_literal(argument, known) for argument in node.args]
    else:
        return None
    return "/".join(part for part in parts if part) if parts and all(parts) else None


def _on_disk(text: str, folder: Path | None) -> str | None:
    """The absolute path of what a text names here."""
    if "://" in text or "\0" in text or not text.strip():
        return None
    path = path_of(text) or Path(text)
    for place in (path, *([folder / path] if folder is not None else [])):
        if attempt(place.exists):
            return str(place.absolute())
    return None
