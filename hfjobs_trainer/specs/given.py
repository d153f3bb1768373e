"""What a user gave, as values that cannot surprise: the edge at which everything untrusted becomes plain data.

Behind it there are exact texts, numbers, lists and dicts of bounded size and depth, which do not contain themselves. An
object of any other class that no field takes becomes a stand-in with the name of its class, so that nothing of it is
ever called. What a few fields do take (functions, classes, tables of rows) passes, and is read under ``reading``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from enum import Enum
from functools import lru_cache
from pathlib import PurePath
from types import FunctionType, MappingProxyType
from typing import Any, cast

from hfjobs_trainer.problems import Problem
from hfjobs_trainer.specs.args_base import Deferred

DEEPEST = 32
"""Levels of lists and dicts within one another."""
LONGEST_TEXT = 1_000_000
"""Characters of one text: the largest chat templates have 100,000, and a script of 1 MB is the largest that is sent."""
MOST_VALUES = 200_000
"""Values of a whole spec, rows aside."""
_LONGEST_KEY = 1_000
# Of a mapping that is no dict, and may never end.
_MOST_ITEMS = 10_000
# Beyond it an integer is no float either, and soon too long for Python to write.
_MOST_BITS = 1_023

_TAKES_OBJECTS = frozenset(
    ("dataset", "eval_dataset", "reward_funcs", "tools", "environment_factory", "id", "map", "mixed_with")
)
"""Fields that take functions, classes or tables of rows; those of groups among them."""
_TAKES_ROWS = frozenset(("dataset", "eval_dataset", "id", "mixed_with"))
# Whose configurations are read where a spec's field has the same meaning, each under `reading`.
_LIBRARIES = frozenset(("torch", "transformers", "trl", "peft"))

# As the built-in classes have it: a subclass may say anything.
_every_base: Callable[[Any], tuple[type[Any], ...]] = type.__dict__["__mro__"].__get__
_name: Callable[[Any], str] = type.__dict__["__name__"].__get__
_module: Callable[[Any], Any] = type.__dict__["__module__"].__get__
_ITERATE: Mapping[type[Any], Callable[[Any], Iterator[Any]]] = {
    kind: kind.__iter__ for kind in cast("tuple[Any, ...]", (list, tuple, set, frozenset))
}
_items: Callable[[Any], Iterable[tuple[Any, Any]]] = cast("Any", dict).items


class _Classes(tuple[type[Any], ...]):
    """Classes, of which one is known by what it is: a metaclass may say anything of what it equals."""

    __slots__ = ()

    def __contains__(self, kind: object) -> bool:
        return any(cast("object", each) is kind for each in self)


def _mro(kind: type[Any]) -> _Classes:
    return _Classes(_every_base(kind))


_PLAIN = _Classes((str, int, float, bool))
_NUMBERS = _Classes((bool, float))


def listed(value: object) -> Iterator[Any]:
    """The items that a list, a tuple or a set has, whatever its class says."""
    return next(iterate(value) for kind, iterate in _ITERATE.items() if is_a(value, kind))


class Unreadable(ValueError):
    """An object of the user's failed when it was read; the text says how."""


FAILURES = (Exception, SystemExit)
"""What an object's own code may raise: one that ends the interpreter when it is looked at is no reason to end it.

What else is no ``Exception`` passes: an interrupt, a time limit, the cancelling of a task.
"""


@contextmanager
def reading(what: str, passes: type[Exception] = Unreadable) -> Generator[None]:
    """Run what reads an object of the user's, whose own code may do anything.

    Args:
        what: What is read, for the message.
        passes: Errors that have words of their own.

    Raises:
        Unreadable: It failed with any other error.
    """
    try:
        yield
    except passes:
        raise
    except FAILURES as error:
        raise Unreadable(f"{what} cannot be read: it raised {kind_of(error)}") from None


class Opaque:
    """In place of an object that no field takes; its class has the name of the object's."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def kind_of(value: object) -> str:
    """The name of a value's class, whatever the class says of itself."""
    return _name(type(value))[:80]


def take_fields(given: Mapping[Any, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """The fields of a spec or of a group as plain values, and a problem for each that cannot be; it is left out then.

    Args:
        given: The fields by name; a name that is a number, as in YAML, becomes text.
    """
    taking = _Taking()
    fields: dict[str, Any] = {}
    with taking.problem_at(""):
        for key, value in taking.items_of(given):
            if (found := taking.key(key, "")) is None:
                continue
            name = str(found)
            with taking.problem_at(name):
                fields[name] = taking.take(value, name, name)
    return fields, taking.problems


class _Refused(Exception):
    """A value cannot be taken, and where it is."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(why)
        self.path, self.why = path, why


class _Taking:
    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.left = MOST_VALUES
        self.inside: set[int] = set()

    @contextmanager
    def problem_at(self, path: str) -> Generator[None]:
        try:
            yield
        except _Refused as refused:
            self.problems.append(Problem("SPEC003", refused.path, refused.why))
        except Unreadable as error:
            self.problems.append(Problem("SPEC003", path, str(error)))

    def take(self, value: Any, path: str, field: str, depth: int = 0) -> Any:
        """A value as it may be looked at without harm.

        Args:
            value: What was given.
            path: Where it is.
            field: The field of the spec, or of one of its groups, that it is in.
            depth: Levels above it.
        """
        kind = cast("type[Any]", type(value))
        if value is None or kind is bool or kind is float:
            return value
        self.left -= 1
        if self.left < 0:
            raise _Refused(path.split(".")[0], f"holds more than {MOST_VALUES:,} values")
        if kind is str:
            return self._text(value, path)
        if kind is int:
            return self._whole(value, path)
        bases = _mro(kind)
        if str in bases:
            return self._text(str.__str__(value), path)
        if int in bases and Enum not in bases:
            return self._whole(int.__int__(value), path)
        if float in bases and Enum not in bases:
            return float.__float__(value)
        if field in _TAKES_ROWS:
            value = [*listed(value)] if list in bases else value
            if _is_rows(value):
                return value
        if list in bases or tuple in bases:
            items = listed(value)
            with self._within(value, path, depth):
                taken = [self.take(item, f"{path}.{index}", field, depth + 1) for index, item in enumerate(items)]
            return tuple(taken) if tuple in bases else taken
        if _name(kind) == "dtype" and _package(kind) == "torch":
            with reading("the dtype"):
                return self._text(str.__str__(str(value)), path)
        if Deferred in bases and _package(kind) != "hfjobs_trainer":
            value = _set_in(value)  # whose class is a user's own
            kind, bases = dict, _mro(dict)
        if dict in bases or _is_mapping(kind, bases):
            return self._mapping(value, path, field, depth)
        if (set in bases or frozenset in bases) and depth < DEEPEST:
            return self._set(value, path, field, depth)
        return _passed(value, kind, bases, field)

    def _mapping(self, value: Any, path: str, field: str, depth: int) -> dict[Any, Any]:
        taken: dict[Any, Any] = {}
        with self._within(value, path, depth):
            for key, item in self.items_of(value):
                plain = key if key is None or type(key) in _NUMBERS else self.key(key, path)
                if plain is None and key is not None:
                    continue
                at = f"{path}.{plain}"
                inner = plain if field in _TAKES_ROWS and isinstance(plain, str) else field
                taken[plain] = self.take(item, at, inner, depth + 1)
        return taken

    def _set(self, value: Any, path: str, field: str, depth: int) -> Any:
        items = listed(value)
        taken = [self.take(item, path, field, depth + 1) for item in items]
        return set(taken) if all(type(item) in _PLAIN for item in taken) else stand_in(value)

    @contextmanager
    def _within(self, value: object, path: str, depth: int) -> Generator[None]:
        if id(value) in self.inside:
            raise _Refused(path, "contains itself")
        if depth >= DEEPEST:
            raise _Refused(path, f"is nested deeper than {DEEPEST} levels")
        self.inside.add(id(value))
        try:
            yield
        finally:
            self.inside.discard(id(value))

    def items_of(self, value: Any) -> Iterator[tuple[Any, Any]]:
        """The items of a mapping: of a dict of any class those that it has, of another those that it tells."""
        if is_a(value, dict):
            yield from [*_items(value)]
            return
        with reading("the mapping"):
            keys = iter(value.keys())
        for _ in range(_MOST_ITEMS + 1):
            with reading("the mapping"):
                try:
                    key = next(keys)
                except StopIteration:
                    return
                item = value[key]
            yield key, item
        raise Unreadable(f"the mapping holds more than {_MOST_ITEMS:,} values")

    def key(self, key: object, path: str) -> str | int | None:
        """A key as text, or as the number that it is inside of a field; ``None``, and a problem, if it is neither."""
        bases = _mro(type(key))
        if str in bases:
            text = str.__str__(cast("str", key))
            if len(text) > _LONGEST_KEY:
                why = f"has a key of {len(text):,} characters, {text[:40]!r}...: at most {_LONGEST_KEY:,} are allowed"
                self.problems.append(Problem("SPEC003", path, why))
                return None
            return text
        if key is None or type(key) is bool or type(key) is float or (int in bases and Enum not in bases):
            number: Any = int.__int__(cast("int", key)) if int in bases and type(key) is not bool else key
            if type(number) is not int or number.bit_length() <= _MOST_BITS:
                return number if path and type(number) is int else str(number)
        why = f"the keys must be text, not {kind_of(key)}"
        self.problems.append(Problem("SPEC003", path, why))
        return None

    def _text(self, text: str, path: str) -> str:
        if len(text) > LONGEST_TEXT:
            raise _Refused(path, f"has {len(text):,} characters: at most {LONGEST_TEXT:,} are allowed")
        return text

    def _whole(self, number: int, path: str) -> int:
        if number.bit_length() > _MOST_BITS:
            raise _Refused(path, "must be an integer of at most 64 bits")
        return number


def _package(kind: type[Any]) -> str:
    """The package that a class says that it is from."""
    module = _module(kind)
    return module.split(".")[0] if type(module) is str else ""


def _set_in(spec: Deferred) -> dict[str, Any]:
    """What was set in a group, as it is stored."""
    try:
        fields, names = (object.__getattribute__(spec, name) for name in ("__dict__", "__pydantic_fields_set__"))
    except AttributeError:  # it was never built
        return {}
    return {name: value for name, value in fields.items() if name in names}


def is_a(value: object, kind: type) -> bool:
    """Whether a value is of this class, whatever it says of itself."""
    return kind in _mro(cast("type[Any]", type(value)))


def is_mapping(value: object) -> bool:
    """Whether a value is a mapping, whatever it says of itself."""
    return dict in _mro(type(value)) or _is_mapping(type(value), _mro(type(value)))


def _is_mapping(kind: type, bases: _Classes) -> bool:
    if Mapping in bases or kind is MappingProxyType:
        return True
    try:
        return issubclass(kind, Mapping)
    except FAILURES:  # of its metaclass
        return False


def _is_rows(value: object) -> bool:
    from hfjobs_trainer.specs.groups import Dataset
    from hfjobs_trainer.specs.rows import is_rows

    return is_rows(value, Dataset.model_fields)


def _passed(value: Any, kind: type, bases: _Classes, field: str) -> Any:
    """An object itself, if a field may take it and it can be asked what it is; else what stands for it."""
    if Deferred in bases or kind is timedelta or kind is FunctionType:
        return value
    names = {_name(base) for base in bases}
    known = _package(kind) in _LIBRARIES
    taken = (
        (field in _TAKES_OBJECTS and callable(value))
        or field == "environment_factory"
        or (type in bases and kind is type)
        or (known and ("QuantizationConfigMixin" in names or dataclasses.is_dataclass(kind)))
        or (PurePath in bases and _name(bases[0]) in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath"))
        or (Enum in bases and known)
    )
    return value if taken and is_honest(value) else stand_in(value)


def is_honest(value: object) -> bool:
    """Whether an object says of itself that it is of the class that it is of, on which ``isinstance`` relies."""
    try:
        return value.__class__ is type(value)
    except FAILURES:
        return False


def stand_in(value: object) -> Opaque:
    """An object of which nothing can be said but the name of its class."""
    name = kind_of(value)
    return _class_of(name)(f"<{name} object>")


@lru_cache(1_000)
def _class_of(name: str) -> type[Opaque]:
    return type(name, (Opaque,), {"__slots__": ()})
