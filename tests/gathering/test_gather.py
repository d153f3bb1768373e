"""Facts about a spec, with a real Hub stand-in over HTTP, and without one."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gathering.repos import CARD, CONFIG, gathered, make_model, make_repo, spec
from hubsim import Hub

from hfjobs_trainer.facts import AccountFacts, DatasetFacts, Facts, ModelFacts
from hfjobs_trainer.gathering import answer, gather_hardware
from hfjobs_trainer.gathering.local_model import read_model
from hfjobs_trainer.specs.methods.grpo import GRPO


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asks again at once."""
    monkeypatch.setattr(answer, "PAUSES", (0.01, 0.01))


def test_everything_the_hub_knows(hub: Hub) -> None:
    make_model(hub, "acme/llama", tokenizer_config__json='{"chat_template": "x"}')
    make_repo(hub, "datasets", "acme/chat", {"README.md": CARD})
    facts = gathered(hub, spec(eval_dataset={"id": "acme/chat", "split": "test"}))
    sha = facts.model.sha
    assert sha is not None
    assert len(sha) == 40
    assert facts.model == ModelFacts(
        exists=True,
        private=False,
        gated=False,
        sha=sha,
        model_type="llama",
        num_parameters=35,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        head_dim=16,
        vocab_size=512,
        dtype="float16",
        is_vision=False,
        has_chat_template=True,
        architectures=(),
        auto_classes=(),
        weights="transformers",
        has_tokenizer=True,
    )
    assert facts.dataset == DatasetFacts(
        exists=True,
        private=False,
        gated=False,
        sha=facts.dataset.sha,
        columns=("prompt", "messages"),
        num_rows=1000,
        splits=("train", "test"),
    )
    assert facts.eval_dataset == replace(facts.dataset, num_rows=50)
    assert facts.hardware is not None
    assert facts.hardware.source == "live"
    assert {"cpu-basic", "a10g-large", "h200x8"} <= {flavor.name for flavor in facts.hardware.flavors}
    assert facts.account == AccountFacts(
        has_token=True,
        name="alice",
        organizations=("acme",),
        token_role="write",
        roles={"acme": "admin"},
        paying={"alice": True, "acme": True},
    )


def test_every_model_among_the_rewards_is_looked_at(hub: Hub, tmp_path: Path) -> None:
    make_model(hub, "acme/llama")
    judge = make_model(hub, "acme/judge", {"private": True})
    shutil.copytree(judge, tmp_path / "mine")
    make_repo(hub, "datasets", "acme/prompts", {"README.md": CARD})
    rewards: list[Any] = ["acme/judge", "accuracy_reward", str(tmp_path / "mine"), "acme/judge", "acme/gone"]
    wanted = GRPO(model="acme/llama", dataset="acme/prompts", reward_funcs=rewards)
    facts = gathered(hub, wanted)
    first, local, again, gone = facts.reward_models
    assert (first.exists, first.private, first.num_parameters, first.hidden_size) == (True, True, 35, 64)
    assert (local.path, local.num_parameters) == (str(tmp_path / "mine"), 35)
    assert again == first
    assert gone.exists is False
    offline = gathered(hub, wanted, offline=True).reward_models
    assert [each.num_parameters for each in offline] == [None, 35, None, None]
    assert gathered(hub, spec()).reward_models == ()


def test_an_adapter_to_start_from(hub: Hub, tmp_path: Path) -> None:
    make_repo(hub, "models", "acme/sft", {"adapter_config.json": '{"task_type": "CAUSAL_LM"}'}, {"private": True})
    found = gathered(hub, spec(lora={"adapter": "acme/sft"})).adapter
    assert found is not None
    assert (found.exists, found.private, found.task_type) == (True, True, "CAUSAL_LM")
    missing = gathered(hub, spec(lora={"adapter": "acme/nope"})).adapter
    assert missing is not None
    assert (missing.exists, missing.task_type) == (False, None)
    folder = tmp_path / "adapter"
    assert gathered(hub, spec(lora={"adapter": str(folder)})).adapter == ModelFacts(path=str(folder), exists=False)
    folder.mkdir()
    (folder / "adapter_config.json").write_text('{"task_type": "SEQ_CLS"}')
    local = gathered(hub, spec(lora={"adapter": str(folder)})).adapter
    assert local is not None
    assert (local.path, local.exists, local.task_type) == (str(folder), True, "SEQ_CLS")
    assert gathered(hub, spec(lora={})).adapter is None


def test_the_hardware_alone(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = gather_hardware(endpoint=hub.endpoint)
    assert facts is not None
    assert facts == gathered(hub, spec()).hardware
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert gather_hardware(endpoint=hub.endpoint) is None


def test_a_machine_that_is_not_understood_hides_no_other(hub: Hub) -> None:
    machine = {"cpu": "2 vCPU", "ram": "16 GB", "unitCostMicroUSD": 167, "unitCostUSD": 0.000167, "unitLabel": "minute"}
    body = json.dumps([{"name": "odd"}, 7, {"name": "cpu-basic", "prettyName": "CPU Basic", **machine}])
    hub.fail(path="hardware", response={"status": 200, "body": body})
    facts = gather_hardware(endpoint=hub.endpoint)
    assert facts is not None
    assert [flavor.name for flavor in facts.flavors] == ["cpu-basic"]


def test_a_slice_counts_its_rows(hub: Hub) -> None:
    make_repo(hub, "datasets", "acme/chat", {"README.md": CARD})
    assert gathered(hub, spec(dataset={"id": "acme/chat", "split": "train[:10%]"})).dataset.num_rows == 100
    missing = gathered(hub, spec(dataset={"id": "acme/chat", "split": "validation"})).dataset
    assert (missing.columns, missing.num_rows, missing.splits) == (None, None, ("train", "test"))


CONFIGS = """---
{configs}dataset_info:
- config_name: short
  features:
  - name: a
    dtype: string
- config_name: {second}
  features:
  - name: b
    dtype: string
---
"""


@pytest.mark.parametrize(
    ("configs", "second", "config", "columns"),
    [
        ("", "long", "short", ("a",)),
        ("", "long", None, None),
        ("", "long", "other", None),
        ("", "default", None, ("b",)),
        ("configs:\n- config_name: long\n  default: true\n- config_name: short\n", "long", None, ("b",)),
        ("configs:\n- config_name: long\n- config_name: short\n", "long", None, None),
    ],
)
def test_columns_are_those_of_the_configuration(
    hub: Hub, configs: str, second: str, config: str | None, columns: tuple[str, ...] | None
) -> None:
    make_repo(hub, "datasets", "acme/chat", {"README.md": CONFIGS.format(configs=configs, second=second)})
    found = gathered(hub, spec(dataset={"id": "acme/chat", "config": config})).dataset
    assert found.columns == columns
    # what the card calls configurations, of which one must be the default or be named
    assert found.configs == (("long", "short") if configs else None)
    assert found.needs_config is (bool(configs) and columns is None)


@pytest.mark.parametrize(("said", "base"), [("me/base", "me/base"), (None, "")])
def test_an_adapter_in_place_of_a_model(hub: Hub, tmp_path: Path, said: str | None, base: str) -> None:
    config = json.dumps({"peft_type": "LORA", "base_model_name_or_path": said})
    make_repo(hub, "models", "acme/llama", {"adapter_config.json": config})
    assert gathered(hub, spec()).model.adapts == base
    (tmp_path / "adapter_config.json").write_text(config)
    assert gathered(hub, spec(model=str(tmp_path))).model.adapts == base
    # a merged model keeps the file
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    assert gathered(hub, spec(model=str(tmp_path))).model.adapts is None


@pytest.mark.parametrize(
    ("card", "found"), [("", (True, ("a",), 1, ("train",))), ("---\nviewer: false\n---\n", (True, None, None, None))]
)
def test_where_the_card_says_nothing_the_viewer_does(hub: Hub, card: str, found: tuple[Any, ...]) -> None:
    make_repo(hub, "datasets", "acme/chat", {"README.md": card, "train.jsonl": '{"a": 1}\n'})
    facts = gathered(hub, spec()).dataset
    assert (facts.exists, facts.columns, facts.num_rows, facts.splits) == found


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({}, False),
        ({"tokenizer_config__json": "{}"}, False),
        ({"tokenizer_config__json": "{}", "chat_template__jinja": "x"}, True),
        ({"tokenizer_config__json": "{"}, None),
    ],
)
def test_the_chat_template(hub: Hub, files: dict[str, str], found: bool | None) -> None:
    make_model(hub, "acme/llama", **files)
    assert gathered(hub, spec()).model.has_chat_template is found


@pytest.mark.parametrize(
    ("files", "text", "reads"),
    [
        ({"tokenizer_config__json": '{"chat_template": "x"}'}, "x", False),
        ({"tokenizer_config__json": '{"chat_template": "x", "response_template": {}}'}, "x", True),
        ({"tokenizer_config__json": '{"chat_template": [{"name": "default", "template": "x"}]}'}, None, False),
        ({"tokenizer_config__json": "{}"}, None, False),
        ({"tokenizer_config__json": "{"}, None, None),
    ],
)
def test_the_text_of_the_chat_template(
    hub: Hub, files: dict[str, str], text: str | None, reads: bool | None, tmp_path: Path
) -> None:
    make_model(hub, "acme/llama", **files)
    digest = hashlib.sha256(text.encode()).hexdigest() if text else None
    model = gathered(hub, spec()).model
    assert (model.template_digest, model.reads_answers) == (digest, reads)
    (tmp_path / "config.json").write_text("{}")
    for name, content in files.items():
        (tmp_path / name.replace("__", ".")).write_text(content)
    local = read_model(str(tmp_path))
    assert (local.template_digest, local.reads_answers) == (digest, reads)
    (tmp_path / "chat_template.jinja").write_text("y")
    assert read_model(str(tmp_path)).template_digest == hashlib.sha256(b"y").hexdigest()


def test_what_the_hub_does_not_have_does_not_exist(hub: Hub) -> None:
    facts = gathered(hub, spec("acme/none", "acme/none"))
    assert facts.model == ModelFacts(exists=False)
    assert facts.dataset == DatasetFacts(exists=False)


def test_a_revision_that_is_not_there_does_not_exist(hub: Hub) -> None:
    make_model(hub, "acme/llama")
    make_repo(hub, "datasets", "acme/chat", {"README.md": CARD})
    sha = gathered(hub, spec()).model.sha
    assert gathered(hub, spec(model_revision=sha)).model.exists is True
    facts = gathered(hub, spec(model_revision="v2", dataset={"id": "acme/chat", "revision": "v2"}))
    assert (facts.model.exists, facts.dataset.exists) == (False, False)


def test_a_name_that_no_repository_can_have_is_not_asked_for(hub: Hub) -> None:
    facts = gathered(hub, spec("acme/../llama", "a b"))
    assert (facts.model, facts.dataset) == (ModelFacts(exists=False), DatasetFacts(exists=False))
    assert not hub.requests("/(models|datasets)/")


def test_a_private_repository(hub: Hub) -> None:
    make_model(hub, "acme/llama", {"private": True})
    make_repo(hub, "datasets", "acme/chat", {"README.md": CARD}, {"private": True})
    seen = gathered(hub, spec())
    assert (seen.model.private, seen.dataset.private) == (True, True)
    assert gathered(hub, spec(), token="hf_carol_write").model == ModelFacts(exists=False)
    # Without a token the Hub does not tell what is private from what is missing.
    hidden = gathered(hub, spec(), token=None)
    assert (hidden.model.exists, hidden.dataset.exists) == (None, None)


def test_a_gated_model_hides_its_files_only(hub: Hub) -> None:
    make_model(hub, "acme/llama", {"gated": "manual"})
    facts = gathered(hub, spec(), token="hf_carol_write").model
    assert (facts.exists, facts.gated, facts.num_parameters, facts.model_type) == (True, True, 35, "llama")
    assert (facts.hidden_size, facts.has_chat_template) == (None, None)
    assert gathered(hub, spec()).model.hidden_size == 64


def test_without_a_token(hub: Hub) -> None:
    make_model(hub, "acme/llama")
    facts = gathered(hub, spec(), token=None)
    assert facts.account == AccountFacts(has_token=False)
    assert facts.model.num_parameters == 35
    assert not hub.requests("whoami")
    assert not [entry for entry in hub.requests() if entry["token"]]


def test_the_token_of_the_environment_is_used(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_bob_write")
    assert gathered(hub, spec(), token=None).account.name == "bob"


def test_a_token_that_the_hub_refuses_does_not_hide_what_is_public(hub: Hub) -> None:
    make_model(hub, "acme/llama")
    facts = gathered(hub, spec(), token="hf_expired")
    assert facts.account == AccountFacts(has_token=True, problem="the Hub does not accept this token")
    assert facts.model.num_parameters == 35
    assert "hf_expired" not in repr(facts)


def test_the_local_backend_asks_for_inputs_only(hub: Hub) -> None:
    make_model(hub, "acme/llama")
    facts = gathered(hub, spec(), backend="local")
    assert (facts.hardware, facts.account) == (None, AccountFacts(has_token=True))
    assert facts.model.exists is True
    assert not hub.requests("jobs|whoami")


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_offline_nothing_is_asked(hub: Hub, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    if how == "environment":
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    facts = gathered(hub, spec(), offline=how == "argument")
    assert facts == Facts(account=AccountFacts(has_token=True))
    assert facts.unasked == ("HF_HUB_OFFLINE is set" if how == "environment" else "offline=True")
    assert not hub.requests()


def test_local_paths_are_read_from_disk(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    data = tmp_path / "data.jsonl"
    data.write_text('{"text": "a"}\n' * 5)
    facts = gathered(hub, spec(str(tmp_path), str(data), eval_dataset=str(tmp_path / "none.csv")), offline=True)
    assert (facts.model.path, facts.model.hidden_size) == (str(tmp_path), 64)
    assert (facts.dataset.columns, facts.dataset.num_rows) == (("text",), 5)
    assert facts.eval_dataset == DatasetFacts(path=str(tmp_path / "none.csv"), exists=False)
    (tmp_path / "chat.jinja").touch()
    for name, exists in [("chat.jinja", True), ("none.j2", False), (".", True), ("none", False)]:
        place = str(tmp_path / name)
        facts = gathered(hub, spec(str(tmp_path), str(data), chat_template_path=place), offline=True)
        assert facts.chat_template == ModelFacts(path=place.removesuffix("/."), exists=exists)
    facts = gathered(hub, spec(str(tmp_path), str(data), chat_template_path="me/model"), offline=True)
    assert facts.chat_template is None


@pytest.mark.parametrize("lacking", [[], ["failed"], ["pending"]], ids=str)
def test_configurations_of_a_viewer_that_is_not_through_are_unknown(lacking: list[str]) -> None:
    from huggingface_hub import DatasetInfo

    from hfjobs_trainer.gathering.hub_answers import dataset_facts

    page = answer.Answer(DatasetInfo(id="me/d", private=False, gated=False, sha="0", downloads=0, likes=0, tags=[]))
    rows = [{"config": name, "split": "train", "num_rows": 1} for name in ("a", "b")]
    size: dict[str, Any] = {"size": {"splits": rows}, **{name: [{"config": "c"}] for name in lacking}}
    found = dataset_facts(page, size, {}, None, "train")
    assert (found.configs, found.needs_config) == ((None, False) if lacking else (("a", "b"), True))
