"""Vision-language models, really trained: a tiny LLaVA, and rows with images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import hfjobs_trainer as hft
from examples import tiny
from tests.e2e.methods import STEPS, Finished, Warm, one_point_per_character

FORMATS: dict[str, tiny.Format] = {"sft": "messages", "dpo": "preference_chat", "grpo": "prompt_only_chat"}
OWN: dict[str, dict[str, Any]] = {
    "sft": {},
    "dpo": {},
    "grpo": {"reward_funcs": one_point_per_character, "num_generations": 2, "max_completion_length": 4},
}


@pytest.fixture(scope="module")
def vlm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_vlm(tmp_path_factory.mktemp("vlm") / "model")


def fields(method: str, vlm: Path, folder: Path, **changes: Any) -> dict[str, Any]:
    dataset = tiny.write_image_dataset(folder / "data", FORMATS[method], 12)
    common = {
        "model": str(vlm),
        "dataset": str(dataset),
        "eval_fraction": 0.25,
        "eval_strategy": "steps",
        "eval_steps": STEPS,
        "max_steps": STEPS,
        "logging_steps": 1,
        "per_device_train_batch_size": 2,
        "per_device_eval_batch_size": 2,
        "learning_rate": 1e-3,
        "tracking": hft.Tracking(report_to="none"),
    }
    return common | OWN[method] | changes


def check(run: Finished) -> None:
    (end,) = run.named("end")
    assert end["step"] == STEPS
    assert run.metrics("loss")
    assert [event["step"] for event in run.metrics("eval_")] == [STEPS]
    # what is saved can see: the processor of images is beside the tokenizer
    assert (run.output / "processor_config.json").is_file()


@pytest.mark.parametrize("method", FORMATS)
def test_it_trains_on_images(method: str, vlm: Path, warm: Warm, tmp_path: Path) -> None:
    run = warm.run(method, fields(method, vlm, tmp_path), tmp_path)
    check(run)
    assert json.loads((run.output / "config.json").read_text())["architectures"] == ["LlavaForConditionalGeneration"]


def test_an_adapter_on_a_vision_model_is_trained_and_merged(vlm: Path, warm: Warm, tmp_path: Path) -> None:
    adapter = {"lora": {"r": 4}, "dtype": "float32", "output": {"merge_adapter": "both"}}
    run = warm.run("sft", fields("sft", vlm, tmp_path, **adapter), tmp_path)
    check(run)
    assert (run.output / "adapter_config.json").is_file()
    merged = json.loads((run.output / "merged" / "config.json").read_text())
    assert merged["architectures"] == ["LlavaForConditionalGeneration"]
    assert (run.output / "merged" / "processor_config.json").is_file()


def test_a_vision_model_trains_on_texts_too(vlm: Path, warm: Warm, tmp_path: Path) -> None:
    dataset = tiny.write_dataset(tmp_path / "rows.jsonl", "messages")
    check(warm.run("sft", fields("sft", vlm, tmp_path, dataset=str(dataset)), tmp_path))


def test_what_is_on_this_disk_is_known(vlm: Path, tmp_path: Path) -> None:
    """Rows are never cut, and the packages for images are there, by the files of model and dataset alone."""
    plan = hft.plan(hft.SFT(**fields("sft", vlm, tmp_path)), backend="local", offline=True)
    decided = {decision.path: decision.value for decision in plan.decisions}
    assert decided["max_length"] is None
    assert "        max_length=None,\n" in plan.script
    assert '"pillow==12.3.0",' in plan.script
    assert '"torchvision==0.28.0",' in plan.script
    report = hft.check(hft.SFT(**fields("sft", vlm, tmp_path / "other", packing=True)), backend="local", offline=True)
    # packed to TRL's default of 1024 tokens, of which the model knows 512
    assert [problem.code for problem in report.problems] == ["MODEL011", "VIS002"]


def test_images_are_nothing_for_a_text_model(tiny_model: Path, tmp_path: Path) -> None:
    report = hft.check(hft.SFT(**fields("sft", tiny_model, tmp_path)), backend="local", offline=True)
    assert [(problem.code, problem.path) for problem in report.problems] == [("VIS001", "model")]
