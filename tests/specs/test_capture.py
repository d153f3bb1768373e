"""What a function leans on travels with it, as it was written, and does there what it does here."""

from __future__ import annotations

import asyncio
import functools
import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest
from rendering.ruffed import format_changes, lint_findings
from specs.own_code import rewards as own

import hfjobs_trainer as hft
from hfjobs_trainer.specs.rewards import RewardFunction, capture, capture_class

TEXTS = ["<answer>xx</answer>xxx", "yy"]
CALLABLES: dict[str, Callable[..., Any]] = {
    "reward": own.reward,
    "decorated": own.decorated,
    "decorated2": own.decorated2,
    "mutual": own.mutual,
    "half": own.half,
    "weighted": own.make(1.0, own.PATTERN2),
    "counting": own.counter(),
    "strict": own.strict,
    "reward_partial": functools.partial(own.reward, bonus=1),
    "brevity": own.brevity,
    "scorer": own.scorer,
    "score_2": own.Scorer(2.0, ("a",)).score,
    "scorer_2": own.Scorer(3.0),
    "length": own.Length(3, {"a": 1}),
    "odd_2": own.Odd(4),
    "fuzzy": own.fuzzy,
    "walrus": own.walrus,
    "slow": own.slow,
    "weighted_partial": functools.partial(own.make(2.0), more=3),
}
"""Each kind of callable, by the name that its function has in a script."""

RUN = """
import asyncio, inspect, json, runpy, sys
from types import ModuleType

script, names, texts = sys.argv[1], sys.argv[2].split(","), json.loads(sys.argv[3])
sys.modules["script"] = module = ModuleType("script")
exec(compile(open(script, encoding="utf-8").read(), script, "exec"), vars(module))
results = {}
for name in names:
    value = vars(module)[name](prompts=texts, completions=texts)
    results[name] = asyncio.run(value) if inspect.iscoroutine(value) else value
print(json.dumps(results))
"""


def grpo(*rewards: Any, **fields: Any) -> hft.GRPO:
    return hft.GRPO(model="a/b", dataset="c/d", reward_funcs=list(rewards), **fields)


def in_a_fresh_process(script: str, names: list[str], folder: Path) -> dict[str, Any]:
    """What functions of a script give in a process that knows nothing of this one."""
    (folder / "script.py").write_text(script, encoding="utf-8")
    command = [sys.executable, "-I", "-c", RUN, str(folder / "script.py"), ",".join(names), json.dumps(TEXTS)]
    result = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def here(function: Callable[..., Any]) -> Any:
    value = function(prompts=TEXTS, completions=TEXTS)
    return json.loads(json.dumps(asyncio.run(value) if inspect.iscoroutine(value) else value))


def test_every_kind_does_in_a_script_what_it_does_here(tmp_path: Path) -> None:
    spec = grpo(*CALLABLES.values())
    assert [item.name for item in spec.reward_funcs if isinstance(item, RewardFunction)] == list(CALLABLES)
    again = hft.check(json.loads(spec.to_json()), facts=hft.Facts())
    assert [problem for problem in again.problems if problem.code.startswith("GRPO01")] == []
    script = hft.render(spec, facts=hft.Facts())
    assert in_a_fresh_process(script, list(CALLABLES), tmp_path) == {
        name: here(function) for name, function in CALLABLES.items()
    }
    assert hft.load(tmp_path / "script.py") == spec
    (tmp_path / "linted").mkdir()
    assert format_changes(tmp_path / "linted", {"script": script}) == ""
    assert lint_findings(tmp_path / "linted", {"script": script.replace("  # noqa: E731", "")}) == ""


def test_parts_stand_before_what_uses_them_once_each() -> None:
    script = hft.render(grpo(own.reward, own.mutual, own.strict, own.brevity), facts=hft.Facts())
    for part in ("LIMIT = 10  # characters", "def clamp(x: float) -> float:\n    # keep it in\n", "def even(n):"):
        assert script.count(f"\n{part}") == 1
    order = [
        "LIMIT = 10",
        "PATTERN2 = re.compile(",
        "def clamp(",
        "def extract(",
        "def score(",
        "def reward(",
        "def strict(",
    ]
    places = [script.index(f"\n{part}") for part in order]
    assert places == sorted(places)
    assert "\nstrict_call = partial(reward, bonus=3.0)\n" in script
    assert script.count("# fmt: off") == script.count("# fmt: on")


def test_annotations_are_no_need(tmp_path: Path) -> None:
    reward = capture(own.typed)
    assert reward.imports == []
    script = hft.render(grpo(reward), facts=hft.Facts())
    assert in_a_fresh_process(script, ["typed"], tmp_path) == {"typed": here(own.typed)}


def test_an_import_that_the_script_has_is_no_clash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "from typing import Any, Callable\ndef apply(f: Callable[[str], Any], text):\n    return f(text)\n"
    text += "def reward(completions, **kwargs):\n    return [apply(len, c) for c in completions]\n"
    spec = grpo(module(tmp_path, "clash", text, monkeypatch).reward)
    assert not [item for item in hft.check(spec, facts=hft.Facts()).problems if item.code == "GRPO013"]


# -- what cannot travel


def module(folder: Path, name: str, source: str | bytes, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A module of the user's own, imported from its file."""
    file = folder / f"{name}.py"
    file.write_bytes(source if isinstance(source, bytes) else source.encode())
    monkeypatch.syspath_prepend(folder)
    monkeypatch.delitem(sys.modules, name, raising=False)
    importlib.invalidate_caches()
    return importlib.import_module(name)


READS = """
import dataclasses, datetime, functools, json, os, pathlib, random, subprocess, time
from math import *
from os import environ as E
import numpy as np

def read():
    return os.environ["A_VARIABLE"]

class Conf:
    def __init__(self):
        self.key = E.get("A_VARIABLE")

    @classmethod
    def make(cls):
        return os.getenv("A_VARIABLE")

class Disk:
    def load(self):
        return open("/dev/null").close()

DISK = Disk()

@dataclasses.dataclass
class Late:
    key: str = dataclasses.field(default_factory=lambda: os.environ["A_VARIABLE"])

def decorate(function):
    key = os.getenv("A_VARIABLE")
    return function

V = {expression}

def reward(completions, **kwargs):
    return [V for _ in completions]
"""


@pytest.mark.parametrize(
    ("expression", "told"),
    [
        ('os.environ["A_VARIABLE"]', 'read it inside reward, `os.environ["A_VARIABLE"]`, with secrets=["A_VARIABLE"]'),
        ('os.getenv("A_VARIABLE")', 'with secrets=["A_VARIABLE"]'),
        ('E.get("A_VARIABLE", "x")', "reads the environment"),
        ("read()", "reads the environment"),
        ("Conf()", "reads the environment"),
        ('functools.partial(E.get, "A_VARIABLE")', "reads the environment"),
        ("[key for key in E]", "reads the environment"),
        ('os.path.expandvars("$A_VARIABLE")', 'with secrets=["NAME"]'),
        ('getattr(os, "environ")["A_VARIABLE"]', "reads the environment"),
        ('(lambda: os.environ["A_VARIABLE"])()', "reads the environment"),
        ("Conf.make()", "reads the environment"),
        ("Late()", "reads the environment"),
        ("""eval("os.environ['A_VARIABLE']")""", "runs text as code by `eval(...)`"),
        ("DISK.load()", "reads a file of this machine by `open(...)`"),
        ('[*map(lambda place: open(place).close(), ["/dev/null"])]', "reads a file of this machine by `open(...)`"),
        ("np.random.rand(2)", "has another value each time, by `np.random.rand(...)`"),
        ("np.random.default_rng().random()", "has another value each time"),
        ('open("/dev/null").close()', "reads a file of this machine by `open(...)`"),
        ('pathlib.Path("/dev/null").read_text()', "reads a file of this machine"),
        ("pathlib.Path.cwd()", "reads a file of this machine"),
        ("__file__", "reads the place of a file of this machine"),
        ('np.loadtxt("/dev/null") if random is None else 1', "reads a file of this machine"),
        ('subprocess.check_output(["true"])', "runs a program"),
        ("time.time()", "has another value each time"),
        ("random.random()", "has another value each time"),
        ("datetime.datetime.now()", "has another value each time"),
    ],
)
def test_an_expression_that_reads_this_machine_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expression: str, told: str
) -> None:
    monkeypatch.setenv("A_VARIABLE", "the very value")
    source = READS.replace("{expression}", expression)
    with pytest.raises(hft.SpecError) as error:
        grpo(module(tmp_path, "reading", source, monkeypatch).reward)
    (problem,) = error.value.problems
    assert problem.path == "reward_funcs"
    assert "reward uses V, which " in problem.why
    assert told in problem.why
    assert "the very value" not in str(error.value)


@pytest.mark.parametrize(
    "expression",
    [
        'json.loads("{}")',
        "np.array([1.0])",
        "random.Random(0).random()",
        "np.random.default_rng(0).random(2)",
        "np.random.RandomState(0).rand(2)",
        "Disk.load",
        'pathlib.Path("a") / "b"',
        "sum([1, 2])",
        'lambda: os.environ["A_VARIABLE"]',
        "functools.partial(read)",
        "dict(a=1)",
        "[x for x in range(3)]",
    ],
)
def test_other_expressions_travel_as_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expression: str
) -> None:
    reward = capture(module(tmp_path, "harmless", READS.replace("{expression}", expression), monkeypatch).reward)
    assert reward.beside[-1] == f"V = {expression}\n"


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("V = 1\nV = 2", "V is assigned more than once in wrong.py (lines 2, 3): assign it once"),
        ("V = 1\nV += 1", "V is assigned more than once"),
        ("V = []\nV.append(1)", "V, which is changed after its assignment (wrong.py, line 3)"),
        ("V = {}\nV['a'] = 1", "V, which is changed after its assignment"),
        ("from collections import defaultdict\nV = defaultdict(list)\nlist(map(V.__getitem__, 'a'))", "no longer what"),
        (
            "import random\nV = random.Random()\nV.seed(1)",
            "V, which is changed after its assignment (wrong.py, line 4)",
        ),
        (
            "class R(dict):\n    register = dict.setdefault\nV = R()\nV.register('a', 1)",
            "V, which is changed after its assignment (wrong.py, line 5)",
        ),
        (
            "from functools import singledispatch\n@singledispatch\ndef V(x):\n    return 0\n"
            "@V.register\ndef _(x: str):\n    return 1",
            "V, which is told more by `V.register` (wrong.py, line 7): write it as one function",
        ),
        ("for V in range(3):\n    pass", "V, which is set in a statement of kind `for`"),
        ("with open('/dev/null') as V:\n    pass", "V, which is set in a statement of kind `with`"),
        ("from math import *\nV = 1\ndef f():\n    return sqrt(2)\nV = f", "assigned more than once"),
        ("from math import *\ndef V():\n    return sqrt(2)", "import it by name, `from math import sqrt`"),
        ("import beside as V", "a file of this machine (beside.py), and no package: write `from beside import"),
        ("def V():\n    import beside\n    return beside.x", "imports beside inside, a file of this machine"),
        ("def V():\n    return __file__", "uses __file__"),
        ("globals()['V'] = object()", "reward uses V, which the script would not have"),
    ],
)
def test_what_has_no_one_source_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, told: str
) -> None:
    (tmp_path / "beside.py").write_text("x = 1\n", encoding="utf-8")
    text = f"import os\n{source}\n\ndef reward(completions, **kwargs):\n    return [V for _ in completions]\n"
    with pytest.raises(ValueError, match=re.escape(told)):
        capture(module(tmp_path, "wrong", text, monkeypatch).reward)


def test_functions_of_a_package_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "own_package"
    folder.mkdir()
    (folder / "__init__.py").write_text("from .core import extract\n", encoding="utf-8")
    (folder / "consts.py").write_text("TAG = 'a+'\n", encoding="utf-8")
    core = "import re\nfrom .consts import TAG as T\nPAT = re.compile(T)\n"
    core += "def extract(text):\n    return len(PAT.findall(text))\n"
    (folder / "core.py").write_text(core, encoding="utf-8")
    text = "import own_package.core\nfrom own_package import extract as ex\n"
    text += "def good(completions, **kwargs):\n    return [ex(c) for c in completions]\n"
    text += "def bad(completions, **kwargs):\n    return [own_package.core.extract(c) for c in completions]\n"
    found = module(tmp_path, "uses_package", text, monkeypatch)
    reward = capture(found.good)
    assert [part.split("\n")[0] for part in reward.beside] == [
        "TAG = 'a+'",
        "T = TAG",
        "PAT = re.compile(T)",
        "def extract(text):",
        "ex = extract",
    ]
    with pytest.raises(
        ValueError, match=r"write `from own_package.core import extract`, and call extract by that name"
    ):
        capture(found.bad)


def test_a_function_that_gets_attributes_later_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "def helper(c):\n    return 1\nhelper.weight = 3\n"
    text += "def reward(completions, **kwargs):\n    return [helper(c) * helper.weight for c in completions]\n"
    with pytest.raises(ValueError, match=r"gets `helper.weight` after its definition \(attributed.py, line 3\)"):
        capture(module(tmp_path, "attributed", text, monkeypatch).reward)
    text = "def reward(completions, **kwargs):\n    return [reward.w for c in completions]\nreward.__name__ = 'x'\n"
    assert capture(module(tmp_path, "named", text, monkeypatch).reward).name == "reward"
    with pytest.raises(ValueError, match=r"reward gets `reward\.w` after its definition"):
        capture(module(tmp_path, "attributed_itself", f"{text}reward.w = 3\n", monkeypatch).reward)


def test_a_value_that_is_no_longer_its_source_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "WORDS = []\ndef reward(completions, **kwargs):\n    WORDS.append(1)\n    return [1.0]\n"
    found = module(tmp_path, "stateful", text, monkeypatch)
    assert capture(found.reward).beside == ["WORDS = []\n"]
    found.reward([])
    with pytest.raises(ValueError, match=r"WORDS, which is no longer what stateful.py, line 1 assigns"):
        capture(found.reward)


def test_a_file_that_was_edited_since_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "def helper(x):\n    return x\ndef reward(completions, **kwargs):\n    return [helper(1.0)]\n"
    found = module(tmp_path, "edited", text, monkeypatch)
    assert capture(found.reward).beside == ["def helper(x):\n    return x\n"]
    (tmp_path / "edited.py").write_text(text.replace("return x", "return x + 1"), encoding="utf-8")
    os.utime(tmp_path / "edited.py", (1, 1))
    with pytest.raises(ValueError, match=r"helper is no longer what edited.py says: import or run it anew"):
        capture(found.reward)


def closed(value: Any) -> Callable[..., Any]:
    def inner(completions: list[str], **kwargs: Any) -> list[Any]:
        return [value for _ in completions]

    return inner


class Holder:
    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self, completions: list[str], **kwargs: Any) -> list[Any]:
        return [self.value for _ in completions]


def takes(completions: list[str], value: Any = None, **kwargs: Any) -> list[Any]:
    return [value for _ in completions]


BINDINGS: list[Callable[[Any], Any]] = [closed, Holder, lambda value: functools.partial(takes, value=value)]


@pytest.mark.parametrize("bind", BINDINGS, ids=["closure", "object", "partial"])
@pytest.mark.parametrize("value", ["the-value-of-it", ["x", {"key": "the-value-of-it"}], b"the-value-of-it"], ids=repr)
def test_a_bound_secret_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, bind: Callable[[Any], Any], value: Any
) -> None:
    assert grpo(bind(value)).reward_funcs
    monkeypatch.setenv("A_VARIABLE", "the-value-of-it")
    with pytest.raises(hft.SpecError, match="is the value of the environment variable A_VARIABLE") as error:
        grpo(bind(value))
    assert "the-value-of-it" not in str(error.value)
    token = "hf_" + "a" * 34
    with pytest.raises(hft.SpecError, match="holds a Hugging Face token") as error:
        grpo(bind([token]))
    assert token not in str(error.value)


@pytest.mark.parametrize("bind", BINDINGS, ids=["closure", "object", "partial"])
def test_a_bound_value_that_is_no_literal_is_refused_by_its_type(bind: Callable[[Any], Any]) -> None:
    import threading

    import numpy as np

    for value, told in [(threading.Lock(), "_thread.lock"), (np.zeros(2), "numpy.ndarray"), (np.float64(1), "float64")]:
        with pytest.raises(ValueError, match=told):
            capture(bind(value))


def test_a_secret_that_is_written_out_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_KEY", "0123456789abc")
    for number, key in enumerate(['"0123456789abc"', 'f"Bearer 0123456789abc {1}"', "1  # not 0123456789abc"]):
        text = f"KEY = {key}\ndef reward(completions, **kwargs):\n    return [KEY]\n"
        with pytest.raises(ValueError, match="the value of MY_API_KEY is written out") as error:
            capture(module(tmp_path, f"leaking{number}", text, monkeypatch).reward)
        assert "0123456789abc" not in str(error.value)
    with pytest.raises(ValueError, match="value of inner holds the value of the environment variable MY_API_KEY"):
        capture(closed({"Authorization": "Bearer 0123456789abc"}))


def test_secret_rules_read_all_that_travels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = f'KEY = "hf_{"b" * 34}"\ndef reward(completions, **kwargs):\n    return [len(KEY) for c in completions]\n'
    report = hft.check(grpo(module(tmp_path, "tokens_in", text, monkeypatch).reward), facts=hft.Facts())
    found = [problem for problem in report.problems if problem.code == "SEC002"]
    assert [problem.path for problem in found] == ["reward_funcs.0.beside.0"]


# -- names


def test_one_helper_of_two_rewards_is_there_once_and_two_of_one_name_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "def helper(x):\n    return {value}\n"
    text += "def {name}(completions, **kwargs):\n    return [helper(c) for c in completions]\n"
    one = module(tmp_path, "first_file", text.format(value=1.0, name="one"), monkeypatch).one
    same = module(tmp_path, "third_file", text.format(value=1.0, name="same"), monkeypatch).same
    two = module(tmp_path, "second_file", text.format(value=2.0, name="two"), monkeypatch).two
    assert hft.render(grpo(one, same), facts=hft.Facts()).count("\ndef helper(") == 1
    found = hft.check(grpo(one, two), facts=hft.Facts()).problems
    (problem,) = [item for item in found if item.code == "GRPO013"]
    assert problem.path == "reward_funcs"
    assert problem.why == "one and two lean on different things named helper: rename one of them"
    both = "from first_file import helper\nfrom second_file import two\n"
    both += "def three(completions, **kwargs):\n    return [helper(1), two(completions)]\n"
    with pytest.raises(ValueError, match="two things that travel are named helper, that of "):
        capture(module(tmp_path, "both_files", both, monkeypatch).three)


@pytest.mark.parametrize("name", ["MODEL", "main", "report", "Path", "len"])
def test_what_travels_has_no_name_of_the_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    text = f"def {name}(x):\n    return 1.0\n"
    text += f"def reward(completions, **kwargs):\n    return [{name}(c) for c in completions]\n"
    report = hft.check(grpo(module(tmp_path, "clashing", text, monkeypatch).reward), facts=hft.Facts())
    (problem,) = [item for item in report.problems if item.code == "GRPO013"]
    assert problem.why.startswith(f"reward leans on {name}, and the script defines {name} itself: rename it, to ")


class Shop:
    stock: ClassVar[dict[str, int]] = {"rose": 2}

    def price(self, item: str, amount: int = 3) -> int:
        """Price of "it"\\.

        Args:
            item: What to buy.
            amount: How many.
        """
        return self.stock.get(item, 0) * amount

    @classmethod
    def all_of(cls, completions: list[str], **kwargs: Any) -> list[float]:
        return [float(cls.stock["rose"]) for _ in completions]


def test_a_bound_method_says_of_itself_what_it_did() -> None:
    report = hft.check(grpo(Shop.all_of, tools=Shop().price), facts=hft.Facts())
    assert [problem for problem in report.problems if problem.path == "tools"] == []
    scope: dict[str, Any] = {"__name__": "script"}
    for found in (capture(Shop().price), capture(Shop.all_of)):
        text = "\n".join(["from __future__ import annotations", *found.imports, *found.sources])
        exec(text, scope)  # noqa: S102
    assert inspect.getdoc(scope["price"]) == inspect.getdoc(Shop.price)
    assert scope["price"]("rose") == Shop().price("rose") == 6
    assert scope["price"].__annotations__ == {"item": "str", "amount": "int", "return": "int"}
    assert scope["all_of"](completions=TEXTS) == Shop.all_of(TEXTS)


def test_made_up_names_are_distinct() -> None:
    spec = grpo(closed(0.5), closed(1.0), Holder(1), Holder(2), functools.partial(takes, value=1))
    names = [item.name for item in spec.reward_funcs if isinstance(item, RewardFunction)]
    assert names == ["inner", "inner_2", "holder", "holder_2", "takes_partial"]
    assert spec.replace(beta=0.1).reward_funcs == spec.reward_funcs
    script = hft.render(spec, facts=hft.Facts())
    assert script.count("\ndef make_inner(value):\n") == script.count("\nclass Holder:\n") == 1


# -- texts of every kind


HOSTILE = """\
import re
LIMIT = \"\"\"a
  b\t\\"\\"\\" # /// no
c\"\"\"  ; OTHER = 2
PAT = (
    re.compile(r"\\d+")  # é
)
def helper(x): return (len(LIMIT), OTHER, PAT.pattern, x)  # one line
def deco(
  *given,
):
\treturn lambda f: f
@deco(
    1,
    "(",
)
def reward(completions, **kwargs):
\t# done
\ttext = f\"\"\"{LIMIT}
  kept\"\"\"
\treturn [repr((helper(c), text)) for c in completions]
"""


@pytest.mark.parametrize(
    ("encoding", "end"),
    [("utf-8", "\n"), ("utf-8", "\r\n"), ("utf-8", "\r"), ("utf-8-sig", "\n"), ("latin-1", "\n"), ("latin-1", "\r\n")],
)
def test_texts_of_every_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, end: str) -> None:
    text = f"# -*- coding: {encoding.removesuffix('-sig')} -*-\n{HOSTILE}".replace("\n", end)
    found = module(tmp_path, "hostile", text.encode(encoding), monkeypatch)
    reward = capture(found.reward)
    assert not any("\r" in source for source in reward.sources)
    assert reward.source.startswith('@deco(\n    1,\n    "(",\n)\ndef reward(')
    assert 'PAT = (\n    re.compile(r"\\d+")  # é\n)\n' in reward.beside
    scope: dict[str, Any] = {"__name__": "script"}
    exec("\n".join([*reward.imports, *reward.sources]), scope)  # noqa: S102
    assert scope["reward"](TEXTS) == found.reward(TEXTS)
    assert hft.render(grpo(reward), facts=hft.Facts()).count("\n# /// script\n") == 0


def test_a_line_that_ends_the_header_is_refused_in_what_travels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = 'LIMIT = """\n# /// script\n"""\ndef reward(completions, **kwargs):\n    return [len(LIMIT)]\n'
    with pytest.raises(ValueError, match="a line that begins with '# ///'"):
        capture(module(tmp_path, "headed", text, monkeypatch).reward)


@pytest.mark.parametrize(
    ("beside", "why"),
    [
        ("import os", "must be functions, classes and assignments"),
        ("print(1)", "must be functions, classes and assignments"),
        ("a = 1; b = 2", "must be functions, classes and assignments"),
        ("a = (", "is not valid Python"),
        ("a = '''\n# /// script\n'''", "a line that begins with '# ///'"),
    ],
)
def test_what_is_stored_beside_is_checked_too(beside: str, why: str) -> None:
    stored = {"name": "reward", "source": "def reward(**kwargs):\n    return []\n", "beside": [beside]}
    with pytest.raises(hft.SpecError, match=re.escape(why)):
        grpo(stored)


# -- notebooks


def test_cells_of_a_notebook() -> None:
    """In a shell of IPython: what counts is what ran last, be it in another cell."""
    from IPython.core.interactiveshell import InteractiveShell

    shell = InteractiveShell()

    def run(source: str) -> None:
        shell.run_cell(source, store_history=True).raise_error()

    def captured(name: str) -> tuple[str, ...]:
        return capture(shell.user_ns[name]).sources

    run("import re\nLIMIT = 3")
    run("PAT = re.compile('a+')  # pattern\nLIMIT = 4")
    run("def helper(c):\n    return len(PAT.findall(c)) + LIMIT\nhelper('x')")
    run("%time 1\ndef reward(completions, **kwargs):\n    return [helper(c) for c in completions]")
    run("%%time\ndef timed(completions, **kwargs):\n    return [1.0]")
    with pytest.raises(ValueError, match="define it in a file or a notebook cell without %%time"):
        captured("timed")
    run("LIMIT = 5")
    helper = "def helper(c):\n    return len(PAT.findall(c)) + LIMIT\n"
    reward = "def reward(completions, **kwargs):\n    return [helper(c) for c in completions]\n"
    pattern = "PAT = re.compile('a+')  # pattern\n"
    assert captured("reward") == ("LIMIT = 5\n", pattern, helper, reward)
    run("class Scorer:\n    def __call__(self, completions, **kwargs):\n        return [LIMIT]\nscorer = Scorer()")
    assert captured("scorer")[2] == "scorer_call = Scorer()\n"
    run("def make(w):\n    def inner(completions, **kwargs):\n        return [w]\n    return inner")
    run("half, full = make(0.5), make(1.0)")
    assert [item.name for item in grpo(shell.user_ns["half"], shell.user_ns["full"]).reward_funcs] == ["half", "full"]
    run("one = lambda completions, **k: [1.0]; two = lambda completions, **k: [2.0]")
    assert captured("two")[0] == "two_call = lambda completions, **k: [2.0]\n"
    run("import os\nHOME = os.environ['HOME']\ndef bad(completions, **k):\n    return [HOME]")
    with pytest.raises(ValueError, match=re.escape('with secrets=["HOME"]')):
        captured("bad")
    run("LIMIT += 1")
    with pytest.raises(ValueError, match="helper uses LIMIT, which is set in a statement of kind `augassign`"):
        captured("reward")
    run("LIMIT = 9")
    assert captured("reward")[0] == "LIMIT = 9\n"
    run("def reward(completions, **kwargs):\n    return [9.0 for _ in completions]")
    assert captured("reward") == ("def reward(completions, **kwargs):\n    return [9.0 for _ in completions]\n",)


# -- classes


def test_a_class_travels_with_its_bases_and_what_its_methods_need() -> None:
    found = capture_class(own.Scorer)
    assert found.name == "Scorer"
    assert found.source.startswith('class Scorer(Base):\n    """A scorer."""\n')
    assert [source.split("\n")[0] for source in found.beside] == [
        "class Base:",
        "LOW, HIGH = 0, math.sqrt(16)",
        "def clamp(x: float) -> float:",
    ]
    scope: dict[str, Any] = {"__name__": "script"}
    exec("\n".join([*found.imports, *found.sources]), scope)  # noqa: S102
    assert scope["Scorer"](0.5)(TEXTS) == own.Scorer(0.5)(TEXTS)
    assert capture_class(own.Length).imports == ["from dataclasses import dataclass", "from dataclasses import field"]


def test_a_class_inside_a_function_is_refused_for_what_it_uses_of_it() -> None:
    outer = 3

    class Inner:
        def reset(self, **kwargs: Any) -> int:
            return outer

    with pytest.raises(ValueError, match="Inner uses outer of the function around it: define it at the top"):
        capture_class(Inner)
