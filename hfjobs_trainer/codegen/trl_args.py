"""Generator of ``hfjobs_trainer/specs/trl_args``: every argument of the pinned TRL's configs, with its default."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import inspect
import re
import warnings
from dataclasses import dataclass
from enum import Enum
from importlib import metadata
from pathlib import Path
from typing import Any, get_type_hints

from hfjobs_trainer.codegen import trl_tables as tables
from hfjobs_trainer.codegen.source import format_python, members_of, type_text
from hfjobs_trainer.errors import HFTError
from hfjobs_trainer.planning.pins import pins

FOLDER = "hfjobs_trainer/specs/trl_args"
METHOD_FILES = Path(__file__).resolve().parents[1] / "specs" / "methods"
ENUMS = ("IntervalStrategy", "SaveStrategy", "HubStrategy", "SchedulerType", "OptimizerNames", "DebugOption")
DOC_LENGTH = 100
"""Most characters of a description."""

SHORTEST_CLAUSE = 30
"""Fewest characters of a clause that can replace its sentence."""

_PLAIN_LETTERS = {"α": "alpha", "β": "beta", "ε": "epsilon", "μ": "mu", "ρ": "rho", "τ": "tau", "π": "pi"} | {
    "–": "-",
    "’": "'",
    "%%": "%",
    "\N{NON-BREAKING HYPHEN}": "-",
}
_IMPORTS = """\
from typing import Annotated, Any, ClassVar, Literal
from pydantic import BeforeValidator, Field
from hfjobs_trainer.specs.args_base import Steps, TRLArgs, as_list, switch
"""
"""Imports that a generated module may need; the formatter removes unused ones."""

_CONSTANTS = (str, int, float, bool, type(None))


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument, as source text.

    Attributes:
        name: TRL's name.
        annotation: Source of its type.
        default: Source of the argument of ``Field`` for the default, ``default=...`` or ``default_factory=...``.
        limits: Source of further arguments of ``Field``; empty for none.
        doc: Description, one line.
    """

    name: str
    annotation: str
    default: str
    limits: str
    doc: str

    def line(self) -> str:
        """Return the field's source."""
        arguments = ", ".join(part for part in (self.default, self.limits, f"description={self.doc!r}") if part)
        return f"    {self.name}: {self.annotation} = Field({arguments})"


@dataclass(frozen=True, slots=True)
class Source:
    """A method's spec class, its config and trainer classes with the module that has them, and its family of pins."""

    spec: str
    module: str
    config: str
    trainer: str
    family: str

    @property
    def arguments(self) -> str:
        """Name of the generated class that the spec class extends."""
        return f"{self.spec}Args"


def require_pinned(package: str, family: str = "default") -> str:
    """Return the version of ``package`` that a family pins.

    Raises:
        HFTError: Another version is installed, or none.
    """
    wanted = pins(family).packages[package]
    try:
        found = metadata.version(package)
    except metadata.PackageNotFoundError:
        found = None
    if found != wanted:
        raise HFTError(
            f"codegen reads the pinned {package} {wanted}, but {found or 'none'} is installed. "
            f"Install it: uv pip install {package}=={wanted}"
        )
    return wanted


def configs() -> dict[str, Source]:
    """Return method -> where its config class is, as ``@method`` says in ``specs/methods``.

    The files are read, not imported: they import what this generator writes.

    Raises:
        HFTError: A file there has no ``@method(...)`` with a literal ``config``.
    """
    found: dict[str, Source] = {}
    for file in sorted(METHOD_FILES.glob("[!_]*.py")):
        spec, keywords = _registered(ast.parse(file.read_text(encoding="utf-8")))
        for kind in ("config", "trainer"):
            if kind not in keywords:
                raise HFTError(f"{file.name} has no @method(..., {kind}=...): codegen cannot find the {kind} class")
        module, family = keywords.get("module", "trl"), keywords.get("family", "default")
        found[file.stem] = Source(spec, module, keywords["config"], keywords["trainer"], family)
    return found


def _registered(tree: ast.Module) -> tuple[str, dict[str, str]]:
    """The class that ``@method`` decorates, and the texts that it is given; nothing if there is none."""
    for spec in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        for call in spec.decorator_list:
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "method":
                constants = ((k.arg, k.value.value) for k in call.keywords if isinstance(k.value, ast.Constant))
                return spec.name, {name: text for name, text in constants if name and isinstance(text, str)}
    return "", {}


def config_class(method: str) -> type[Any]:
    """Return the config class of a method in the installed TRL; importing TRL takes some seconds."""
    source = configs()[method]
    return _import(source.module, source.config)


def trainer_arguments_of(method: str) -> tuple[str, ...]:
    """Return the names of the arguments that a method's trainer takes in the installed TRL, in its order."""
    source = configs()[method]
    return tuple(inspect.signature(_import(source.module, source.trainer)).parameters)


def _import(module: str, name: str) -> type[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return getattr(importlib.import_module(module), name)


def shorten(text: str, limit: int = DOC_LENGTH) -> str:
    """Return the first sentence of a help text, or as many whole clauses of it as fit in ``limit`` characters.

    Raises:
        HFTError: No clause is short enough; add a description to ``trl_tables.DOCS``.
    """
    text = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", " ".join(text.split()))
    for letter, plain in _PLAIN_LETTERS.items():
        text = text.replace(letter, plain)
    sentences = re.split(r"(?<=[.!])\s+(?=[A-Z0-9`'(])", text)
    sentence = " ".join(sentences[: 2 if sentences[0] == "Deprecated." else 1]).rstrip(".")
    if len(sentence) < limit:
        return f"{sentence}."
    for separator in reversed(list(re.finditer(r"[,;:] | \(| when | while | which ", sentence[:limit]))):
        clause = sentence[: separator.start()]
        if len(clause) >= SHORTEST_CLAUSE and all(clause.count(mark) % 2 == 0 for mark in "`'"):
            return f"{clause}."
    raise HFTError(f"no short first clause in {sentence!r}: describe the argument in trl_tables.DOCS")


def fields_of(method: str) -> dict[str, dataclasses.Field[Any]]:
    """Return the arguments of a method's config in the installed TRL, by name."""
    return {field.name: field for field in dataclasses.fields(config_class(method)) if field.init}


def arguments_of(method: str) -> dict[str, Argument]:
    """Return the arguments of a method's config in TRL's order, without those that ``trl_tables`` excludes.

    Raises:
        HFTError: TRL no longer has an argument that is in one of the tables.
    """
    config, fields = config_class(method), fields_of(method)
    left_out = tables.left_out(config.__name__)
    named = left_out | tables.TYPES.get(config.__name__, {}).keys()
    if gone := sorted(named - fields.keys()):
        raise HFTError(f"{config.__name__} has no {', '.join(gone)} anymore: see hfjobs_trainer/codegen/trl_tables.py")
    hints = get_type_hints(config)
    arguments: dict[str, Argument] = {}
    for name, field in fields.items():
        if name not in left_out:
            annotation = _annotation(config.__name__, field, hints[name])
            doc = tables.DOCS.get(name) or shorten(str(field.metadata.get("help")))
            arguments[name] = Argument(name, annotation, _default(field, annotation), tables.LIMITS.get(name, ""), doc)
    return arguments


def _annotation(config: str, field: dataclasses.Field[Any], hint: Any) -> str:
    if text := tables.TYPES.get(config, {}).get(field.name) or tables.TYPES["*"].get(field.name):
        return text
    if choices := field.metadata.get("choices"):
        return tables.literal(*choices) + (" | None" if type(None) in members_of(hint) else "")
    members = members_of(hint)
    takes_text_for_cli = any(_is_enum(member) or _is_dict(member) for member in members)
    texts = [type_text(member, _named) for member in members if not (member is str and takes_text_for_cli)]
    return " | ".join([text for text in texts if text != "None"] + ["None"] * ("None" in texts))


def _named(tp: Any) -> str | None:
    return tp.__name__ if _is_enum(tp) else None


def _is_enum(tp: Any) -> bool:
    return isinstance(tp, type) and issubclass(tp, Enum)


def _is_dict(tp: Any) -> bool:
    return tp is dict or getattr(tp, "__origin__", None) is dict


def _default(field: dataclasses.Field[Any], annotation: str) -> str:
    if field.default_factory is not dataclasses.MISSING:
        made = field.default_factory()
        if not made:
            return f"default_factory={annotation}"
        return f"default_factory=lambda: {made!r}"
    value = field.default.value if isinstance(field.default, Enum) else field.default
    if not isinstance(value, _CONSTANTS):
        raise HFTError(f"codegen cannot write the default of {field.name}: {value!r}")
    return f"default={value!r}"


def generate() -> dict[str, str]:
    """Return path from the repository's root -> text of every module of ``specs/trl_args``.

    Raises:
        HFTError: The installed TRL or Transformers is not the pinned one, or no longer fits the tables.
    """
    from hfjobs_trainer.codegen.trl_families import config_elsewhere

    header = (
        f"# Generated by `python -m hfjobs_trainer.codegen` from TRL {require_pinned('trl')} and Transformers "
        f"{require_pinned('transformers')}; do not edit.\n"
    )
    sources = configs()
    methods = {method: arguments_of(method) for method, source in sources.items() if source.family == "default"}
    first, *others = methods.values()
    common = {name: argument for name, argument in first.items() if all(o.get(name) == argument for o in others)}
    taken = {method: trainer_arguments_of(method) for method in methods}
    others_pinned = {method: config_elsewhere(method) for method in sources if method not in methods}
    for method, config in others_pinned.items():
        if lacking := sorted(common.keys() - config.fields - tables.LOADING):
            raise HFTError(f"{sources[method].config} has no {', '.join(lacking)}, which every spec has")
    methods |= {method: config.arguments for method, config in others_pinned.items()}
    taken |= {method: config.trainer for method, config in others_pinned.items()}
    known = {name for arguments in methods.values() for name in arguments}
    if gone := sorted((tables.LIMITS.keys() | tables.DOCS.keys() | tables.TYPES["*"].keys()) - known):
        raise HFTError(f"no TRL config has {', '.join(gone)} anymore: see hfjobs_trainer/codegen/trl_tables.py")
    files = {"__init__": header + '"""Arguments of TRL\'s configs: generated from the pinned TRL."""\n'}
    doc = "Arguments that every TRL config has, with the same type and default."
    files["common"] = _module(header, doc, "CommonArgs", "TRLArgs", common, _enums(), pins().packages["trl"], ())
    for method, arguments in sorted(methods.items()):
        source = sources[method]
        version = pins(source.family).packages["trl"]
        own = {name: argument for name, argument in arguments.items() if _differs(argument, common.get(name))}
        doc = f"Arguments of TRL's {source.config}, beyond the common ones."
        start = header.replace(f"TRL {pins().packages['trl']}", f"TRL {version}")
        aliases = tables.ALIASES.get(source.config, {})
        files[method] = _module(start, doc, source.arguments, "CommonArgs", own, aliases, version, taken[method])
    return {f"{FOLDER}/{name}.py": format_python(text) for name, text in files.items()}


def _differs(argument: Argument, common: Argument | None) -> bool:
    """Whether a class has to have the argument itself; a different description is no reason."""
    return common is None or dataclasses.replace(argument, doc=common.doc) != common


def _enums() -> dict[str, str]:
    names = ("trainer_utils", "training_args", "debug_utils")
    modules = [importlib.import_module(f"transformers.{name}") for name in names]
    found: dict[str, str] = {}
    for name in ENUMS:
        enum: type[Enum] = next(getattr(module, name) for module in modules if hasattr(module, name))
        found[name] = tables.literal(*(str(member.value) for member in enum))
    return found


def _module(
    header: str,
    doc: str,
    name: str,
    base: str,
    arguments: dict[str, Argument],
    aliases: dict[str, str],
    trl: str,
    trainer: tuple[str, ...],
) -> str:
    definitions = "\n".join(f"{alias} = {text}" for alias, text in aliases.items())
    lines = "\n".join(argument.line() for argument in arguments.values())
    version = f"    TRL_VERSION: ClassVar[str] = {trl!r}"
    if trainer:
        version += f"\n    TRAINER_ARGUMENTS: ClassVar[tuple[str, ...]] = {trainer!r}"
    body = f'{definitions}\n\n\nclass {name}({base}):\n    """{doc}"""\n\n{version}\n\n{lines}\n'
    # without `from __future__ import annotations`: pydantic would evaluate each text again for each class on top
    start = f'{header}"""{doc}"""\n\n{_IMPORTS}'
    if base != "TRLArgs":
        start += f"from {FOLDER.replace('/', '.')}.common import CommonArgs, {', '.join(ENUMS)}\n"
    return f"{start}\n{body}"
