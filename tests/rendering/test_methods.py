"""What the scripts of the methods hold beside what all share."""

from __future__ import annotations

import ast
from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.specs.registry import METHODS

NEEDED: dict[str, Any] = {
    "reward_funcs": ["me/judge", "accuracy_reward"],
    "reward_model": "me/reward",
    "teacher_model": "me/teacher",
}


def script(method: str, **fields: Any) -> str:
    needed = {name: value for name, value in NEEDED.items() if name in METHODS[method].model_fields}
    return hft.render({"method": method, "model": "me/model", "dataset": "me/data", **needed, **fields}, offline=True)


def call(text: str, name: str) -> dict[str, str]:
    """Keyword arguments of the one call of ``name``, as source."""
    nodes = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    (found,) = [node for node in nodes if ast.unparse(node.func) == name]
    return {str(item.arg): ast.unparse(item.value) for item in found.keywords}


@pytest.mark.parametrize("method", METHODS)
def test_weights_have_a_dtype_and_no_trainer_places_them(method: str) -> None:
    text, known = script(method), METHODS[method].METHOD
    if known.loads_models:
        assert text.count("AutoModelForCausalLM.from_pretrained(MODEL, dtype=dtype)") == 2
        return
    given = call(text, known.config)["model_init_kwargs"]
    assert given == ("{'dtype': dtype, 'device_map': None}" if known.device_map else "{'dtype': dtype}")


@pytest.mark.parametrize("method", METHODS)
def test_only_experiments_are_silenced(method: str) -> None:
    known = METHODS[method].METHOD
    assert ('"TRL_EXPERIMENTAL_SILENCE", "1"' in script(method)) == known.experimental
    nodes = [node for node in ast.walk(ast.parse(script(method))) if isinstance(node, ast.ImportFrom)]
    imported = {alias.name for node in nodes if node.module == known.module for alias in node.names}
    assert {known.config, known.trainer} <= imported


@pytest.mark.parametrize("method", ["distillation", "gkd"])
def test_a_teacher_is_loaded_by_the_trainer_with_its_own_options(method: str) -> None:
    text = script(method, teacher_model_revision="v1", teacher_model_init_kwargs={"attn_implementation": "eager"})
    assert call(text, METHODS[method].METHOD.trainer)["teacher_model"] == "TEACHER"
    options = call(text, METHODS[method].METHOD.config)["teacher_model_init_kwargs"]
    assert options == "{'dtype': teacher_dtype, 'revision': 'v1', 'attn_implementation': 'eager'}"
    assert 'teacher_dtype = settle_dtype(machine, "bfloat16", frozen=True)' in text
    chosen = script(method, teacher_model_init_kwargs={"dtype": "float32"})
    assert call(chosen, METHODS[method].METHOD.config)["teacher_model_init_kwargs"] == "{'dtype': 'float32'}"
    assert "teacher_dtype" not in chosen


@pytest.mark.parametrize("method", ["orpo", "cpo", "gkd", "online_dpo", "ppo"])
def test_a_tokenizer_is_given_where_the_trainer_does_not_make_it_pad(method: str) -> None:
    text = script(method, model_revision="v2")
    assert call(text, METHODS[method].METHOD.trainer)["processing_class"] == "tokenizer"
    assert call(text, "AutoTokenizer.from_pretrained")["revision"] == "'v2'"


def test_ppo_gives_four_models() -> None:
    models = call(script("ppo", value_model="me/value"), "PPOTrainer")
    assert [models[name] for name in ("model", "ref_model", "reward_model", "value_model")] == [
        "policy",
        "reference",
        "reward_model",
        "value_model",
    ]
    assert call(script("ppo", lora={"r": 8}), "PPOTrainer")["ref_model"] == "None"
    assert '"trl==1.12.0"' in script("ppo")
    assert '"requests==' in script("ppo")


def test_kto_mixes_rows_and_a_stream_of_them() -> None:
    assert "dataset = dataset.shuffle(seed=7)" in script("kto", seed=7)
    streamed = script("kto", dataset={"id": "me/data", "streaming": True}, max_steps=5)
    assert "dataset = dataset.shuffle(seed=42)" in streamed
    assert "unpair_preference_dataset" not in streamed


def test_every_model_is_fetched_before_several_processes_start() -> None:
    fetched = {
        "sft": "{MODEL: None}",
        "grpo": "{MODEL: None, 'me/judge': None}",
        "gkd": "{MODEL: None, TEACHER: None}",
        "ppo": "{MODEL: None, REWARD_MODEL: None}",
    }
    for method, models in fetched.items():
        text = script(method, hardware="a10g-largex4")
        tree = ast.parse(text).body[-1]
        calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
        (started,) = [node for node in calls if ast.unparse(node.func) == "relaunch"]
        assert {item.arg: ast.unparse(item.value) for item in started.keywords}["models"] == models


def test_the_old_names_of_teacher_and_reward_model_are_folded() -> None:
    fields = {"model": "me/model", "dataset": "me/data"}
    assert hft.GKD(**fields, teacher_model_name_or_path="me/t") == hft.GKD(**fields, teacher_model="me/t")
    assert hft.PPO(**fields, reward_model_path="me/r") == hft.PPO(**fields, reward_model="me/r")
    with pytest.raises(hft.SpecError, match="SPEC007"):
        hft.GKD(**fields, teacher_model="me/t", teacher_model_name_or_path="me/u")
