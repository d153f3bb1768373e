"""Mixtures of datasets: the rows that TRL's own command line takes, and a real run on them."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

import hfjobs_trainer as hft
from examples import tiny
from hfjobs_trainer.facts import DatasetFacts
from hfjobs_trainer.gathering.mixture import mixed
from hfjobs_trainer.rendering.runtime.mixture import cut_to_shares


def write_rows(path: Path, prefix: str, count: int) -> Path:
    path.write_text("".join(json.dumps({"text": f"{prefix} {i}", "more": i}) + "\n" for i in range(count)), "utf-8")
    return path


@pytest.mark.parametrize("fractions", [(None, None), (0.7, 0.3), (1.0, 3.0), (0.5, 0.5)])
def test_rows_are_those_of_trl(tmp_path: Path, fractions: tuple[float | None, float | None]) -> None:
    from datasets import concatenate_datasets, load_dataset
    from trl import DatasetMixtureConfig, get_dataset
    from trl.scripts.utils import DatasetConfig

    files = [write_rows(tmp_path / "a.jsonl", "a", 40), write_rows(tmp_path / "b.jsonl", "b", 25)]
    configs = [
        DatasetConfig(path="json", data_files=str(file), columns=["text"], fraction=fraction)
        for file, fraction in zip(files, fractions, strict=True)
    ]
    theirs = get_dataset(DatasetMixtureConfig(datasets=configs))["train"]

    parts: list[Any] = [load_dataset("json", data_files=str(file), split="train") for file in files]
    parts = [part.select_columns(["text"]) for part in parts]
    shares = [fraction for fraction in fractions if fraction is not None]
    ours = concatenate_datasets(cut_to_shares(parts, shares) if shares else parts)
    assert ours["text"][:] == theirs["text"][:]

    facts = mixed([DatasetFacts(num_rows=40), DatasetFacts(num_rows=25)], fractions)
    assert facts.num_rows == len(theirs)


def test_facts_of_a_mixture_are_those_of_its_parts() -> None:
    open_, unknown = DatasetFacts(exists=True, private=False, gated=False), DatasetFacts()
    gated = DatasetFacts(exists=True, private=False, gated=True)
    assert mixed([open_], [None]) is open_
    assert mixed([open_, gated], [None, None]).gated is True
    assert mixed([open_, unknown], [None, None]).gated is None
    assert mixed([open_, unknown], [None, None]).exists is None
    assert mixed([open_, DatasetFacts(exists=False)], [None, None]).exists is False
    assert mixed([open_, gated], [None, None]).mixed_with == (gated,)


def test_a_mixture_trains(tmp_path: Path, tiny_model: Path) -> None:
    first = tiny.write_dataset(tmp_path / "first.jsonl", "messages", 24)
    second = tiny.write_dataset(tmp_path / "second.jsonl", "messages", 8)
    config = tmp_path / "sft_config.yaml"
    config.write_text(
        f"model_name_or_path: {tiny_model}\ndatasets:\n"
        f"  - {{path: {first}, fraction: 0.5, columns: [messages]}}\n  - {{path: {second}, fraction: 0.5}}\n"
        "test_split_size: 0.25\neval_strategy: steps\neval_steps: 1\nmax_steps: 2\noutput_dir: model\n"
        "report_to: none\nper_device_train_batch_size: 2\nenv: {OMP_NUM_THREADS: 1}\n",
        "utf-8",
    )
    job = hft.submit(hft.load(config), backend=hft.LocalBackend(tmp_path / "runs", python="current"))
    result = job.result()
    assert result.steps == 2
    assert result.metrics["eval_loss"] is not None


def test_the_plan_names_every_dataset() -> None:
    spec = hft.SFT(
        model="m/m", dataset=["a/b", hft.Dataset(id="c/d", split="train[:9]")], hardware="t4-small", timeout=60
    )
    plan = hft.plan(spec, offline=True)
    assert "on a/b, split train + c/d, split train[:9]" in str(plan)
    ast.parse(plan.script)
    assert hft.SFT(**{key: value for key, value in spec.to_dict().items() if key != "method"}) == spec


@pytest.mark.parametrize(
    ("dataset", "code", "path"),
    [
        (["a/b", {"id": "c/d", "fraction": 0.5}], "MIX001", "dataset.fraction"),
        ({"id": "a/b", "fraction": 0.5}, "MIX001", "dataset.fraction"),
        ([{"id": "a/b", "streaming": True}, "c/d"], "MIX002", "dataset.streaming"),
        ([{"id": x, "streaming": True, "fraction": 1.0} for x in ("a/b", "c/d")], "MIX002", "dataset.fraction"),
        (["a/b", {"id": "c/d", "mixed_with": [{"id": "e/f"}]}], "MIX003", "dataset.mixed_with.0"),
        ({"id": "./a.jsonl", "data_files": "x"}, "DATA009", "dataset.data_files"),
        ([], "SPEC003", "dataset"),
        (["a/b", 3], "SPEC003", "dataset"),
    ],
)
def test_mixtures_that_cannot_be(dataset: Any, code: str, path: str) -> None:
    report = hft.check(
        {"method": "sft", "model": "m/m", "dataset": dataset, "max_steps": 5}, offline=True, backend="local"
    )
    assert (code, path) in {(problem.code, problem.path) for problem in report.problems}
