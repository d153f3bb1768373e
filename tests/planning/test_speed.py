"""What is chosen for speed, when it is not, and that whoever sets it has the last word."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.facts import DatasetFacts, Facts, LengthFacts, ModelFacts
from hfjobs_trainer.planning.arguments.packing import (
    KEEPS_ROWS_APART,
    LEAST_STEPS,
    PACKED_TOKENS,
    PACKING_GAIN,
)
from hfjobs_trainer.planning.hardware.catalogue import snapshot
from hfjobs_trainer.planning.understand import understand
from tests.planning.known_models import QWEN_05B

SHORT = LengthFacts("tokens", 100, 200.0, tuple(20.0 * step for step in range(1, 21)))
CHATS = DatasetFacts(exists=True, columns=("messages",), num_rows=100_000, lengths=SHORT)
FACTS = Facts(model=QWEN_05B, dataset=CHATS)
FLAVORS = {flavor.name: flavor for flavor in snapshot().flavors}


def of(dataset: DatasetFacts = CHATS, model: ModelFacts = QWEN_05B) -> Facts:
    return Facts(model=model, dataset=dataset)


def sft(**fields: Any) -> hft.SFT:
    return hft.SFT(**{"model": "me/model", "dataset": "me/data", "hardware": "l4x1"} | fields)


def decided(spec: Any, facts: Facts = FACTS, **how: Any) -> dict[str, Any]:
    return {item.path: item.value for item in hft.plan(spec, facts=facts, **how).decisions}


def most_packed(spec: Any, facts: Facts = FACTS) -> int:
    return understand(spec, facts).rows.most_packed


def long(mean: float) -> DatasetFacts:
    return replace(CHATS, lengths=LengthFacts("tokens", 100, mean, (mean,) * 20))


def test_short_rows_are_packed() -> None:
    made = hft.plan(sft(), facts=FACTS)
    assert {item.path: item.value for item in made.decisions}["packing"] is True
    assert "packing=True" in made.script
    assert made.choice is not None
    assert made.choice.layout is not None
    assert made.choice.layout.packing


@pytest.mark.parametrize(
    "fields",
    [
        {"packing": False},
        {"packing": True},
        {"padding_free": False},
        {"packing_strategy": "wrapped"},
        {"per_device_train_batch_size": 8},
        {"gradient_accumulation_steps": 1},
        {"global_batch_size": 8},
        {"max_steps": 5000},
        {"eval_fraction": 0.1, "eval_strategy": "steps", "eval_steps": 100},
        {"save_steps": 500},
        {"warmup_steps": 10},
        {"max_length": None},
    ],
    ids=str,
)
def test_whoever_sets_what_it_changes_gets_no_packing(fields: dict[str, Any]) -> None:
    spec = sft(**fields)
    assert most_packed(spec) == 0
    assert "packing" not in decided(spec)


@pytest.mark.parametrize(
    "facts",
    [
        of(replace(CHATS, lengths=None)),
        of(replace(CHATS, num_rows=None)),
        of(long(513.0)),
        of(model=replace(QWEN_05B, is_vision=True)),
        of(model=replace(QWEN_05B, model_type="qwen3_next")),
        of(model=replace(QWEN_05B, model_type=None)),
    ],
    ids=["no lengths", "no rows", "long rows", "images", "a state", "an unknown model"],
)
def test_packing_needs_short_rows_of_known_length_and_a_model_that_keeps_them_apart(facts: Facts) -> None:
    assert most_packed(sft(), FACTS) > 0
    assert most_packed(sft(), facts) == 0
    assert "packing" not in decided(sft(), facts)


def test_rows_of_half_the_length_are_the_longest_that_are_packed() -> None:
    assert most_packed(sft(), of(long(512.0))) > 0
    assert most_packed(sft(), of(long(512.5))) == 0
    assert most_packed(sft(dataset={"id": "me/data", "streaming": True}), FACTS) == 0
    # what is cut off is no token to pack
    assert most_packed(sft(max_length=128), of(long(2000.0))) == 0


def test_a_run_keeps_enough_steps() -> None:
    # rows of 512 of 1,024 tokens, two in a sequence, 8 sequences in a batch: 16 rows a step
    least = replace(long(512.0), num_rows=16 * LEAST_STEPS)
    assert most_packed(sft(num_train_epochs=1), of(least)) > 0
    assert most_packed(sft(num_train_epochs=1), of(replace(least, num_rows=16 * LEAST_STEPS - 1))) == 0
    assert most_packed(sft(num_train_epochs=2), of(replace(least, num_rows=8 * LEAST_STEPS))) > 0
    # rows that are held out are not trained on
    assert most_packed(sft(num_train_epochs=1, eval_fraction=0.1, eval_strategy="epoch"), of(least)) == 0


def test_a_packed_batch_is_no_longer_than_attention_by_mask_can_bear() -> None:
    assert most_packed(sft(max_length=1024), FACTS) == PACKED_TOKENS // 1024
    assert most_packed(sft(max_length=3000), FACTS) == 1
    assert most_packed(sft(max_length=PACKED_TOKENS), FACTS) == 1
    assert most_packed(sft(max_length=PACKED_TOKENS + 1), FACTS) == 0
    assert most_packed(sft(max_length=8192, attn_implementation="flash_attention_2"), FACTS) == 8
    assert most_packed(sft(attn_implementation="flash_attention_2"), FACTS) == 8
    for flavor in ("l4x1", "a100-large", "h200"):
        made = hft.plan(sft(hardware=flavor), facts=FACTS)
        assert made.choice is not None
        assert made.choice.layout is not None
        assert not made.choice.layout.packing or made.choice.layout.per_device_train_batch_size <= 4


def test_packing_must_save_a_tenth() -> None:
    packed = hft.pick_flavor(sft(), facts=FACTS)
    plain = hft.pick_flavor(sft(packing=False), facts=FACTS)
    assert packed.duration is not None
    assert plain.duration is not None
    assert packed.duration.usd.expected * PACKING_GAIN < plain.duration.usd.expected


def test_the_optimizer_is_told_only_where_it_is_the_default() -> None:
    assert decided(sft())["optim"] == "adamw_torch_fused"
    assert "optim" not in decided(sft(optim="adamw_torch"))
    assert "optim" not in decided(sft(optim="adamw_torch_fused"))


@pytest.mark.torch
@pytest.mark.parametrize("model_type", sorted(KEEPS_ROWS_APART))
def test_packed_rows_do_not_see_each_other(model_type: str) -> None:
    import torch
    from transformers import AutoModelForCausalLM
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4}
    more = {"num_key_value_heads": 2, "head_dim": 8, "vocab_size": 64, "max_position_embeddings": 64}
    torch.manual_seed(0)
    config: Any = CONFIG_MAPPING[model_type](**sizes, **more, pad_token_id=0)
    model: Any = AutoModelForCausalLM.from_config(config).float().eval()
    first, second = torch.randint(1, 60, (1, 9)), torch.randint(1, 60, (1, 7))
    # as TRL's collator lays a packed batch out: no mask, positions that begin anew
    positions = torch.cat([torch.arange(9), torch.arange(7)])[None]
    with torch.no_grad():
        packed = model(input_ids=torch.cat([first, second], 1), position_ids=positions, use_cache=False).logits
        apart = [model(input_ids=row, use_cache=False).logits for row in (first, second)]
    torch.testing.assert_close(packed, torch.cat(apart, 1), atol=1e-4, rtol=1e-4)
