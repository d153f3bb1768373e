"""The spec beside a model on the Hub is read, or it is said why not."""

from __future__ import annotations

import json

import hubsim
import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.specs.load import repository_in


@pytest.fixture
def client(hub_env: hubsim.Hub) -> hft.Client:
    spec = hft.SFT(model="me/base", dataset="me/rows", max_length=None)
    for name, text in (
        ("made", json.dumps({"digest": spec.digest, "spec": spec.to_dict()})),
        ("broken", "{"),
        ("other", json.dumps({"digest": "", "spec": {"method": "sft", "modle": "me/base"}})),
        ("bare", None),
    ):
        folder = hub_env.root / "models/alice" / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text("{}")
        if text is not None:
            (folder / "hft_spec.json").write_text(text)
    (hub_env.root / "models/alice/made/.hubsim.json").write_text(json.dumps({"private": True}))
    return hft.Client(token="hf_alice_write", endpoint=hub_env.endpoint)


def test_it_is_the_spec_that_was_submitted(client: hft.Client) -> None:
    spec = hft.SFT(model="me/base", dataset="me/rows", max_length=None)

    assert client.load("alice/made") == spec
    assert client.load("https://huggingface.co/alice/made/tree/main") == spec
    assert client.load("alice/made", learning_rate=1e-4) == spec.replace(learning_rate=1e-4)


def test_it_is_said_what_is_not_there(client: hft.Client, hub_env: hubsim.Hub) -> None:
    with pytest.raises(hft.BackendError, match=r"alice/bare has no hft_spec\.json.*hft\.load\(\"script\.py\"\)"):
        client.load("alice/bare")
    with pytest.raises(hft.BackendError, match="there is no model alice/none on the Hub, or it is private and your"):
        client.load("alice/none")
    with pytest.raises(hft.BackendError, match="not its revision v9"):
        client.load("https://huggingface.co/alice/made/tree/v9")
    with pytest.raises(hft.SpecError, match=r"hft_spec\.json: Expecting property name"):
        client.load("alice/broken")
    with pytest.raises(hft.SpecError, match=r"modle.*\(alice/other\)|\(alice/other\)"):
        client.load("alice/other")


def test_what_is_private_stays_so(client: hft.Client, hub_env: hubsim.Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    stranger = hft.Client(token="hf_bob_write", endpoint=hub_env.endpoint)

    with pytest.raises(hft.BackendError, match="there is no model alice/made on the Hub") as caught:
        stranger.load("alice/made")
    assert "hf_bob" not in str(caught.value)


def test_nobody_is_asked_offline(client: hft.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")

    with pytest.raises(hft.NotAsked, match="HF_HUB_OFFLINE is set"):
        client.load("alice/made")


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("me/model", ("me/model", None)),
        ("me/Qwen2.5-0.5B", ("me/Qwen2.5-0.5B", None)),
        ("https://huggingface.co/me/model/tree/v2", ("me/model", "v2")),
        ("hf://me/model", ("me/model", None)),
        ("./me/model", None),
        ("me/sft.yaml", None),
        ("sft", None),
        ("trl sft --config a/b", None),
        ("https://huggingface.co/datasets/me/rows", None),
        (["trl", "sft"], None),
    ],
)
def test_a_model_is_told_from_a_file(source: object, expected: object) -> None:
    assert repository_in(source) == expected
