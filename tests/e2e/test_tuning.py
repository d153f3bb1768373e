"""Adapters of every kind, quantized weights, runs that start from an adapter, and merged models: really trained."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import hfjobs_trainer as hft
from examples import tiny
from hfjobs_trainer.planning.arguments.precision import settle_precision
from hfjobs_trainer.planning.layout import given_layout
from hfjobs_trainer.planning.memory.workload import workload_of
from tests.e2e.methods import Finished, Inputs, Warm, run_pinned

if TYPE_CHECKING:
    import torch

# PEFT asks a model of transformers 5.23 for a name that it has since changed
pytestmark = pytest.mark.filterwarnings("ignore:.is_gradient_checkpointing. is deprecated:FutureWarning")

ADAPTER = "adapter_model.safetensors"
TOKENS = [[5, 17, 80, 33, 9]]


@pytest.fixture(scope="module")
def trained(inputs: Inputs, warm: Warm, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """An adapter of SFT, and the model it was merged into."""
    return warm.run(
        "sft",
        plain(inputs, "sft", lora=hft.LoRA(r=4, target_modules="all-linear"), output=hft.Output(merge_adapter="both")),
        tmp_path_factory.mktemp("sft"),
    )


def plain(inputs: Inputs, method: str, **changes: Any) -> dict[str, Any]:
    """Two steps in float32, so that what is compared is exact, and nothing but training."""
    off = {"eval_strategy": "no", "eval_fraction": None, "eval_steps": None, "save_strategy": "no"}
    fields = inputs.fields(method) | off | {"dtype": "float32", "learning_rate": 1e-2, "report_to": "none"} | changes
    fields.pop("tracking")
    return {name: value for name, value in fields.items() if value is not None}


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(path)


def logits(model: Any) -> torch.Tensor:
    import torch

    with torch.no_grad():
        return model.eval()(torch.tensor(TOKENS)).logits


def base_of(model: Path, auto_class: str = "AutoModelForCausalLM", **options: Any) -> Any:
    import transformers

    return getattr(transformers, auto_class).from_pretrained(model, dtype="float32", **options)


def with_adapter(model: Path, adapter: Path, auto_class: str = "AutoModelForCausalLM", **options: Any) -> torch.Tensor:
    from peft import PeftModel

    return logits(PeftModel.from_pretrained(base_of(model, auto_class, **options), str(adapter)))


@pytest.mark.parametrize(
    "options",
    [
        {
            "use_rslora": True,
            "init_lora_weights": "gaussian",
            "target_modules": ["o_proj", "q_proj", "up_proj"],
            "exclude_modules": ["o_proj"],
            "rank_pattern": {"q_proj": 2},
            "alpha_pattern": {"q_proj": 8},
            "layers_to_transform": [1],
            "layers_pattern": "layers",
        },
        {"use_dora": True, "target_modules": ["q_proj", "v_proj"], "modules_to_save": ["norm"], "bias": "lora_only"},
        {"target_parameters": ["mlp.up_proj.weight"], "init_lora_weights": "orthogonal"},
    ],
    ids=["rslora", "dora", "parameters"],
)
def test_options_reach_peft_and_the_merged_model_is_the_adapted_one(
    options: dict[str, Any], inputs: Inputs, warm: Warm, tmp_path: Path
) -> None:
    import torch

    lora = hft.LoRA(r=4, lora_alpha=16, **options)
    run = warm.run("sft", plain(inputs, "sft", lora=lora, output=hft.Output(merge_adapter="both")), tmp_path)
    config = json.loads((run.output / "adapter_config.json").read_text())
    weights = read_weights(run.output / ADAPTER)
    for name, value in options.items():
        kept = config[name]
        assert (sorted(kept) if isinstance(kept, list) and name != "exclude_modules" else kept) == value or (
            name == "target_modules"
        )
    assert any(weight.abs().max() > 0 for name, weight in weights.items() if "lora_B" in name)
    if options.get("layers_to_transform"):
        assert all(".layers.1." in name and "o_proj" not in name for name in weights)
        assert {len(weight) for name, weight in weights.items() if "q_proj.lora_A" in name} == {2}
    adapted = with_adapter(inputs.model, run.output)
    assert not torch.allclose(adapted, logits(base_of(inputs.model)), atol=1e-4)
    torch.testing.assert_close(logits(base_of(run.output / "merged")), adapted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("arch", "method"), [("smollm3", "sft"), ("smollm3", "dpo"), ("smollm3", "reward"), ("qwen3_moe", "sft")]
)
def test_an_adapter_without_targets_trains_what_is_planned(
    arch: Any, method: str, inputs: Inputs, warm: Warm, tmp_path: Path
) -> None:
    """On models for which PEFT has no default; the head of a classifier is trained and saved with the adapter."""
    model = tiny.make_model(tmp_path / "model", arch=arch)
    fields = plain(inputs, method, model=str(model), lora=hft.LoRA())
    plan = hft.plan({"method": method, **fields}, backend="local", offline=True)
    assert 'target_modules="all-linear"' in plan.script
    assert plan.run is not None
    layout = given_layout(plan.run, 1)
    counted = workload_of(plan.run, settle_precision(plan.run, None), layout).adapter
    assert counted is not None
    run = warm.run(method, fields, tmp_path / "run")
    weights = read_weights(run.output / ADAPTER)
    adapted = {name.removeprefix("base_model.model.").split(".lora_")[0] for name in weights if ".lora_" in name}
    assert {name.replace(".base_layer", "") for name in adapted} == set(counted.modules)
    assert sum(weight.numel() for weight in weights.values()) == counted.trained
    assert any("score" in name for name in weights) == (method == "reward")
    learned = [name for name, weight in weights.items() if "lora_B" in name and weight.abs().max() > 0]
    assert len({name.rsplit(".layers.", 1)[-1].split(".", 1)[1] for name in learned}) >= (7 if arch == "smollm3" else 6)


@pytest.mark.parametrize(("method", "bits"), [("sft", "4bit"), ("dpo", "8bit"), ("orpo", "4bit")])
def test_quantized_weights_carry_an_adapter_and_the_full_ones_are_merged(
    method: str, bits: str, inputs: Inputs, pinned: Path, tmp_path: Path
) -> None:
    """With bitsandbytes of the header's own pin."""
    import torch

    double = {"use_double_quant": True} if method == "orpo" else {}
    fields = plain(
        inputs,
        method,
        lora=hft.LoRA(r=4, target_modules="all-linear", lora_dropout=0.0),
        quantization={"bits": bits, **double},
        output=hft.Output(merge_adapter="both"),
    )
    run = run_pinned(method, fields, tmp_path / method, pinned / "bitsandbytes")
    losses = [event["metrics"]["loss"] for event in run.metrics("loss") if "loss" in event["metrics"]]
    assert all(math.isfinite(loss) for loss in losses)
    config = json.loads((run.output / "merged/config.json").read_text())
    assert "quantization_config" not in config
    assert config["dtype"] == "float32"
    torch.testing.assert_close(
        logits(base_of(run.output / "merged")), with_adapter(inputs.model, run.output), atol=1e-4, rtol=1e-4
    )


def test_a_merged_reward_model_scores_as_the_adapted_one(inputs: Inputs, warm: Warm, tmp_path: Path) -> None:
    import torch

    run = warm.run("reward", plain(inputs, "reward", lora={"r": 4}, output={"merge_adapter": True}), tmp_path)
    merged = run.output / "merged"
    scores = with_adapter(inputs.model, run.output, "AutoModelForSequenceClassification", num_labels=1)
    torch.testing.assert_close(
        logits(base_of(merged, "AutoModelForSequenceClassification")), scores, atol=1e-5, rtol=1e-4
    )


def test_training_goes_on_with_an_adapter(trained: Finished, inputs: Inputs, warm: Warm, tmp_path: Path) -> None:
    import torch

    fields = plain(inputs, "sft", lora=hft.LoRA(adapter=str(trained.output)), learning_rate=0.0)
    run = warm.run("sft", fields, tmp_path)
    before, after = read_weights(trained.output / ADAPTER), read_weights(run.output / ADAPTER)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    losses = [
        [event["metrics"]["loss"] for event in item.metrics("loss") if "loss" in event["metrics"]]
        for item in (trained, run)
    ]
    assert losses[1][0] < losses[0][0]


def test_dpo_goes_on_with_the_adapter_of_sft_which_is_its_reference(
    trained: Finished, inputs: Inputs, warm: Warm, tmp_path: Path
) -> None:
    import torch

    run = warm.run("dpo", plain(inputs, "dpo", lora=hft.LoRA(adapter=str(trained.output))), tmp_path)
    first = run.metrics("loss")[0]["metrics"]
    # at its start the model is its own reference
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-4)
    before, after = read_weights(trained.output / ADAPTER), read_weights(run.output / ADAPTER)
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert json.loads((run.output / "adapter_config.json").read_text())["r"] == 4


def test_a_new_adapter_on_top_of_a_merged_one(trained: Finished, inputs: Inputs, warm: Warm, tmp_path: Path) -> None:
    import torch

    lora = hft.LoRA(adapter=str(trained.output), merge_first=True, r=2, target_modules=["q_proj"])
    fields = plain(inputs, "dpo", lora=lora, output=hft.Output(merge_adapter=True), learning_rate=0.0)
    run = warm.run("dpo", fields, tmp_path)
    assert set(read_weights(run.output / ADAPTER)) == {
        f"base_model.model.model.layers.{layer}.self_attn.q_proj.lora_{part}.weight"
        for layer in (0, 1)
        for part in "AB"
    }
    # nothing was learned, so that what is left is the model of SFT
    expected = logits(base_of(trained.output / "merged"))
    torch.testing.assert_close(logits(base_of(run.output / "merged")), expected, atol=1e-5, rtol=1e-4)
