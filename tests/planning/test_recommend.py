"""Starting values: where they are from, what is filled in, and that it plans."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hfjobs_trainer as hft
from hfjobs_trainer.facts import AccountFacts, DatasetFacts, Facts, LengthFacts, ModelFacts
from hfjobs_trainer.facts.dataset import SHARES
from hfjobs_trainer.planning.recommend import Recommendation, StartingValue
from hfjobs_trainer.specs import registry
from tests.planning.known_models import LLAMA_8B, LLAMA_70B, QWEN_05B, QWEN_14B
from tests.specs.building import required

MODELS = {"0.5B": QWEN_05B, "8B": LLAMA_8B, "14B": QWEN_14B, "70B": LLAMA_70B}
COLUMNS = ("prompt", "chosen", "rejected", "completion", "label", "messages")
TUNINGS: dict[str, dict[str, Any]] = {
    "full": {},
    "lora": {"lora": {}},
    "qlora": {"lora": {}, "quantization": "4bit"},
}


def facts(model: ModelFacts = QWEN_05B, rows: int | None = 20_000, longest: float | None = 1400.0) -> Facts:
    lengths = longest and LengthFacts("tokens", 512, longest / 2, tuple(longest * s for s in SHARES), longest / 8)
    one = replace(QWEN_05B, exists=True)
    return Facts(
        model=replace(model, exists=True),
        dataset=DatasetFacts(exists=True, num_rows=rows, lengths=lengths or None, columns=COLUMNS, splits=("train",)),
        teacher=replace(model, exists=True),
        reward_model=one,
        reward_models=(one,),
        account=AccountFacts(has_token=True, name="me", organizations=(), token_role="write"),
    )


def recommend(method: str, known: Facts | None = None, **fields: Any) -> Recommendation:
    given = required(method) | {"output": {"hub_model_id": "me/out"}} | fields
    return hft.recommend({"method": method, **given}, facts=known or facts())


def row(found: Recommendation, name: str) -> StartingValue:
    return next(each for each in found.rows if each.field == name)


def values(found: Recommendation) -> dict[str, Any]:
    return {each.field: each.recommended for each in found.rows}


# -- the figures


@pytest.mark.parametrize(
    ("method", "model", "tuning", "rate"),
    [
        ("sft", "0.5B", "full", 2e-5),
        ("sft", "8B", "full", 2e-5),
        ("sft", "70B", "full", 1e-5),
        ("sft", "8B", "lora", 2e-4),
        ("sft", "8B", "qlora", 2e-4),
        ("dpo", "0.5B", "full", 1e-6),
        ("dpo", "8B", "full", 5e-7),
        ("dpo", "70B", "full", 1e-7),
        ("dpo", "0.5B", "lora", 1e-5),
        ("dpo", "8B", "lora", 5e-6),
        ("orpo", "8B", "full", 5e-6),
        ("orpo", "8B", "lora", 2e-5),
        ("cpo", "8B", "full", 1e-6),
        ("cpo", "8B", "lora", 1e-5),
        ("kto", "8B", "full", 1e-6),
        ("kto", "8B", "lora", 5e-6),
        ("grpo", "0.5B", "full", 1e-6),
        ("grpo", "8B", "full", 5e-7),
        ("grpo", "8B", "lora", 1e-5),
        ("rloo", "8B", "full", 1e-6),
        ("rloo", "8B", "lora", 1e-5),
        ("reward", "0.5B", "full", 1e-5),
        ("reward", "8B", "full", 3e-6),
        ("reward", "8B", "lora", 1e-4),
        ("distillation", "8B", "full", 1e-5),
        ("distillation", "8B", "lora", 1e-4),
        ("gkd", "8B", "full", 1e-5),
        ("gkd", "8B", "lora", 1e-4),
        ("online_dpo", "8B", "lora", 5e-6),
    ],
)
def test_the_learning_rate_is_that_of_the_recipes(method: str, model: str, tuning: str, rate: float) -> None:
    found = row(recommend(method, facts(MODELS[model]), **TUNINGS[tuning]), "learning_rate")
    low, high = found.range
    assert found.recommended == rate
    assert low <= rate <= high
    assert found.source


def test_the_rank_is_that_of_the_method_and_size() -> None:
    ranks = {
        (method, size): values(recommend(method, facts(MODELS[size]), lora={}))["lora.r"]
        for method in ("sft", "dpo", "grpo", "gkd")
        for size in ("0.5B", "8B")
    }
    assert ranks == {
        ("sft", "0.5B"): 64,
        ("sft", "8B"): 32,
        **dict.fromkeys([("dpo", "0.5B"), ("dpo", "8B")], 32),
        **dict.fromkeys([("grpo", "0.5B"), ("grpo", "8B")], 16),
        **dict.fromkeys([("gkd", "0.5B"), ("gkd", "8B")], 64),
    }


def test_what_belongs_to_a_loss_is_for_that_loss() -> None:
    assert "beta" not in values(recommend("cpo"))
    assert values(recommend("cpo", loss_type="simpo"))["beta"] == 2.0
    assert values(recommend("dpo"))["beta"] == 0.1
    assert "beta" not in values(recommend("dpo", loss_type=["ipo"]))
    assert values(recommend("grpo"))["epsilon_high"] == 0.28
    assert "epsilon_high" not in values(recommend("grpo", loss_type="cispo"))


def test_a_large_batch_has_a_higher_rate() -> None:
    assert values(recommend("sft", lora={}, global_batch_size=128))["learning_rate"] == 3e-4


def test_a_reward_model_trains_its_head() -> None:
    assert recommend("reward", lora={}).spec.lora.modules_to_save == ["score"]  # pyright: ignore[reportOptionalMemberAccess]
    assert "lora.modules_to_save" not in values(recommend("dpo", lora={}))


@pytest.mark.parametrize("method", hft.METHODS)
@pytest.mark.parametrize("tuning", TUNINGS)
def test_every_row_has_a_source_and_what_is_now(method: str, tuning: str) -> None:
    found = recommend(method, **TUNINGS[tuning])
    known = json.loads(files("hfjobs_trainer.data").joinpath("recipes.json").read_text("utf-8"))["sources"]
    for each in found.rows:
        assert set(each.source.removesuffix(" (weak)").split(", ")) <= known.keys()
        assert each.why
        assert each.whose in ("yours", "TRL's default", "planned")
    assert bool(found.rows) == (method != "ppo")


def test_without_a_recipe_nothing_is_recommended() -> None:
    found = recommend("ppo")
    assert found.rows == ()
    assert found.spec == hft.PPO(**required("ppo"), output={"hub_model_id": "me/out"})
    assert str(found) == "no source gives starting values for PPO: nothing is recommended"
    assert "no source" in found._repr_html_()


# -- what is filled in


def assert_nothing_worse(old: hft.Report, new: hft.Report) -> None:
    """Nothing is told that was not told before; a warning may take the place of an error."""
    was, refused = {(item.code, item.path) for item in old}, {item.path for item in old if item.severity == "error"}
    added = [item for item in new if (item.code, item.path) not in was]
    assert all(item.severity == "warning" and item.path in refused for item in added)


@pytest.mark.parametrize("method", hft.METHODS)
@pytest.mark.parametrize("tuning", TUNINGS)
@pytest.mark.parametrize("size", MODELS)
def test_what_is_recommended_plans(method: str, tuning: str, size: str) -> None:
    known = facts(MODELS[size])
    before = hft.METHODS[method](**required(method), output={"hub_model_id": "me/out"}, **TUNINGS[tuning])
    found = hft.recommend(before, facts=known)
    old, new = hft.check(before, facts=known), hft.check(found.spec, facts=known)
    assert_nothing_worse(old, new)
    assert not [item.code for item in new if item.code.startswith("RECIPE")]
    again = hft.recommend(found.spec, facts=known)
    assert again.spec == found.spec
    assert {each.whose for each in again.rows if not each.filled} <= {"yours", "planned"}


def test_what_the_user_set_stays() -> None:
    mine = {"learning_rate": 3e-6, "num_train_epochs": 2, "global_batch_size": 16, "max_length": 512, "beta": 0.3}
    found = recommend("dpo", lora={"r": 8, "lora_dropout": 0.1}, **mine)
    assert {name: getattr(found.spec, name) for name in mine} == mine
    lora = found.spec.lora
    assert lora is not None
    assert (lora.r, lora.lora_dropout, lora.lora_alpha, lora.target_modules) == (8, 0.1, 32, "all-linear")
    assert (row(found, "lora.r").now, row(found, "lora.r").whose, row(found, "lora.r").recommended) == (8, "yours", 32)
    assert not row(found, "learning_rate").filled


def test_alpha_stays_where_only_it_is_set() -> None:
    lora = recommend("dpo", lora={"lora_alpha": 16}).spec.lora
    assert lora is not None
    assert (lora.r, lora.lora_alpha) == (32, 16)


def test_an_adapter_that_goes_on_keeps_its_shape() -> None:
    found = recommend("sft", lora={"adapter": "me/adapter"})
    assert not [name for name in values(found) if name.startswith("lora.")]
    assert values(found)["learning_rate"] == 2e-4
    assert found.spec.lora == hft.LoRA(adapter="me/adapter")


@pytest.mark.parametrize("beside", [{"layers_to_transform": [0]}, {"target_parameters": ["experts.down_proj"]}])
def test_all_linear_is_left_out_where_peft_refuses_it(beside: dict[str, Any]) -> None:
    assert "lora.target_modules" not in values(recommend("sft", lora=beside))


def test_rank_stabilized_adapters_have_another_scale() -> None:
    assert "lora.lora_alpha" not in values(recommend("sft", lora={"use_rslora": True}))


def test_max_steps_leave_no_epochs() -> None:
    assert "num_train_epochs" not in values(recommend("dpo", max_steps=100))


def test_a_constant_schedule_has_no_warmup() -> None:
    assert "warmup_steps" not in values(recommend("dpo", lr_scheduler_type="constant"))
    assert "lr_scheduler_type" not in values(recommend("dpo", lr_scheduler_kwargs={"num_cycles": 0.4}))


def test_where_it_comes_from_is_told() -> None:
    found = recommend("grpo", hardware="l4x4", learning_rate=1e-6)
    whose = {each.field: (each.now, each.whose) for each in found.rows}
    assert whose["learning_rate"] == (1e-6, "yours")
    assert whose["num_train_epochs"] == (3.0, "TRL's default")
    assert whose["global_batch_size"] == (32, "planned")


# -- batches


def test_a_batch_of_answers_holds_whole_prompts() -> None:
    assert recommend("grpo").spec.global_batch_size == 32 * 8
    assert recommend("rloo").spec.global_batch_size == 32 * 4
    own = recommend("grpo", num_generations=6, hardware="l4x4").spec
    assert own.global_batch_size == 32 * 6
    assert row(recommend("grpo"), "global_batch_size").range == (16 * 8, 64 * 8)


def test_few_rows_have_small_batches() -> None:
    assert recommend("dpo", facts(rows=3_000)).spec.global_batch_size == 32
    assert recommend("dpo", facts(rows=30_000)).spec.global_batch_size == 64
    assert recommend("grpo", facts(rows=12)).spec.global_batch_size == 12 * 8


def test_three_gpus_get_a_batch_that_they_can_divide() -> None:
    found = recommend("dpo", hardware={"flavor": "l4x4", "num_gpus": 3})
    assert found.spec.global_batch_size == 66


def test_a_batch_that_is_set_is_kept() -> None:
    both = recommend("dpo", per_device_train_batch_size=2, gradient_accumulation_steps=4, hardware="l4x1")
    assert both.spec.global_batch_size is None
    assert (row(both, "global_batch_size").now, row(both, "global_batch_size").whose) == (8, "yours")
    one = recommend("dpo", per_device_train_batch_size=3, hardware="l4x4").spec
    assert one.per_device_train_batch_size == 3
    assert one.global_batch_size == 72


def test_what_the_machine_cannot_do_is_shown_but_not_filled_in() -> None:
    found = recommend("sft", facts(LLAMA_8B, longest=100_000.0), lora={}, quantization="4bit", hardware="l4x1")
    length = row(found, "max_length")
    assert not found.spec.is_set("max_length")
    assert "left as it is, since MEM001" in length.why
    assert not length.filled


# -- lengths


def test_max_length_is_what_almost_all_rows_fit_in() -> None:
    found = row(recommend("dpo", facts(longest=3000.0)), "max_length")
    assert (found.recommended, found.source) == (3072, "your rows")
    short = facts(MODELS["0.5B"])
    assert short.dataset.lengths is not None
    counted = replace(short.dataset.lengths, counted_p99=700.0)
    known = replace(short, dataset=replace(short.dataset, lengths=counted))
    assert row(recommend("dpo", known), "max_length").recommended == 768


def test_max_length_is_never_above_the_context() -> None:
    known = facts(replace(QWEN_05B, max_position_embeddings=2000), longest=9000.0)
    assert recommend("dpo", known).spec.replace().max_length == 2000  # pyright: ignore[reportAttributeAccessIssue]


def test_max_length_holds_the_answers_that_are_generated() -> None:
    # the longest prompts are a quarter of 4000 tokens, and answers have 64
    found = row(recommend("online_dpo", facts(longest=4000.0)), "max_length")
    assert found.recommended == 1152


def test_unknown_lengths_are_said() -> None:
    assert "max_length: the lengths of the rows are not known" in recommend("dpo", facts(longest=None)).notes
    known = facts()
    characters = LengthFacts("characters", 10, 4000.0, (4000.0,) * 20)
    known = replace(known, dataset=replace(known.dataset, lengths=characters))
    found = recommend("dpo", known)
    assert "max_length" not in values(found)
    assert any("characters" in note for note in found.notes)


def test_many_short_rows_are_packed() -> None:
    short = replace(facts().dataset, num_rows=50_000, lengths=LengthFacts("tokens", 100, 200.0, (200.0,) * 20))
    known = replace(facts(), dataset=short)
    found = recommend("sft", known)
    assert found.spec.packing is True  # pyright: ignore[reportAttributeAccessIssue]
    assert found.spec.max_length == 1024  # pyright: ignore[reportAttributeAccessIssue]
    assert "packing" not in values(recommend("dpo", known))
    few = replace(known, dataset=replace(short, num_rows=4_000))
    assert "packing" not in values(recommend("sft", few))
    assert recommend("sft", few).spec.max_length == 256  # pyright: ignore[reportAttributeAccessIssue]
    other = replace(known, model=replace(known.model, model_type="gpt_oss"))
    assert "packing" not in values(recommend("sft", other))


# -- other methods, other places


@pytest.fixture
def mine() -> Iterator[type[hft.DPO]]:
    class Mine(hft.DPO):
        method: Any = "mine"

    yield registry.method("mine", label="Mine", trainer="DPOTrainer", config="DPOConfig")(Mine)
    registry.forget("mine")


def test_a_method_of_ones_own_has_the_recipe_of_what_it_extends(mine: type[hft.DPO]) -> None:
    spec = mine(model="me/model", dataset="me/data", lora={})
    found = hft.recommend(spec, facts=facts())
    assert values(found) == values(recommend("dpo", lora={}))
    assert type(found.spec) is mine


def test_a_script_has_no_starting_values() -> None:
    with pytest.raises(hft.SpecError, match="none are recommended"):
        hft.recommend(cast("Any", hft.Script("train.py")), offline=True)


def test_offline_and_elsewhere() -> None:
    spec = hft.SFT(model="me/model", dataset="me/data", lora=hft.LoRA())
    for backend in (None, "local"):
        found = hft.recommend(spec, offline=True, backend=backend)
        assert values(found)["learning_rate"] == 2e-4
        assert "size unknown" in found.subject
    named = hft.Client(namespace="team").recommend(spec, offline=True)
    assert named.spec.namespace is None


def test_it_is_shown_as_a_table() -> None:
    found = recommend("dpo", lora={"r": 8})
    text, page = str(found), found._repr_html_()
    assert "learning_rate" in text
    assert "1e-6 (TRL's default)" in text
    assert "1e-5 (filled in)" in text
    assert "5e-6 to 1e-5" in text
    assert "8 (yours)" in text
    assert "DPO, LoRA, 0.49B parameters" in text
    assert page.startswith("<table>")
    assert page.count("<tr>") == len(found.rows) + 1


# -- whatever the spec


@st.composite
def specs(draw: st.DrawFn) -> tuple[dict[str, Any], Facts]:
    method = draw(st.sampled_from([name for name in hft.METHODS if name != "ppo"]))
    fields: dict[str, Any] = {"method": method, **required(method), "output": {"hub_model_id": "me/out"}}
    fields |= draw(st.sampled_from(list(TUNINGS.values())))
    optional: dict[str, Any] = {
        "hardware": st.sampled_from(["auto", "l4x1", "a100x4", {"flavor": "l4x4", "num_gpus": 3}]),
        "per_device_train_batch_size": st.integers(1, 12),
        "gradient_accumulation_steps": st.integers(1, 5),
        "max_steps": st.integers(1, 2000),
        "num_train_epochs": st.integers(1, 4),
        "eval_fraction": st.just(0.1),
        "num_generations": st.integers(2, 9),
        "per_device_eval_batch_size": st.integers(1, 9),
        "generation_batch_size": st.sampled_from([16, 48]),
        "save_steps": st.sampled_from([50, 0.2]),
        "lr_scheduler_type": st.sampled_from(["constant", "linear"]),
        "packing": st.booleans(),
        "max_length": st.sampled_from([256, 2048]),
    }
    for name, strategy in optional.items():
        if name in hft.METHODS[method].model_fields and draw(st.booleans()):
            fields[name] = draw(strategy)
    if "eval_fraction" in fields:
        fields["eval_strategy"] = "steps"
    rows = draw(st.sampled_from([None, 5, 300, 40_000]))
    longest = draw(st.sampled_from([None, 90.0, 1500.0, 30_000.0]))
    return fields, facts(draw(st.sampled_from(list(MODELS.values()))), rows, longest)


@given(drawn=specs())
def test_nothing_new_is_wrong_and_nothing_more_is_found(drawn: tuple[dict[str, Any], Facts]) -> None:
    fields, known = drawn
    report = hft.check(fields, facts=known)
    found = hft.recommend(fields, facts=known)
    after = hft.check(found.spec, facts=known)
    assert_nothing_worse(report, after)
    assert hft.recommend(found.spec, facts=known).spec == found.spec
    given = found.spec.to_dict()
    for name, value in fields.items():
        if name != "lora" and not isinstance(value, dict | str):
            assert given[name] == value
    for each in found.rows:
        if each.filled:
            assert each.now != "yours"
