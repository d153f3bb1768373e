"""What a script takes from this machine's disk, and how it calls TRL."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.gathering import gather
from hfjobs_trainer.gathering.script_reads import modules_beside, paths_read
from hfjobs_trainer.planning.rules.script.earlier import earlier_arguments


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in (
        "rewards.py",
        "tools/__init__.py",
        "lib/text.py",
        "json.py",
        "data/a.jsonl",
        "saved/state.json",
        "m/x",
    ):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("from rewards import accuracy", ("rewards",)),
        ("import tools.search as search", ("tools.search",)),
        ("from lib.text import clean", ("lib.text",)),
        ("from .rewards import accuracy", (".rewards",)),
        ("import json, trl, lib", ()),
        ("def main():\n    import rewards", ("rewards",)),
    ],
)
def test_modules_beside(work: Path, line: str, found: tuple[str, ...]) -> None:
    assert modules_beside(ast.parse(line), work) == found


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('load_dataset("json", data_files="data/a.jsonl")', ["data/a.jsonl"]),
        ('load_dataset("json", data_files={"train": ["data/a.jsonl"]}, split="train")', ["data/a.jsonl"]),
        ('datasets.load_dataset("data")', ["data"]),
        ('load_dataset("trl-lib/Capybara", "data")', []),
        ('load_from_disk("saved")', ["saved"]),
        ('with open("data/a.jsonl") as f: pass', ["data/a.jsonl"]),
        ('open("data/a.jsonl", "w")', []),
        ('open("data/a.jsonl", mode="rb")', ["data/a.jsonl"]),
        ('Path("data/a.jsonl").read_text()', ["data/a.jsonl"]),
        ('(Path("data") / "a.jsonl").open()', ["data/a.jsonl"]),
        ('PATH = "data/a.jsonl"\npd.read_json(PATH)', ["data/a.jsonl"]),
        ('pd.read_csv(os.path.join("data", "a.jsonl"))', ["data/a.jsonl"]),
        ('AutoModel.from_pretrained("./m")', ["./m"]),
        ('AutoModel.from_pretrained("Qwen/Qwen3-0.6B")', []),
        ('open("none.txt")', []),
        ('print("data/a.jsonl")', []),
    ],
)
def test_paths_read(work: Path, line: str, found: list[str]) -> None:
    assert list(paths_read(ast.parse(line), work)) == found


@pytest.mark.parametrize(
    ("call", "found"),
    [
        ("SFTConfig(max_length=1, eval_strategy='no', hub_model_id='a', report_to='none', output_dir='x')", []),
        ("trl.SFTConfig(max_seq_length=1)", ["max_seq_length"]),
        (
            "TrainingArguments(evaluation_strategy='no', overwrite_output_dir=True)",
            ["evaluation_strategy", "overwrite_output_dir"],
        ),
        ("DPOConfig(max_prompt_length=1, generate_during_eval=True)", ["max_prompt_length", "generate_during_eval"]),
        ("GRPOConfig(max_prompt_length=1, kl_coef=1)", ["max_prompt_length", "kl_coef"]),
        (
            "SFTTrainer(m, tokenizer=t, dataset_text_field='x', packing=True)",
            ["tokenizer", "dataset_text_field", "packing"],
        ),
        ("SFTTrainer(m, args=a, processing_class=t, peft_config=p, callbacks=[])", []),
        ("OnlineDPOTrainer(m, tokenizer=t)", ["tokenizer"]),
        ("dict(max_seq_length=1)", []),
        ("SFTConfig(**options)", []),
    ],
)
def test_arguments_of_an_earlier_trl(call: str, found: list[str]) -> None:
    assert [item.argument for item in earlier_arguments(ast.parse(call))] == found


def test_a_script_of_this_machine_is_warned_of(work: Path) -> None:
    lines = ["from rewards import accuracy", "from trl import SFTConfig", "SFTConfig(warmup_ratio=0.1)"]
    Path("train.py").write_text("\n".join([*lines, 'open("data/a.jsonl")', ""]))
    spec = hft.Script("train.py", hardware="a10g-small", timeout="1h")
    facts = gather(spec, offline=True)
    assert facts.script is not None
    assert dict(facts.script.reads) == {"data/a.jsonl": str(work / "data/a.jsonl")}
    codes = [item.code for item in hft.check(spec, facts=facts).problems]
    assert [code for code in codes if code in ("SCRIPT008", "SCRIPT009", "SCRIPT010")] == [
        *("SCRIPT008", "SCRIPT009", "SCRIPT010"),
    ]
    # with an absolute path it is read where it is
    Path("train.py").write_text(f'open("{work}/data/a.jsonl")\n')
    here, there = (
        [item.code for item in hft.check(spec, facts=gather(spec, offline=True), backend=backend).problems]
        for backend in ("local", "hub")
    )
    assert "SCRIPT010" not in here
    assert "SCRIPT010" in there


def test_trl_s_own_scripts_are_not_warned_of() -> None:
    import importlib.util

    found = importlib.util.find_spec("trl")
    assert found is not None
    assert found.origin is not None
    for path in sorted((Path(found.origin).parent / "scripts").glob("*.py")):
        assert list(earlier_arguments(ast.parse(path.read_text()))) == []
