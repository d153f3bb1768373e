"""A reward function goes into the script as it was written, with what it needs, or is refused by name."""

from __future__ import annotations

import ast
import functools
import linecache
import math
import re
import statistics as st
import tempfile
import xml.etree.ElementTree  # noqa: ICN001
from collections import Counter as C  # noqa: N817
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, no_type_check

import numpy as np
import pytest
from rendering.ruffed import format_changes, lint_findings

import hfjobs_trainer as hft
from hfjobs_trainer.specs.capture.names import bound_names
from hfjobs_trainer.specs.rewards import RewardFunction, capture

LIMIT = 3
cells = iter(range(10_000))


def shout(text: str) -> str:
    return text.upper()


def plain(completions: list[str], **kwargs: Any) -> list[float]:
    return [1.0 for _ in completions]


def imports_modules(completions, **kwargs):
    found = [len(re.findall("a", text)) for text in completions]
    return [math.sqrt(n) + float(np.mean(found)) + st.mean([n]) for n in found]


def imports_members(completions, **kwargs):
    return [float(C(text).most_common(1)[0][1]) for text in completions]


def imports_submodules(completions, **kwargs):
    return [float(len(xml.etree.ElementTree.fromstring(f"<a>{text}</a>").text)) for text in completions]


def annotated(completions: list[str], path: Path | None = None, **kwargs: Any) -> list[float]:
    lengths: list[float] = [float(len(text)) for text in completions]
    return lengths


def recursive(completions, depth=2, **kwargs):
    return recursive(completions, depth - 1) if depth else [0.0 for _ in completions]


def nested(completions, **kwargs):
    best = 0.0

    def score(text: str) -> float:
        nonlocal best
        best = max(best, len(text))
        return best - len([c for c in text if c in {v.lower() for v in "AEIOU"}])

    class Scorer:
        bonus = 1.0

        def __call__(self, text: str) -> float:
            return score(text) + self.bonus

    return [Scorer()(text) for text in completions]


def scoped(completions, **kwargs):
    shout = 2  # another one than that outside
    pairs = [(x, y) for x in range(shout) for y in range(x)]
    try:
        total = sum(lambda_(1) for lambda_ in [lambda z: z + len(pairs)])
    except ValueError as error:
        raise SystemExit from error
    with tempfile.TemporaryFile() as file:
        file.read()
    if (n := total) > 1:
        del n
    return [float(total) for _ in completions]


def inner_import(completions, **kwargs):
    import json as j
    from math import pi

    return [pi + len(j.dumps(text)) for text in completions]


async def asynchronous(completions, **kwargs):
    return [2.0 for _ in completions]


@no_type_check
def decorated_by_the_library(completions, **kwargs):
    return [3.0 for _ in completions]


def twice(function):
    @functools.wraps(function)
    def wrapper(*args, **kwargs):
        return [2 * score for score in function(*args, **kwargs)]

    return wrapper


@twice
def decorated_here(completions, **kwargs):
    return [1.0 for _ in completions]


class Rewards:
    @staticmethod
    def static(completions, **kwargs):
        text = """
        kept
    as it is"""
        return [float(len(text)) for _ in completions]

    def method(self, completions, **kwargs):
        return [1.0 for _ in completions]


def run(reward: RewardFunction, *texts: str) -> Any:
    """What the function gives in a script: with its imports and nothing else."""
    scope: dict[str, Any] = {"__name__": "script"}
    exec("\n".join(["from __future__ import annotations", *reward.imports, *reward.sources]), scope)  # noqa: S102
    return scope[reward.name](completions=list(texts), prompts=[])


def cell(source: str, name: str, scope: dict[str, Any] | None = None) -> Any:
    """Define something as a notebook's cell does."""
    filename = f"<ipython-input-{next(cells)}-0a1b2c3d>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    scope = {"__name__": "__main__"} if scope is None else scope
    exec(compile(source, filename, "exec"), scope)  # noqa: S102
    return scope[name]


FUNCTIONS = [plain, imports_modules, imports_members, imports_submodules, annotated, recursive, nested, scoped]
FUNCTIONS += [inner_import, decorated_by_the_library]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_what_is_captured_does_the_same(function: Callable[..., Any]) -> None:
    reward = capture(function)
    assert reward.name == function.__name__
    assert f"def {reward.name}(" in reward.source
    assert run(reward, "banana", "b") == function(["banana", "b"], prompts=[])


@pytest.mark.parametrize(
    ("function", "imports"),
    [
        (plain, ["from typing import Any"]),
        (imports_modules, ["import math", "import numpy as np", "import re", "import statistics as st"]),
        (imports_members, ["from collections import Counter as C"]),
        (imports_submodules, ["import xml.etree.ElementTree"]),
        (annotated, ["from typing import Any", "from pathlib import Path"]),
        (nested, []),
        (scoped, ["import tempfile"]),
        (inner_import, []),
        (decorated_by_the_library, ["from typing import no_type_check"]),
    ],
)
def test_it_brings_the_imports_it_needs(function: Callable[..., Any], imports: list[str]) -> None:
    assert sorted(capture(function).imports) == sorted(imports)


def test_a_coroutine_and_a_static_method_are_functions() -> None:
    assert capture(asynchronous).source.startswith("async def asynchronous(")
    assert asynchronous([""]).close() is None
    static = capture(Rewards.static)
    assert static.source.startswith("@staticmethod\ndef static(")
    assert run(static, "x") == Rewards.static(["x"])


@pytest.mark.parametrize(
    ("function", "told"),
    [
        (lambda completions, **kwargs: [0.0], "a lambda has no name"),
        (Rewards, "Rewards is not a plain function"),
        (len, "len is not a plain function"),
    ],
    ids=["lambda", "class", "built_in"],
)
def test_what_is_no_function_of_its_own_is_refused(function: Callable[..., Any], told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        capture(function)
    with pytest.raises(hft.SpecError) as error:
        hft.GRPO(model="a/b", dataset="c/d", reward_funcs=function)
    (problem,) = error.value.problems
    assert (problem.code, problem.path) == ("SPEC003", "reward_funcs")
    assert told.split(", which")[0] in problem.why


def closure() -> Callable[..., Any]:
    weight, bias = 2.0, 1.0

    def weighted(completions, **kwargs):
        return [weight * len(text) + bias for text in completions]

    return weighted


def uses_global(completions, **kwargs):
    return [LIMIT for _ in completions]


def uses_function(completions, **kwargs):
    return [len(shout(text)) for text in completions]


def uses_class(completions, **kwargs):
    return Rewards.static(completions)


def uses_default(completions, limit=LIMIT, **kwargs):
    return [limit for _ in completions]


def uses_nothing(completions, **kwargs):
    return [nowhere for _ in completions]  # noqa: F821


def sets_global(completions, **kwargs):
    global LIMIT
    LIMIT += 1
    return [0.0 for _ in completions]


def uses_inside(completions, **kwargs):
    return [score(text) for score in [lambda text: len(text) + LIMIT] for text in completions]


@pytest.mark.parametrize(
    ("function", "beside"),
    [
        (functools.partial(plain, x=1), ["plain", "plain_partial_call"]),
        (Rewards().method, ["Rewards", "method_object"]),
        (decorated_here, ["twice"]),
        (closure(), ["make_weighted", "weighted_call"]),
        (uses_global, ["LIMIT"]),
        (uses_function, ["shout"]),
        (uses_class, ["Rewards"]),
        (uses_default, ["LIMIT"]),
        (uses_inside, ["LIMIT"]),
    ],
)
def test_what_it_leans_on_travels_along(function: Callable[..., Any], beside: list[str]) -> None:
    reward = capture(function)
    assert [name for part in reward.beside for name in bound_names(part)] == beside
    assert run(reward, "banana", "b") == function(completions=["banana", "b"])


def test_a_value_that_a_function_sets_travels_as_its_source() -> None:
    assert capture(sets_global).beside == ["LIMIT = 3\n"]


def test_what_the_script_would_not_have_is_named() -> None:
    with pytest.raises(ValueError, match=re.escape("uses_nothing uses nowhere (not defined)")) as error:
        capture(uses_nothing)
    assert "define it inside uses_nothing" in str(error.value)


# -- notebooks


def test_a_cell_of_a_notebook() -> None:
    source = "import math\nfrom collections import Counter as C\n\ndef reward(completions, **kwargs):\n"
    source += "    return [math.floor(C(text).total()) for text in completions]\n\nreward(['x'])\n"
    reward = capture(cell(source, "reward"))
    assert reward.imports == ["from collections import Counter as C", "import math"]
    assert reward.source.endswith("for text in completions]\n")
    assert run(reward, "abc") == [3]


def test_cells_share_their_names() -> None:
    scope: dict[str, Any] = {"__name__": "__main__"}
    cell("import re as regex\nWORDS = ['a']\ndef helper(x):\n    return x\n", "helper", scope)
    good = cell(
        "def good(completions, **kwargs):\n    return [len(regex.sub('a', '', t)) for t in completions]\n",
        "good",
        scope,
    )
    more = "def more(completions, **kwargs):\n    return [helper(t) in WORDS for t in completions]\n"
    assert capture(good).imports == ["import re as regex"]
    assert capture(cell(more, "more", scope)).beside == ["WORDS = ['a']\n", "def helper(x):\n    return x\n"]


def test_a_cell_that_ran_again_counts_as_it_is_now() -> None:
    scope: dict[str, Any] = {"__name__": "__main__"}
    for number in (1, 2):
        function = cell(
            f"def reward(completions, **kwargs):\n    return [{number} for _ in completions]\n", "reward", scope
        )
        assert run(capture(function), "x") == [number]


@pytest.mark.parametrize(
    ("body", "names"),
    [
        ("display(completions)", "display (not defined)"),
        ("get_ipython()", "get_ipython (not defined)"),
        ("Out[1]", "Out"),
        ("len(completions)", "len"),
    ],
)
def test_what_only_the_notebook_has_is_refused(body: str, names: str) -> None:
    scope: dict[str, Any] = {"__name__": "__main__", "Out": {}, "len": lambda text: 0}
    function = cell(f"def reward(completions, **kwargs):\n    {body}\n    return [0.0]\n", "reward", scope)
    with pytest.raises(ValueError, match=re.escape(f"reward uses {names}")):
        capture(function)


def test_source_that_is_nowhere_is_said_to_be() -> None:
    scope: dict[str, Any] = {"__name__": "__main__"}
    exec("def reward(completions, **kwargs):\n    return []\n", scope)  # noqa: S102
    with pytest.raises(ValueError, match="the source of reward cannot be found"):
        capture(scope["reward"])


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("indent", ["    ", "\t", " "])
def test_tabs_and_line_ends(tmp_path: Path, end: str, indent: str) -> None:
    lines = [
        "if True:",
        "@def reward(completions, **kwargs):",
        "@@text = '''a",
        "@@  b",
        "c'''",
        "@@# done",
        "@@return [text]",
    ]
    file = tmp_path / "rewards.py"
    file.write_bytes(end.join([line.replace("@", indent) for line in lines] + [""]).encode())
    scope: dict[str, Any] = {"__name__": "rewards"}
    exec(compile(file.read_bytes(), str(file), "exec"), scope)  # noqa: S102
    reward = capture(scope["reward"])
    assert "\r" not in reward.source
    assert reward.source.splitlines()[0] == "def reward(completions, **kwargs):"
    assert run(reward, "x") == scope["reward"](["x"])


def test_a_line_that_looks_like_a_header_is_refused() -> None:
    block = '# /// script\n# dependencies = ["evil"]\n# ///\n'
    source = f'def reward(completions, **kwargs):\n    """\n{block}"""\n    return []\n'
    function = cell(source, "reward")
    with pytest.raises(ValueError, match="the source of 'reward' has a line that begins with '# ///'") as error:
        capture(function)
    assert "\n" not in str(error.value)
    inside = cell("def reward(completions, **kwargs):\n    # /// script\n    return [1.0]\n", "reward")
    script = hft.render(hft.GRPO(model="a/b", dataset="c/d", reward_funcs=inside), facts=hft.Facts())
    assert len(re.findall(r"(?m)^# /// script$", script)) == 1


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"source": "import os\n"}, "must be one function"),
        ({"source": "def reward(): pass\nimport os\n"}, "must be one function"),
        ({"source": "def other(): pass\n"}, "must be one function"),
        ({"source": "def reward(:\n"}, "is not valid Python"),
        ({"source": "def reward():\n    pass\x00\n"}, "is not valid Python"),
        ({"source": "def reward():\r    pass\r"}, "plain line ends"),
        ({"source": "def reward():\n    '''\r# /// script\r'''\n"}, "plain line ends"),
        ({"imports": ["import os; os.system('true')"]}, "must be import statements"),
        ({"imports": ["os.system('true')"]}, "must be import statements"),
        ({"imports": ["from . import x"]}, "must be import statements"),
        ({"imports": ["from os import *"]}, "must be import statements"),
        ({"imports": [""]}, "must be import statements"),
        ({"name": "größe", "source": "def größe(): pass\n"}, "a name in ASCII"),
        ({"extra": 1}, "not a field"),
    ],
)
def test_a_stored_function_is_checked_too(fields: dict[str, Any], why: str) -> None:
    stored = {"name": "reward", "source": "def reward(**kwargs):\n    return []\n", **fields}
    with pytest.raises(hft.SpecError, match=re.escape(why)):
        hft.GRPO(model="a/b", dataset="c/d", reward_funcs=[stored])


def test_comments_behind_an_import_do_not_come_along() -> None:
    stored = {
        "name": "reward",
        "source": "def reward(**kwargs):\n    return [np.e]\n",
        "imports": ["import numpy as np  # x\n# /// script"],
    }
    script = hft.render(hft.GRPO(model="a/b", dataset="c/d", reward_funcs=[stored]), facts=hft.Facts())
    assert "\nimport numpy as np\n" in script
    assert len(re.findall(r"(?m)^# /// script$", script)) == 1


# -- in the script


def grpo(*rewards: Any, **fields: Any) -> Any:
    return hft.GRPO(model="a/b", dataset="c/d", reward_funcs=list(rewards), **fields)


def test_functions_in_a_script_are_what_they_were(tmp_path: Path) -> None:
    functions = [
        plain,
        imports_modules,
        imports_members,
        imports_submodules,
        annotated,
        recursive,
        nested,
        scoped,
        inner_import,
    ]
    script = hft.render(grpo("think_format_reward", *functions, asynchronous), facts=hft.Facts())
    (tmp_path / "formatted").mkdir()
    assert format_changes(tmp_path / "formatted", {"script": script}) == ""
    (tmp_path / "linted").mkdir()
    assert lint_findings(tmp_path / "linted", {"script": script}) == ""
    scope: dict[str, Any] = {"__name__": "script"}
    exec(compile(script, "script.py", "exec"), scope)  # noqa: S102
    for function in functions:
        assert scope[function.__name__](completions=["banana"]) == function(completions=["banana"])
    calls = script[script.index("reward_funcs=[\n") :]
    names = [line.strip(" ,") for line in calls[: calls.index("]")].splitlines()[1:]]
    assert names[:-1] == ["think_format_reward", *(function.__name__ for function in functions), "asynchronous"]


def test_a_spec_with_functions_comes_back_from_its_script(tmp_path: Path) -> None:
    spec = grpo(imports_modules, nested, "get_soft_overlong_punishment", "org/reward-model")
    file = tmp_path / "script.py"
    file.write_text(hft.render(spec, facts=hft.Facts()), encoding="utf-8")
    assert hft.load(file) == spec
    assert hft.render(hft.load(file), facts=hft.Facts()) == file.read_text(encoding="utf-8")


def names_bound(script: str) -> Iterator[str]:
    """Names that a script of one reward, ``the_reward``, binds at its top or in ``main``."""
    tree = ast.parse(script)
    main = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "main")
    for body in (tree.body, main.body):
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                yield node.name
            elif isinstance(node, ast.Import | ast.ImportFrom):
                yield from ((alias.asname or alias.name).split(".")[0] for alias in node.names)
            else:
                yield from (
                    item.id for item in ast.walk(node) if isinstance(item, ast.Name) and isinstance(item.ctx, ast.Store)
                )


def test_no_name_of_a_script_is_left_to_rewards() -> None:
    def the_reward(completions, **kwargs):
        return [0.0 for _ in completions]

    scripts = [
        grpo(the_reward, "org/reward", lora=hft.LoRA(), eval_fraction=0.1, eval_strategy="steps", hub_model_id="me/x"),
        grpo(
            the_reward,
            eval_dataset=hft.Dataset(id="./saved", num_samples=3),
            eval_strategy="steps",
            global_batch_size=8,
        ),
    ]
    bound = {name for spec in scripts for name in names_bound(hft.render(spec, facts=hft.Facts(), backend="local"))}
    assert {"trainer", "dataset", "split", "load_from_disk", "LoraConfig", "reward_model_1", "report", "Path"} <= bound
    for name in sorted(bound - {"the_reward", "annotations"}):
        function = cell(f"def {name}(completions, **kwargs):\n    return []\n", name)
        with pytest.raises(hft.SpecError, match=f"the script defines {name} itself"):
            hft.render(grpo(function), facts=hft.Facts())


def test_rewards_keep_out_of_each_others_way() -> None:
    one = cell("import numpy as x\ndef one(completions, **kwargs):\n    return [x.e]\n", "one")
    two = cell("import re as x\ndef two(completions, **kwargs):\n    return [len(x.findall('a', 'a'))]\n", "two")
    same = cell("import numpy as x\ndef same(completions, **kwargs):\n    return [x.pi]\n", "same")
    taken = cell("from math import e as one\n\ndef taken(completions, **kwargs):\n    return [1.0]\n", "taken")
    assert "import numpy as x" in hft.render(grpo(one, same, taken), facts=hft.Facts())
    with pytest.raises(hft.SpecError, match="another function uses x for something else"):
        hft.render(grpo(one, two), facts=hft.Facts())
    with pytest.raises(hft.SpecError, match="two functions are named one"):
        hft.render(grpo(one, one), facts=hft.Facts())
