"""Facts about a spec, with a real Hub stand-in over HTTP, and without one."""

from __future__ import annotations

import json
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hubsim import Hub
from safetensors.numpy import save_file

from hfjobs_trainer.facts import AccountFacts, DatasetFacts, Facts, ModelFacts
from hfjobs_trainer.gathering import answer, gather, gather_hardware
from hfjobs_trainer.gathering import hub as hub_module
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.methods.grpo import GRPO
from hfjobs_trainer.specs.methods.sft import SFT

TOKEN = "hf_alice_write"
HOUR = {"Retry-After": "3600"}
PAUSES = answer.PAUSES
CONFIG = {
    "model_type": "llama",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 512,
    "torch_dtype": "float32",
}
CARD = """---
dataset_info:
  features:
  - name: prompt
    dtype: string
  - name: messages
    list:
    - name: role
      dtype: string
  splits:
  - name: train
    num_bytes: 10
    num_examples: 1000
  - name: test
    num_bytes: 10
    num_examples: 50
---
"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asks again at once."""
    monkeypatch.setattr(answer, "PAUSES", (0.01, 0.01))


def make_repo(hub: Hub, kind: str, name: str, files: dict[str, str], settings: dict[str, Any] | None = None) -> Path:
    folder = Path(hub.root) / kind / name
    folder.mkdir(parents=True)
    for file, text in files.items():
        (folder / file).write_text(text)
    if settings:
        (folder / ".hubsim.json").write_text(json.dumps(settings))
    return folder


def make_model(hub: Hub, name: str, settings: dict[str, Any] | None = None, **files: str) -> Path:
    import numpy as np

    named = {key.replace("__", "."): text for key, text in files.items()}
    folder = make_repo(hub, "models", name, {"config.json": json.dumps(CONFIG), **named}, settings)
    tensors = {"a": np.zeros((8, 4), dtype=np.float16), "b": np.zeros(3, dtype=np.float32)}
    save_file(tensors, folder / "model.safetensors")
    return folder


def spec(model: str = "acme/llama", dataset: Any = "acme/chat", **fields: Any) -> SFT:
    return SFT(model=model, dataset=dataset, **fields)


def gathered(hub: Hub, wanted: TrainSpec, token: str | None = TOKEN, **options: Any) -> Facts:
    return gather(wanted, token=token, endpoint=hub.endpoint, **options)


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
    assert facts.account == AccountFacts(has_token=True, name="alice", organizations=("acme",), token_role="write")


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
    local = ModelFacts(path=str(folder), exists=True, task_type="SEQ_CLS")
    assert gathered(hub, spec(lora={"adapter": str(folder)})).adapter == local
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
    assert gathered(hub, spec(dataset={"id": "acme/chat", "config": config})).dataset.columns == columns


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
    unanswered = ("anything (HF_HUB_OFFLINE is set)",) if how == "environment" else ()
    assert facts == Facts(account=AccountFacts(has_token=True), unanswered=unanswered)
    assert not hub.requests()


def test_local_paths_are_read_from_disk(hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    data = tmp_path / "data.jsonl"
    data.write_text('{"text": "a"}\n' * 5)
    facts = gathered(hub, spec(str(tmp_path), str(data), eval_dataset=str(tmp_path / "none.csv")), offline=True)
    assert (facts.model.path, facts.model.hidden_size) == (str(tmp_path), 64)
    assert (facts.dataset.columns, facts.dataset.num_rows) == (("text",), 5)
    assert facts.eval_dataset == DatasetFacts(path=str(tmp_path / "none.csv"), exists=False)


@pytest.mark.parametrize(
    "fault",
    [
        {"response": {"status": 500}},
        {"response": {"status": 429, "headers": HOUR}},
        {"response": {"status": 403}},
        {"response": {"status": 200, "body": "<html>"}},
        {"response": {"status": 200, "body": "[]"}},
        {"response": {"status": 200, "body": "{}"}},
        {"response": {"status": 200, "body": "null"}},
        {"reset": "before"},
        {"reset": "mid"},
    ],
    ids=json.dumps,
)
def test_a_broken_hub_is_unknown_and_raises_nothing(hub: Hub, fault: dict[str, Any]) -> None:
    hub.fail(path=".", times=1000, **fault)
    facts = gathered(hub, spec())
    assert facts.model.num_parameters is None
    assert facts.dataset.columns is None
    assert facts.hardware is None
    assert facts.account.name is None
    was_refused = fault.get("response", {}).get("status") == 403
    assert {what.split(" (")[0] for what in facts.unanswered} == (
        set() if was_refused else {"your token", "acme/llama", "acme/chat"}
    )


@pytest.mark.parametrize(
    "fault",
    [
        {"response": {"status": 503}, "times": 2},
        {"response": {"status": 429, "headers": {"Retry-After": "1"}}},
        {"response": {"status": 200, "body": "<html>"}},
        {"reset": "before"},
        {"reset": "mid"},
    ],
    ids=json.dumps,
)
@pytest.mark.parametrize("path", ["whoami", "models/acme/llama", "datasets/acme/chat", "jobs/hardware"])
def test_what_fails_for_a_moment_is_asked_again(hub: Hub, path: str, fault: dict[str, Any]) -> None:
    make_model(hub, "acme/llama")
    make_repo(hub, "datasets", "acme/chat", {"README.md": CARD})
    hub.fail(path=f"/api/{path}", **fault)
    facts = gathered(hub, spec())
    assert (facts.model.num_parameters, facts.dataset.num_rows, facts.account.name) == (35, 1000, "alice")
    assert facts.hardware is not None
    assert facts.unanswered == ()
    assert len(hub.requests(f"/api/{path}")) == fault.get("times", 1) + 1


@pytest.mark.parametrize(
    ("fault", "asked"),
    [({"status": 403}, 1), ({"status": 501}, 1), ({"status": 503}, 3), ({"status": 429, "headers": HOUR}, 1)],
    ids=json.dumps,
)
def test_nothing_is_asked_again_in_vain(hub: Hub, fault: dict[str, Any], asked: int) -> None:
    hub.fail(path="whoami", response=fault, times=1000)
    gathered(hub, spec())
    assert len(hub.requests("whoami")) == asked


def unknown(why: str) -> Facts:
    names = ("acme/llama", "acme/chat", "your token")
    return Facts(account=AccountFacts(has_token=True), unanswered=tuple(f"{name} ({why})" for name in names))


def test_a_closed_port_is_unknown() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    assert gather(spec(), token=TOKEN, endpoint=f"http://127.0.0.1:{port}") == unknown("ConnectError")


@pytest.fixture
def silent() -> Iterator[str]:
    """A server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def dripping() -> Iterator[str]:
    """A server whose answers never end: each byte comes in time, the last never does."""
    stopped = threading.Event()

    def drip(connection: socket.socket) -> None:
        with connection:
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
            while not stopped.wait(0.05):
                try:
                    connection.sendall(b" ")
                except OSError:
                    return

    def serve(listener: socket.socket) -> None:
        while not stopped.is_set():
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=drip, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        stopped.set()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("server", ["silent", "dripping"])
def test_a_hub_that_hangs_is_given_up(
    server: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "TOTAL_SECONDS", 1.0)
    monkeypatch.setattr(hub_module, "CALL_SECONDS", 2.0)
    assert gather(spec(), token=TOKEN, endpoint=request.getfixturevalue(server)) == unknown("no answer in time")


def test_the_waits_are_short() -> None:
    assert sum(PAUSES) < hub_module.CALL_SECONDS < hub_module.TOTAL_SECONDS < 10


def test_an_answer_after_the_deadline_does_not_count(hub: Hub) -> None:
    asked = hub_module.Hub(hub.endpoint, TOKEN, deadline=time.monotonic() - 1)
    hub.fail(path="whoami", delay=0.5)
    assert asked.ask_account()() == AccountFacts(has_token=True)


def test_a_hub_never_shows_its_token() -> None:
    assert TOKEN not in repr(hub_module.Hub(token=TOKEN))
