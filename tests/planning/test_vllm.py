"""Runs with vLLM: what they install, where they run, and how the GPUs are shared."""

from __future__ import annotations

import ast
import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.facts import Facts, ModelFacts
from hfjobs_trainer.find_uv import find_uv
from hfjobs_trainer.planning.plan import Plan
from tests.planning.known_models import QWEN_14B

MODEL = ModelFacts(
    model_type="qwen2",
    num_parameters=1_543_714_304,
    hidden_size=1536,
    intermediate_size=8960,
    num_hidden_layers=28,
    num_attention_heads=12,
    num_key_value_heads=2,
    head_dim=128,
    vocab_size=151_936,
    tie_word_embeddings=True,
)
FIELDS: dict[str, dict[str, Any]] = {
    "grpo": {"reward_funcs": "think_format_reward"},
    "rloo": {"reward_funcs": "think_format_reward"},
    "online_dpo": {"reward_funcs": "think_format_reward"},
    "distillation": {"teacher_model": "me/teacher"},
}


def plan(method: str = "grpo", *, model: ModelFacts = MODEL, **fields: Any) -> Plan:
    common = {"model": "me/model", "dataset": "me/prompts", "timeout": "1h", "namespace": "me", "use_vllm": True}
    output = {"output": {"hub_model_id": "me/out"}}
    spec = hft.METHODS[method](**common | output | FIELDS[method] | fields)
    return hft.plan(spec, facts=Facts(model=model), backend="hub")


def decided(made: Plan) -> dict[str, Any]:
    return {decision.path: decision.value for decision in made.decisions}


def dependencies(script: str) -> list[str]:
    block = re.search(r"# dependencies = \[\n(.*?)# \]", script, re.DOTALL)
    assert block is not None
    return re.findall(r'"(.+)"', block[1])


@pytest.mark.parametrize("method", FIELDS)
def test_the_set_of_packages_is_whole(method: str) -> None:
    made = plan(method, hardware="a100-large")
    needed = dependencies(made.script)
    assert {"trl[vllm]==1.16.0", "vllm==0.30.0", "torch==2.13.0", "transformers==5.23.0"} <= set(needed)
    assert decided(made)["image"] == made.request.image == "vllm/vllm-openai:v0.30.0"
    # torch is the build that vLLM was linked to, whatever the driver
    assert "UV_TORCH_BACKEND" not in made.request.env


def test_without_vllm_nothing_of_it() -> None:
    made = plan(use_vllm=False, hardware="a100-large")
    assert not [line for line in dependencies(made.script) if "vllm" in line]
    assert made.request.image is None
    assert made.request.env["UV_TORCH_BACKEND"] == "auto"


def test_the_users_image_and_environment_stay() -> None:
    made = plan(hardware="a100-large", image="me/image:1", env={"UV_TORCH_BACKEND": "cu130"})
    assert made.request.image == "me/image:1"
    assert made.request.env["UV_TORCH_BACKEND"] == "cu130"
    assert "image" not in decided(made)


@pytest.mark.slow
def test_the_packages_resolve_together(tmp_path: Path) -> None:
    """As uv does it on a rented machine: Linux, Python 3.12."""
    wanted = tmp_path / "wanted.in"
    wanted.write_text("\n".join(dependencies(plan(hardware="a100-large").script)))
    command = [find_uv(), "pip", "compile", "--quiet", "--python-version", "3.12", str(wanted)]
    platform = ["--python-platform", "x86_64-manylinux_2_28"]
    environment = {name: value for name, value in os.environ.items() if name != "UV_FIND_LINKS"}
    done = subprocess.run([*command, *platform], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = dict(line.split("==") for line in done.stdout.splitlines() if re.match(r"[\w.-]+==", line))
    assert (found["vllm"], found["torch"], found["torchvision"]) == ("0.30.0", "2.13.0", "0.28.0")


def test_vllm_gets_what_training_leaves() -> None:
    small, large = plan(hardware="l40sx1"), plan(hardware="h200")
    assert (decided(small)["vllm_gpu_memory_utilization"], decided(large)["vllm_gpu_memory_utilization"]) == (
        0.25,
        0.75,
    )
    assert "vllm_gpu_memory_utilization=0.75," in large.script
    assert large.estimate is not None
    assert large.estimate.memory is not None
    assert large.estimate.memory.gpu_fraction == 0.75
    assert large.estimate.memory.fits(large.flavor.usable_gpu_memory_gib or 0)  # pyright: ignore[reportOptionalMemberAccess]


@pytest.mark.parametrize(
    ("fields", "model"),
    [
        ({"hardware": "h200", "vllm_gpu_memory_utilization": 0.4}, MODEL),
        ({"hardware": "h200"}, ModelFacts()),
        # nothing is left, which MEM001 tells
        ({"hardware": "l4x1"}, MODEL),
    ],
)
def test_what_is_set_or_not_known_is_left(fields: dict[str, Any], model: ModelFacts) -> None:
    assert "vllm_gpu_memory_utilization" not in decided(plan(model=model, **fields))


def test_a_server_has_gpus_of_its_own() -> None:
    made = plan(vllm_mode="server", hardware="a100x4", model_revision="v2", vllm_max_model_length=4096)
    text = made.script
    assert made.estimate is not None
    assert made.estimate.memory is not None
    assert made.estimate.num_gpus == 3
    assert '    set_aside(gpus=1)\n    relaunch(gpus=0, models={MODEL: "v2"})\n' in text
    assert "require_gpus(machine, planned=3)" in text
    options = (
        'host="127.0.0.1",\n        tensor_parallel_size=1,\n        max_model_len=4096,\n        revision="v2",\n'
    )
    assert (
        f"    serve_model(\n        MODEL,\n        port=8000,\n        seconds=900.0,\n        {options}    )" in text
    )
    assert 'vllm_server_host="127.0.0.1",' in text
    assert made.estimate.memory.gpu_fraction == 0


def test_the_machine_has_room_for_the_server() -> None:
    assert plan(hardware="auto").flavor.num_gpus == 1  # pyright: ignore[reportOptionalMemberAccess]
    made = plan(hardware="auto", vllm_mode="server", vllm_tensor_parallel_size=2)
    assert made.flavor is not None
    assert made.flavor.num_gpus >= 3
    assert decided(made)["vllm_server_host"] == "127.0.0.1"
    single = plan(hardware={"strategy": "single"}, vllm_mode="server")
    assert single.flavor is not None
    assert single.flavor.num_gpus >= 2
    assert single.estimate is not None
    assert single.estimate.num_gpus == 1


@pytest.mark.parametrize("address", [{"vllm_server_base_url": "http://gpu:8000"}, {"vllm_server_host": "gpu"}])
def test_a_server_of_the_users_is_left_alone(address: dict[str, str]) -> None:
    made = plan(vllm_mode="server", hardware="a100x4", **dict[str, Any](address))
    assert "serve_model" not in made.script
    assert made.estimate is not None
    assert made.estimate.memory is not None
    assert made.estimate.num_gpus == 4
    ((name, value),) = address.items()
    assert f'{name}="{value}",' in made.script


def served(flavor: str, nodes: int, **fields: Any) -> Plan:
    return plan(vllm_mode="server", hardware={"flavor": flavor, "nodes": nodes}, **fields)


def test_of_several_nodes_the_last_one_serves() -> None:
    made = served("a100x4", 3, vllm_max_model_length=4096)
    (main,) = [node for node in ast.parse(made.script).body if isinstance(node, ast.If)]
    serve, launch, _ = main.body[-3:]
    assert ast.unparse(serve) == (
        "serve_on_last_node(MODEL, nodes=3, port=8000, tensor_parallel_size=4, max_model_len=4096)"
    )
    assert "join=lambda processes: join_nodes(3, processes, serving=True)" in ast.unparse(launch)
    assert "    server = await_server(port=8000, seconds=900.0)\n" in made.script
    assert "        vllm_server_host=server,\n" in made.script
    assert "set_aside" not in made.script
    assert made.estimate is not None
    assert made.estimate.num_gpus == 8
    assert made.request.nodes == 3
    assert decided(made)["vllm_tensor_parallel_size"] == 4
    assert "3 nodes of a100x4 on Hugging Face Jobs: 4 x NVIDIA A100 80GB, the last serves with vLLM, $30.00/h" in str(
        made
    )


def test_the_batch_is_that_of_the_nodes_that_train() -> None:
    steps = {
        nodes: decided(
            served("a10g-largex2", nodes, global_batch_size=64, per_device_train_batch_size=4, num_generations=4)
        )["gradient_accumulation_steps"]
        for nodes in (2, 3)
    }
    assert steps == {2: 64 // (4 * 2), 3: 64 // (4 * 2 * 2)}


def test_one_node_that_trains_is_one_machine() -> None:
    one, two = plan(vllm_mode="server", hardware="a100x4", vllm_server_host="gpu7"), served("a100x4", 2)
    assert one.estimate is not None
    assert two.estimate is not None
    assert two.estimate.num_gpus == one.estimate.num_gpus == 4
    assert two.estimate.memory == one.estimate.memory


@pytest.mark.parametrize(
    ("flavor", "model", "gpus"),
    [
        ("a100x4", MODEL, 4),
        ("a100x8", MODEL, 4),
        ("a100x8", replace(MODEL, num_attention_heads=32, num_key_value_heads=8), 8),
        ("a100x8", replace(MODEL, num_attention_heads=32, num_key_value_heads=None), 8),
        # six GPUs would share the heads, but not the 8960 rows of the MLP; four cannot share three heads of keys
        ("a100x4", replace(MODEL, num_key_value_heads=3, intermediate_size=9000), 3),
        ("a100x4", ModelFacts(), 1),
    ],
)
def test_the_server_takes_as_many_gpus_of_its_node_as_the_model_allows(
    flavor: str, model: ModelFacts, gpus: int
) -> None:
    assert decided(served(flavor, 2, model=model))["vllm_tensor_parallel_size"] == gpus


def test_auto_takes_nodes_that_hold_both() -> None:
    """QLoRA of 14 billion parameters trains on an A10G, which cannot serve the model in 16 bits."""
    tuned: dict[str, Any] = {"lora": {}, "quantization": "4bit", "num_generations": 8}
    made = served("auto", 2, model=QWEN_14B, **tuned)
    assert made.flavor is not None
    assert made.choice is not None
    gpu = made.flavor.usable_gpu_memory_gib or 0
    served_by = decided(made)["vllm_tensor_parallel_size"]
    assert 2 * (QWEN_14B.num_parameters or 0) / 2**30 / served_by < 0.9 * gpu
    why = dict(made.choice.rejected)["a10g-large"]
    assert why.startswith("vLLM server: 27.5 GiB of weights would go on a GPU of a10g-large, but the server may use")
    assert not {problem.code for problem in made.problems} & {"VLLM004", "VLLM007"}
