"""Functions of the user never get a name that their script has of its own."""

from __future__ import annotations

import ast
import builtins
import re
from pathlib import Path
from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.codegen.examples import EXAMPLES
from hfjobs_trainer.rendering.taken import taken_names
from hfjobs_trainer.specs.registry import METHODS

TEMPLATES = Path(__file__).parents[2] / "templates"
REWARD = {"name": "the_reward", "source": "def the_reward(completions, **kwargs):\n    return [0.0]\n"}
BASE: dict[str, Any] = {"method": "grpo", "model": "org/model", "dataset": "org/data", "reward_funcs": [REWARD]}
# Specs that between them have every part of the script.
SPECS: list[dict[str, Any]] = [
    {"eval_fraction": 0.1, "eval_strategy": "steps", "reward_funcs": [REWARD, "org/a", "org/b"], "lora": {}},
    {"quantization": "4bit", "lora": {"r": 4}, "output": {"hub_model_id": "me/x", "merge_adapter": "both"}},
    {"lora": {"adapter": "org/adapter"}},
    {"dataset": [{"id": "org/a", "fraction": 0.5}, {"id": "./saved", "fraction": 0.5, "num_samples": 3}]},
    {"use_vllm": True, "vllm_mode": "server", "hardware": {"flavor": "a10g-largex4", "nodes": 3}},
    {"use_vllm": True, "vllm_mode": "server", "hardware": "a10g-largex4", "global_batch_size": 48},
    {"hardware": {"flavor": "a10g-largex2", "strategy": "fsdp2"}, "report_to": "wandb", "use_cpu": False},
]


def bound(script: str) -> set[str]:
    """Every name that a script binds at its top, or anywhere in ``main``."""
    names: set[str] = set()
    for node in ast.parse(script).body:
        inner = ast.walk(node) if isinstance(node, ast.If) or getattr(node, "name", "") == "main" else [node]
        for item in inner:
            if isinstance(item, ast.FunctionDef | ast.ClassDef):
                names.add(item.name)
            elif isinstance(item, ast.Import | ast.ImportFrom):
                names |= {(alias.asname or alias.name).split(".")[0] for alias in item.names}
            elif isinstance(item, ast.Assign):
                names |= {target.id for target in item.targets if isinstance(target, ast.Name)}
            elif isinstance(item, ast.arg):
                names.add(item.arg)
            elif isinstance(item, ast.Name) and isinstance(item.ctx, ast.Store):
                names.add(item.id)
    return names - {"the_reward", "annotations"}


def scripts() -> list[str]:
    found: list[str] = []
    for fields in SPECS:
        for backend in ("hub", "local"):
            report = hft.check(BASE | fields, facts=hft.Facts(), backend=backend)
            if not any(item.scope == "script" and item.severity == "error" for item in report.problems):
                found.append(hft.render(BASE | fields, facts=hft.Facts(), backend=backend))
    return found


NAMES = sorted({name for script in scripts() for name in bound(script)})


def test_the_names_are_those_of_all_parts() -> None:
    expected = {"model", "quantization", "base", "merged", "server", "processes", "dataset_1", "dataset_2", "split"}
    expected |= {"machine", "precision", "reward_model_2", "LoraConfig", "load_from_disk", "find_machine", "Path", "os"}
    assert expected <= set(NAMES)


@pytest.mark.parametrize("name", [*NAMES, "dataset_12", "len", "print", "super"])
@pytest.mark.parametrize("field", ["reward_funcs", "tools"])
def test_a_name_of_the_script_is_refused(name: str, field: str) -> None:
    function = {"name": name, "source": f"def {name}(completions: str, **kwargs) -> str:\n    return []\n"}
    report = hft.check(BASE | {field: [function]}, facts=hft.Facts())
    found = [problem for problem in report.problems if problem.code == "GRPO013"]
    assert [problem.path for problem in found] == [field]
    assert f"the script defines {name} itself" in found[0].why


@pytest.mark.parametrize("name", ["accuracy", "length", "score", "brevity", "format", "dataset_mean"])
def test_other_names_are_free(name: str) -> None:
    function = {"name": name, "source": f"def {name}(completions, **kwargs):\n    return []\n"}
    report = hft.check(BASE | {"reward_funcs": [function]}, facts=hft.Facts())
    assert [problem for problem in report.problems if problem.code == "GRPO013"] == []


@pytest.mark.parametrize("method", METHODS)
def test_what_a_template_assigns_is_taken(method: str) -> None:
    """Each name that stands before an equals sign in a template's own text, whatever the page decides."""
    taken = taken_names(METHODS[method].METHOD)
    texts = [TEMPLATES / "base.py.j2", TEMPLATES / f"{method}.py.j2", *TEMPLATES.glob("macros/*.j2")]
    for path in texts:
        for name in re.findall(r"(?m)^    ([A-Za-z_]\w*) = ", path.read_text("utf-8")):
            # a macro is for those methods that call it
            assert name in taken or path.parent.name == "macros", (path.name, name)


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_name_of_an_example_is_taken(name: str) -> None:
    spec = EXAMPLES[name]()
    taken = taken_names(type(spec).METHOD)
    own = {item.name for item in getattr(spec, "reward_funcs", ()) if not isinstance(item, str)}
    assert {item for item in bound(hft.render(spec, offline=True)) if item not in taken} <= own


def test_builtins_that_no_script_reads_are_free() -> None:
    taken = taken_names(METHODS["grpo"].METHOD)
    assert "len" in taken
    assert {name for name in dir(builtins) if name not in taken} >= {"format", "pow", "filter"}
