"""What an adapter, quantized weights and a merged model make of the script, and what of them is refused."""

from __future__ import annotations

from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.facts import Facts
from hfjobs_trainer.planning.understand import understand
from hfjobs_trainer.specs.registry import METHODS
from tests.planning.known_models import QWEN_05B


def told(**fields: Any) -> set[tuple[str, str]]:
    spec = {"method": "sft", "model": "me/model", "dataset": "me/data", **fields}
    problems = hft.check(spec, offline=True).problems
    return {(problem.code, problem.path) for problem in problems if problem.code[:4] in ("TUNE", "DIST", "SPEC")}


def script(**fields: Any) -> str:
    fields = {"method": "sft", "model": "me/model", "dataset": "me/data", "timeout": "1h", **fields}
    return hft.render(fields, offline=True)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"quantization": "4bit", "lora": {}, "method": "ppo", "reward_model": "me/r"}, {("TUNE001", "quantization")}),
        ({"lora": {"merge_first": True}, "output": {"merge_adapter": True}}, {("TUNE002", "lora.merge_first")}),
        ({"lora": {"adapter_revision": "v1"}}, {("TUNE002", "lora.adapter_revision")}),
        (
            {"lora": {"adapter": "me/a"}, "method": "ppo", "reward_model": "me/r"},
            {("TUNE002", "lora.adapter")},
        ),
        (
            {"lora": {"adapter": "me/a", "merge_first": True}, "output": {"merge_adapter": "both"}},
            {("TUNE003", "output.merge_adapter")},
        ),
        (
            {
                "lora": {"adapter": "me/a", "merge_first": True},
                "output": {"merge_adapter": True},
                "quantization": "8bit",
            },
            {("TUNE003", "quantization")},
        ),
        (
            {"lora": {}, "output": {"merge_adapter": True, "hub_strategy": "every_save"}},
            {("TUNE004", "output.hub_strategy")},
        ),
        (
            {"lora": {}, "output": {"merge_adapter": True}, "method": "ppo", "reward_model": "me/r"},
            {("TUNE004", "output.merge_adapter")},
        ),
        ({"attn_implementation": "kernels-community/flash-attn2"}, set()),
        ({"attn_implementation": "flash_attention_2"}, set()),
        ({"attn_implementation": "paged|flash_attention_2"}, {("TUNE005", "attn_implementation")}),
        ({"model_init_kwargs": {"use_kernels": True}}, set()),
        (
            {"model_init_kwargs": {"use_kernels": True}, "extra_dependencies": ["kernels==0.17.2"]},
            {("TUNE005", "model_init_kwargs")},
        ),
        ({"attn_implementation": "flash_attention_2", "extra_dependencies": ["flash_attn==2.8.3"]}, set()),
        ({"attn_implementation": "eager"}, set()),
        ({"attn_implementation": "bogus"}, {("TUNE005", "attn_implementation")}),
        ({"attn_implementation": "bogus", "trust_remote_code": True}, set()),
        *(
            (
                {"attn_implementation": name, "extra_dependencies": [f"kernels{versions}"]},
                set() if fit else {("TUNE005", "attn_implementation")},
            )
            for name in ("kernels-community/flash-attn2", "flash_attention_2")
            for versions, fit in (
                ("", False),
                (">=0.17", False),
                ("==0.17.2", False),
                (">=0.19", False),
                (">=0.18.2,<0.19", True),
                ("==0.18.5", True),
                (" @ https://example.com/kernels-0.18.2-py3-none-any.whl", True),
            )
        ),
        (
            {"lora": {}, "quantization": {"bits": "8bit", "quant_type": "fp4"}},
            {("TUNE006", "quantization.quant_type")},
        ),
        (
            {"lora": {"target_modules": "all-linear", "layers_to_transform": [0]}},
            {("TUNE006", "lora.layers_to_transform")},
        ),
        ({"lora": {"r": 5, "init_lora_weights": "orthogonal"}}, {("TUNE006", "lora.r")}),
        (
            {"lora": {"target_parameters": ["mlp.experts.down_proj"], "use_dora": True, "lora_dropout": 0.1}},
            {("TUNE006", "lora.use_dora"), ("TUNE006", "lora.lora_dropout")},
        ),
        ({"lora": {"target_parameters": ["mlp.experts.down_proj"]}}, set()),
        ({"hardware": {"flavor": "a100x4", "num_gpus": 1, "strategy": "zero2"}}, {("DIST001", "hardware.strategy")}),
        ({"hardware": {"flavor": "cpu-upgrade", "strategy": "zero2"}}, {("DIST001", "hardware.strategy")}),
        ({"hardware": {"strategy": "fsdp2"}, "use_cpu": True}, {("DIST001", "hardware.strategy")}),
        ({"hardware": {"strategy": "fsdp2"}, "optim": "paged_adamw_32bit"}, {("DIST003", "optim")}),
        ({"hardware": {"strategy": "fsdp2"}, "optim": "adamw_torch_8bit"}, set()),
        (
            {
                "hardware": {"strategy": "zero3"},
                "lora": {"adapter": "me/a", "merge_first": True},
                "output": {"merge_adapter": True},
            },
            {("DIST004", "lora.merge_first")},
        ),
    ],
)
def test_what_does_not_go_together_is_told(fields: dict[str, Any], expected: set[tuple[str, str]]) -> None:
    assert told(**fields) == expected


def test_a_text_is_short_for_the_group() -> None:
    common: dict[str, Any] = {"model": "me/model", "dataset": "me/data", "lora": hft.LoRA()}
    short, long = hft.SFT(**common, quantization="4bit"), hft.SFT(**common, quantization=hft.Quantization(bits="4bit"))
    assert short.digest == long.digest
    assert short.quantization == hft.Quantization(bits="4bit")
    assert ("SPEC003", "quantization") in told(quantization="2bit", lora={})


@pytest.mark.parametrize("method", ["sft", "dpo", "reward"])
def test_trainers_that_take_it_get_the_quantization(method: str) -> None:
    text = script(method=method, lora={}, quantization="4bit")
    assert "        quantization_config=quantization,\n" in text
    assert 'bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype\n' in text
    assert '"bitsandbytes==0.50.2"' in text


@pytest.mark.parametrize("method", ["orpo", "cpo"])
def test_the_others_load_the_model_with_it(method: str) -> None:
    text = script(method=method, lora={}, quantization="8bit")
    assert '            "quantization_config": quantization,\n' in text
    assert "        quantization_config=quantization,\n" not in text


def test_options_of_quantization() -> None:
    options = {"bits": "4bit", "quant_type": "fp4", "use_double_quant": True, "compute_dtype": "float16"}
    text = script(lora={}, quantization=options)
    assert (
        "    quantization = BitsAndBytesConfig(\n"
        "        load_in_4bit=True,\n"
        '        bnb_4bit_quant_type="fp4",\n'
        "        bnb_4bit_use_double_quant=True,\n"
        '        bnb_4bit_compute_dtype="float16",\n'
        "    )\n"
    ) in text


def test_without_dropout_where_peft_has_none() -> None:
    assert "lora_dropout=0.0" in script(lora={"target_parameters": ["mlp.experts.down_proj"]})
    assert "lora_dropout=0.05" in script(lora={"target_modules": ["q_proj"]})


def test_an_adapter_is_loaded_where_it_was_published() -> None:
    text = script(lora={"adapter": "me/sft", "adapter_revision": "v1"}, model_revision="main", quantization="4bit")
    assert 'ADAPTER = "me/sft"' in text
    assert 'revision="v1"' in text
    assert "is_trainable=True" in text
    assert "peft_config=" not in text
    assert "model_init_kwargs" not in text


@pytest.mark.parametrize(
    ("merge", "pushes"),
    [
        (False, ["push(trainer)"]),
        (
            "both",
            ["push(trainer)", 'push(trainer, merged, suffix="-merged")'],
        ),
        (True, ["push(trainer, merged)"]),
    ],
)
def test_what_is_pushed(merge: Any, pushes: list[str]) -> None:
    text = script(lora={}, output={"hub_model_id": "me/out", "merge_adapter": merge})
    main = text[text.index("def main") : text.index("    finish()")]
    found = [line.strip() for line in main.splitlines() if line.strip().startswith("push(")]
    assert found == pushes
    # no adapter ever reaches the repository of the merged model
    assert ('hub_strategy="end"' in main) is (merge is True)
    assert main.count("trainer.save_model(_internal_call=True)\n") == 1  # which the trainer itself would push


@pytest.mark.torch
@pytest.mark.parametrize(
    ("task", "options", "trains"),
    [
        ("CAUSAL_LM", {}, True),
        ("CAUSAL_LM", {"modules_to_save": ["lm_head"]}, False),
        ("CAUSAL_LM", {"bias": "all"}, False),
        ("CAUSAL_LM", {"bias": "lora_only"}, False),
        ("CAUSAL_LM", {"trainable_token_indices": [1]}, True),
        ("CAUSAL_LM", {"use_dora": True}, True),
        ("SEQ_CLS", {}, False),
    ],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_fp16_trains_what_peft_keeps_in_float32(task: str, options: dict[str, Any], trains: bool) -> None:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, LlamaConfig

    sizes = {"vocab_size": 16, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1}
    config = LlamaConfig(**sizes, num_attention_heads=2, num_key_value_heads=2, attention_bias=True)  # type: ignore[arg-type]
    load: Any = AutoModelForCausalLM if task == "CAUSAL_LM" else AutoModelForSequenceClassification
    lora = LoraConfig(task_type=task, target_modules=["q_proj"], **options)  # type: ignore[arg-type]
    model: Any = get_peft_model(load.from_config(config, dtype=torch.float16), lora)
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    scaler, optimizer = torch.amp.GradScaler("cpu"), torch.optim.SGD(weights, lr=0.1)
    scaler.scale(torch.ones(1))

    if not trains:
        with pytest.raises(ValueError, match="Attempting to unscale FP16 gradients"):
            scaler.unscale_(optimizer)
    else:
        scaler.unscale_(optimizer)
    method = "sft" if task == "CAUSAL_LM" else "reward"
    fields = {"method": method, "model": "me/model", "dataset": "me/data", "lora": options, "fp16": True}
    assert trains == (not understand(METHODS[method](**fields), Facts()).trains_weights)
    codes = {problem.code for problem in hft.check(fields | {"dtype": "float16"}, offline=True).problems}
    assert trains == ("PREC003" not in codes)
    # what the planner chooses can be trained
    dtype = "float16" if trains else "float32"
    planned = script(**{name: value for name, value in fields.items() if name != "fp16"}, hardware="t4-small")
    assert f'settle_dtype(machine, "{dtype}"' in planned


def test_a_quantized_run_has_a_machine_with_bfloat16() -> None:
    facts = hft.Facts(model=QWEN_05B)
    fields = {"method": "sft", "model": "me/model", "dataset": "me/data", "lora": {}, "quantization": "4bit"}
    choice = hft.pick_flavor(fields | {"bf16": False}, facts=facts)
    assert choice.flavor is not None
    assert choice.flavor.bf16
    # fp16 would not train such an adapter
    assert "settle_precision(machine._replace(has_bf16=True), " in script(lora={}, quantization="4bit")
    assert "settle_precision(machine, " in script(lora={})
