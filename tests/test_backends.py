"""The places where runs run: what a plan knows of each, by name or by the backend itself."""

from __future__ import annotations

import inspect
from typing import Any, cast, get_args

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.facts.backends import HUB, INPROCESS, LOCAL, TRAITS, BackendName, BackendTraits, traits_of
from hfjobs_trainer.running.backends.base import Resumes
from hfjobs_trainer.running.backends.registry import BACKENDS, open_backend, traits_at


@pytest.mark.parametrize("name", BACKENDS)
def test_a_backend_that_is_called_by_name_has_traits_of_that_name(name: str) -> None:
    backend = open_backend(name)
    assert backend.name == backend.traits.name == name
    assert traits_of(name) is backend.traits is TRAITS[name]


def test_the_names_that_types_allow_are_those_of_the_registry() -> None:
    assert get_args(BackendName) == tuple(BACKENDS)


def test_traits_are_those_of_a_name_or_of_a_backend() -> None:
    assert traits_at("hub") is traits_at(hft.HubBackend()) is HUB
    assert traits_at(hft.LocalBackend()) is LOCAL
    assert traits_at(hft.InProcessBackend()) is INPROCESS
    assert traits_of(HUB) is HUB


class Cluster(hft.InProcessBackend):
    """A backend of a user's own, which is on no list."""

    @property
    def name(self) -> str:
        return "cluster"

    @property
    def traits(self) -> BackendTraits:
        return BackendTraits("cluster", place="the cluster", rents=False, absolute_paths=True)


class Plain(hft.InProcessBackend):
    """One that has the methods, and says nothing of itself."""

    traits = cast("Any", None)

    @property
    def name(self) -> str:
        return "plain"


def test_a_backend_of_ones_own_brings_its_traits() -> None:
    assert traits_at(Cluster()) == BackendTraits("cluster", place="the cluster", rents=False, absolute_paths=True)
    assert traits_at(Plain()) == BackendTraits("plain")


def test_a_run_is_planned_for_and_submitted_to_a_backend_of_ones_own() -> None:
    backend = Plain()
    spec = {"method": "sft", "model": "me/model", "dataset": "me/data", "hardware": "a10g-small", "timeout": "1h"}
    client = hft.Client(backend=backend)
    plan = client.plan(spec, facts=hft.Facts())
    assert plan.backend == "plain"
    assert plan.flavor is not None
    assert "  where          a10g-small on plain: NVIDIA A10G, $1.00/h" in str(plan)
    report = client.check(spec, facts=hft.Facts())
    assert [problem.code for problem in report.problems] == [problem.code for problem in plan.problems]


def test_a_plan_goes_by_the_traits_of_a_backend_of_ones_own() -> None:
    spec = {"method": "grpo", "model": "me/model", "dataset": "me/data", "reward_funcs": ["accuracy_reward"]}
    plan = hft.Client(backend=Cluster()).plan(spec, facts=hft.Facts())
    here = hft.plan(spec, facts=hft.Facts(), backend="local")
    assert (plan.backend, plan.flavor, plan.choice) == ("cluster", None, None)
    assert (plan.script, plan.request, plan.problems) == (here.script, here.request, here.problems)
    asked = ('hft.plan(spec, backend="local")', "hft.Client(backend=...).plan(spec)")
    assert str(plan) == str(here).replace("this machine", "the cluster", 1).replace(*asked)


class Unable:
    """One that resumes nothing."""

    def __init__(self) -> None:
        self.within = hft.InProcessBackend()

    def __getattr__(self, name: str) -> Any:
        if name == "resume":
            raise AttributeError(name)
        return getattr(self.within, name)


def test_a_backend_resumes_runs_only_if_it_says_how() -> None:
    for backend in (hft.HubBackend(), hft.LocalBackend(), hft.InProcessBackend()):
        assert isinstance(backend, Resumes)
    unable = Unable()
    assert not isinstance(unable, Resumes)
    job = hft.Job(unable.submit(hft.plan(hft.Script("print(1)"), facts=hft.Facts())), cast("Any", unable))
    with pytest.raises(hft.BackendError, match="the backend 'inprocess' resumes no runs: submit it again"):
        job.resume()


@pytest.mark.parametrize("name", ["lokal", "HUB", ""])
def test_a_name_that_no_backend_has_is_told_by_everything_that_takes_one(name: str) -> None:
    known = ", ".join(f'"{known}"' for known in BACKENDS)
    told = f"backend={name!r}: must be {known} or a Backend"
    spec = {"method": "sft", "model": "me/model", "dataset": "me/data"}
    for function in (hft.check, hft.plan, hft.render, hft.pick_flavor, hft.gather):
        assert "backend" in inspect.signature(function).parameters
        with pytest.raises(ValueError, match="must be") as caught:
            function(cast("Any", spec), backend=cast("Any", name), offline=True)
        assert str(caught.value) == told
    with pytest.raises(ValueError, match="must be"):
        hft.Client(backend=cast("Any", name)).jobs()
