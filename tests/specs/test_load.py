"""A spec comes back from every file that holds one, and anything else gets one clear error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.codegen.examples import EXAMPLES

FIELDS: dict[str, Any] = {"method": "sft", "model": "org/model", "dataset": "org/dataset"}


def problems(path: Path | str) -> list[tuple[str, str, str]]:
    with pytest.raises(hft.SpecError) as error:
        hft.load(path)
    assert str(error.value)
    return [(problem.code, problem.path, problem.why) for problem in error.value.problems]


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8", newline="")
    return file


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_form_gives_the_same_spec(name: str, tmp_path: Path) -> None:
    spec = EXAMPLES[name]()
    import yaml

    files = [
        write(tmp_path, "spec.json", spec.to_json()),
        write(tmp_path, "spec.yaml", yaml.safe_dump(spec.to_dict())),
        write(tmp_path, "spec.yml", yaml.safe_dump(spec.to_dict(), sort_keys=False)),
        write(tmp_path, "flat.yaml", spec.to_json()),  # JSON is YAML
        write(tmp_path, "script.py", hft.render(spec, offline=True)),
        write(tmp_path, "windows.py", hft.render(spec, offline=True).replace("\n", "\r\n")),
    ]
    for file in files:
        loaded = hft.load(file)
        assert loaded == spec
        assert loaded.digest == spec.digest
        assert type(loaded) is type(spec)
    assert hft.load(str(files[0])) == spec


def test_yaml_text_becomes_what_its_field_holds(tmp_path: Path) -> None:
    text = """
        method: dpo
        model: org/model
        dataset: {id: org/dataset, num_samples: "100", split: train}
        learning_rate: 2e-5
        beta: "0.1"
        max_steps: "7"
    """
    file = write(tmp_path, "dpo.yaml", text)
    spec: Any = hft.load(file)
    assert (spec.learning_rate, spec.beta, spec.max_steps, spec.dataset.num_samples) == (2e-5, 0.1, 7, 100)
    assert spec == hft.DPO(
        model="org/model",
        dataset=hft.Dataset(id="org/dataset", num_samples=100, split="train"),
        learning_rate=2e-5,
        beta=0.1,
        max_steps=7,
    )


def test_yaml_shorthands_and_flat_names(tmp_path: Path) -> None:
    text = """
method: sft
model: org/model
dataset: org/dataset
timeout: 1h30m
bf16: "false"
run_name: "007"
hub_model_id: me/x
hardware: l4x1
lora: {alpha: "8", lora_dropout: 1e-1, lora_r: 4}
"""
    spec: Any = hft.load(write(tmp_path, "sft.yaml", text))
    assert (spec.timeout, spec.bf16, spec.tracking.name, spec.output.hub_model_id) == (5400, False, "007", "me/x")
    assert (spec.hardware.flavor, spec.lora.lora_alpha, spec.lora.lora_dropout) == ("l4x1", 8, 0.1)


def test_a_name_is_told_as_it_was_typed(tmp_path: Path) -> None:
    text = "method: sft\nmodel: a/b\ndataset: c/d\nlora: {alpha: much, r: 4}\nhardware: {flavour: x}\n"
    assert [path for _, path, _ in problems(write(tmp_path, "x.yaml", text))] == ["hardware.flavour", "lora.alpha"]


def test_a_misspelt_name_of_a_number(tmp_path: Path) -> None:
    file = write(tmp_path, "sft.yaml", "model: m/m\ndataset: a/b\nlearing_rate: 1e-4\n")
    with pytest.raises(hft.SpecError) as caught:
        hft.load(file)
    assert [problem.fix for problem in caught.value.problems] == ["learning_rate=0.0001"]


def test_text_that_is_no_number_stays_a_problem(tmp_path: Path) -> None:
    file = write(tmp_path, "x.yaml", "method: sft\nmodel: a/b\ndataset: c/d\nlearning_rate: fast\nmax_steps: 1.5x\n")
    assert [(code, path) for code, path, _ in problems(file)] == [
        ("SPEC003", "max_steps"),
        ("SPEC003", "learning_rate"),
    ]


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("x.yaml", "method: sft\nmodel: [a\ndataset: b\n", "x.yaml: line 3, column 8: "),
        ("x.yaml", "\tmethod: sft\n", "x.yaml: line 1, column 1: "),
        ("x.yaml", "a: !!python/object/apply:os.system ['true']\n", "x.yaml: line 1, column 4: "),
        ("x.yaml", "a: 1\n---\nb: 2\n", "x.yaml: line 2, column 1: "),
        ("x.yaml", "a: \x00\n", "x.yaml: "),
        ("x.json", '{"method": "sft",}', "x.json: "),
        ("x.json", "", "x.json: Expecting value: line 1 column 1"),
        ("x.json", "[" * 100_000, "x.json: "),
        ("x.yaml", "[" * 3000, "x.yaml: "),
        ("x.py", "print('no header')\n", "x.py: the script has no header of its own"),
        (
            "x.py",
            "# /// script\n# dependencies = []\n# ///\n",
            "x.py: the script's header has no [tool.hfjobs-trainer] table",
        ),
        ("x.py", "# /// script\n# tool = 1\n# ///\n", "x.py: the script's header has no [tool.hfjobs-trainer] table"),
        ("x.py", "# /// script\n# = broken\n# ///\n", "x.py: the script's header has no [tool.hfjobs-trainer] table"),
        (
            "x.py",
            "# /// script\n# x = 1\n# ///\n\n# /// script\n# x = 1\n# ///\n",
            "x.py: the script has more than one header",
        ),
        ("x.py", "# /// script\n# [tool.hfjobs-trainer]\n# spec = 3\n# ///\n", "x.py: the script's header has no"),
        ("x.py", "# /// script\n# [tool.hfjobs-trainer]\n# spec = '{'\n# ///\n", "x.py: Expecting property name"),
        ("x.toml", "method = 'sft'\n", "x.toml is not a spec file: the name must end in .yaml, .yml, .json, or .py"),
        ("spec", "{}", "spec is not a spec file"),
    ],
)
def test_what_is_no_file_of_its_kind(tmp_path: Path, name: str, text: str, why: str) -> None:
    ((code, path, told),) = problems(write(tmp_path, name, text))
    assert (code, path) == ("LOAD002", "")
    assert told.startswith(why)


def test_what_cannot_be_read(tmp_path: Path) -> None:
    assert problems(tmp_path / "none.yaml") == [
        ("LOAD001", "", f"{tmp_path / 'none.yaml'} cannot be read: No such file or directory")
    ]
    assert problems(tmp_path) == [("LOAD001", "", f"{tmp_path} cannot be read: Is a directory")]
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00\x01")
    assert problems(tmp_path / "binary.json") == [
        ("LOAD001", "", f"{tmp_path / 'binary.json'} cannot be read: it is not UTF-8 text")
    ]
    ((code, _, why),) = problems("a\x00b.json")
    assert code == "LOAD001"
    assert "cannot be read" in why


@pytest.mark.parametrize("value", [[], [FIELDS], 3, None, "text", True, 1.5])
@pytest.mark.parametrize("suffix", [".json", ".yaml"])
def test_a_file_without_a_mapping_is_no_spec(tmp_path: Path, value: Any, suffix: str) -> None:
    ((code, path, why),) = problems(write(tmp_path, f"x{suffix}", json.dumps(value)))
    assert (code, path) == ("SPEC001", "")
    assert why.startswith("a spec is needed, or a mapping with the key method, not")
    assert "NoneType" not in why


def test_an_empty_yaml_is_no_spec(tmp_path: Path) -> None:
    assert [code for code, _, _ in problems(write(tmp_path, "x.yaml", "# nothing\n"))] == ["SPEC001"]


@pytest.mark.parametrize(
    ("method", "fix"), [("sftt", 'method="sft"'), ("DPO", 'method="dpo"'), ("nothing-like-it", ""), (None, ""), (3, "")]
)
def test_a_method_that_is_none(tmp_path: Path, method: Any, fix: str) -> None:
    file = write(tmp_path, "x.json", json.dumps({**FIELDS, "method": method}))
    with pytest.raises(hft.SpecError, match=r"spec \(x.json\)") as error:
        hft.load(file)
    (problem,) = error.value.problems
    assert (problem.code, problem.path, problem.fix) == ("SPEC001", "method", fix)
    assert '"sft"' in problem.why


def test_every_problem_of_a_file_at_once(tmp_path: Path) -> None:
    text = "method: dpo\nmodel: org/model\nlearning_rat: 1e-5\nreference_free: true\nmax_steps: []\n1: x\n"
    assert {(code, path) for code, path, _ in problems(write(tmp_path, "x.yaml", text))} == {
        ("SPEC002", "dataset"),
        ("SPEC004", "learning_rat"),
        ("SPEC005", "reference_free"),
        ("SPEC003", "max_steps"),
        ("SPEC004", "1"),
    }


def test_values_that_only_yaml_has(tmp_path: Path) -> None:
    text = "method: sft\nmodel: a/b\ndataset: c/d\nmodel_init_kwargs: {when: 2026-01-01, many: .inf, 3: x}\n"
    assert {path for _, path, _ in problems(write(tmp_path, "x.yaml", text))} == {
        "model_init_kwargs.when",
        "model_init_kwargs.many",
        "model_init_kwargs.3",
    }
