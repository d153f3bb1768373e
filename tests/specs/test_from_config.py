"""Specs from TRL's and PEFT's real objects."""

from __future__ import annotations

from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.specs.quantization import quantization_of

pytestmark = [
    pytest.mark.torch,
    # TRL's own default is a name that Transformers has deprecated.
    pytest.mark.filterwarnings("ignore:.gradient_checkpointing. is deprecated:FutureWarning"),
]

NEEDED: dict[str, Any] = {"model": "m/m", "dataset": "a/b"}
# A machine without a GPU refuses TRL's default, where a config is made.
CPU: dict[str, Any] = {"bf16": False}

CONFIGS = {
    "sft": "SFTConfig",
    "dpo": "DPOConfig",
    "kto": "KTOConfig",
    "reward": "RewardConfig",
    "grpo": "GRPOConfig",
    "rloo": "RLOOConfig",
    "distillation": "DistillationConfig",
}
EXTRA: dict[str, dict[str, Any]] = {
    "grpo": {"reward_funcs": "accuracy_reward"},
    "rloo": {"reward_funcs": "accuracy_reward"},
    "distillation": {"teacher_model": "t/t"},
}


@pytest.mark.parametrize("method", CONFIGS)
def test_a_config_of_defaults_says_nothing(method: str) -> None:
    import trl

    more = EXTRA.get(method, {})
    spec = hft.METHODS[method].from_config(getattr(trl, CONFIGS[method])(**CPU), **NEEDED, **more)
    assert spec == hft.METHODS[method](**NEEDED, **more, **CPU)


GIVEN: dict[str, dict[str, Any]] = {
    "sft": {"max_length": 512, "packing": True, "assistant_only_loss": True, "eos_token": "<|im_end|>"},
    "dpo": {"beta": 0.3, "loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, 0.5]},
    "kto": {"beta": 0.3, "desirable_weight": 2.0},
    "reward": {"center_rewards_coefficient": 0.01},
    "grpo": {"num_generations": 4, "per_device_train_batch_size": 4, "max_completion_length": 64},
    "rloo": {"num_generations": 4, "per_device_train_batch_size": 4, "steps_per_generation": 2},
    "distillation": {"beta": 0.5, "max_completion_length": 64},
}


@pytest.mark.parametrize("method", CONFIGS)
def test_what_was_given_is_found_again(method: str) -> None:
    import torch
    import trl

    given = {
        **GIVEN[method],
        **CPU,
        "output_dir": "out",
        "learning_rate": 3e-5,
        "lr_scheduler_type": "cosine",
        "optim": "adamw_torch",
        "eval_strategy": "steps",
        "eval_steps": 50,
        "save_strategy": "epoch",
        "max_steps": 7,
        "report_to": "wandb",
        "run_name": "first",
        "logging_steps": 5,
        "hub_strategy": "end",
        "model_init_kwargs": {"dtype": torch.bfloat16, "attn_implementation": "sdpa", "use_cache": False},
    }
    config = getattr(trl, CONFIGS[method])(**given)
    more = EXTRA.get(method, {})
    spec = hft.METHODS[method].from_config(config, **NEEDED, **more)
    given |= {"model_init_kwargs": {"dtype": "bfloat16", "attn_implementation": "sdpa", "use_cache": False}}
    assert spec == hft.METHODS[method](**NEEDED, **more, **given)
    assert spec.dtype == "bfloat16"


def test_what_a_config_worked_out_is_left_open() -> None:
    import trl

    config = trl.GRPOConfig(per_device_train_batch_size=4, num_generations=4, gradient_accumulation_steps=2, **CPU)
    assert config.generation_batch_size == 8
    spec = hft.GRPO.from_config(config, **NEEDED, reward_funcs="accuracy_reward")
    assert not spec.is_set("generation_batch_size")
    assert not spec.is_set("steps_per_generation")
    assert not spec.is_set("output_dir")
    # of two that follow from each other, one is kept: TRL takes no more
    both = trl.GRPOConfig(per_device_train_batch_size=4, num_generations=4, generation_batch_size=16, **CPU)
    spec = hft.GRPO.from_config(both, **NEEDED, reward_funcs="accuracy_reward")
    assert spec.is_set("generation_batch_size") != spec.is_set("steps_per_generation")


def test_pushing_and_tracking_have_their_owners() -> None:
    import trl

    config = trl.SFTConfig(
        push_to_hub=True, hub_model_id="me/x", report_to=["trackio"], project="p", run_name="r", **CPU
    )
    spec = hft.SFT.from_config(config, **NEEDED, timeout="1h", learning_rate=1e-3)
    assert spec.output == hft.Output(push_to_hub=True, hub_model_id="me/x")
    assert spec.tracking == hft.Tracking(project="p", name="r", report_to="trackio")
    assert (spec.timeout, spec.learning_rate) == (3600, 1e-3)


def test_an_adapter() -> None:
    import peft
    import trl

    config = trl.SFTConfig(**CPU)
    spec = hft.SFT.from_config(config, **NEEDED, peft_config=peft.LoraConfig())
    assert spec.lora == hft.LoRA(r=8, lora_alpha=8, lora_dropout=0.0)
    given = peft.LoraConfig(
        r=4, lora_alpha=2, lora_dropout=0.1, target_modules=["v_proj", "q_proj"], use_rslora=True, task_type="CAUSAL_LM"
    )
    spec = hft.SFT.from_config(config, **NEEDED, peft_config=given)
    expected = {"r": 4, "lora_alpha": 2, "lora_dropout": 0.1, "use_rslora": True}
    assert spec.lora == hft.LoRA(target_modules=["q_proj", "v_proj"], **expected)
    every = peft.LoraConfig(target_modules="all-linear", modules_to_save=["lm_head"])
    assert hft.SFT.from_config(config, **NEEDED, peft_config=every).lora == hft.LoRA(
        r=8, lora_alpha=8, lora_dropout=0.0, target_modules="all-linear", modules_to_save=["lm_head"]
    )


def test_quantized_weights() -> None:
    import peft
    import transformers
    import trl

    quantized = transformers.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_use_double_quant=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype="bfloat16"
    )
    spec = hft.SFT.from_config(
        trl.SFTConfig(**CPU), **NEEDED, peft_config=peft.LoraConfig(), quantization_config=quantized
    )
    assert spec.to_dict()["quantization"] == {
        "bits": "4bit",
        "quant_type": "nf4",
        "use_double_quant": True,
        "compute_dtype": "bfloat16",
    }
    inside = trl.SFTConfig(model_init_kwargs={"quantization_config": {"load_in_8bit": True}}, **CPU)
    spec = hft.SFT.from_config(inside, **NEEDED, peft_config=peft.LoraConfig())
    assert spec.to_dict()["quantization"] == {"bits": "8bit"}


def test_quantized_weights_of_an_object_within() -> None:
    import peft
    import torch
    import transformers
    import trl

    quantized = transformers.BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_compute_dtype=torch.bfloat16)
    inside = trl.SFTConfig(model_init_kwargs={"quantization_config": quantized, "use_cache": False}, **CPU)
    spec = hft.SFT.from_config(inside, **NEEDED, peft_config=peft.LoraConfig())
    assert spec.quantization == hft.Quantization(
        bits="4bit", quant_type="fp4", use_double_quant=False, compute_dtype="bfloat16"
    )
    assert spec.model_init_kwargs == {"use_cache": False}
    assert spec == hft.SFT.from_config(
        inside, **NEEDED, peft_config=peft.LoraConfig(), quantization_config=quantized.to_dict()
    )
    with pytest.raises(hft.SpecError, match="SPEC007"):
        hft.SFT.from_config(inside, **NEEDED, peft_config=peft.LoraConfig(), quantization="8bit")


def test_defaults_of_bitsandbytes_are_transformers() -> None:
    import transformers

    for bits, said in (
        ("4bit", {"quant_type": "fp4", "use_double_quant": False, "compute_dtype": "float32"}),
        ("8bit", {}),
    ):
        given: dict[str, Any] = {f"load_in_{bits}": True}
        expected = {"bits": bits, **said}
        # every option of today's transformers is known
        assert quantization_of(transformers.BitsAndBytesConfig(**given), "") == expected
        assert quantization_of(given, "") == expected


def test_options_of_quantized_weights_are_never_dropped() -> None:
    import transformers
    import trl

    quantized = transformers.BitsAndBytesConfig(
        load_in_8bit=True, llm_int8_threshold=1.0, llm_int8_skip_modules=["lm_head"]
    )
    with pytest.raises(hft.SpecError, match="a spec does not have llm_int8_threshold, llm_int8_skip_modules"):
        hft.SFT.from_config(trl.SFTConfig(**CPU), **NEEDED, quantization_config=quantized)


def test_what_it_does_not_take() -> None:
    import peft
    import trl

    config = trl.SFTConfig(**CPU)
    with pytest.raises(hft.SpecError, match="a DPOConfig is needed, not SFTConfig"):
        hft.DPO.from_config(config, **NEEDED)
    with pytest.raises(hft.SpecError, match="a LoraConfig is needed, not PromptTuningConfig"):
        hft.SFT.from_config(
            config, **NEEDED, peft_config=peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=4)
        )
    with pytest.raises(hft.SpecError, match="not SEQ_CLS"):
        hft.SFT.from_config(config, **NEEDED, peft_config=peft.LoraConfig(task_type="SEQ_CLS"))
    with pytest.raises(hft.SpecError, match="hub_token") as caught:
        hft.SFT.from_config(trl.SFTConfig(hub_token="hf_secret", **CPU), **NEEDED)
    assert "hf_secret" not in str(caught.value)
