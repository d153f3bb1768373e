"""What protects a run: where its checkpoints go, how often they are written, and from which it resumes exactly."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from math import gcd
from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.facts import DatasetFacts, Facts
from hfjobs_trainer.facts.backends import INPROCESS, LOCAL, BackendTraits
from hfjobs_trainer.planning.assemble import assemble
from hfjobs_trainer.planning.duration.saves import FAILS, LONGEST, choose_every
from hfjobs_trainer.planning.layout import given_layout, resume_every
from hfjobs_trainer.planning.plan import Plan, Volume
from hfjobs_trainer.planning.run import Run
from hfjobs_trainer.planning.understand import understand
from tests.planning.known_models import LLAMA_8B, QWEN_05B
from tests.planning.test_machine import facts
from tests.specs.building import required

MOUNTED = Volume("bucket", "hft-checkpoints", "/hft/checkpoints", read_only=False)
OWN = BackendTraits("mine")


def plan(method: str = "sft", known: Facts | None = None, backend: Any = "hub", **fields: Any) -> Plan:
    spec = hft.METHODS[method](**required(method), **{"hardware": "a10g-large", **fields})
    return assemble(spec, known or facts(), backend=backend)


def place(made: Plan) -> str | None:
    assert made.kept is not None
    return made.kept.place


@pytest.mark.parametrize(
    ("fields", "backend", "expected", "mounted"),
    [
        ({"timeout": "12m"}, "hub", "disk", False),
        ({"timeout": "13m"}, "hub", "bucket", True),
        ({"timeout": 900, "timeout_padding": 0.0}, "hub", "disk", False),
        ({"timeout": "12m", "output": {"checkpoints": "bucket"}}, "hub", "bucket", True),
        ({"timeout": "3h", "output": {"checkpoints": None}}, "hub", None, False),
        ({"timeout": "3h", "hub_strategy": "checkpoint", "hub_model_id": "me/x"}, "hub", "hub", False),
        # for a model that cannot be pushed
        ({"timeout": "3h", "hub_model_id": "me/x", "save_only_model": True}, "hub", None, True),
        ({"timeout": "3h", "save_only_model": True}, "hub", None, False),
        ({"timeout": "3h"}, INPROCESS, "bucket", True),
        ({"timeout": "3h"}, OWN, "disk", False),
        ({"timeout": "3h"}, LOCAL, "disk", False),
        ({"timeout": "3h", "output": {"checkpoints": "bucket"}}, LOCAL, "disk", False),
        ({"hub_strategy": "checkpoint", "hub_model_id": "me/x"}, LOCAL, "hub", False),
    ],
    ids=str,
)
def test_where_checkpoints_go(fields: dict[str, Any], backend: Any, expected: str | None, mounted: bool) -> None:
    made = plan(backend=backend, **fields)
    assert place(made) == expected
    assert (MOUNTED in made.request.volumes) == mounted
    assert made.request.env.get("HFT_CHECKPOINTS") == ("/hft/checkpoints" if mounted else None)
    assert made.request.env.get("HFT_TIMEOUT") == (str(made.timeout_seconds) if made.timeout_seconds else None)


def test_a_run_of_unknown_length_may_be_long() -> None:
    assert place(plan(known=Facts(), hub_model_id="me/x")) == "bucket"


def test_a_run_by_hand_mounts_nothing_and_knows_its_time() -> None:
    made = plan(timeout="3h", namespace="me", env={"HFT_TIMEOUT": "60"})
    header = made.script.split("# /// script\n")[1].split("# ///\n")[0]
    table = tomllib.loads("\n".join(line.removeprefix("#").removeprefix(" ") for line in header.splitlines()))
    assert "volumes" not in table["tool"]["hf-jobs"]
    # the user's own counts
    assert table["tool"]["hf-jobs"]["env"]["HFT_TIMEOUT"] == "60"
    assert "HF_TOKEN" not in plan(timeout="3h", report_to="none").request.secrets


def test_a_checkpoint_on_the_hub_is_no_push() -> None:
    made = plan(hub_strategy="checkpoint", hub_model_id="me/x", timeout="3h")
    assert 'hub_strategy="end"' in made.script
    also = plan(output={"checkpoints": "hub", "hub_strategy": "every_save", "hub_model_id": "me/x"}, timeout="3h")
    assert 'hub_strategy="every_save"' in also.script


def test_the_plan_says_what_is_at_risk() -> None:
    made = plan(hub_model_id="me/x")
    (decision,) = [item for item in made.decisions if item.path == "save_steps"]
    assert made.kept is not None
    saves = made.kept.saves
    assert saves is not None
    assert decision.value == saves.every
    assert f"save_steps={saves.every}," in made.script
    assert decision.why.endswith(" apart, 15 s each: least is lost if machines fail daily")
    shown = str(made)
    risk = f"at most ${saves.usd.high:.2f} of work at risk"
    assert f"bucket me/hft-checkpoints, every {saves.every:,} steps: {risk}" in shown
    assert "hft-checkpoints" in made._repr_html_()  # pyright: ignore[reportPrivateUsage]
    # the time between two, and the copy, at the price of the machine
    lost = (saves.between + saves.seconds + saves.copying) * (1.5 / 3600)
    assert saves.usd == lost


@pytest.mark.parametrize(
    "fields",
    [
        {"save_steps": 500},
        {"save_strategy": "epoch"},
        {"save_strategy": "steps"},
        {"save_only_model": True},
        {"output": {"checkpoints": None}},
        {"load_best_model_at_end": True, "eval_strategy": "steps", "eval_steps": 100, "eval_fraction": 0.1},
    ],
    ids=str,
)
def test_what_the_user_says_of_saving_is_not_changed(fields: dict[str, Any]) -> None:
    asked = fields.get("save_steps")
    made = plan(**fields)
    assert [item for item in made.decisions if item.path == "save_steps"] == []
    assert ("save_steps=" in made.script.partition("def main")[2].partition("# ///")[0]) == bool(asked)


@pytest.mark.parametrize("backend", ["hub", "local"])
def test_without_a_pace_nothing_is_chosen(backend: str) -> None:
    known = facts() if backend == "local" else Facts()
    assert "save_steps" not in [item.path for item in plan(known=known, backend=backend, timeout="3h").decisions]


def test_the_time_of_the_chosen_saves_is_in_the_estimate() -> None:
    known = facts(LLAMA_8B)
    chosen, usual = (plan(known=known, hardware="h200x2", **more) for more in ({}, {"save_strategy": "steps"}))
    assert chosen.estimate is not None
    assert usual.estimate is not None
    duration, other = chosen.estimate.duration, usual.estimate.duration
    assert duration is not None
    assert other is not None
    assert duration.saves is not None
    assert duration.saves.chosen
    saved = duration.steps // duration.saves.every + 1
    assert duration.parts["checkpoints"].expected == pytest.approx(saved * duration.saves.seconds.expected)
    assert duration.parts["checkpoints"].expected != other.parts["checkpoints"].expected


# steps, seconds of work, of a save and of its copy
RUNS = [(5000, 36_000, 4, 16), (5000, 36_000, 240, 960), (100, 86_400, 4, 16), (10_000, 700, 0.1, 0.3), (3, 3000, 1, 2)]


@pytest.mark.parametrize("run", RUNS, ids=str)
@pytest.mark.parametrize("multiple", [1, 4, 7])
def test_saving_is_cheap_and_often_enough(run: tuple[int, float, float, float], multiple: int) -> None:
    steps, work, save, copy = run
    every = choose_every(steps, work, save, copy, multiple)
    assert every % multiple == 0
    each = work / steps
    saves = -(-steps // every)
    assert saves >= 2 or every == multiple
    # two may cost more; a last one is at the end
    assert saves == 2 or (saves - 1) * save <= 0.05 * work
    assert saves == 2 or every * each >= copy
    # rounded up to two digits and to the multiple
    assert every * each <= max(LONGEST, save / 0.05, 2 * copy) * 1.1 + each * (multiple + 1)


def test_the_interval_costs_least() -> None:
    steps, work, save = 360_000, 360_000.0, 4.0

    def cost(every: int) -> float:
        return work / every * save + work / FAILS * every / 2

    best = choose_every(steps, work, save, 0.0, 1)
    assert cost(best) <= min(cost(best // 2), cost(best * 2), cost(round(best * 0.7)), cost(round(best * 1.5)))


@pytest.mark.parametrize("method", ["grpo", "rloo"])
@pytest.mark.parametrize("iterations", [1, 3])
@pytest.mark.parametrize(
    "batch",
    [
        {},
        {"gradient_accumulation_steps": 4},
        {"gradient_accumulation_steps": 4, "steps_per_generation": 8},
        {"gradient_accumulation_steps": 8, "steps_per_generation": 4},
        {"gradient_accumulation_steps": 4, "generation_batch_size": 96},
    ],
    ids=str,
)
@pytest.mark.parametrize("world", [1, 2])
def test_no_completion_waits_where_a_run_resumes(
    method: str, iterations: int, batch: dict[str, int], world: int
) -> None:
    run = run_of(method, num_iterations=iterations, per_device_train_batch_size=8, **batch)
    accumulation: int = batch.get("gradient_accumulation_steps", run.batch.accumulation)
    # as TRL's config settles it
    together = batch.get("steps_per_generation", accumulation)
    if "generation_batch_size" in batch:
        together = batch["generation_batch_size"] // (8 * world)
    waiting = together * iterations
    fits = [n for n in range(1, 1000) if n * accumulation % waiting == 0]
    assert resume_every(run, given_layout(run, world), world) == fits[0]


@pytest.mark.parametrize("batch", [{"steps_per_generation": 6}, {"generation_batch_size": 96}, {}], ids=str)
def test_any_number_of_processes_resumes_where_the_batch_is_counted(batch: dict[str, int]) -> None:
    run = run_of("grpo", num_iterations=2, per_device_train_batch_size=8, global_batch_size=64, **batch)
    every = resume_every(run, given_layout(run, 1), 1)
    for world in (1, 2, 4):
        accumulation = 64 // (8 * world)
        together = batch.get("steps_per_generation", accumulation)
        if "generation_batch_size" in batch:
            together = 96 // (8 * world)
        assert every * accumulation % (together * 2) == 0


def run_of(method: str, **fields: Any) -> Run:
    return understand(hft.METHODS[method](**required(method), **fields), Facts())


@pytest.mark.parametrize("method", [name for name in hft.METHODS if name not in ("grpo", "rloo")])
def test_the_others_resume_after_any_step(method: str) -> None:
    run = run_of(method, gradient_accumulation_steps=3)
    assert resume_every(run, given_layout(run, 1), 1) == 1


@pytest.mark.parametrize("backend", ["hub", "local"])
def test_the_usual_steps_are_made_a_multiple(backend: str) -> None:
    made = plan("grpo", Facts(), backend, num_iterations=3, timeout="3h")
    assert [item.value for item in made.decisions if item.path == "save_steps"] == [501]
    assert "Stop(every=3" in made.script


def test_chosen_steps_are_a_multiple() -> None:
    known = replace(facts(QWEN_05B), dataset=DatasetFacts(exists=True, num_rows=2000, columns=("prompt",)))
    made = plan("grpo", known, num_iterations=4, steps_per_generation=8, gradient_accumulation_steps=8)
    (chosen,) = [item.value for item in made.decisions if item.path == "save_steps"]
    assert chosen % 4 == 0
    assert made.kept is not None
    assert made.kept.resume_every == 4
    assert gcd(chosen, 4) == 4


def test_a_reference_that_follows_is_saved() -> None:
    assert run_of("dpo", sync_ref_model=True).syncs_reference
    assert not run_of("dpo").syncs_reference


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"save_steps": 1}, "hft-checkpoints, every step: at most $"),
        ({"save_strategy": "no"}, "hft-checkpoints, only as it is stopped: at most $"),
        (
            {"save_strategy": "best", "metric_for_best_model": "loss", "eval_strategy": "steps", "eval_fraction": 0.1},
            "hft-checkpoints, after each evaluation that is the best so far",
        ),
        ({"output": {"checkpoints": None}}, "none that the run could go on from (as you said)"),
    ],
    ids=str,
)
def test_the_plan_says_when_it_saves(fields: dict[str, Any], told: str) -> None:
    (line,) = [line for line in str(plan(**fields)).splitlines() if line.startswith("  checkpoints  ")]
    assert told in line


def test_checkpoints_from_which_it_does_not_resume_protect_nothing() -> None:
    known = Facts(model=QWEN_05B, dataset=DatasetFacts(num_rows=20_000))
    risks = [plan("grpo", known, num_iterations=4, save_steps=steps).kept for steps in (50, 100)]
    saves = [kept.saves for kept in risks if kept is not None and kept.saves is not None]
    assert [item.every for item in saves] == [100, 100]
    assert saves[0].usd.expected == pytest.approx(saves[1].usd.expected, rel=0.05)


def test_ppo_says_that_it_cannot_resume() -> None:
    made = plan("ppo", Facts(), hub_model_id="me/x", timeout="3h", hardware="a100-large")
    assert place(made) is None
    assert "checkpoints    none that the run could go on from (the trainer of PPO cannot go on" in str(made)
    # its model is kept if it cannot be pushed
    assert MOUNTED in made.request.volumes
