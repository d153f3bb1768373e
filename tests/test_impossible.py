"""Ways for a run to fail that its script rules out, whatever the spec."""

from __future__ import annotations

import ast
import importlib
import json
import tomllib
from dataclasses import fields
from importlib.resources import files
from typing import Any

import pytest
from huggingface_hub.cli._uv_script_header import parse_uv_script_header

import hfjobs_trainer as hft
from hfjobs_trainer.facts import AccountFacts, Facts
from hfjobs_trainer.planning.plan import JobRequest, Plan
from hfjobs_trainer.rendering.paste import runtime_block
from hfjobs_trainer.specs.registry import METHODS
from hfjobs_trainer.specs.rewards import BUILTIN_REWARDS

# Methods whose pins are those of this environment; PPO has its own, under which tests/e2e run it.
HERE = [method for method, spec in METHODS.items() if spec.METHOD.family == "default"]
FACTS = Facts(account=AccountFacts(has_token=True, name="me", organizations=("team",), token_role="write"))


def length(completions: list[str], **kwargs: Any) -> list[float]:
    return [float(len(completion)) for completion in completions]


def plan(method: str, **more: Any) -> Plan:
    """A plan with as much in it as there can be."""
    known = {
        "reward_funcs": [*BUILTIN_REWARDS, "me/judge", length],
        "reward_model": "me/reward",
        "teacher_model": "me/teacher",
    }
    needed = {name: value for name, value in known.items() if name in METHODS[method].model_fields}
    given: dict[str, Any] = {
        "model": "me/model",
        "dataset": "me/data",
        "eval_dataset": "me/test",
        "eval_strategy": "steps",
        "timeout": "3h",
        "hardware": {"flavor": "a10g-largex4"},
        "lora": {"r": 8},
        "optim": "paged_adamw_8bit",
        "output": {"hub_model_id": "me/out"},
        "tracking": {"project": "p", "name": "first", "group": "beta", "space_id": "me/trackio"},
        "env": {"LEVEL": "1"},
        "secrets": ["WANDB_API_KEY"],
        "labels": {"team": "a"},
        "namespace": "team",
        "image": "ghcr.io/astral-sh/uv:python3.12-bookworm",
        **needed,
    }
    return hft.plan(METHODS[method](**given | more), facts=FACTS)


def calls(script: str, name: str) -> list[ast.Call]:
    found = [node for node in ast.walk(ast.parse(script)) if isinstance(node, ast.Call)]
    return [node for node in found if isinstance(node.func, ast.Name) and node.func.id == name]


def header(script: str) -> dict[str, Any]:
    lines = script.split("# ///\n")[0].removeprefix("# /// script\n").splitlines()
    return tomllib.loads("\n".join(line.removeprefix("#").removeprefix(" ") for line in lines))


def requirements(script: str) -> list[str]:
    return header(script)["dependencies"]


# -- what is sent


def test_a_request_has_no_arguments() -> None:
    # those that name a file, here or in the container, are what the client mistakes
    assert {field.name for field in fields(JobRequest)} == {
        "script",
        "name",
        "flavor",
        "timeout_seconds",
        "env",
        "secrets",
        "labels",
        "namespace",
        "image",
        "nodes",
        "volumes",
        "attempts",
        "ssh",
        "expose",
        "resource_group_id",
        "data",
        "schedule",
        "files",
    }


@pytest.mark.parametrize("method", METHODS)
def test_the_script_needs_no_arguments(method: str) -> None:
    tree = ast.parse(plan(method).script)
    read = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr == "argv"]
    # handed on by the relaunch, and read by nothing
    assert len(read) == 1
    assert "argparse" not in plan(method).script


@pytest.mark.parametrize("method", METHODS)
def test_the_header_says_what_is_passed(method: str) -> None:
    made = plan(method)
    found = parse_uv_script_header(made.script)
    assert found is not None
    request = made.request
    assert (found.flavor, found.image, found.name, found.namespace) == (
        request.flavor,
        request.image,
        request.name,
        request.namespace,
    )
    assert found.timeout == f"{request.timeout_seconds}s" == "13500s"
    assert found.env == dict(request.env)
    assert tuple(found.secrets) == request.secrets == ("WANDB_API_KEY", "HF_TOKEN")
    assert found.labels == dict(request.labels)
    assert not found.volumes


@pytest.mark.parametrize("method", METHODS)
def test_the_script_travels_as_text(method: str) -> None:
    made = plan(method)
    assert made.request.script == made.script
    assert made.script.startswith("# /// script\n")
    ast.parse(made.script)


# -- what is installed


@pytest.mark.parametrize("method", METHODS)
def test_every_version_is_exact_and_tested(method: str) -> None:
    data = json.loads(files("hfjobs_trainer.data").joinpath("pins.json").read_text(encoding="utf-8"))
    tested = data["families"][METHODS[method].METHOD.family]["packages"] | data["extras"]
    wanted = dict(text.split("==") for text in requirements(plan(method).script))
    assert wanted.items() <= tested.items()
    expected = {"torch", "trl", "transformers", "accelerate", "datasets", "peft", "trackio", "bitsandbytes"}
    assert expected <= wanted.keys()
    assert ("math-verify" in wanted) == ("reward_funcs" in METHODS[method].model_fields)
    assert ("requests" in wanted) == (method == "ppo")


@pytest.mark.parametrize("method", METHODS)
def test_the_header_bounds_what_the_pins_bring(method: str) -> None:
    assert header(plan(method).script)["tool"]["uv"]["exclude-newer"].endswith("Z")


@pytest.mark.parametrize("method", HERE)
def test_versions_are_those_that_are_installed_here(method: str) -> None:
    from importlib.metadata import PackageNotFoundError, version

    here: dict[str, str] = {}
    for text in requirements(plan(method).script):
        name = text.split("==")[0]
        try:
            here[name] = version(name).split("+")[0]
        except PackageNotFoundError:
            continue
    assert here.items() <= dict(text.split("==") for text in requirements(plan(method).script)).items()


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore:You are importing from 'trl.experimental'")
@pytest.mark.parametrize("method", HERE)
def test_every_import_of_a_script_exists(method: str) -> None:
    for node in ast.walk(ast.parse(plan(method).script)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                importlib.import_module(alias.name)
        elif isinstance(node, ast.ImportFrom):
            module = importlib.import_module(node.module or "")
            assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore:You are importing from 'trl.experimental'")
@pytest.mark.parametrize("method", HERE)
def test_trainer_and_config_are_where_the_method_says(method: str) -> None:
    known = METHODS[method].METHOD
    module = importlib.import_module(known.module)
    assert known.experimental == known.module.startswith("trl.experimental")
    assert hasattr(module, known.trainer)
    assert hasattr(module, known.config)


# -- several GPUs


@pytest.mark.parametrize("flavor", ["a10g-large", "a10g-largex4"])
@pytest.mark.parametrize("method", METHODS)
def test_a_script_starts_one_process_for_each_gpu_that_it_sees(method: str, flavor: str) -> None:
    script = plan(method, hardware=flavor).script
    assert runtime_block("relaunch").definitions["count_processes"].source in script
    guard = ast.parse(script).body[-1]
    assert isinstance(guard, ast.If)
    assert ast.unparse(guard.test) == "__name__ == '__main__'"
    hook, told, *stopped, started, trained = (ast.unparse(statement) for statement in guard.body)
    assert hook.startswith("if 'HFT_MODE_FILE' in os.environ:")
    assert told.startswith("sys.excepthook = ")
    assert stopped == ["stop_again()"] * ("HFT_CHECKPOINTS" in plan(method, hardware=flavor).request.env)
    # 0: as many as there are, whatever was planned
    assert started.startswith("relaunch(gpus=0")
    assert trained == "main()"
    assert ("models={MODEL: None" in started) == (flavor == "a10g-largex4")


def test_a_single_process_is_only_by_request() -> None:
    script = plan("sft", hardware={"flavor": "a10g-large", "strategy": "single"}).script
    assert [ast.unparse(call) for call in calls(script, "relaunch")] == ["relaunch(gpus=1)"]


@pytest.mark.parametrize("method", METHODS)
def test_no_config_file_is_left_behind(method: str) -> None:
    sharded = {"version": 2, "reshard_after_forward": True}
    script = plan(method, hardware={"flavor": "a10g-largex4", "strategy": "user", "fsdp_config": sharded}).script
    [config] = calls(script, METHODS[method].METHOD.config)
    given = {keyword.arg: keyword.value for keyword in config.keywords}
    assert ast.literal_eval(given["fsdp_config"]) == sharded
    assert "--config_file" not in script


def test_a_deepspeed_config_is_embedded_and_its_package_installed() -> None:
    zero = {"zero_optimization": {"stage": 2}, "train_micro_batch_size_per_gpu": "auto"}
    script = plan("sft", hardware={"flavor": "a10g-largex4", "strategy": "user", "deepspeed": zero}).script
    [config] = calls(script, "SFTConfig")
    given = {keyword.arg: keyword.value for keyword in config.keywords}
    assert ast.literal_eval(given["deepspeed"]) == zero
    assert any(text.startswith("deepspeed==") for text in requirements(script))


# -- tracking


@pytest.mark.parametrize("method", METHODS)
def test_the_group_reaches_the_tracker(method: str) -> None:
    script = plan(method).script
    [call] = calls(script, "track")
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    assert {name: ast.literal_eval(given[name]) for name in ("project", "name", "group", "space_id", "private")} == {
        "project": "p",
        "name": "first",
        "group": "beta",
        "space_id": "me/trackio",
        "private": True,
    }
    assert runtime_block("track_trackio").definitions["track"].source in script
    [config] = calls(script, METHODS[method].METHOD.config)
    assert {keyword.arg: ast.unparse(keyword.value) for keyword in config.keywords}[
        "trackio_static_space_id"
    ] == "False"
