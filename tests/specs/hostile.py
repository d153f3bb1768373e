"""Values, specs, files and command lines that nobody should write, for ``check`` and ``load`` to survive.

The same generators serve ``test_hostile.py``, which draws with hypothesis, and ``benchmarks/faults/specs.py``, which
draws with a seeded ``random.Random``.
"""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import functools
import gzip
import itertools
import json
import os
import re
import socket
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from unittest import mock

from hfjobs_trainer.specs import names
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.fixes import group_of
from hfjobs_trainer.specs.registry import METHODS
from hfjobs_trainer.specs.script import Script
from tests.specs.building import GIVEN, required

Choose = Callable[[Sequence[Any]], Any]
"""Takes one of several: ``Random.choice``, or hypothesis' ``sampled_from``."""


# -- values


def nested(depth: int, make: Callable[[Any], Any]) -> Any:
    value: Any = "x"
    for _ in range(depth):
        value = make(value)
    return value


def _in_itself(kind: str) -> Any:
    if kind == "list":
        items: list[Any] = [1]
        items.append(items)
        return items
    if kind == "pair":
        one: dict[str, Any] = {}
        one["other"] = {"one": [one]}
        return one
    fields: dict[str, Any] = {"id": "me/data"}
    fields["columns"] = fields
    return fields


TEXTS: dict[str, str] = {
    **{
        repr(text): text for text in ("", " ", "\0", "me/mo\0del", "./\0", "/tmp/\0/x", "~\0", "~nobody-of-this-name/x")
    },
    **{
        repr(text): text
        for text in ("\ud800", "me/\udfff", "\u202eled", "\x1b[31mred", "a\nb\r\nc", "\ufeffx", "\u2028")
    },
    **{
        text: text
        for text in ("/", ".", "..", "./", "~", "~/", "/dev/zero", "/dev/stdin", "/proc/self/mem", "/dev/null")
    },
    **{
        text: text
        for text in ("file://x", "http://[", "https://", "https://huggingface.co/", "hf://datasets//", "a/b/c")
    },
    **{text: text for text in ("https://huggingface.co/me/model/tree/%00", "me/model@", "x@sha256:zz", "me/", "/me")},
    **{
        text: text
        for text in ("{{ 7 * 7 }}", "{% for %}", "{%", "'''\"\"\"", "# /// script", "#", "```", "\\", "$HOME")
    },
    **{
        text: text for text in ("inf", "nan", "-inf", "1e999", "0x10", "1_0", "²", "١", "1e5", "true", "None", "9" * 25)
    },
    **{
        text: text
        for text in ("(", "[", "*", "(?P<", "(a+)+$", "(?:.*)*x", "(.*.*)*y", ".*" * 40 + "z", "(?i)A{9999999}")
    },
    **{
        text: text
        for text in ("train[", "train[:%]", "train[9:1]", "train+train+", "train[:999999999999999%]", "all[::]")
    },
    **{
        text: text
        for text in ("h100x9", "a10g-large ", "L4X1", "8x", "0x H100", "9999999x H100", "3h-", "1e9h", "P1D", "-1s")
    },
    "digits": "1" * 5000,
    "long": "a" * 10_000,
    "long path": "../" * 2000 + "x",
    "long name": "./" + "n" * 300,
    "10 MB": "x" * 10_000_000,
    "lines": "\n" * 50_000,
    "brackets": "[" * 20_000,
    "braces": '{"a":' * 20_000,
    "commas": "," * 50_000,
}


class Level(enum.Enum):
    LOW = "low"


class Word(enum.StrEnum):
    AUTO = "auto"


class Pair(NamedTuple):
    left: Any = 1
    right: Any = 2


@dataclasses.dataclass
class Node:
    name: str = "x"
    next: Any = None


@dataclasses.dataclass
class Broken:
    name: str = "x"

    @property
    def __dict__(self) -> Any:
        raise RuntimeError("no")

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(f"no {name}")


def ring() -> Node:
    node = Node()
    node.next = node
    return node


def reward(completions: Any, **kwargs: Any) -> list[float]:
    return [0.0 for _ in completions]


async def slow_reward(completions: Any, **kwargs: Any) -> list[float]:
    return [0.0]


def stream() -> Iterator[int]:
    yield from itertools.count()


class Endless(Mapping[str, Any]):
    """A mapping that never ends."""

    def __getitem__(self, key: str) -> Any:
        return 1

    def __iter__(self) -> Iterator[str]:
        return (f"key{number}" for number in itertools.count())

    def __len__(self) -> int:
        return 3


class EndlessList(list[Any]):
    def __iter__(self) -> Iterator[Any]:
        return itertools.count()

    def __len__(self) -> int:
        return 1 << 62


class EndlessTable:
    """What looks like a frame of polars."""

    shape = (1 << 60, 1)

    def __len__(self) -> int:
        return 1 << 60

    def slice(self, start: int, count: int) -> Any:
        raise RuntimeError("no rows")

    def to_dicts(self) -> Any:
        raise RuntimeError("no rows")


class Chameleon:
    """Has every attribute, each of them itself."""

    def __getattr__(self, name: str) -> Any:
        return self

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self


class Liar:
    """Says that it is a text."""

    @property
    def __class__(self) -> Any:
        return str


class FalseMapping:
    @property
    def __class__(self) -> Any:
        return dict


_METHODS = (
    *("__repr__", "__str__", "__eq__", "__ne__", "__hash__", "__len__", "__iter__", "__bool__", "__contains__"),
    *("__getattribute__", "__getattr__", "__getitem__", "__format__", "__class__", "__lt__", "__int__", "__float__"),
    *("__index__", "__call__", "__reduce_ex__", "__dir__", "__fspath__", "__dict__", "keys", "items", "values", "get"),
    *("__module__", "__name__", "__qualname__", "__wrapped__", "__instancecheck__", "tolist", "encode", "lower"),
)
_BASES: tuple[type, ...] = (object, str, int, float, dict, list, tuple, bytes, BaseException)
_FAILURES: dict[str, Callable[..., Any]] = {}


def _failing(error: BaseException) -> Callable[..., Any]:
    def fail(*args: Any, **kwargs: Any) -> Any:
        raise error

    return fail


for _error in (RuntimeError("no"), SystemExit(3), RecursionError("deep"), MemoryError(), UnicodeError("x")):
    _FAILURES[type(_error).__name__] = _failing(_error)
_FAILURES["rubbish"] = lambda *args, **kwargs: 17
_FAILURES["huge"] = lambda *args, **kwargs: "y" * 1_000_000


def treacherous(base: type, method: str, failure: str) -> Any:
    """An object of which one method fails."""
    act = _FAILURES[failure]
    body: dict[str, Any] = {method: property(act) if method in ("__class__", "__dict__", "__module__") else act}
    try:
        kind = type("Treacherous", (base,), body)
        return kind({"id": "me/data"}) if base is dict else kind([1]) if base in (list, tuple) else kind()
    except Exception:
        return object()


class _Meta(type):
    def __getattribute__(cls, name: str) -> Any:
        if name in ("__name__", "__mro__", "__qualname__", "__module__"):
            raise RuntimeError("no name")
        return super().__getattribute__(name)


class Nameless(metaclass=_Meta):
    """Its class has no name."""


class _Key:
    def __init__(self) -> None:
        self.count = 0

    def __hash__(self) -> int:
        self.count += 1
        if self.count > 1:
            raise RuntimeError("no hash")
        return 1

    def __str__(self) -> str:
        raise RuntimeError("no text")


OTHERS: dict[str, Callable[[], Any]] = {
    **{
        repr(value): functools.partial(lambda value: value, value)
        for value in (None, True, False, 0, -1, 1, 2**31, 2**63, -(2**64), float("inf"), float("-inf"), float("nan"))
    },
    **{repr(value): functools.partial(lambda value: value, value) for value in (1e308, 5e-324, -0.0, 0.5, 1j, 10**300)},
    "10**5000": lambda: 10**5000,
    "-10**5000": lambda: -(10**5000),
    "Decimal": lambda: decimal.Decimal("NaN"),
    "Fraction": lambda: fractions.Fraction(1, 3),
    **{repr(value): functools.partial(type(value)) for value in ([], {}, (), set(), frozenset())},
    "[None]": lambda: [None],
    "[nan]": lambda: [float("nan"), float("inf")],
    "[[[]]]": lambda: [[[]]],
    "list 40 deep": lambda: nested(40, lambda value: [value]),
    "list 10000 deep": lambda: nested(10_000, lambda value: [value]),
    "dict 40 deep": lambda: nested(40, lambda value: {"a": value}),
    "dict 10000 deep": lambda: nested(10_000, lambda value: {"a": value}),
    "tuple 10000 deep": lambda: nested(10_000, lambda value: (value,)),
    "list in itself": lambda: _in_itself("list"),
    "dict in itself": lambda: _in_itself("dict"),
    "pair in itself": lambda: _in_itself("pair"),
    "100k items": lambda: ["x"] * 100_000,
    "100k numbers": lambda: list(range(100_000)),
    "50k keys": lambda: {f"key{number}": number for number in range(50_000)},
    "bomb": lambda: nested(40, lambda value: [value, value]),
    **{
        f"key {key!r:.20}": functools.partial(lambda key: {key: 1}, key)
        for key in (1, None, (1, 2), 1.5, True, b"x", "", "a.b", "\0", "\ud800", "k" * 1_000_000, float("nan"))
    },
    "key 10**5000": lambda: {10**5000: 1},
    "hostile key": lambda: {_Key(): 1},
    "bytes": lambda: b"me/model",
    "bytearray": lambda: bytearray(b"x"),
    "memoryview": lambda: memoryview(b"x"),
    "generator": stream,
    "count": itertools.count,
    "range": lambda: range(10**18),
    "map": lambda: map(str, [1]),
    "class": lambda: Level,
    "type": lambda: type,
    "module": lambda: os,
    "lambda": lambda: lambda completions: [0.0],
    "function": lambda: reward,
    "coroutine function": lambda: slow_reward,
    "len": lambda: len,
    "print": lambda: print,
    "str.upper": lambda: str.upper,
    "bound": lambda: "x".upper,
    "partial": lambda: functools.partial(reward, extra=_in_itself("list")),
    "partial of itself": lambda: functools.partial(functools.partial(reward)),
    "staticmethod": lambda: staticmethod(reward),
    "property": lambda: property(reward),
    "cached": lambda: functools.lru_cache(reward),
    "compiled": lambda: types.FunctionType(compile("0", "<nowhere>", "eval"), {}),
    "functions": lambda: [reward, reward, len, lambda: 0],
    "object": object,
    "exception": lambda: ValueError("x"),
    "ellipsis": lambda: ...,
    "not implemented": lambda: NotImplemented,
    "pattern": lambda: re.compile("x"),
    "datetime": lambda: dt.datetime(2020, 1, 1),
    "date": lambda: dt.date(1, 1, 1),
    "timedelta": lambda: dt.timedelta(days=999_999_999),
    "negative timedelta": lambda: dt.timedelta(-1),
    "path": lambda: Path("x"),
    "path with NUL": lambda: Path("./\0"),
    "pure path": lambda: PurePosixPath("/x"),
    "enum": lambda: Level.LOW,
    "str enum": lambda: Word.AUTO,
    "namedtuple": Pair,
    "namespace": lambda: types.SimpleNamespace(a=1),
    "dataclass": Node,
    "dataclass in itself": ring,
    "broken dataclass": lambda: object.__new__(Broken),
    "UserDict": lambda: collections.UserDict(id="me/data"),
    "UserList": lambda: collections.UserList(["x"]),
    "UserString": lambda: collections.UserString("x"),
    "proxy": lambda: types.MappingProxyType({"id": "me/data"}),
    "ChainMap": lambda: collections.ChainMap({"id": "me/data"}),
    "OrderedDict": lambda: collections.OrderedDict(id="me/data"),
    "defaultdict": lambda: collections.defaultdict(list, id="me/data"),
    "Counter": lambda: collections.Counter("abc"),
    "endless mapping": Endless,
    "endless list": EndlessList,
    "endless table": EndlessTable,
    "chameleon": Chameleon,
    "liar": Liar,
    "false mapping": FalseMapping,
    "nameless": Nameless,
    "nameless class": lambda: Nameless,
    "mock": mock.Mock,
    "magic mock": mock.MagicMock,
    "mock of str": lambda: mock.Mock(spec=str),
    "numpy": lambda: _numpy("array"),
    "numpy number": lambda: _numpy("float32"),
    "numpy nan": lambda: _numpy("nan"),
    "rows": lambda: [{"prompt": "a", "completion": "b"}],
    "rows of nothing": lambda: [{}],
    "rows with nan": lambda: [{"text": float("nan")}],
    "rows with bytes": lambda: [{"text": b"x"}],
    "rows with themselves": lambda: [{"text": _in_itself("list")}],
    "rows with huge numbers": lambda: [{"text": 10**5000}],
    "rows with hostile keys": lambda: [{_Key(): 1}],
    "rows with long keys": lambda: [{"k" * 100_000: 1}],
    "rows with objects": lambda: [{"text": treacherous(object, "__repr__", "RuntimeError")}],
    "rows with mocks": lambda: [{"text": mock.MagicMock()}],
    "rows with chameleons": lambda: [{"text": Chameleon()}],
    "specs": lambda: _spec(),
    "spec in a list": lambda: [_spec()],
}


def _spec() -> Any:
    return METHODS["sft"](model="me/model", dataset="me/data")


def _numpy(kind: str) -> Any:
    import numpy as np

    return {"array": np.zeros((2, 2)), "float32": np.float32(1), "nan": np.float64("nan")}[kind]


VALUES: dict[str, Callable[[], Any]] = {
    **{f"text {name:.40}": functools.partial(lambda text: text, text) for name, text in TEXTS.items()},
    **OTHERS,
    **{
        f"{base.__name__} with {method} of {failure}": functools.partial(treacherous, base, method, failure)
        for base in _BASES
        for method in _METHODS
        for failure in _FAILURES
    },
}
"""Every value by name; each is made anew."""

_GROUPS = {
    name: group
    for name in ("dataset", "eval_dataset", "lora", "quantization", "hardware", "tracking", "output")
    if (group := group_of(TrainSpec.model_fields[name].annotation))
}
_CLASSES = ("text", "other", "treacherous")
_NAMED: dict[str, list[str]] = {
    "text": [name for name in VALUES if name.startswith("text ")],
    "other": [*OTHERS],
    "treacherous": [name for name in VALUES if " with __" in name or " of " in name],
}


# -- specs


class Case(NamedTuple):
    """What was made, in words, and the function that makes it."""

    label: str
    make: Callable[[], Any]


def draw_value(choose: Choose) -> Case:
    """A hostile value."""
    name = choose(_NAMED[choose(_CLASSES)])
    return Case(name, VALUES[name])


def draw_spec(choose: Choose) -> Case:
    """Something that is given for a spec: mostly a mapping of which some values are hostile."""
    kind = choose(("mapping",) * 12 + ("script", "whole", "subclass"))
    if kind == "whole":
        value = draw_value(choose)
        return Case(f"a spec that is {value.label}", value.make)
    method = "script" if kind == "script" else choose([*METHODS])
    places = [choose(_places(method)) for _ in range(choose((1, 1, 1, 2, 3)))]
    values = [draw_value(choose) for _ in places]
    label = ", ".join(f"{place}={value.label}" for place, value in zip(places, values, strict=True))
    named = [(place, value.make) for place, value in zip(places, values, strict=True)]
    make = functools.partial(_mapping, method, named, kind == "subclass")
    return Case(f"{method}: {label}", make)


class Fields(dict[str, Any]):
    """A mapping of a user's own."""


def _mapping(method: str, named: Sequence[tuple[str, Callable[[], Any]]], of_a_class: bool) -> Any:
    given = {"script": "x.py"} if method == "script" else required(method, GIVEN)
    spec: dict[str, Any] = {"method": method, **given}
    for place, make in named:
        _put(spec, place.split("."), make())
    return Fields(spec) if of_a_class else spec


def _put(spec: dict[str, Any], path: list[str], value: Any) -> None:
    name, *rest = path
    if not rest:
        spec[name] = value
    elif rest == ["0"]:
        spec[name] = [value]
    elif rest == ["*"]:
        spec[name] = {"x": value}
    elif rest == ["key"]:
        try:
            spec[name] = {value: "x"}
        except BaseException:
            spec[name] = {"key": "x"}
    else:
        held = spec.get(name)
        group = {"id": held} if name == "dataset" and isinstance(held, str) else held
        spec[name] = {**group, rest[0]: value} if isinstance(group, dict) else {rest[0]: value}


@functools.cache
def _places(method: str) -> list[str]:
    kind: Any = Script if method == "script" else METHODS[method]
    fields = [name for name in kind.model_fields if name != "method"]
    inner = [f"{name}.{field}" for name, group in _GROUPS.items() if name in fields for field in group.model_fields]
    listed = [f"{name}.0" for name in fields]
    held = [f"{name}.*" for name in fields] + [f"{name}.key" for name in fields]
    former = [*names.FOLDED, *names.COMMON_RENAMES, *names.REFUSED, *names.TRAINER, "not_a_field", "", "learning_rat"]
    often = [
        "model",
        "dataset",
        "eval_dataset",
        "lora",
        "hardware",
        "env",
        "labels",
        "reward_funcs",
        "model_init_kwargs",
    ]
    often += [
        "lora.target_modules",
        "dataset.id",
        "chat_template",
        "timeout",
        "method",
        "dataset.map",
        "dataset.columns",
    ]
    return [*fields, *inner, *listed, *held, *former, *often * 6]


WHOLE: dict[str, Callable[[], Any]] = {
    "no text for keys": lambda: {1: 2, None: 3, "method": "sft"},
    "hostile keys": lambda: {"method": "sft", _Key(): 1},
    "50k unknown keys": lambda: {"method": "sft", **{f"learning_rate_{number}": number for number in range(50_000)}},
    "5k long unknown keys": lambda: {"method": "sft", **{f"{number}{'k' * 2000}": number for number in range(5_000)}},
    "key of 10 MB": lambda: {"method": "sft", "k" * 10_000_000: 1},
    "a hostile method": lambda: {"method": treacherous(str, "__hash__", "RuntimeError")},
    "a method of 10 MB": lambda: {"method": "sft" * 3_000_000},
    "endless": Endless,
    "inf beside another error": lambda: {"method": "sft", "learning_rate": float("inf"), "typo": 1, "model": 3},
    "many errors": lambda: {"method": "grpo", **dict.fromkeys(METHODS["grpo"].model_fields, object())},
    "deep": lambda: {"method": "sft", **GIVEN, "model_init_kwargs": nested(100_000, lambda value: {"a": value})},
    "many rewards": lambda: {"method": "grpo", "model": "a/b", "dataset": "a/b", "reward_funcs": [object()] * 10_000},
    "many environments": lambda: {
        "method": "grpo",
        "model": "a/b",
        "dataset": "a/b",
        "env": {f"A{n}": 1 for n in range(9999)},
    },
}
"""Whole specs that no drawing makes."""


# -- files

_VALID = {"method": "sft", "model": "me/model", "dataset": "me/data"}
_YAML = "method: sft\nmodel: me/model\ndataset: me/data\n"
Make = Callable[[Path], Any]
"""Writes into a folder, and returns what ``load`` is given."""


def _file(name: str, content: str | bytes) -> Make:
    def make(folder: Path) -> Any:
        path = folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
        return path

    return make


def _script(block: str, head: str = "") -> str:
    return f"{head}print(1)\n\n{block}"


def _block(content: str) -> str:
    lines = "\n".join(f"# {line}" if line else "#" for line in content.split("\n"))
    return f"# /// hfjobs-trainer\n{lines}\n# ///\n"


def _special(kind: str, name: str) -> Make:
    def make(folder: Path) -> Any:
        path = folder / name
        if kind == "fifo":
            os.mkfifo(path)
        elif kind == "socket":
            short = Path(os.path.relpath(path))
            with socket.socket(socket.AF_UNIX) as server:
                server.bind(str(min((path, short), key=lambda place: len(str(place)))))
        elif kind == "folder":
            path.mkdir()
        elif kind == "loop":
            path.symlink_to(path)
        elif kind == "dangling":
            path.symlink_to(folder / "nowhere")
        elif kind == "in a file":
            path.write_text(_YAML)
            return path / name
        elif kind == "sparse":
            with path.open("wb") as stream_of:
                stream_of.truncate(1 << 30)
        elif kind == "absent":
            return path
        else:
            path.symlink_to(kind)
        return path

    return make


_KINDS = (
    *("fifo", "socket", "folder", "loop", "dangling", "in a file", "sparse", "absent", "/dev/zero", "/dev/null"),
    *("/dev/full", "/dev/urandom", "/proc/self/environ", "/proc/kcore", "/proc/self/mem", "/dev/tty", "/proc/kmsg"),
)


def bomb(levels: int, width: int) -> str:
    lines = ["a0: &a0 [x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, levels)]
    return "\n".join(lines)


_TAGS = (
    *(
        '!!int ""',
        "!!int x",
        "!!int 0x",
        "!!int 0b2",
        "!!int 1:",
        "!!int [1]",
        "!!int {a: 1}",
        "!!float x",
        '!!float ""',
    ),
    *("!!float [1]", "!!timestamp x", "!!timestamp 2020-99-99", "!!timestamp 2020-01-01T99:00:00Z", "2001-99-99"),
    *(
        "2001-12-14t21:59:43.10-99:00",
        "!!timestamp [1]",
        "!!bool x",
        '!!bool ""',
        "!!bool [1]",
        "!!null x",
        "!!null [1]",
    ),
    *("!!binary x", "!!binary ====", "!!binary [1]", "!!binary é", "!!set x", "!!set [a]", "!!set {a: 1}", "!!omap x"),
    *("!!omap {a: 1}", "!!omap [a]", "!!omap [{a: 1, b: 2}]", "!!pairs x", "!!pairs [{a: 1}]", "!!map x", "!!map []"),
    *("!!seq x", "!!seq {}", "!!str [a]", "!!str {a: 1}", "!!python/object:os.system x", "!!python/tuple [1]", "!x y"),
    *("!!python/name:os.system", "!<tag:yaml.org,2002:int> ''", "!!merge <<", "!!value =", "=", "<<", "*nowhere"),
    *(
        "&a *a",
        "&a [*a]",
        "&a {b: *a}",
        "&a {? *a : 1}",
        "{<<: *x}",
        "{<<: 1}",
        "{<<: [1]}",
        "&m {<<: *m}",
        "{<<: [[]]}",
    ),
    *("{[1]: 2}", "{{a: 1}: 2}", "{null: 1}", "{1.5: 2}", "{~: 1}", "{2001-01-01: 1}", "{!!binary eA==: 1}", "? [a]"),
    *(
        "190:20:30",
        "0o17",
        "017",
        "0x_",
        "0b",
        "1_000",
        "on",
        "off",
        "yes",
        ".inf",
        "-.inf",
        ".nan",
        "1e400",
        "1" * 5000,
    ),
    *(
        "1:" + "59:" * 2000 + "1",
        "0." + "1" * 10_000,
        '"\\ud800"',
        '"\\x00"',
        '"\\UFFFFFFFF"',
        "|9",
        ">+",
        "%",
        "@x",
        "`x",
    ),
    *(
        "'",
        '"',
        "[",
        "{",
        "[" * 100 + "]" * 100,
        "[" * 3000 + "]" * 3000,
        "{a: " * 500 + "1" + "}" * 500,
        "- - - - x",
        "\t x",
    ),
)
_YAML_PLACES = ("method", "model", "dataset", "learning_rate", "lora", "hardware", "env", "output_dir")

_DOCUMENTS: dict[str, str | bytes] = {
    "empty": "",
    "blanks": " \n\t\n",
    "nul": "\0",
    "nuls": b"\0" * 100_000,
    "utf-16": _YAML.encode("utf-16"),
    "utf-32": _YAML.encode("utf-32"),
    "bom": b"\xef\xbb\xbf" + _YAML.encode(),
    "latin": b"model: \xe9\n",
    "random": bytes(range(256)) * 40,
    "text": "just text",
    "number": "17",
    "list": "[1, 2]",
    "null": "null",
    "surrogate": '{"method": "sft", "model": "\\ud800", "dataset": "a/b"}',
    "30 MB of one value": "method: sft\nmodel: " + "x" * 30_000_000,
    "30 MB of lines": "method: sft\n" + "a: b\n" * 6_000_000,
    "30 MB of list": "[" + "1, " * 10_000_000 + "1]",
    "30 MB of blanks": " " * 30_000_000,
    "30 MB of comments": "# x\n" * 7_500_000,
    "3 MB of keys": "".join(f"key{n}: {n}\n" for n in range(200_000)),
    "50k keys": _YAML + "".join(f"learning_rate_{n}: {n}\n" for n in range(50_000)),
    "50k keys as JSON": json.dumps({**_VALID, **{f"learning_rate_{n}": n for n in range(50_000)}}),
    "50k items": _YAML + "extra_dependencies: [" + "x, " * 50_000 + "]\n",
    "50k groups": _YAML + "lora:\n" + "".join(f"  alpha{n}: {n}\n" for n in range(50_000)),
    "doubled keys": _YAML + "model: me/other\n",
    "doubled keys of JSON": '{"method": "sft", "model": "a/b", "model": "c/d", "dataset": "a/b"}',
    "two documents": f"---\n{_YAML}---\n{_YAML}",
    "directive": f"%YAML 9.9\n---\n{_YAML}",
    "tags": f"%TAG ! tag:x,2000:\n---\n{_YAML}",
    "deep JSON": '{"a": ' * 100_000 + "1" + "}" * 100_000,
    "deep list of JSON": "[" * 100_000 + "]" * 100_000,
    "half JSON": '{"method": "sft", "model": ',
    "NaN": '{"method": "sft", "model": "a/b", "dataset": "a/b", "learning_rate": NaN}',
    "Infinity": '{"method": "sft", "model": "a/b", "dataset": "a/b", "beta": -Infinity}',
    "huge int": '{"method": "sft", "model": "a/b", "dataset": "a/b", "seed": ' + "9" * 5000 + "}",
    "huge float": '{"method": "sft", "model": "a/b", "dataset": "a/b", "seed": ' + "9" * 5000 + ".0}",
    "laughs": bomb(9, 9),
    "more laughs": bomb(40, 2),
    "wide laughs": bomb(4, 60),
    "laughs in a spec": _YAML + bomb(30, 2),
    "laughs merged": "a0: &a0 {x: 1}\n"
    + "".join(f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 30)),
    "many anchors": _YAML + "".join(f"x{n}: &x{n} 1\n" for n in range(20_000)),
    "many aliases": _YAML + "x: &x [1]\ny: [" + "*x, " * 20_000 + "]\n",
    "recursive": "method: sft\nmodel: a/b\ndataset: &d\n  id: *d\n",
    "recursive list": "method: sft\nmodel: a/b\ndataset: &d [*d]\n",
    "recursive whole": "&a\nmethod: sft\nmodel: *a\n",
    "recursive env": f"{_YAML}env: &e\n  A: *e\n",
    "recursive lora": f"{_YAML}lora: &e\n  r: *e\n",
    "flow of 5000": _YAML + "x: " + "[" * 5000,
    "indents of 3000": "".join(" " * n + "a:\n" for n in range(3000)),
    "openai": '{"object": "fine_tuning.job", "training_file": "\\u0000", "model": [], "hyperparameters": 3}',
    "openai 2": '{"object": "fine_tuning.job", "method": {"type": "dpo", "dpo": []}, "training_file": {}}',
    "openai 3": '{"object": "fine_tuning.job", "method": {"type": [], "x": {}}, "seed": 1e999, "integrations": 4}',
    "stored": '{"digest": 1, "spec": {"method": []}}',
    "stored 2": '{"digest": 1, "spec": [1]}',
    "trl": "model_name_or_path: [1]\ndataset_name: {a: 1}\n",
    "trl 2": "model_name_or_path: a/b\ndataset_name: a/b\nlora_target_modules: {a: 1}\nuse_peft: [1]\n",
    "trl 3": "model_name_or_path: a/b\ndatasets: 3\nnum_processes: x\nnum_machines: [1]\nuse_peft: 1e999\n",
    "trl 4": "model_name_or_path: a/b\ndatasets: [1, null, [2], {path: 3, columns: {}}]\nenv: [1]\n",
    "trl 5": "model_name_or_path: a/b\ndataset_name: a/b\nhardware: [1]\nnum_processes: 4\nnum_machines: 3\n",
    "trl 6": "model_name_or_path: a/b\ndataset_name: a/b\nhardware: 3\nmulti_gpu: yes\nreport_to: {a: 1}\n",
    "trl 7": "model_name_or_path: a/b\ndataset_name: a/b\nnum_processes: 999999999999999999999\nnum_machines: 2\n",
    "rewards": "method: grpo\nmodel: a/b\ndataset: a/b\nreward_funcs: [os.system, nowhere.at_all, '..', 'x.', 3]\n",
    "trl rewards": "method: grpo\nmodel_name_or_path: a/b\ndataset_name: a/b\nreward_funcs: [a.b, '..', 3, 'a b.c']\n",
    "method list": "method: [sft]\nmodel: a/b\n",
    "method map": "method: {a: 1}\nmodel: a/b\n",
    "method number": "method: 3\nmodel: a/b\n",
    "method date": "method: 2020-01-01\nmodel: a/b\n",
    "method null": "method:\nmodel: a/b\n",
    "script": "method: script\nscript: 3\n",
    "script 2": 'method: script\nscript: "./\\0"\nscript_args: [1]\n',
    "keys": "1: 2\nnull: 3\n2.5: 4\n2020-01-01: 5\ntrue: 6\nmethod: sft\n",
}

_SCRIPTS: dict[str, str | bytes] = {
    "no block": "print(1)\n",
    "unclosed": _script("# /// hfjobs-trainer\n# spec = 1\n"),
    "20k unclosed": "# /// script\n" * 20_000,
    "20k unclosed apart": "# /// script\n\n" * 20_000,
    "20k unclosed of ours": "# /// hfjobs-trainer\n" * 20_000,
    "20k closed": "# /// script\n# x = 1\n# ///\n\n" * 20_000,
    "20k closings": "# /// hfjobs-trainer\n" + "# ///\n" * 20_000,
    "200k comments": "#\n" * 200_000,
    "two blocks": _block('spec = "{}"') + "\n" + _block('spec = "{}"'),
    "empty block": "# /// hfjobs-trainer\n# ///\n",
    "no TOML": _block("spec = "),
    "not text": _block("spec = 3"),
    "no JSON": _block('spec = "{"'),
    "empty JSON": _block('spec = ""'),
    "list": _block('spec = "[1]"'),
    "null": _block('spec = "null"'),
    "deep": _block("spec = '" + "[" * 50_000 + "'"),
    "deep TOML": _block("spec = " + "[" * 5_000 + "]" * 5_000),
    "deep tables": _block("[" + ".".join(["a"] * 5_000) + "]"),
    "dotted": _block(".".join(["a"] * 20_000) + " = 1"),
    "inline": _block("a = " + "{a = " * 3_000 + "1" + "}" * 3_000),
    "huge int": _block("spec = " + "9" * 5_000),
    "huge int in JSON": _block('spec = \'{"method": "sft", "seed": ' + "9" * 5_000 + "}'"),
    "date": _block("spec = 2020-99-99"),
    "doubled": _block('spec = "a"\nspec = "b"'),
    "long line": _block("spec = '" + "x" * 3_000_000 + "'"),
    "quotes": _block('spec = """' + '"' * 10_000),
    "method": _block("spec = '{\"method\": []}'"),
    "nul": _block("spec = '\0'"),
    "carriage": _block('spec = "{}"').replace("\n", "\r"),
    "crlf": _block('spec = "{}"').replace("\n", "\r\n"),
    "header": "# /// script\n# dependencies = 3\n# [tool]\n# hfjobs-trainer = 3\n# ///\n",
    "header 2": "# /// script\n# tool = []\n# ///\n",
    "header 3": "# /// script\n# [tool.hfjobs-trainer]\n# spec = 3\n# ///\n",
    "header 4": "# /// script\n# [[tool.hfjobs-trainer]]\n# ///\n",
    "two headers": "# /// script\n# a = 1\n# ///\n\n# /// script\n# a = 1\n# ///\n",
    "utf-16": _block('spec = "{}"').encode("utf-16"),
    "30 MB": "x = 1\n" * 5_000_000,
    "bytes": bytes(range(256)) * 100,
}

_COMMANDS: dict[str, str | list[Any]] = {
    **{
        text: text
        for text in (
            *("trl", "trl sft", "trl sft --", "trl sft --=", "trl sft ---", "trl sft --config", "trl sft --config ''"),
            *("trl nothing", "trl sft '", 'trl sft "', "trl sft \\", "trl sft $X", "trl sft ${X", "$ trl", "! trl --x"),
            *("trl sft --model a --model", "trl sft --learning_rate", "trl sft --learning_rate x y z", "trl sft x --y"),
            *(
                "python --x",
                "python -m",
                "python -m x --y",
                "accelerate launch",
                "accelerate launch --x",
                "accelerate x --y",
            ),
            *(
                "torchrun --nproc_per_node x y.py --z",
                "torchrun --nproc_per_node 99999999999999999999 sft.py --model_name_or_path a",
            ),
            *(
                "torchrun --nproc_per_node ² sft.py --model_name_or_path a",
                "torchrun --nnodes ² sft.py --model_name_or_path a",
            ),
            *(
                "deepspeed --include a:b:c sft.py --x",
                "deepspeed --num_gpus -1 sft.py --x",
                "hf jobs uv run --x",
                "uv run --with",
            ),
            *(
                "hf jobs uv run --timeout x sft.py --y",
                "hf jobs uv run --flavor '' sft.py --y",
                "hf jobs run --env = img cmd --x",
            ),
            *(
                "bash -c 'bash -c x' --y",
                "bash -c \"bash -c 'trl sft --x'\"",
                "sh -c",
                "cd x && trl sft --x",
                "env A=1 --x",
                "A=1 B=2",
            ),
            *(
                "CUDA_VISIBLE_DEVICES=, trl sft --x",
                "A=$A trl sft --x",
                "A=$(rm) trl sft --x",
                "trl sft --x `ls`",
                "trl sft | tee x --y",
            ),
            *(
                "trl sft --config /dev/zero",
                "trl sft --config /dev/stdin",
                "trl sft --config ~nobody-of-this-name/x.yaml --x",
            ),
            *(
                "trl sft --accelerate_config /dev/zero --model a/b --dataset a/b",
                "trl sft --deepspeed /dev/zero --model a/b",
            ),
            *(
                "trl sft --deepspeed x.json --model a/b --dataset a/b",
                "trl sft --fsdp_config . --model a/b --dataset a/b",
            ),
            *(
                "trl grpo --reward_funcs os.system --model a/b --dataset a/b",
                "trl grpo --reward_funcs .. . a. .b --model a/b --dataset a/b",
            ),
            *(
                "trl sft --no_x --no_packing --model a/b --dataset a/b",
                "trl sft --model a/b --dataset a/b --lora_r x --use_peft",
            ),
        )
    },
    "nul": "trl sft --model a\0b --dataset \0",
    "nul of a config": "trl sft --config a\0b.yaml --model x",
    "surrogate": "trl sft --model \ud800 --dataset a/b",
    "surrogate of a config": "trl sft --config \ud800.yaml",
    "50k words": "trl sft " + "--model a/b " * 25_000,
    "50k names": "trl sft " + " ".join(f"--learning_rate_{n} 1" for n in range(25_000)),
    "50k values": "trl sft --model " + "a " * 50_000,
    "50k options of accelerate": "accelerate launch "
    + " ".join(f"--fsdp_{n} 1" for n in range(25_000))
    + " sft.py --x 1",
    "50k assignments": " ".join(f"A{n}=1" for n in range(50_000)) + " trl sft --model a/b",
    "20k variables": "\n".join(f"A{n}=$A{n - 1}$A{n - 1}" if n else "A0=xx" for n in range(60))
    + "\ntrl sft --model $A59",
    "20k lines": "trl sft \\\n" * 20_000 + "--model a/b",
    "20k quotes": "trl sft --model '\n" * 20_000,
    "20k commands": "cd x && " * 20_000 + "trl sft --model a/b",
    "20k shells": "bash -c " * 20_000 + "--x",
    "20k envs": "env " * 20_000 + "trl --x",
    "10 MB": "trl sft --model " + "x" * 10_000_000,
    "10 MB of blanks": "trl sft" + " " * 10_000_000 + "--model a/b",
    "10 MB of backslashes": "trl sft --model " + "\\" * 10_000_000,
    "10 MB of dollars": "trl sft --model " + "$" * 10_000_000,
    "no words": [],
    "numbers": [1, 2, 3],
    "none": [None],
    "empty": [""],
    "nested": ["trl", ["sft"]],
    "objects": ["trl", "sft", "--model", object()],
    "itself": _in_itself("list"),
    "hostile": ["trl", treacherous(object, "__str__", "RuntimeError")],
    "50k list": ["trl", "sft", *(f"--x{n}" for n in range(50_000))],
    "a long path": "x/" * 5_000 + "spec.yaml",
    "an id": "me/" + "m" * 100_000 + ".yaml",
    "a path with NUL": "a\0b.yaml",
    "a path with half a character": "\ud800.yaml",
    "a home": "~nobody-of-this-name/spec.yaml",
    "a home with NUL": "~\0/spec.yaml",
    "nothing": "",
    "blanks": "  ",
    "a point": ".",
}

# Fields that name a file which `load` itself reads.
_NAMING = (
    "deepspeed",
    "fsdp_config",
    "accelerator_config",
    "accelerate_config",
    "config_file",
    "deepspeed_config_file",
)


def _naming(field: str, make: Make) -> Make:
    def write(folder: Path) -> Any:
        inner = folder / "inner"
        inner.mkdir()
        path = make(inner)
        said = json.dumps({"model_name_or_path": "a/b", "dataset_name": "a/b", field: str(path)})
        return _file("sft.json", said)(folder)

    return write


def _given(value: Any) -> Make:
    return lambda folder: value


def _stored(make: Make) -> Make:
    """The folder of a model, beside whose weights the spec lies."""

    def write(folder: Path) -> Any:
        make(folder)
        return folder

    return write


def files() -> Iterator[tuple[str, Make]]:
    """Each file, and each command line, in words."""
    for name, content in _DOCUMENTS.items():
        for suffix in (".yaml", ".json", ".yml") if len(content) < 1_000_000 else (".yaml", ".json"):
            yield f"{name}{suffix}", _file(f"sft{suffix}", content)
    for name, content in _SCRIPTS.items():
        yield f"{name}.py", _file("sft.py", content)
    for tag in _TAGS:
        for place in _YAML_PLACES:
            rest = "".join(line for line in _YAML.splitlines(True) if not line.startswith(f"{place}:"))
            yield f"{place}: {tag:.60}", _file("x.yaml" if place == "method" else "sft.yaml", f"{place}: {tag}\n{rest}")
        yield f"whole: {tag:.60}", _file("sft.yaml", tag)
        yield f"key: {tag:.60}", _file("sft.yaml", f"{_YAML}? {tag}\n: 1\n")
    for kind in _KINDS:
        for name in ("sft.yaml", "spec.json", "script.py", "spec.txt", "hft_spec.json"):
            make = _special(kind, name)
            yield f"{kind} as {name}", _stored(make) if name == "hft_spec.json" else make
    for name, command in _COMMANDS.items():
        yield f"command: {name:.60}", _given(command)
    for field in _NAMING:
        for kind in _KINDS:
            yield f"{field} names {kind}", _naming(field, _special(kind, "x.yaml"))
        for name in ("laughs", "recursive env", "random", "nuls", "number", "utf-16", "30 MB of list", "deep JSON"):
            yield (
                f"{field} names {name}",
                _naming(field, _file("x.json" if "JSON" in name else "x.yaml", _DOCUMENTS[name])),
            )
    for name, make in OTHERS.items():
        yield f"given: {name}", lambda folder, make=make: make()


# -- places on this machine that a spec names


def _model(folder: Path, name: str, make: Make) -> Path:
    model = folder / "model"
    model.mkdir()
    if name != "config.json":
        (model / "config.json").write_text('{"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"]}')
    make(model)
    return model


def _of_model(name: str, field: str, kind: Make) -> Make:
    def write(folder: Path) -> Any:
        return {**_VALID, field: str(_model(folder, name, kind))}

    return write


def _of_data(name: str, make: Make, *, whole: bool, field: str = "dataset") -> Make:
    def write(folder: Path) -> Any:
        data = folder / "data"
        data.mkdir()
        make(data)
        return {**_VALID, field: str(data if whole else data / name)}

    return write


def _many(folder: Path) -> Any:
    for number in range(20_000):
        (folder / f"{number}.jsonl").touch()


def _loops(folder: Path) -> Any:
    for number in range(50):
        (folder / f"{number}").symlink_to(folder)


def _deep(folder: Path) -> Any:
    for _ in range(400):
        folder = folder / "d"
        folder.mkdir()
    (folder / "x.jsonl").write_text('{"text": "a"}')


_MODEL_FILES = (
    *("config.json", "adapter_config.json", "tokenizer_config.json", "tokenizer.json", "chat_template.jinja"),
    *("model.safetensors", "model.safetensors.index.json", "generation_config.json", "vocab.json", "x.safetensors"),
)
_DATA_FILES = (
    "data.jsonl",
    "data.json",
    "data.csv",
    "data.parquet",
    "data.txt",
    "data.jsonl.gz",
    "state.json",
    "README.md",
)
_CONTENTS: dict[str, str | bytes] = {
    "nuls": b"\0" * 1000,
    "deep": "[" * 200_000,
    "deep objects": '{"a": ' * 200_000,
    "a list": "[1]",
    "huge": '{"model_type": 3, "hidden_size": ' + "9" * 5_000 + ', "weight_map": [1], "a": 1e999}',
    "wrong": '{"model_type": [], "architectures": 3, "hidden_size": "x", "num_hidden_layers": -1, "weight_map": 1}',
    "more wrong": '{"model_type": "qwen2", "hidden_size": 1e999, "num_hidden_layers": 99999999999, "vocab_size": null}',
    "zeros": '{"model_type": "qwen2", "hidden_size": 0, "num_attention_heads": 0, "num_hidden_layers": 0}',
    "nan": '{"model_type": "qwen2", "hidden_size": NaN, "num_attention_heads": Infinity, "rope_theta": -Infinity}',
    "surrogates": '{"text": "\\ud800", "\\udfff": "x", "model_type": "\\ud800"}',
    "long lines": "x" * 3_000_000,
    "a long key": '{"' + "k" * 1_000_000 + '": 1}',
    "many keys": json.dumps({f"k{number}": number for number in range(50_000)}),
    "quotes": '"' * 100_000,
    "separators": "," * 300_000,
    "a bomb": gzip.compress(b"\0" * 30_000_000),
    "half a bomb": gzip.compress(b'{"text": "a"}\n' * 1000)[:-9],
}
PATTERNS = (
    "(a+)+$",
    "(.*)*x",
    "(.*.*.*)*y",
    "(?:[a-z_.]+)+!",
    "(\\w+\\.?)+#",
    "(x|x|[a-z.])*$!",
    "(?:.*?a?)*?$^",
    ".*.*.*.*.*.*=.*",
)


def places() -> Iterator[tuple[str, Make]]:
    """Each spec, a mapping, that names a hostile file or folder of this machine."""
    for name in _MODEL_FILES:
        for kind in _KINDS:
            yield f"{name} of a model is {kind}", _of_model(name, "model", _special(kind, name))
        for label, content in _CONTENTS.items():
            yield f"{name} of a model has {label}", _of_model(name, "model", _file(name, content))
    for name in _DATA_FILES:
        for kind in _KINDS:
            for whole in (False, True):
                label = f"{name} of a dataset is {kind}{', by its folder' if whole else ''}"
                yield label, _of_data(name, _special(kind, name), whole=whole)
        for label, content in _CONTENTS.items():
            yield f"{name} of a dataset has {label}", _of_data(name, _file(name, content), whole=name[0] in "sR")
    for label, make in (("20,000 files", _many), ("loops", _loops), ("deep folders", _deep)):
        yield f"a dataset has {label}", _of_data("", make, whole=True)
        yield f"a model has {label}", _of_data("", make, whole=True, field="model")
        yield f"a tokenizer has {label}", _of_data("", make, whole=True, field="processing_class")
    for kind in _KINDS:
        script = _special(kind, "x.py")
        yield f"a script is {kind}", lambda folder, script=script: {"method": "script", "script": str(script(folder))}
        argument = _special(kind, "x.json")
        yield (
            f"an argument of a script is {kind}",
            lambda folder, make=argument: {"method": "script", "script": "x.py", "script_args": [str(make(folder))]},
        )
        template = _special(kind, "x.jinja")
        yield (
            f"a template is {kind}",
            lambda folder, make=template: {**_VALID, "chat_template_path": str(make(folder))},
        )
    for label, content in {**_SCRIPTS, **_CONTENTS}.items():
        script = _file("x.py", content)
        yield f"a script has {label}", lambda folder, make=script: {"method": "script", "script": str(make(folder))}
    for pattern in PATTERNS:
        targets = {"lora": {"target_modules": pattern}}
        yield f"targets {pattern}", lambda folder, more=targets: {**_VALID, **more, "model": str(shape(folder))}
        more = {"lora": {"target_modules": "all-linear", "exclude_modules": pattern}}
        yield f"excluded {pattern}", lambda folder, more=more: {**_VALID, **more, "model": str(shape(folder))}


def shape(folder: Path) -> Path:
    config = {
        "model_type": "qwen2",
        "architectures": ["Qwen2ForCausalLM"],
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 24,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 1000,
    }
    return _model(folder, "config.json", _file("config.json", json.dumps(config)))
