"""Smoke tests: each method's very script, on tiny twins of its models, to its end or to what is wrong with it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import hfjobs_trainer as hft
from examples import tiny
from hfjobs_trainer.running.events import read_events
from hfjobs_trainer.trying.failures import CODES, Failure, explain
from hfjobs_trainer.trying.run import mode_files
from hfjobs_trainer.trying.smoke import checked, conclude, settings_of
from tests.e2e.methods import TRAINED, Inputs, Warm

WHOLE = {
    "packages",
    "twins",
    "rows",
    "trainer",
    "training",
    "checkpoint",
    "evaluation",
    "resume",
    "save",
    "push",
    "tracking",
}
HERE = hft.Client(backend="local", namespace="me")
Rehearse = Callable[..., hft.SmokeTest]


def at_length(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of a run that would take hours: a smoke test makes it short."""
    long = {"max_steps": 100_000, "save_steps": 5000, "eval_steps": 5000, "gradient_accumulation_steps": 4}
    return {**long, "output": {"hub_model_id": "me/colors"}, **changes}


@pytest.fixture
def rehearse(inputs: Inputs, warm: Warm, tmp_path: Path) -> Rehearse:
    """Run a script in its smoke mode, in forks of a process that has imported TRL."""

    def run(method: str, processes: int = 1, **changes: Any) -> hft.SmokeTest:
        spec = {"method": method, **inputs.fields(method, **at_length(changes))}
        plan = HERE.plan(spec, offline=True)
        script = tmp_path / "script.py"
        script.write_text(plan.script, encoding="utf-8")
        modes = tmp_path / "modes"
        modes.mkdir()
        for name, content in mode_files().items():
            (modes / name).write_bytes(content)
        (modes / "smoke.json").write_text(json.dumps(settings_of(plan, asks=False)))
        env = {"HFT_MODE_FILE": str(modes / "smoke.py"), "HFT_MODE_SCRATCH": str(tmp_path / "scratch")}
        status = warm.start(script, processes=processes, **env)
        log = "".join((tmp_path / f"{name}-0.txt").read_text() for name in ("out", "err"))
        event = next((event for event in read_events(log.splitlines()) if event.kind == "smoke"), None)
        found = conclude(
            plan,
            event and event.data,
            log=log,
            why=f"exit status {status}",
            where="this machine",
            seconds=1.0,
            processes=processes,
        )
        assert (status == 0) is found.ok, log[-3000:]
        return found

    return run


def names(found: hft.SmokeTest) -> set[str]:
    return {stage.name for stage in found.stages}


@pytest.mark.parametrize("method", TRAINED)
def test_each_method_is_tried_whole(method: str, rehearse: Rehearse, tmp_path: Path) -> None:
    found = rehearse(method)
    assert found.ok, str(found)
    assert names(found) == WHOLE
    # nothing of it is left but in the scratch folder
    assert {path.name for path in tmp_path.iterdir()} == {"script.py", "modes", "scratch", "out-0.txt", "err-0.txt"}


@pytest.mark.parametrize(
    ("method", "changes"),
    [
        ("sft", {"packing": True, "eval_packing": False, "output": {"hub_model_id": "me/x", "merge_adapter": "both"}}),
        ("dpo", {"precompute_ref_log_probs": True, "load_best_model_at_end": True}),
        ("grpo", {"max_completion_length": 2048, "num_generations": 4, "vllm_mode": "colocate", "use_vllm": True}),
    ],
)
def test_adapters_are_tried_and_merged(method: str, changes: dict[str, Any], rehearse: Rehearse) -> None:
    lora = {"r": 4, "layers_to_transform": [1], "target_modules": ["q_proj"]}
    found = rehearse(method, lora=lora, **changes)
    assert found.ok, str(found)
    assert ("merge" in names(found)) is (method == "sft")
    if method == "grpo":
        assert any("vLLM" in item for item in found.not_covered)
        assert any("16 tokens" in item for item in found.not_covered)


def test_an_adapter_is_continued(rehearse: Rehearse, inputs: Inputs, tmp_path: Path) -> None:
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "target_modules": ["q_proj"]}
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({**config, "base_model_name_or_path": str(inputs.model)}))
    (adapter / "adapter_model.safetensors").touch()  # weights are not read
    found = rehearse("sft", lora={"adapter": str(adapter)})
    assert found.ok, str(found)


def test_what_a_processor_lacks_is_left_out_and_said(rehearse: Rehearse) -> None:
    found = rehearse(
        "sft",
        bf16=True,
        optim="adamw_8bit",
        attn_implementation="kernels-community/flash-attn3",
        torch_compile=True,
        extra_dependencies=["kernels>=0.18.2,<0.19"],
    )
    assert found.ok, str(found)
    told = " ".join(found.not_covered)
    assert all(word in told for word in ("float32", "adamw_8bit", "flash-attn3", "torch_compile"))


def test_two_processes_try_it(rehearse: Rehearse) -> None:
    found = rehearse("kto", processes=2)
    assert found.ok, str(found)
    assert found.processes == 2
    assert any("gloo" in item for item in found.not_covered)


def test_images_are_tried(rehearse: Rehearse, tmp_path: Path) -> None:
    model = tiny.make_vlm(tmp_path.parent / f"{tmp_path.name}-vlm")
    data = tiny.write_image_dataset(tmp_path.parent / f"{tmp_path.name}-data", "messages", 12)
    found = rehearse("sft", model=str(model), dataset=str(data))
    assert found.ok, str(found)


def breaks(completions: list[Any], **_: Any) -> list[float]:
    return [1.0 / (len(completions) - len(completions))]


def needs_a_package(completions: list[Any], **_: Any) -> list[float]:
    from importlib import import_module

    return import_module("no_such_package").score(completions)


def one_for_all(completions: list[Any], **_: Any) -> list[float]:
    return [float(len(completions[0]))]


def problem(found: hft.SmokeTest) -> hft.Problem:
    assert not found.ok
    (only,) = [item for item in found.problems if item.severity == "error"]
    return only


def test_a_reward_that_raises_is_named_with_its_line(rehearse: Rehearse) -> None:
    found = rehearse("grpo", reward_funcs=breaks)
    told = problem(found)
    assert (told.code, told.path) == ("SMOKE002", "breaks")
    assert "`return [1.0 / (len(completions) - len(completions))]`" in told.why
    assert "ZeroDivisionError" in told.why
    assert (found.stages[-1].name, found.stages[-1].ok) == ("training", False)
    with pytest.raises(hft.SpecError, match="in this smoke test"):
        found.raise_for_problems()


def test_a_package_that_is_missing_is_what_to_add(rehearse: Rehearse) -> None:
    told = problem(rehearse("grpo", reward_funcs=needs_a_package, extra_dependencies=["no-such-package"]))
    assert told.code == "SMOKE003"
    assert "no_such_package" in told.why
    assert told.fix == 'extra_dependencies=["no-such-package", "no_such_package"]'


def test_a_reward_that_returns_too_few_is_told(rehearse: Rehearse) -> None:
    told = problem(rehearse("grpo", reward_funcs=one_for_all))
    assert (told.code, told.path) == ("SMOKE002", "one_for_all")
    assert told.why.startswith("one_for_all returns 1 for ")


@pytest.mark.torch
def test_a_chat_template_that_is_not_there() -> None:
    """As the script of a job has it: a path of this machine, which no rule of the local backend looked at."""
    transformers: Any = import_module("transformers")
    with pytest.raises(OSError, match="/no/such") as error:
        transformers.AutoTokenizer.from_pretrained("/no/such/chat.jinja")
    told = explain(Failure("OSError", str(error.value), stage="trainer"))
    assert (told.code, told.path) == ("DATA006", "chat_template_path")
    assert told.why == "/no/such/chat.jinja does not exist where the script runs"
    unknown = "me/model is not a local folder and is not a valid model identifier"
    assert explain(Failure("OSError", unknown)).code == "SMOKE001"


def test_an_error_that_nobody_knows_is_told_with_its_end() -> None:
    failure = Failure("RuntimeError", "odd", stage="training", traceback="  File ...\nRuntimeError: odd")
    told = explain(failure)
    assert (told.code, told.path) == ("SMOKE001", "")
    assert told.why.startswith("the script fails in the stage training: RuntimeError: odd\n")


def endless(completions: list[Any], **_: Any) -> list[float]:
    return [float("inf") for _ in completions]


def test_a_loss_that_is_no_number(rehearse: Rehearse) -> None:
    told = problem(rehearse("grpo", reward_funcs=endless))
    assert (told.code, told.path) == ("SMOKE004", "reward_funcs")


def test_a_template_that_raises(rehearse: Rehearse, inputs: Inputs, tmp_path: Path) -> None:
    model = tmp_path.parent / f"{tmp_path.name}-model"
    shutil.copytree(inputs.model, model)
    template = "{{ raise_exception('Conversation roles must alternate') }}"
    (model / "chat_template.jinja").write_text(template, encoding="utf-8")
    spec = {"method": "sft", **inputs.fields("sft", **at_length({"model": str(model)}))}
    # the rules may see it first
    found = (
        rehearse("sft", model=str(model)) if HERE.check(spec, offline=True).ok else HERE.smoke_test(spec, offline=True)
    )
    assert "TMPL001" in {item.code for item in found.problems}
    assert "Conversation roles must alternate" in str(found)


def test_what_the_rules_refuse_is_not_run(inputs: Inputs) -> None:
    spec = {"method": "dpo", **inputs.fields("dpo", dataset=str(inputs.data("prompt_only")))}
    found = HERE.smoke_test(spec, offline=True)
    assert not found.ok
    assert found.stages == ()
    assert "DATA004" in {item.code for item in found.problems}
    assert "the script was not run" in repr(found)


def test_a_script_of_the_users_own_has_none(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text("print(1)")
    with pytest.raises(hft.SpecError, match="no smoke test"):
        HERE.smoke_test({"method": "script", "script": str(script)}, offline=True)


@pytest.mark.torch
def test_several_gpus_are_tried_by_two_processes_of_this_machine(inputs: Inputs) -> None:
    fields = inputs.fields("sft", **at_length({"hardware": {"flavor": "l4x4"}, "timeout": "1h"}))
    found = hft.Client(namespace="me").smoke_test({"method": "sft", **fields}, offline=True)
    assert found.ok, str(found) + found.log
    assert names(found) == WHOLE
    assert (found.processes, found.usd) == (2, 0.0)
    told = str(found)
    assert all(word in told for word in ("passed on this machine", "2 processes", "4x NVIDIA L4", "not covered"))
    assert "<table>" in found._repr_html_()  # pyright: ignore[reportPrivateUsage]


@pytest.mark.torch
def test_ppo_is_tried_under_its_own_pins(inputs: Inputs) -> None:
    changes = {"max_steps": -1, "total_episodes": 100_000, "gradient_accumulation_steps": 1}
    found = HERE.smoke_test({"method": "ppo", **inputs.fields("ppo", **at_length(changes))}, offline=True)
    assert found.ok, str(found) + found.log
    assert names(found) == WHOLE - {"resume"}


@pytest.mark.torch
def test_it_is_stopped_at_its_limit(inputs: Inputs) -> None:
    found = HERE.smoke_test({"method": "sft", **inputs.fields("sft")}, offline=True, seconds=0.5)
    assert problem(found).code == "SMOKE005"


@pytest.mark.torch
def test_nothing_is_submitted_unless_it_goes_well(inputs: Inputs, tmp_path: Path) -> None:
    here = hft.Client(backend=hft.LocalBackend(root=tmp_path / "runs", python="current"))
    spec = {"method": "grpo", **inputs.fields("grpo", reward_funcs=breaks)}
    with pytest.raises(hft.SpecError, match=r"breaks at .* raises ZeroDivisionError"):
        here.submit(spec, smoke_test=True)
    assert here.jobs() == []


def test_each_code_is_on_the_page() -> None:
    page = (Path(__file__).parents[2] / "references/running.md").read_text(encoding="utf-8")
    for code, meaning in CODES.items():
        assert f"| {code} | {meaning.removesuffix('.')} |" in page


@pytest.mark.torch
def test_nobody_has_to_push_what_is_only_tried(inputs: Inputs) -> None:
    fields = {"method": "sft", **inputs.fields("sft")}
    plan = hft.plan(fields, offline=True)
    assert [item.code for item in plan.problems if item.path == "output"] == ["HUB005"]
    assert checked(plan) == tuple(item for item in plan.problems if item.scope == "script")
