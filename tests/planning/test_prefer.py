"""What counts when a flavor is chosen, what is said of the others, and which of them matter."""

from __future__ import annotations

import pickle
import re
from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.facts import DatasetFacts, Facts, ModelFacts, ScriptFacts
from hfjobs_trainer.planning.choose import choose
from hfjobs_trainer.planning.estimate import Estimate, FlavorChoice
from hfjobs_trainer.planning.hardware.catalogue import snapshot
from hfjobs_trainer.planning.prefer import CLEAR, MOST, NEAR_SHARE, NEAR_USD, Alternative
from hfjobs_trainer.planning.understand import understand
from tests.planning.known_models import LLAMA_8B, LLAMA_70B, QWEN_05B, QWEN_7B
from tests.planning.test_machine import CHATS, UNKNOWN_ROWS, chosen, facts, sft

RUNS: list[tuple[ModelFacts, dict[str, Any]]] = [
    (QWEN_05B, {}),
    (QWEN_05B, {"max_steps": 20}),
    (QWEN_7B, {"lora": {"r": 8}}),
    (LLAMA_8B, {}),
    (LLAMA_8B, {"lora": {"r": 16}, "max_length": 4096}),
    (LLAMA_70B, {"lora": {"r": 16}, "quantization": "4bit"}),
]


def money(estimate: Estimate | None) -> float:
    assert estimate is not None
    assert estimate.usd is not None
    return estimate.usd.expected


def time(estimate: Estimate | None) -> float:
    assert estimate is not None
    assert estimate.seconds is not None
    return estimate.seconds.expected


def fitting(model: ModelFacts, fields: dict[str, Any], hardware: dict[str, Any]) -> list[Estimate]:
    """The flavors on which the run fits within its caps, the cheapest first."""
    table = hft.compare_flavors(sft(**fields, hardware=hardware), facts=facts(model))
    return [row for row in table if row.reason is None]


@pytest.mark.parametrize(("model", "fields"), RUNS)
@pytest.mark.parametrize("caps", [{}, {"max_usd_per_hour": 6.0}, {"max_hours": 2.0}, {"max_usd": 90.0}], ids=str)
def test_what_is_preferred_is_taken(model: ModelFacts, fields: dict[str, Any], caps: dict[str, float]) -> None:
    rows = fitting(model, fields, caps)
    least = min(map(money, rows))
    near = [row for row in rows if money(row) <= max(least * 1.2, least + 0.25)]
    expected = {
        "cheapest": min(rows, key=lambda row: (money(row), time(row))),
        "balanced": min(near, key=lambda row: (time(row), money(row))),
        "fastest": min(rows, key=lambda row: (time(row), money(row))),
    }
    for prefer, row in expected.items():
        choice = chosen(model, **fields, hardware={**caps, "prefer": prefer})
        assert choice.flavor == row.flavor, prefer
    assert chosen(model, **fields, hardware=caps).flavor == expected["balanced"].flavor


def test_a_few_cents_do_not_decide() -> None:
    choice, cheapest = chosen(), chosen(hardware={"prefer": "cheapest"})
    assert money(choice.estimate) - money(cheapest.estimate) <= NEAR_USD
    assert time(cheapest.estimate) > 1.5 * time(choice.estimate)


def test_the_trials_of_a_sweep_share_what_may_be_spent_for_time() -> None:
    run, least = understand(sft(), facts()), money(chosen(hardware={"prefer": "cheapest"}).estimate)
    spent = [money(choose(run, snapshot(), trials=trials).estimate) - least for trials in (1, 2, 5, 20, 1000)]
    assert spent == sorted(spent, reverse=True)
    for trials, extra in zip((1, 2, 5, 20, 1000), spent, strict=True):
        assert extra <= max(NEAR_USD / trials, NEAR_SHARE * least) + 1e-9
    assert spent[0] > spent[-1]


@pytest.mark.parametrize("prefer", ["balanced", "cheapest", "fastest"])
def test_without_a_duration_the_price_decides(prefer: str) -> None:
    choice = chosen(dataset=UNKNOWN_ROWS, hardware={"prefer": prefer})
    assert choice.flavor is not None
    assert (choice.flavor.name, choice.alternatives) == ("l4x1", ())


SAID = re.compile(
    r"(?:(?P<times>[\d.]+)x|a little|as) (?P<how>faster|slower|fast)"
    r"(?: (?P<joined>for|and) \$(?P<usd>[\d,.]+) (?P<money>more|less)| at the same cost)"
)


def agrees(text: str, estimate: Estimate, best: Estimate) -> None:
    """What is said of a machine is what was estimated."""
    said = SAID.search(text)
    assert said is not None, text
    ratio, extra = time(best) / time(estimate), round(100 * money(estimate)) - round(100 * money(best))
    assert said["how"] == ("faster" if ratio > 1 else "slower" if ratio < 1 else "fast")
    if said["times"]:
        assert float(said["times"]) == pytest.approx(max(ratio, 1 / ratio), rel=0.06)
    assert (said["money"] or "") == ("more" if extra > 0 else "less" if extra < 0 else "")
    if said["usd"]:
        assert float(said["usd"].replace(",", "")) == pytest.approx(abs(extra) / 100)


@pytest.mark.parametrize(("model", "fields"), RUNS)
@pytest.mark.parametrize("prefer", ["balanced", "cheapest", "fastest"])
def test_the_reason_against_a_flavor_is_what_it_would_cost_or_save(
    model: ModelFacts, fields: dict[str, Any], prefer: str
) -> None:
    choice = chosen(model, **fields, hardware={"prefer": prefer})
    assert choice.estimate is not None
    rows = {row.machine.name: row for row in fitting(model, fields, {})}
    told = {name: why for name, why in choice.rejected if name in rows}
    assert told.keys() | {choice.estimate.machine.name} == rows.keys()
    for name, why in told.items():
        assert why.startswith("fits, ")
        assert why.endswith(f" than {choice.estimate.machine.name}")
        agrees(why, rows[name], choice.estimate)
        dearer = round(100 * money(rows[name])) > round(100 * money(choice.estimate))
        assert why.kind == ("dearer" if dearer else "slower")
        # "but" where nothing speaks for it
        assert ("but" in why) == (dearer and time(rows[name]) >= time(choice.estimate))


@pytest.mark.parametrize(("model", "fields"), RUNS)
@pytest.mark.parametrize("prefer", ["balanced", "cheapest", "fastest"])
def test_alternatives_are_those_that_matter(model: ModelFacts, fields: dict[str, Any], prefer: str) -> None:
    made = hft.plan(sft(**fields, hardware={"prefer": prefer}), facts=facts(model))
    assert made.choice is not None
    best = made.choice.estimate
    assert best is not None
    found, rows = made.alternatives, fitting(model, fields, {})
    assert found == made.choice.alternatives
    assert len(found) <= MOST
    assert [each.extra_usd for each in found] == sorted(each.extra_usd for each in found)
    cheaper = [row for row in rows if round(100 * money(row)) < round(100 * money(best))]
    faster = [row for row in rows if time(row) * 1.25 <= time(best)]
    kinds = [each.kind for each in found]
    assert ("cheaper" in kinds) == bool(cheaper)
    assert ("faster" in kinds) == bool(faster)
    for each in found:
        assert each.flavor != best.machine.name
        agrees(each.text, each.estimate, best)
        assert each.text == str(each)
        assert each.text.startswith(f"{each.flavor}: ")
        assert each.speedup == pytest.approx(time(best) / time(each.estimate))
        assert each.extra_usd == pytest.approx(money(each.estimate) - money(best))
        assert each.text in str(made)
        assert f"\n  or {each.text}\n" in str(made.choice)
        # another number of GPUs is another batch, unless that was set
        assert ("sequences per step" in each.text) == (sequences(each.estimate) != sequences(best))
    if cheaper and prefer != "cheapest":
        assert money(found[0].estimate) == min(map(money, rows))


def sequences(estimate: Estimate) -> int:
    assert estimate.layout is not None
    return estimate.layout.sequences(estimate.machine.nodes)


def test_a_global_batch_is_the_same_everywhere() -> None:
    made = hft.plan(sft(global_batch_size=64), facts=facts())
    assert made.alternatives
    assert not [each for each in made.alternatives if "sequences" in each.text]


def test_why_a_flavor_was_chosen() -> None:
    def why(**hardware: Any) -> str:
        made = hft.plan(sft(hardware=hardware), facts=facts())
        (decision,) = [item for item in made.decisions if item.path == "hardware.flavor"]
        return decision.why

    assert why(prefer="cheapest").startswith("where the run costs least, ")
    assert why(prefer="fastest").startswith("where the run is fastest, ")
    cheapest = chosen(hardware={"prefer": "cheapest"})
    assert cheapest.flavor is not None
    assert re.match(rf"[\d.]+x faster for \$0\.\d\d more than {cheapest.flavor.name}, where it costs least, ", why())


def named(model: ModelFacts = QWEN_05B, **fields: Any) -> tuple[Alternative, ...]:
    return hft.plan(sft(**fields), facts=facts(model)).alternatives


def test_of_a_named_flavor_only_what_is_clearly_better_is_told() -> None:
    (best, *rest) = named(hardware="a10g-largex2")
    here = hft.compare_flavors(sft(), facts=facts())["a10g-largex2"]
    for each in (best, *rest):
        assert each.kind == "better"
        assert money(each.estimate) <= (1 - CLEAR) * money(here)
        assert time(each.estimate) <= (1 - CLEAR) * time(here)
        assert re.search(r"x faster and \$\d+\.\d\d less", each.text)
    chosen_one = chosen()
    assert chosen_one.flavor is not None
    assert named(hardware=chosen_one.flavor.name) == ()
    cheapest = chosen(hardware={"prefer": "cheapest"}).flavor
    assert cheapest is not None
    assert named(hardware=cheapest.name) == ()


def test_where_a_named_flavor_does_not_hold_the_run_one_that_does_is_told() -> None:
    (one,) = named(LLAMA_8B, hardware="l4x1")
    assert one.kind == "fits"
    assert one.estimate.fits
    assert one.text.startswith(f"{one.flavor}: the run fits there, about ")
    assert named(LLAMA_70B, hardware="l4x1") == ()


def test_more_memory_is_told_of_where_little_is_left() -> None:
    fields: dict[str, Any] = {"lora": {"r": 16}, "max_length": 4096, "hardware": "l4x1"}
    made = hft.plan(sft(**fields), facts=facts(LLAMA_8B))
    assert made.estimate is not None
    assert made.estimate.verdict == "tight"
    (roomy,) = [each for each in made.alternatives if each.kind == "roomier"]
    assert roomy.estimate.headroom_gib is not None
    assert made.estimate.headroom_gib is not None
    more = roomy.estimate.headroom_gib - made.estimate.headroom_gib
    assert f"{more:.0f} GiB more to spare, " in roomy.text


def test_the_caps_hold_for_alternatives_too() -> None:
    for each in named(hardware={"prefer": "cheapest", "max_usd": 1.0, "max_usd_per_hour": 10.0}):
        assert money(each.estimate) <= 1.0
        assert each.estimate.flavor is not None
        assert each.estimate.flavor.usd_per_hour <= 10.0


def test_where_nothing_is_rented_or_known_there_is_no_alternative() -> None:
    assert hft.plan(sft(), facts=facts(), backend="local").alternatives == ()
    assert (
        hft.plan(sft(hardware="l4x1"), facts=Facts(model=QWEN_05B, dataset=DatasetFacts(exists=True))).alternatives
        == ()
    )
    script = hft.Script("train.py", hardware="l4x1", timeout="1h")
    known = Facts(script=ScriptFacts(text="print(1)\n", sha256="0" * 64))
    assert hft.plan(script, facts=known).alternatives == ()
    assert FlavorChoice(None).alternatives == ()


@pytest.mark.parametrize("hardware", ["auto", "a10g-largex2"])
def test_a_choice_can_be_sent_to_another_process(hardware: str) -> None:
    choice = hft.pick_flavor(sft(hardware=hardware), facts=facts(QWEN_05B, CHATS))
    again = pickle.loads(pickle.dumps(choice))
    assert again == choice
    assert again.alternatives == choice.alternatives != ()
