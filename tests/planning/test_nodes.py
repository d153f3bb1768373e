"""What several nodes change in a plan: memory, batch, price, strategy, header and script."""

from __future__ import annotations

import ast
from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.facts import AccountFacts, Facts, ModelFacts
from hfjobs_trainer.planning.plan import Plan

FACTS = Facts(
    model=ModelFacts(exists=True, num_parameters=7_615_616_512), account=AccountFacts(has_token=True, name="me")
)


def planned(flavor: str = "a100-large", nodes: int = 2, strategy: Any = "auto", **fields: Any) -> Plan:
    spec = hft.SFT(
        model="Qwen/Qwen2.5-7B",
        dataset="me/data",
        timeout="1h",
        output=hft.Output(hub_model_id="me/out"),
        hardware=hft.Hardware(flavor=flavor, nodes=nodes, strategy=strategy),
        **fields,
    )
    return hft.plan(spec, facts=FACTS)


def decisions(plan: Plan) -> dict[str, Any]:
    return {decision.path: decision.value for decision in plan.decisions}


def codes(plan: Plan) -> set[str]:
    return {problem.code for problem in plan.problems}


def test_one_node_is_the_default_and_changes_nothing() -> None:
    one, unsaid = planned(nodes=1), hft.Hardware(flavor="a100-large")
    assert one.request.nodes == unsaid.nodes == 1
    assert "join_nodes" not in one.script
    assert "HFT_JOIN_SECONDS" not in one.script


def test_the_request_asks_for_all_of_them_and_the_price_is_theirs() -> None:
    one, three = planned(nodes=1), planned(nodes=3)
    assert three.request.nodes == 3
    where = next(line for line in str(three).splitlines() if "Hugging Face Jobs" in line)
    assert where.strip().startswith("where          3 nodes of a100-large on Hugging Face Jobs: ")
    assert "$7.50/h" in where
    # an hour and a quarter, at 2.50 dollars an hour and node
    assert "at most $3.12" in str(one)
    assert "at most $9.38" in str(three)


def test_the_global_batch_is_kept_over_all_gpus() -> None:
    found = decisions(planned("a10g-largex2", global_batch_size=64, per_device_train_batch_size=4))
    assert found["gradient_accumulation_steps"] == 64 // (4 * 2 * 2)
    odd = hft.SFT(
        model="Qwen/Qwen2.5-7B",
        dataset="me/data",
        global_batch_size=12,
        per_device_train_batch_size=4,
        hardware=hft.Hardware(flavor="a10g-largex2", nodes=2),
    )
    (problem,) = [item for item in hft.check(odd, facts=FACTS).problems if item.code == "BATCH001"]
    assert problem.why == "12 is not a multiple of 4 per device on 4 GPUs"


def test_a_model_is_spread_over_the_gpus_of_all_nodes() -> None:
    one, two = planned("a100x4", 1, "fsdp2").estimate, planned("a100x4", 2, "fsdp2").estimate
    assert one is not None
    assert two is not None
    assert (one.num_gpus, two.num_gpus) == (4, 8)
    assert two.memory is not None
    assert one.memory is not None
    assert two.memory.weights == pytest.approx(one.memory.weights / 2)
    # nodes with a GPU each are several GPUs: neither rule about one GPU speaks
    for strategy in ("fsdp2", "ddp", "zero3"):
        assert not codes(planned("a100-large", 2, strategy)) & {"DIST001", "HW006"}
        assert codes(planned("a100-large", 1, strategy)) & {"DIST001", "HW006"}


def test_auto_spreads_over_nodes_what_fits_on_no_single_gpu() -> None:
    """7.6 billion parameters take 30 GB a copy of weights, gradients and twice that for Adam: more than 80 GB."""
    plan = planned("a100-large", 4)
    assert decisions(plan)["hardware.strategy"] == "fsdp2"
    assert "MEM001" not in codes(plan)
    assert "MEM001" in codes(planned("a100-large", 1))
    chosen = planned("auto", 4)
    assert chosen.flavor is not None
    assert chosen.estimate is not None
    assert chosen.estimate.num_gpus == chosen.flavor.num_gpus * 4


def test_colocated_vllm_shares_within_a_node() -> None:
    spec = hft.GRPO(
        model="Qwen/Qwen2.5-7B",
        dataset="me/data",
        reward_funcs="think_format_reward",
        use_vllm=True,
        vllm_mode="colocate",
        vllm_tensor_parallel_size=4,
        hardware=hft.Hardware(flavor="a10g-largex2", nodes=2),
    )
    (problem,) = [item for item in hft.check(spec, facts=FACTS).problems if item.code == "VLLM001"]
    assert problem.why == "4 does not divide the 2 GPUs that train"


def test_the_script_joins_the_nodes_after_it_has_downloaded() -> None:
    plan = planned("a100-large", 3)
    (main,) = [node for node in ast.parse(plan.script).body if isinstance(node, ast.If)]
    call = ast.unparse(main.body[-2])
    assert call == "relaunch(gpus=0, models={MODEL: None}, join=lambda processes: join_nodes(3, processes))"
    assert decisions(plan)["ddp_timeout"] == 7200
    # no identity of a run is in it
    assert "node-group" not in plan.script.split("# ///")[1]


def test_a_script_with_nodes_gives_its_spec_back(tmp_path: Any) -> None:
    plan = planned("a100-large", 3)
    path = tmp_path / "train.py"
    path.write_text(plan.script, encoding="utf-8")
    assert hft.load(path) == plan.spec


@pytest.mark.parametrize("backend", ["hub", "local"])
def test_what_this_machine_cannot_do_is_refused_there_only(backend: str) -> None:
    spec = planned().spec
    found = {problem.code for problem in hft.check(spec, facts=FACTS, backend=backend).problems}
    assert ("NODE001" in found) == (backend == "local")
