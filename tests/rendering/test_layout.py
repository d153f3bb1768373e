"""How a script reads: what it decides first, nothing in it that nobody calls, and its spec at the end."""

from __future__ import annotations

import ast
import builtins
import re
from pathlib import Path
from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.codegen.examples import EXAMPLES
from hfjobs_trainer.rendering.layout import BANNER, fold
from hfjobs_trainer.rendering.paste import names_read

SCRIPTS = Path(__file__).parents[2] / "scripts"
BASE: dict[str, Any] = {"model": "org/model", "dataset": "org/dataset", "max_steps": 5}
NEEDED: dict[str, Any] = {
    "reward_funcs": ["org/judge", "think_format_reward"],
    "reward_model": "org/reward",
    "teacher_model": "org/teacher",
}
# Specs that between them call every block.
VARIANTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "CPU": {"use_cpu": True, "bf16": False},
    "several": {"hardware": "a10g-largex2", "global_batch_size": 16, "output": {"hub_model_id": "me/x"}},
    "nodes": {"hardware": {"flavor": "a10g-largex2", "nodes": 2}, "report_to": "wandb"},
    "spread": {"hardware": {"flavor": "a10g-largex2", "strategy": "fsdp2"}, "report_to": "mlflow"},
    "merged": {"lora": {"r": 4}, "output": {"hub_model_id": "me/x", "merge_adapter": "both"}, "quantization": "4bit"},
    "mixed": {"dataset": [{"id": "org/a", "fraction": 0.5}, {"id": "org/b", "fraction": 0.5}], "report_to": "none"},
    "evaluated": {"eval_fraction": 0.1, "eval_strategy": "steps", "eval_steps": 5, "report_to": "tensorboard"},
    "served": {"use_vllm": True, "vllm_mode": "server", "hardware": "a10g-largex4"},
    "served apart": {"use_vllm": True, "vllm_mode": "server", "hardware": {"flavor": "a10g-largex4", "nodes": 3}},
}


def specs() -> list[Any]:
    found: list[Any] = []
    for method, spec in hft.METHODS.items():
        needed = {name: value for name, value in NEEDED.items() if name in spec.model_fields}
        for variant, fields in VARIANTS.items():
            if fields.keys() <= spec.model_fields.keys() | {"report_to"}:
                found.append(pytest.param({"method": method, **BASE, **needed, **fields}, id=f"{method} {variant}"))
    return found


def scripts(fields: dict[str, Any]) -> list[str]:
    """The script on each backend where the spec can run."""
    found: list[str] = []
    for backend in ("hub", "local"):
        report = hft.check(fields, facts=hft.Facts(), backend=backend)
        if not any(problem.scope == "script" and problem.severity == "error" for problem in report.problems):
            found.append(hft.render(fields, facts=hft.Facts(), backend=backend))
    return found


def test_the_example_is_short_and_says_first_what_matters() -> None:
    text = SCRIPTS.joinpath("train_dpo_example.py").read_text("utf-8")
    lines = text.splitlines()
    main = next(node for node in ast.parse(text).body if isinstance(node, ast.FunctionDef) and node.name == "main")
    assert len(lines) <= 1180
    assert lines.index("# ///") + 1 <= 30
    assert main.end_lineno is not None
    assert main.end_lineno <= 130


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_script_is_header_main_banner_runtime_and_spec(name: str) -> None:
    text = SCRIPTS.joinpath(f"{name}.py").read_text("utf-8")
    parts = ["# /// script\n", '"""', "\nimport ", "\nMODEL = ", "\ndef main() ->", BANNER, "\ndef relaunch("]
    parts += ['\nif __name__ == "__main__":\n', "\n# /// hfjobs-trainer\n", "\n# spec = '''\n"]
    places = [text.index(part) for part in parts]
    assert places == sorted(places)
    assert places[0] == 0
    assert text.endswith("\n# ///\n")
    assert "hfjobs-trainer]" not in text


@pytest.mark.parametrize("fields", specs())
def test_nothing_in_a_script_is_dead_and_nothing_is_missing(fields: dict[str, Any]) -> None:
    for text in scripts(fields):
        tree = ast.parse(text)
        defined: dict[str, ast.stmt] = {}
        imported: set[str] = set()
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                assert node.name not in defined
                defined[node.name] = node
            elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                defined[node.targets[0].id] = node
            elif isinstance(node, ast.Import | ast.ImportFrom):
                imported |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        reached: set[str] = set()
        queue = {*names_read(ast.unparse(tree.body[-1]))}
        while queue:
            name = queue.pop()
            reached.add(name)
            if name in defined:
                queue |= {*names_read(ast.unparse(defined[name]))} - reached
        decisions = {"MODEL", "DATASET", "EVAL_DATASET", "ADAPTER", "TEACHER", "REWARD_MODEL", "VALUE_MODEL"}
        assert defined.keys() - reached - decisions == set()
        assert imported - reached - {"annotations"} == set()
        assert reached - defined.keys() - imported - {*dir(builtins), "__file__"} == set()


def test_what_only_some_scripts_do_is_only_in_them() -> None:
    text = SCRIPTS.joinpath("train_dpo_example.py").read_text("utf-8")
    for name in (
        "def accumulation_steps",
        "download",
        "join_nodes",
        "merge_adapter",
        "sharding",
        "serve_model",
        "models=",
    ):
        assert name not in text
    several = SCRIPTS.joinpath("train_sft_multi_gpu_example.py").read_text("utf-8")
    assert "def accumulation_steps(" in several
    assert "def download(" in several
    assert "join_nodes" not in several


@pytest.mark.parametrize(
    ("source", "folded"),
    [
        ("f(\n    a,\n    b=1,\n)\n", "f(a, b=1)\n"),
        ("x = [\n    (1,),\n    {\n        'a': 1,\n    },\n]\n", "x = [(1,), {'a': 1}]\n"),
        ("f(\n    a,  # why\n)\n", "f(\n    a,  # why\n)\n"),
        ("f(\n    a\n    + b\n)\n", "f(\n    a\n    + b\n)\n"),
        (f"function(\n    {'a' * 41},\n    {'b' * 40},\n)\n", f"function(\n    {'a' * 41}, {'b' * 40}\n)\n"),
        (f"f(\n    {'a' * 50},\n    {'b' * 50},\n)\n", f"f(\n    {'a' * 50},\n    {'b' * 50},\n)\n"),
        (f"x = [\n    {'a' * 41},\n    {'b' * 42},\n]\n", f"x = [\n    {'a' * 41},\n    {'b' * 42},\n]\n"),
        (f"f(\n    g(\n        1,\n    ),\n    {'b' * 90},\n)\n", f"f(\n    g(1),\n    {'b' * 90},\n)\n"),
        ("f(\n    a,\n).g()\n", "f(a).g()\n"),
        ("from a import (\n    b,\n)\n", "from a import (b)\n"),
    ],
)
def test_calls_are_on_one_line_where_they_fit(source: str, folded: str) -> None:
    assert fold(source) == folded


HOOK = """\
if __name__ == "__main__":
    if "HFT_MODE_FILE" in os.environ:  # this is tried, not run: see hft.preview
        runpy.run_path(os.environ["HFT_MODE_FILE"])
"""


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_script_has_one_hook_before_all_else(name: str) -> None:
    text = SCRIPTS.joinpath(f"{name}.py").read_text("utf-8")
    assert text.count("HFT_MODE_FILE") == 2
    assert text.count(HOOK) == 1
    assert text.index(HOOK) < text.index("    relaunch(", text.index(HOOK))
    assert HOOK.count("\n") <= 8


# -- the spec in a script


def old_shape(text: str) -> str:
    """A script as it was rendered formerly: the spec in a table of the header."""
    header, rest = text.split("# ///\n", 1)
    body, block = rest.split("\n# /// hfjobs-trainer\n")
    return f"{header}#\n# [tool.hfjobs-trainer]\n{block.removesuffix('# ///' + chr(10))}# ///\n{body}"


@pytest.mark.parametrize("name", EXAMPLES)
def test_scripts_of_both_shapes_are_loaded(name: str, tmp_path: Path) -> None:
    text = SCRIPTS.joinpath(f"{name}.py").read_text("utf-8")
    former = old_shape(text)
    assert "[tool.hfjobs-trainer]" in former
    assert "\n# /// hfjobs-trainer" not in former
    for index, shape in enumerate((text, former, text.replace("\n", "\r\n"))):
        file = tmp_path / f"{index}.py"
        file.write_bytes(shape.encode())
        assert hft.load(file) == EXAMPLES[name]()


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda text: text.removesuffix("# ///\n"), "no line `# ///` ends it"),
        (lambda text: text.replace("\n# spec = '''", "\n# spec = ''"), "block is damaged: "),
        (lambda text: re.sub(r"\n# spec = '''\n(# .*\n)+# '''", "", text), "it has no spec"),
        (lambda text: text.replace('"beta": 0.1\n', '"beta": \n'), "the spec is not valid JSON"),
        (lambda text: text + text[text.index("\n# /// hfjobs-trainer") :], "there is more than one"),
    ],
)
def test_a_damaged_spec_is_told(damage: Any, why: str, tmp_path: Path) -> None:
    file = tmp_path / "script.py"
    file.write_text(damage(SCRIPTS.joinpath("train_dpo_example.py").read_text("utf-8")), "utf-8")
    with pytest.raises(hft.SpecError, match=re.escape(why)) as error:
        hft.load(file)
    assert [problem.code for problem in error.value.problems] == ["LOAD002"]


# -- what nobody knows


@pytest.mark.parametrize("backend", ["hub", "local"])
@pytest.mark.parametrize("method", hft.METHODS)
@pytest.mark.parametrize("known", ["nothing", "the first"])
def test_an_unknown_mixture_is_not_an_error(method: str, backend: str, known: str) -> None:
    needed = {name: value for name, value in NEEDED.items() if name in hft.METHODS[method].model_fields}
    base = {"method": method, "model": "m/x", **needed}
    part = hft.facts.DatasetFacts(path="/data/b") if known == "the first" else None
    facts = hft.Facts(dataset=hft.facts.DatasetFacts(path="/data/a", mixed_with=(part,) if part else ()))
    rendered = 0
    for ids in (["./a.jsonl", "./b.jsonl", "./c.jsonl"], ["a/b", "c/d", "e/f"]):
        for fields in ({"dataset": ids}, {"dataset": ids, "eval_dataset": ids, "eval_strategy": "epoch"}):
            report = hft.check(base | fields, facts=facts, backend=backend)
            if any(item.scope == "script" and item.severity == "error" for item in report.problems):
                continue
            text = hft.render(base | fields, facts=facts, backend=backend)
            assert ('"/data/b"' in text) == (known == "the first" and backend == "local")
            assert f'"{ids[-1]}"' in text
            rendered += 1
    assert rendered
    assert hft.render(base | {"dataset": ["a/b", "c/d"]}, facts=hft.Facts(), backend=backend)
