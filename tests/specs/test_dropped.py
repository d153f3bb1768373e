"""A name that TRL had, or that is left out, is answered with what to use instead."""

from __future__ import annotations

import re

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.specs.dropped import INSTEAD, instead, plain_name
from hfjobs_trainer.specs.registry import METHODS


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        ("BCO", "hft.KTO"),
        ("BCOTrainer", "hft.KTO"),
        ("PRMConfig", "hft.Reward"),
        ("NashMDTrainer", "hft.OnlineDPO"),
        ("IterativeSFTTrainer", "hft.SFT"),
        ("AutoModelForCausalLMWithValueHead", "hft.PPO"),
        ("DataCollatorForCompletionOnlyLM", "assistant_only_loss=True"),
        ("HfPairwiseJudge", "reward_funcs"),
        ("TPO", "hft.Script"),
        ("submit_gold", "hft.GKD"),
        ("SimPO", 'loss_type="simpo"'),
        ("DPOTrainer", "use hft.DPO(...)"),
        ("OnlineDPOConfig", "use hft.OnlineDPO(...)"),
        ("PPOConfig", "use hft.PPO(...)"),
    ],
)
def test_the_package_answers_with_what_to_use(name: str, answer: str) -> None:
    with pytest.raises(AttributeError, match=re.escape(f"has no attribute {name!r}")) as caught:
        getattr(hft, name)
    assert answer in str(caught.value)


def test_a_name_that_never_was_has_no_answer() -> None:
    with pytest.raises(AttributeError, match=r"has no attribute 'betta'$"):
        _ = hft.betta  # type: ignore[attr-defined]
    assert instead("betta") is None
    assert not hasattr(hft, "__nothing__")


@pytest.mark.parametrize("method", ["bco", "nash_md", "TPO"])
def test_a_mapping_with_such_a_method_is_told(method: str) -> None:
    (problem,) = hft.check({"method": method, "model": "me/model", "dataset": "me/data"}, offline=True).problems
    assert (problem.code, problem.path) == ("SPEC001", "method")
    assert problem.why.endswith(f": {INSTEAD[plain_name(method)]}")
    assert problem.fix == ""


def test_the_methods_know_such_names_too() -> None:
    with pytest.raises(KeyError, match=r"bco: .*hft\.KTO"):
        METHODS["bco"]
    assert "bco" not in METHODS
    assert METHODS.get("bco") is None


@pytest.mark.parametrize("name", sorted(INSTEAD))
def test_every_answer_names_what_exists(name: str) -> None:
    assert plain_name(name) == name
    assert name not in {method.replace("_", "") for method in METHODS}
    for mentioned in re.findall(r"hft\.([A-Z]\w+)", INSTEAD[name]):
        assert mentioned == "Script" or hasattr(hft, mentioned)
