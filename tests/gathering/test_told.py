"""What the Hub says of models, datasets and the account, as problems of a run."""

from __future__ import annotations

from typing import Any

import pytest
from gathering.repos import CARD, make_model, make_repo
from hubsim import Hub

import hfjobs_trainer as hft

FILES = {"tokenizer__json": "{}"}


def told(hub: Hub, token: str = "hf_alice_write", **fields: Any) -> dict[str, tuple[str, str]]:
    """Path and fix of each problem of which the Hub knows, by code."""
    client = hft.Client(token=token, endpoint=hub.endpoint)
    spec = {"method": "sft", "model": "acme/llama", "dataset": "acme/chat", "hub_model_id": "alice/out", **fields}
    problems = client.check(spec).problems
    return {item.code: (item.path, item.fix) for item in problems if item.code.startswith(("HUB", "MODEL", "SEC004"))}


@pytest.fixture
def repos(hub: Hub) -> Hub:
    make_model(hub, "acme/llama", **FILES)
    make_repo(hub, "datasets", "acme/chat", {"README.md": CARD})
    return hub


def test_a_good_run(repos: Hub) -> None:
    assert told(repos) == {}


@pytest.mark.parametrize(
    ("fields", "path", "fix"),
    [
        ({"model_revision": "nope"}, "model_revision", "model_revision=None"),
        ({"dataset": {"id": "acme/chat", "revision": "nope"}}, "dataset.revision", 'dataset="acme/chat"'),
        ({"model": "acme/chat"}, "model", ""),
        ({"dataset": "acme/llama"}, "dataset.id", ""),
        ({"model": "acme/gone"}, "model", ""),
    ],
)
def test_what_is_not_there(repos: Hub, fields: dict[str, Any], path: str, fix: str) -> None:
    assert told(repos, **fields) == {"HUB002": (path, fix)}


def test_a_revision_is_not_a_missing_repository(repos: Hub) -> None:
    client = hft.Client(token="hf_alice_write", endpoint=repos.endpoint)
    spec = {"method": "sft", "model": "acme/llama", "dataset": {"id": "acme/chat", "revision": "nope"}}
    whys = [item.why for item in client.check(spec).problems if item.code == "HUB002"]
    assert whys == ["acme/chat is on the Hub, but not its revision nope"]


def test_a_gated_model_without_access_is_a_problem(hub: Hub) -> None:
    make_model(hub, "acme/llama", {"gated": "manual"}, **FILES)
    make_repo(hub, "datasets", "acme/chat", {"README.md": CARD}, {"gated": "auto"})
    found = told(hub, "hf_carol_write", hub_model_id="carol/out")
    assert found.pop("HUB012")[0] == "namespace"  # who cannot pay either
    assert set(found) == {"HUB007"}
    client = hft.Client(token="hf_carol_write", endpoint=hub.endpoint)
    spec = hft.SFT(model="acme/llama", dataset="acme/chat", hub_model_id="carol/out", hardware="t4-small", timeout="1h")
    with pytest.raises(hft.SpecError, match=r"accept its terms on https://huggingface\.co/acme/llama"):
        client.submit(spec)
    assert not hub.jobs
    assert "HUB007" not in told(hub)  # alice is one of acme


@pytest.mark.parametrize(
    ("token", "fields", "expected"),
    [
        ("hf_alice_nojobs", {}, {"HUB008": ("secrets", "hf auth login")}),
        ("hf_alice_norepos", {}, {"HUB009": ("output.hub_model_id", "hf auth login")}),
        ("hf_alice_useronly", {}, {}),
        ("hf_alice_useronly", {"namespace": "acme"}, {"HUB008": ("namespace", "hf auth login")}),
        ("hf_alice_useronly", {"hub_model_id": "acme/out"}, {"HUB009": ("output.hub_model_id", "hf auth login")}),
        ("hf_bob_write", {"namespace": "acme", "hub_model_id": "bob/out"}, {"HUB008": ("namespace", "namespace=None")}),
        (
            "hf_bob_write",
            {"hub_model_id": "acme/out"},
            {"HUB009": ("output.hub_model_id", 'output=hft.Output(hub_model_id="bob/out")')},
        ),
        ("hf_carol_write", {"hub_model_id": "carol/out"}, {"HUB012": ("namespace", "")}),
    ],
)
def test_what_the_token_may_not(
    repos: Hub, token: str, fields: dict[str, Any], expected: dict[str, tuple[str, str]]
) -> None:
    assert told(repos, token, **fields) == expected


def test_what_is_there_already(repos: Hub) -> None:
    make_model(repos, "alice/out")
    make_repo(repos, "spaces", "alice/trackio", {"README.md": "---\nsdk: docker\n---\n", "Dockerfile": ""})
    found = told(repos)
    assert found == {
        "HUB010": ("output.hub_model_id", 'output=hft.Output(hub_model_id="alice/out-2")'),
        "HUB011": ("tracking.space_id", 'tracking=hft.Tracking(space_id="alice/trackio-2")'),
    }
    assert told(repos, hub_model_id="alice/out-2", tracking={"space_id": "alice/trackio-2"}) == {}


def test_an_adapter_of_the_hub_and_one_of_this_machine(repos: Hub, tmp_path: Any) -> None:
    text = '{"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "acme/llama"}'
    make_repo(repos, "models", "acme/adapter", {"adapter_config.json": text, "adapter_model.bin": ""})
    fix = 'model="acme/llama", lora=hft.LoRA(adapter="acme/adapter")'
    assert told(repos, model="acme/adapter") == {"HUB006": ("model", fix)}
    (tmp_path / "adapter_config.json").write_text(text)
    here = told(repos, model=str(tmp_path))
    assert here["HUB006"] == ("model", fix.replace("acme/adapter", str(tmp_path)))
    assert not {code for code in here if code.startswith("MODEL")}
