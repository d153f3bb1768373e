"""What has one meaning only is taken: an adapter that is switched on, pages of the Hub, words of TRL's command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.facts import Facts
from hfjobs_trainer.specs.locations import hub_address
from tests.specs.building import problems_of, required, sft


def test_an_adapter_may_be_switched_on_and_off() -> None:
    on: Any = True
    assert sft(lora=on) == sft(lora={})
    assert sft(lora=False) == sft()
    assert sft(lora=on).replace(lora=False).lora is None


def test_the_task_of_an_adapter_is_the_methods() -> None:
    named = sft(lora=hft.LoRA(r=8, task_type="CAUSAL_LM"))
    assert named == sft(lora={"r": 8})
    assert named.digest == sft(lora={"r": 8}).digest
    assert "task_type" not in named.to_json()
    scores = hft.Reward(**required("reward"), lora={"task_type": "CAUSAL_LM"})
    (problem,) = [item for item in hft.check(scores, facts=Facts()).problems if item.code == "TUNE008"]
    assert (problem.path, problem.fix) == ("lora.task_type", "lora=hft.LoRA()")


@pytest.mark.parametrize(
    ("fields", "bits"),
    [
        ({"load_in_4bit": True}, "4bit"),
        ({"load_in_8bit": True, "load_in_4bit": False}, "8bit"),
        ({"load_in_4bit": True, "quantization": "4bit"}, "4bit"),
        ({"load_in_4bit": True, "quantization": {"bits": "4bit", "quant_type": "fp4"}}, "4bit"),
        ({"load_in_4bit": False}, None),
    ],
    ids=str,
)
def test_trls_switches_of_quantization_are_taken(fields: dict[str, Any], bits: str | None) -> None:
    found = sft(lora={}, **fields).quantization
    assert (found.bits if found else None) == bits


def test_two_quantizations_are_told() -> None:
    assert problems_of("sft", load_in_4bit=True, quantization="8bit")["load_in_4bit"].code == "SPEC007"
    assert problems_of("sft", load_in_4bit=True, load_in_8bit=True)["load_in_8bit"].code == "SPEC007"


@pytest.mark.parametrize(
    ("text", "kind", "found"),
    [
        ("https://huggingface.co/Qwen/Qwen2.5-0.5B", "model", {"id": "Qwen/Qwen2.5-0.5B"}),
        ("https://huggingface.co/Qwen/Qwen2.5-0.5B/", "model", {"id": "Qwen/Qwen2.5-0.5B"}),
        ("https://hf.co/gpt2?library=transformers", "model", {"id": "gpt2"}),
        ("https://huggingface.co/me/m/tree/main", "model", {"id": "me/m"}),
        ("https://huggingface.co/me/m/tree/v2#readme", "model", {"id": "me/m", "revision": "v2"}),
        ("https://huggingface.co/datasets/me/d", "dataset", {"id": "me/d"}),
        ("hf://datasets/me/d", "dataset", {"id": "me/d"}),
        (
            "https://huggingface.co/datasets/openai/gsm8k/viewer/main/test",
            "dataset",
            {"id": "openai/gsm8k", "config": "main", "split": "test"},
        ),
        ("https://huggingface.co/datasets/me/d", "model", None),
        ("https://huggingface.co/me/m", "dataset", None),
        ("https://huggingface.co/spaces/me", "model", None),
        ("https://huggingface.co/me/m/blob/main/config.json", "model", None),
        ("https://huggingface.co/me/m/tree/main/sub", "model", None),
        ("https://user:pass@huggingface.co/me/m", "model", None),
        ("https://example.com/me/m", "model", None),
        ("me/m", "model", None),
    ],
)
def test_pages_of_the_hub(text: str, kind: Any, found: dict[str, str] | None) -> None:
    assert hub_address(text, kind) == found


PAGE = "https://huggingface.co"


def test_a_page_is_the_repository_that_it_shows() -> None:
    spec = sft(
        model=f"{PAGE}/me/m/tree/v2",
        dataset=f"{PAGE}/datasets/me/d",
        eval_dataset={"id": f"{PAGE}/datasets/me/d/viewer/main/test", "split": "dev"},
        lora={"adapter": f"{PAGE}/me/a/tree/v1"},
    )
    assert spec == sft(
        model="me/m",
        model_revision="v2",
        dataset="me/d",
        eval_dataset={"id": "me/d", "config": "main", "split": "dev"},
        lora={"adapter": "me/a", "adapter_revision": "v1"},
    )
    mixture = sft(dataset=[f"{PAGE}/datasets/me/a", "me/b"])
    assert mixture == sft(dataset=["me/a", "me/b"])
    judged = hft.GRPO(**required("grpo") | {"reward_funcs": [f"{PAGE}/me/judge", "think_format_reward"]})
    assert tuple(judged.reward_models) == ("me/judge",)
    taught = hft.GKD(**required("gkd") | {"teacher_model": f"{PAGE}/me/t"})
    assert taught.teacher_model == "me/t"


def test_a_page_of_another_kind_is_refused_without_a_wrong_fix() -> None:
    spec = sft(model=f"{PAGE}/datasets/me/d")
    (problem,) = [item for item in hft.check(spec, facts=Facts()).problems if item.code == "HUB003"]
    assert (problem.path, problem.fix) == ("model", "")


def test_a_pipeline_before_a_reward_model_is_dropped() -> None:
    spec: Any = hft.load(
        "trl rloo --model_name_or_path me/m --dataset_name me/d --reward_model_name_or_path sentiment-analysis:me/r"
    )
    assert spec.reward_funcs == ["me/r"]


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "accelerate.yaml").write_text("distributed_type: FSDP\nfsdp_config:\n  fsdp_version: 2\n")
    (tmp_path / "sft.yaml").write_text("model_name_or_path: me/m\ndataset_name: me/d\n")
    spec = hft.load(["trl", "sft", "--config", "~/sft.yaml", "--config_file", "~/accelerate.yaml"])
    assert spec.hardware.strategy == "fsdp2"
    assert hft.load("~/sft.yaml") == sft(model="me/m", dataset="me/d")


@pytest.mark.parametrize(
    ("name", "text", "fix"),
    [
        ("learning_rate", "5e-6", "learning_rate=5e-6"),
        ("max_steps", "100", "max_steps=100"),
        ("packing", "true", "packing=True"),
        ("learning_rate", "fast", ""),
    ],
)
def test_text_that_is_a_number_is_refused_with_the_number(name: str, text: str, fix: str) -> None:
    assert problems_of("sft", **{name: text})[name].fix == fix


@pytest.mark.parametrize(
    ("fields", "path", "fix"),
    [
        ({"lora_r": 8, "lora": {"lora_alpha": 16}}, "lora_r", 'lora={"lora_alpha": 16, "r": 8}'),
        ({"dataset_config": "main"}, "dataset_config", 'dataset=hft.Dataset(id="me/data", config="main")'),
        ({"space_id": "me/s"}, "space_id", 'tracking=hft.Tracking(space_id="me/s")'),
        ({"adafactor": True}, "adafactor", 'optim="adafactor"'),
    ],
)
def test_a_former_word_is_answered_with_todays_and_its_value(fields: dict[str, Any], path: str, fix: str) -> None:
    assert problems_of("dpo", **fields)[path].fix == fix
