"""What a user sees of a Hub that does not answer: a plan says what it lacks, and a submission why it is not made."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from pathlib import Path

import hubsim
import pytest
from gathering.repos import make_model

import hfjobs_trainer as hft
from hfjobs_trainer.facts.backends import HUB
from hfjobs_trainer.gathering import answer
from hfjobs_trainer.planning.refusal import refusal

FAULTS = [{"response": {"status": 503}}, {"reset": "before"}, {"response": {"status": 200, "body": "null"}}]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asks again at once."""
    monkeypatch.setattr(answer, "PAUSES", (0.01, 0.01))


@pytest.fixture
def script(tmp_path: Path) -> hft.Script:
    path = tmp_path / "train.py"
    path.write_text("# /// script\n# dependencies = []\n# ///\nprint(1)\n", "utf-8")
    return hft.Script(str(path), hardware="cpu-basic", timeout="20m", tracking=hft.Tracking(project="chat"))


@pytest.fixture
def client(hub: hubsim.Hub) -> hft.Client:
    return hft.Client(token="hf_alice_write", endpoint=hub.endpoint)


def sft(**fields: object) -> hft.SFT:
    return hft.SFT.model_validate(
        {"model": "acme/llama", "dataset": "acme/chat", "output": {"hub_model_id": "alice/m"}, **fields}
    )


@pytest.fixture
def unreachable() -> hft.Client:
    """A client without a network."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    return hft.Client(token="hf_alice_write", endpoint=f"http://127.0.0.1:{port}")


@pytest.mark.parametrize("fault", FAULTS, ids=json.dumps)
def test_one_failure_changes_nothing(
    client: hft.Client, hub: hubsim.Hub, script: hft.Script, fault: dict[str, object]
) -> None:
    calm = client.plan(script)
    hub.fail(path="whoami", **fault)
    assert client.plan(script) == calm
    assert calm.request.secrets == ("HF_TOKEN",)
    assert calm.unchecked == ()


@pytest.mark.parametrize("fault", FAULTS, ids=json.dumps)
def test_a_script_of_an_unknown_owner_is_not_submitted(
    client: hft.Client, hub: hubsim.Hub, script: hft.Script, fault: dict[str, object]
) -> None:
    hub.fail(path="whoami", times=99, **fault)
    plan = client.plan(script)
    (unchecked,) = plan.unchecked
    assert str(unchecked).startswith("SEC004: unknown: the owner of the token (the Hub has not answered for your")
    for what in (script, plan):
        with pytest.raises(hft.HubUnavailable, match=r"nothing was submitted.* for your token: "):
            client.submit(what)
    assert isinstance(client.submit(script, dry_run=True), hft.Plan)
    assert not hub.requests("/api/jobs/alice", "POST")


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("/api/whoami", "your token"),
        ("/api/models/acme/llama", "acme/llama"),
        ("/api/datasets/acme/chat", "acme/chat"),
    ],
)
def test_a_training_run_of_which_something_is_not_known_is_not_submitted(
    client: hft.Client, hub: hubsim.Hub, path: str, what: str
) -> None:
    hub.fail(path=path, times=99, response={"status": 503})
    with pytest.raises(hft.HubUnavailable) as raised:
        client.submit(sft())
    assert str(raised.value) == (
        f"nothing was submitted: the Hub has not answered for {what}: HTTP status 503, asked 3 times. hft.plan(spec) "
        "asks again for these alone, and hft.submit(spec) asks and submits; see https://status.huggingface.co"
    )


def test_prices_and_rows_may_stay_unknown(client: hft.Client, hub: hubsim.Hub) -> None:
    hub.fail(path="jobs/hardware|/size|/first-rows", times=99, response={"status": 503})
    plan = client.plan(sft(hardware="t4-small", timeout="1h"))
    # that prices are those of the snapshot is told, and keeps nobody from submitting
    assert plan.unanswered == ("the prices (HTTP status 503, asked 3 times)",)
    assert plan.prices.startswith("snapshot")
    assert "  the prices (HTTP status 503, asked 3 times)\n  hft.plan(spec) asks again for these" in str(plan)
    assert refusal(replace(plan, problems=()), HUB) is None


def test_without_a_network_a_plan_lists_what_it_lacks(unreachable: hft.Client, script: hft.Script) -> None:
    plan = unreachable.plan(sft())
    assert {item.code for item in plan.unchecked} >= {"SEC004", "HUB004"}
    assert len(plan.unanswered) == 4
    with pytest.raises(hft.HubUnavailable, match=r"acme/llama: no connection .* acme/chat: .* your token: "):
        unreachable.submit(sft())
    with pytest.raises(hft.HubUnavailable, match=r"your token: no connection \(ConnectError\)"):
        unreachable.submit(script)


def test_a_wrong_script_is_told_first(unreachable: hft.Client) -> None:
    with pytest.raises(hft.SpecError, match="DATA001"):
        unreachable.submit(sft(eval_strategy="steps"))


def test_the_variable_that_keeps_the_client_offline_is_named(
    client: hft.Client, hub: hubsim.Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(hft.HubUnavailable, match="HF_HUB_OFFLINE is set"):
        client.submit(sft())
    assert not hub.requests()


def test_a_plan_made_offline_is_not_submitted(client: hft.Client, hub: hubsim.Hub) -> None:
    plan = client.plan(sft(), offline=True)
    assert plan.unasked == "offline=True"
    with pytest.raises(hft.NotAsked, match=r"the plan was made offline \(offline=True\).* hft\.plan\(spec\) asks it"):
        client.submit(plan)
    assert not hub.requests()


@pytest.mark.parametrize("path", ["/api/models/acme/llama", "/acme/llama/resolve/main/config.json"])
def test_the_text_of_a_plan_says_what_went_unanswered(client: hft.Client, hub: hubsim.Hub, path: str) -> None:
    make_model(hub, "acme/llama", tokenizer__json="{}")
    hub.fail(path=path, times=99, response={"status": 503})
    plan = client.plan(sft())
    part = "" if "api" in path else ", config.json"
    assert f"no answer\n  acme/llama{part} (HTTP status 503, asked 3 times)" in str(plan)
    # what was not answered is not for the user to decide
    assert not [problem for problem in plan.problems if problem.code == "HW004"]
