"""Every training method, really trained on this machine's processor: what is rendered is what runs."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from safetensors import safe_open

from hfjobs_trainer.specs.registry import METHODS
from tests.e2e.methods import FORMATS, GROUP, STEPS, TRAINED, Finished, Inputs, Warm, run_pinned, run_script

# Their two processes are started by the script itself; those of the others are forks, which find all imported.
LAUNCHED = {"sft", "grpo"}
# Methods that do not log a loss of their evaluation, but the rewards of their answers.
REWARD_ONLY = {"online_dpo", "ppo"}


@pytest.fixture(scope="module", params=TRAINED)
def trained(request: pytest.FixtureRequest, inputs: Inputs, warm: Warm) -> Finished:
    """All weights, trained with each method once: pytest runs together what asks for the same one."""
    method = request.param
    return warm.run(method, inputs.fields(method), warm.folder / method)


def check(run: Finished, project: str, *, first_step: int = 1, processes: int = 1) -> None:
    """It trained, evaluated once, saved after each step, and its metrics are tracked in their group."""
    steps = [*range(first_step, STEPS + 1)]
    (start,), (end,) = run.named("start"), run.named("end")
    assert (start["method"], start["device"], start["world_size"]) == (run.method, "cpu", processes)
    assert end["step"] == STEPS
    loss = "loss/policy_avg" if run.method == "ppo" else "loss"
    assert [event["step"] for event in run.metrics(loss)] == steps
    evaluation = "reward" if run.method in REWARD_ONLY else "loss"
    assert [event["step"] for event in run.metrics(f"eval_{evaluation}")] == [STEPS]
    saved = [Path(event["path"]) for event in run.named("saved")]
    assert [path.name for path in saved] == [f"checkpoint-{step}" for step in steps]
    assert all((path / "trainer_state.json").is_file() for path in saved)
    assert (run.output / "tokenizer.json").is_file()
    metrics, config = run.tracked(project)
    assert {f"train/{loss}", f"eval/{evaluation}"} <= set(metrics)
    assert config["_Group"] == GROUP


def test_no_method_is_left_out() -> None:
    assert set(FORMATS) == {*TRAINED, "ppo"} == set(METHODS)


def test_it_trains_all_weights(trained: Finished) -> None:
    check(trained, trained.method)
    config = json.loads((trained.output / "config.json").read_text())
    assert config["dtype"] == "float32"
    heads = {"SEQ_CLS": "Qwen2ForSequenceClassification", "CAUSAL_LM": "Qwen2ForCausalLM"}
    assert config["architectures"] == [heads[METHODS[trained.method].METHOD.lora_task]]


def test_it_resumes(trained: Finished, inputs: Inputs, warm: Warm, tmp_path: Path) -> None:
    method, checkpoint = trained.method, trained.output / "checkpoint-1"
    project = f"{method}-resumed"
    fields = inputs.fields(method, project, resume_from_checkpoint=str(checkpoint))
    check(warm.run(method, fields, tmp_path), project, first_step=STEPS)


@pytest.mark.parametrize("method", TRAINED)
def test_it_trains_an_adapter(method: str, inputs: Inputs, warm: Warm, tmp_path: Path) -> None:
    project = f"{method}-adapter"
    run = warm.run(method, inputs.fields(method, project, lora={"r": 4}), tmp_path)
    check(run, project)
    config = json.loads((run.output / "adapter_config.json").read_text())
    assert (config["r"], config["task_type"]) == (4, METHODS[method].METHOD.lora_task)
    assert (run.output / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize("method", TRAINED)
def test_two_processes_train(method: str, inputs: Inputs, warm: Warm, tmp_path: Path) -> None:
    project = f"{method}-two"
    fields = inputs.fields(method, project)
    if method in LAUNCHED:
        run = run_script(method, fields, tmp_path / method, HFT_NUM_PROCESSES="2")
    else:
        run = warm.run(method, fields, tmp_path / method, processes=2)
    check(run, project, processes=2)


# PPO trains in an environment made from its script's own header: the TRL that the others train with has it no more.


@pytest.mark.parametrize("adapter", [False, True], ids=["all weights", "adapter"])
def test_ppo_trains_under_its_own_pins(adapter: bool, inputs: Inputs, pinned: Path, tmp_path: Path) -> None:
    fields = inputs.fields("ppo", lora={"r": 4} if adapter else None)
    run = run_pinned("ppo", fields, tmp_path / "run", pinned / "ppo")
    check(run, "ppo")
    assert (run.output / ("adapter_config.json" if adapter else "model.safetensors")).is_file()


@pytest.mark.parametrize("adapter", [False, True], ids=["all weights", "adapter"])
def test_two_processes_train_ppo(adapter: bool, inputs: Inputs, pinned: Path, tmp_path: Path) -> None:
    fields = inputs.fields("ppo", total_episodes=4 * STEPS, lora={"r": 4} if adapter else None)
    run = run_pinned("ppo", fields, tmp_path / "run", pinned / "ppo", HFT_NUM_PROCESSES="2")
    check(run, "ppo", processes=2)
    # the policy alone, and whole
    if adapter:
        assert (run.output / "adapter_config.json").is_file()
    else:
        folders = (run.output, inputs.model)
        names = [safe_open(folder / "model.safetensors", "np").keys() for folder in folders]
        assert sorted(names[0]) == sorted(names[1])


def test_kto_mixes_the_two_answers_of_each_pair(inputs: Inputs, warm: Warm, tmp_path: Path) -> None:
    data = str(inputs.data("preference_implicit_chat"))
    changes = {"dataset": data, "per_device_train_batch_size": 8, "eval_fraction": None, "eval_strategy": "no"}
    run = warm.run("kto", inputs.fields("kto", "kto-pairs", **changes), tmp_path)
    # a batch of one kind has metrics of one kind only
    for event in run.metrics("loss"):
        assert {"rewards/chosen", "rewards/rejected"} <= event["metrics"].keys()


# The loss of a model that is its own reference, before it has learned anything.
UNTRAINED = {"dpo": math.log(2), "kto": 0.5, "online_dpo": math.log(2)}


@pytest.mark.parametrize("method", UNTRAINED)
def test_it_is_compared_with_another_reference(method: str, inputs: Inputs, warm: Warm, tmp_path: Path) -> None:
    own, other = f"{method}-own", f"{method}-other"
    usual = warm.run(method, inputs.fields(method, own), tmp_path / own)
    assert usual.metrics("loss")[0]["metrics"]["loss"] == pytest.approx(UNTRAINED[method], abs=1e-3)
    fields = inputs.fields(method, other, ref_model=str(inputs.teacher), processing_class=str(inputs.teacher))
    run = warm.run(method, fields, tmp_path / other)
    check(run, other)
    assert run.metrics("loss")[0]["metrics"]["loss"] != pytest.approx(UNTRAINED[method], abs=1e-3)
