"""Commands that submit nothing: what they print, where, and with which exit code."""

from __future__ import annotations

import io
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import hfjobs_trainer as hft
from hfjobs_trainer.cli.flags import as_flags
from hfjobs_trainer.cli.main import run
from hfjobs_trainer.cli.table import COMMANDS

YAML = """\
method: sft
model: Qwen/Qwen2.5-0.5B
dataset: trl-lib/Capybara
learning_rate: 2e-4
lora:
  r: 16
timeout: 3h
hub_model_id: username/my-model
"""
TRL = ["trl", "sft", "--model_name_or_path", "a/b", "--dataset_name", "c/d", "--use_peft", "--lora_r", "8"]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    Path("sft.yaml").write_text(YAML)
    return "sft.yaml"


def loaded(capsys: pytest.CaptureFixture[str], *words: str) -> hft.JobSpec:
    """The spec that the words name, as a rendered script carries it."""
    assert run(["render", "--offline", "--backend", "local", "-o", "out.py", *words]) == 0, capsys.readouterr()
    return hft.load("out.py")


def test_a_sound_spec(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", file, "--offline"]) == 0
    assert "no problems in this SFT spec" in capsys.readouterr().out


def test_every_problem_of_a_wrong_one(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", file, "--offline", "--json", "--betta", "0.1", "--eval_strategy", "steps"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is False
    assert {"code", "path", "why", "fix", "severity"} == set(told["problems"][0])
    assert {"SPEC004", "DATA001"} <= {problem["code"] for problem in told["problems"]}


def test_unchecked_rules_are_listed(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", file, "--offline", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"] is True
    assert {"code", "needs"} <= set(told["unchecked"][0])


@pytest.mark.parametrize(
    ("flags", "field", "value"),
    [
        (["--learning_rate", "1e-5"], "learning_rate", 1e-5),
        (["--learning-rate=1e-5"], "learning_rate", 1e-5),
        (["--lora.r", "32"], "lora.r", 32),
        (["--lora_r", "32"], "lora.r", 32),
        (["--hardware.flavor", "l4x1"], "hardware.flavor", "l4x1"),
        (["--hardware", "l4x1"], "hardware.flavor", "l4x1"),
        (["--max-usd", "5"], "hardware.max_usd", 5.0),
        (["--hub_model_id", "me/other"], "output.hub_model_id", "me/other"),
        (["--output.hub_model_id", "me/other"], "output.hub_model_id", "me/other"),
        (["--model_name_or_path", "Qwen/Qwen3-0.6B"], "model", "Qwen/Qwen3-0.6B"),
        (["--model", "Qwen/Qwen3-0.6B"], "model", "Qwen/Qwen3-0.6B"),
        (["--dataset", "trl-lib/tldr"], "dataset.id", "trl-lib/tldr"),
        (["--dataset_name", "trl-lib/tldr"], "dataset.id", "trl-lib/tldr"),
        (["--dataset.split", "test"], "dataset.split", "test"),
        (["--packing"], "packing", True),
        (["--no_packing"], "packing", False),
        (["--eval_steps", "0.1", "--eval_fraction", "0.05", "--eval_strategy", "steps"], "eval_steps", 0.1),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_fields_win_over_the_file(
    file: str, capsys: pytest.CaptureFixture[str], flags: list[str], field: str, value: Any
) -> None:
    found: Any = loaded(capsys, file, *flags)
    for part in field.split("."):
        found = getattr(found, part)
    assert found == value


def test_ours_wins_over_a_file_of_trl(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("trl.yaml").write_text("method: sft\nmodel_name_or_path: a/b\ndataset_name: c/d\nuse_peft: true\nlora_r: 4\n")
    spec = loaded(capsys, "trl.yaml", "--model", "Qwen/Qwen3-0.6B", "--lora.r", "8", "--dataset", "trl-lib/tldr")
    assert isinstance(spec, hft.SFT)
    assert spec.lora is not None
    assert (spec.model, spec.lora.r, spec.dataset.id) == ("Qwen/Qwen3-0.6B", 8, "trl-lib/tldr")


def test_a_command_line_of_trl(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    spec = loaded(capsys, "--", *TRL)
    assert isinstance(spec, hft.SFT)
    assert spec.lora is not None
    assert spec.lora.r == 8


def test_standard_input(file: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    script = hft.render(hft.load(file), offline=True, backend="local")
    for text in (YAML, json.dumps(yaml.safe_load(YAML)), script):
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))
        assert run(["plan", "-", "--offline", "--backend", "local", "--json", "--seed", "7"]) == 0
        assert json.loads(capsys.readouterr().out)["backend"] == "local"


def test_a_script_of_ones_own(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("train.py").write_text("print('hello')\n")
    assert run(["check", "train.py", "--offline", "--hardware", "cpu-basic", "--timeout", "10m"]) == 0
    assert "Script spec" in capsys.readouterr().out


def test_what_is_data_and_what_is_a_note(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["render", file, "--offline", "--backend", "local", "-o", "train.py"]) == 0
    told = capsys.readouterr()
    assert (told.out, told.err) == ("", "wrote train.py\n")
    assert run(["render", file, "--offline", "--backend", "local"]) == 0
    assert capsys.readouterr().out == Path("train.py").read_text()


def test_a_plan(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", file, "--offline", "--hardware.flavor", "a10g-large", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["flavor"], told["timeout_seconds"]) == ("a10g-large", 13500)
    assert {"path", "value", "why"} == set(told["decisions"][0])
    assert run(["plan", file, "--offline"]) == 0
    assert "SFT of Qwen/Qwen2.5-0.5B" in capsys.readouterr().out


@pytest.mark.parametrize("method", hft.METHODS)
def test_a_file_to_start_from_is_sound(method: str, file: str, capsys: pytest.CaptureFixture[str]) -> None:
    for options in ([], ["--full"]):
        assert run(["init", method, *options]) == 0
        text = capsys.readouterr().out
        assert yaml.safe_load(text)["method"] == method
        Path("new.yaml").write_text(text)
        assert run(["check", "new.yaml", "--offline", "--json"]) == 0, capsys.readouterr().out
        assert json.loads(capsys.readouterr().out)["problems"] == []


def test_rules(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["rules", "lora"]) == 0
    assert capsys.readouterr().out.startswith("LORA001  ")
    assert run(["explain", "data001"]) == 0
    assert "Evaluation needs an evaluation set." in capsys.readouterr().out
    assert run(["rules", "DATA001", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["code"] == "DATA001"
    assert run(["explain", "DATA0001"]) == 2
    assert "did you mean DATA001?" in capsys.readouterr().err


def test_hardware(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["hardware", "--offline", "--json"]) == 0
    assert "a10g-large" in {flavor["name"] for flavor in json.loads(capsys.readouterr().out)}
    assert run(["hardware", file, "--offline", "--json"]) == 0
    assert "a10g-large" in {row["flavor"] for row in json.loads(capsys.readouterr().out)}


def test_estimate_and_recommend(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["estimate", file, "--offline", "--gpu", "RTX 4090", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["num_gpus"] == 1
    assert run(["recommend", file, "--offline", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["spec"]["learning_rate"] == 2e-4
    assert {"field", "recommended", "why", "source"} <= set(told["rows"][0])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["plann", "a.yaml"], "Did you mean `hft plan`?"),
        (["plan"], "name a spec"),
        (["plan", "missing.yaml", "--offline"], "missing.yaml cannot be read"),
        (["check", "sft.yaml", "--offline", "--backend", "moon"], "'moon' is not one of"),
        (["watch"], "Missing argument 'ID'"),
    ],
)
def test_wrong_words(file: str, capsys: pytest.CaptureFixture[str], words: list[str], told: str) -> None:
    assert run(words) == 2
    out, err = capsys.readouterr()
    assert told in out + err


def test_an_error_as_json(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["plan", file, "--offline", "--json", "--betta", "1"]) == 2
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["error"], told["problems"][0]["code"]) == (False, "SpecError", "SPEC004")


@pytest.mark.parametrize(
    ("fix", "flags"),
    [
        ("learning_rate=2e-4", "--learning_rate 0.0002"),
        ('hardware=hft.Hardware(flavor="l4x1", max_usd=5)', "--hardware.flavor l4x1 --hardware.max_usd 5"),
        ('dataset=hft.Dataset(id="a/b", columns={"x": "y"})', """--dataset.id a/b --dataset.columns '{"x": "y"}'"""),
        ('secrets=["A", "B"]', "--secrets A B"),
        ("packing=True", "--packing true"),
        ("export HF_TOKEN=...", "export HF_TOKEN=..."),
        ("", ""),
        ("map=lambda row: row", "map=lambda row: row"),
    ],
)
def test_a_fix_in_the_words_of_the_shell(fix: str, flags: str) -> None:
    assert as_flags(fix) == flags


def test_a_fix_is_applied_as_typed(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["check", file, "--offline", "--eval_strategy", "steps"]) == 2
    fix = capsys.readouterr().out.split("fix: ")[1].split("\n")[0]
    assert run(["check", file, "--offline", "--eval_strategy", "steps", *shlex.split(fix)]) == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_an_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    told = capsys.readouterr().out
    assert f"hft {name}" in told.split("Usage:", 1)[1].split("\n", 1)[1]


def test_help_imports_little() -> None:
    code = "import sys; from hfjobs_trainer.cli.main import run; run(['--help']); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(done.stdout.rsplit("\n", 2)[-2].split())
    assert modules.isdisjoint({"pydantic", "huggingface_hub", "rich", "yaml", "hfjobs_trainer.client"})


def test_the_lines_of_the_other_client(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    for words, spec in (([file, "--lora.r", "8"], f"{file} --lora.r 8"), (["--", *TRL], f"-- {' '.join(TRL)}")):
        assert run(["submit", "--show-hf", *words]) == 0
        assert capsys.readouterr().out == f"hft render -o train.py {spec}\nhf jobs uv run train.py\n"
    assert run(["submit", "--show-hf"]) == 2
    assert "name a spec" in capsys.readouterr().err


def test_a_log_is_explained(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("train.log").write_text("ModuleNotFoundError: No module named 'math_verify'\n")
    assert run(["diagnose", "train.log", "--exit-code", "1"]) == 0
    assert 'extra_dependencies=["math-verify"]' in capsys.readouterr().out
    assert run(["diagnose", "train.log", "--exit-code", "1", "--json"]) == 0
    assert {"code", "cause", "fix", "source"} == set(json.loads(capsys.readouterr().out)[0])


def test_the_interpreter_of_local_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert hft.LocalBackend(tmp_path).python == "uv"
    monkeypatch.setenv("HFT_PYTHON", "current")
    assert hft.LocalBackend(tmp_path).python == "current"
    assert hft.LocalBackend(tmp_path, python="uv").python == "uv"
    monkeypatch.setenv("HFT_PYTHON", "conda")
    with pytest.raises(ValueError, match=r'HFT_PYTHON=conda: must be "uv" or "current"'):
        hft.LocalBackend(tmp_path)
