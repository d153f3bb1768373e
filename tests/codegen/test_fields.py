"""Source text of types, and the module of submit functions that is made from spec classes."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import BeforeValidator, Field

from hfjobs_trainer.codegen import fields
from hfjobs_trainer.codegen.source import accepted_type, format_python, type_text
from hfjobs_trainer.errors import HFTError
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.registry import METHODS, Method

Colour = Literal["red", "blue"]
Seconds = Annotated[int, BeforeValidator(int, json_schema_input_type=int | str | timedelta)]


def written_out(_tp: Any) -> str | None:
    return None


@pytest.mark.parametrize(
    ("tp", "text"),
    [
        (None, "None"),
        (int, "int"),
        (Any, "Any"),
        (dict, "dict[str, Any]"),
        (list, "list[Any]"),
        (list[str], "list[str]"),
        (dict[str, list[int]], "dict[str, list[int]]"),
        (tuple[int, ...], "tuple[int, ...]"),
        (Mapping[str, Any], "Mapping[str, Any]"),
        (None | str, "str | None"),
        (bool | Literal["a", "b"], "bool | Literal['a', 'b']"),
        (int | float, "float"),
        (Annotated[int, Field(ge=1)] | None, "int | None"),
        (Seconds | None, "str | timedelta | int | None"),
        (Callable[..., Any], "Callable[..., Any]"),
        (Callable[[int, str], None], "Callable[[int, str], None]"),
        (list[Annotated[int, Field(ge=1)] | str], "list[int | str]"),
    ],
)
def test_text_of_a_type(tp: Any, text: str) -> None:
    found = type_text(tp, lambda inner: "timedelta" if inner is timedelta else None)
    assert set(found.split(" | ")) == set(text.split(" | "))
    assert found.endswith("None") or "None" not in text or "[" in text


def test_a_type_that_cannot_be_written_is_told() -> None:
    with pytest.raises(HFTError, match="codegen cannot write the type"):
        type_text(timedelta, written_out)


def test_a_validator_tells_what_it_takes() -> None:
    assert accepted_type(Seconds) == int | str | timedelta
    assert accepted_type(Annotated[int, BeforeValidator(int)]) is int
    assert accepted_type(str) is str


def test_formatting_sorts_imports_and_leaves_out_those_without_use() -> None:
    assert format_python("import sys\nimport os\nprint( os.sep )\n") == "import os\n\nprint(os.sep)\n"


def test_text_that_is_not_python_is_told() -> None:
    with pytest.raises(HFTError, match="ruff check failed on generated source"):
        format_python("class :\n")


class Sample(TrainSpec):
    """A spec as a method file would hold it."""

    METHOD: ClassVar[Method] = Method("sample", "Sample", "SampleTrainer", "SampleConfig")
    FOLDED: ClassVar[dict[str, Any]] = {"run_name": str | None}

    method: Literal["sample"] = "sample"  # type: ignore[assignment]
    teacher: str = Field(description="Required, as the model is.")
    pause: Seconds | None = None
    colour: Colour = "red"
    colours: list[Colour] | None = None


def test_fields_of_a_spec() -> None:
    names = fields.Names(fields.modules_of([Sample]))
    texts = fields.field_texts(Sample, names)
    assert "method" not in texts
    assert texts["model"] == "Required[str]"
    assert texts["teacher"] == "Required[str]"
    assert set(texts["pause"].split(" | ")) == {"int", "str", "timedelta", "None"}
    assert texts["run_name"] == "str | None"
    assert texts["optim"] == "OptimizerNames"
    assert names.imported["OptimizerNames"] == "hfjobs_trainer.specs.trl_args.common"
    assert names.imported["timedelta"] == "datetime"
    assert list(texts).index("teacher") < list(texts).index("optim"), "ours first"
    assert texts.keys() == Sample.model_fields.keys() - {"method"} | {"run_name"}


def test_a_module_of_one_method() -> None:
    text = fields.render({"sample": Sample})
    tree = ast.parse(text)
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert [function.name for function in functions] == ["submit_sample"] * 5
    assert 'client.submit_fields("sample", fields, **options)' in text
    assert '"max_resumes": max_resumes,' in text
    assert text == format_python(text)


def test_the_committed_module_loads_with_typing_alone() -> None:
    tree = ast.parse((Path(fields.__file__).parents[1] / "submitters.py").read_text(encoding="utf-8"))
    modules = {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert modules == {"__future__", "typing"}


def test_every_method_has_its_fields_and_its_function() -> None:
    from hfjobs_trainer import submitters

    for method, spec in METHODS.items():
        assert callable(getattr(submitters, f"submit_{method}"))
        known = getattr(submitters, f"{spec.__name__}Fields").__annotations__.keys()
        assert known == (spec.model_fields.keys() - {"method"}) | spec.FOLDED.keys()


CALLS = """\
from hfjobs_trainer.specs.methods.dpo import DPO
from hfjobs_trainer.submitters import submit_dpo, submit_grpo

plan = submit_dpo(model="m", dataset="d", loss_type="ipo", timeout="3h", dry_run=True).request
submit_grpo(model="m", dataset={"id": "d"}, reward_funcs="accuracy_reward", scale_rewards=False, eval_steps=50)
DPO(model="m", dataset="d", loss_type=["sigmoid", "sft"], lora={"r": 8}, push_to_hub=True)
submit_dpo(model="m", dataset="d", betta=0.1)
submit_dpo(model="m", dataset="d", loss_type="simpo")
submit_dpo(model="m")
DPO(model="m", dataset="d", beta="0.1")
"""


def test_a_type_checker_refuses_what_a_spec_does_not_take(tmp_path: Path) -> None:
    (tmp_path / "calls.py").write_text(CALLS)
    root = str(Path(fields.__file__).parents[2])
    (tmp_path / "pyrightconfig.json").write_text(json.dumps({"extraPaths": [root], "pythonVersion": "3.11"}))
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    diagnostics = json.loads(done.stdout)["generalDiagnostics"]
    assert sorted({item["range"]["start"]["line"] + 1 for item in diagnostics}) == [7, 8, 9, 10]
