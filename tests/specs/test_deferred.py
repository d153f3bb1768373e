"""Spec classes are built when they are first used: what could go wrong then, and what must not be seen of it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.specs.args_base import Deferred
from hfjobs_trainer.specs.registry import METHODS


def below(base: type[Deferred]) -> Iterator[type[Deferred]]:
    for each in base.__subclasses__():
        if each.__module__.startswith("hfjobs_trainer."):
            yield each
            yield from below(each)


def test_every_class_can_be_built() -> None:
    assert {*METHODS.values(), hft.Script, hft.LoRA} <= set(below(Deferred))
    for each in {*below(Deferred)}:
        assert each.model_rebuild(force=True, raise_errors=True)


@pytest.mark.parametrize("public", [*METHODS.values(), hft.Script, hft.Dataset, hft.Hardware, hft.LoRA, hft.Tracking])
def test_the_signature_names_every_field_before_the_first_use(public: type[Deferred]) -> None:
    unused = type(public.__name__, (public,), {"__module__": __name__})
    assert not unused.__pydantic_complete__
    parameters = inspect.signature(unused).parameters
    fields = {name for name in public.model_fields if (public, name) != (hft.Script, "script")}
    assert fields <= set(parameters)
    assert not [name for name, each in parameters.items() if each.kind is each.VAR_KEYWORD]
    assert not hasattr(unused.model_construct(), "__signature__")


def test_threads_may_share_the_first_use() -> None:
    class Unused(hft.SFT):
        pass

    together = Barrier(8)

    def build(number: int) -> tuple[int, str]:
        together.wait()
        spec = Unused(model="me/model", dataset={"id": "me/data", "split": "test"}, max_steps=number)
        return spec.max_steps, spec.dataset.split

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(build, range(1, 9))) == [(number, "test") for number in range(1, 9)]
