"""What the Hub has answered is used again for some minutes, and nothing that it has not answered is."""

from __future__ import annotations

import copy
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from gathering.repos import CARD, TOKEN, gathered, make_model, make_repo, spec
from hubsim import Hub

import hfjobs_trainer as hft
from hfjobs_trainer.answers import Answers, fingerprint
from hfjobs_trainer.gathering import answer


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asks again at once."""
    monkeypatch.setattr(answer, "PAUSES", (0.01, 0.01))


@pytest.fixture
def repos(hub: Hub) -> Hub:
    make_model(hub, "acme/llama", tokenizer_config__json='{"chat_template": "x"}', tokenizer__json="{}")
    make_repo(hub, "datasets", "acme/chat", {"README.md": CARD, "train.jsonl": '{"prompt": "x", "messages": []}\n'})
    return hub


def asked(hub: Hub, path: str = "") -> int:
    return len(hub.requests(path))


def test_nothing_is_asked_twice(repos: Hub) -> None:
    answers = Answers()
    first = gathered(repos, spec(), answers=answers)
    before = asked(repos)
    assert gathered(repos, spec(learning_rate=1e-5), answers=answers) == first
    assert (
        gathered(repos, spec(eval_dataset={"id": "acme/chat", "split": "test"}), answers=answers).model == first.model
    )
    assert {entry["path"] for entry in repos.journal[before:]} == {"/first-rows"}  # of the other split
    assert first.model.num_parameters == 35


@pytest.mark.parametrize(
    ("changed", "path"),
    [
        ({"wanted": {"model_revision": "main"}}, "/api/models/acme/llama/revision/main"),
        ({"wanted": {"dataset": {"id": "acme/chat", "revision": "main"}}}, "/api/datasets/acme/chat/revision/main"),
        ({"wanted": {"dataset": {"id": "acme/chat", "split": "test"}}}, "/first-rows"),
        ({"wanted": {"dataset": {"id": "acme/chat", "config": "other"}}}, "/first-rows"),
        ({"token": "hf_bob_write"}, "/api/whoami-v2"),
        ({"token": "hf_bob_write"}, "/api/models/acme/llama"),
    ],
    ids=str,
)
def test_another_question_is_asked(repos: Hub, changed: dict[str, Any], path: str) -> None:
    answers = Answers()
    gathered(repos, spec(), answers=answers)
    before = asked(repos, f"^{path}$")
    gathered(repos, spec(**changed.get("wanted", {})), token=changed.get("token", TOKEN), answers=answers)
    assert asked(repos, f"^{path}$") == before + 1


def test_what_is_not_there_is_looked_for_again(hub: Hub) -> None:
    answers = Answers()
    facts = gathered(hub, spec(), answers=answers)
    assert (facts.model.exists, facts.dataset.exists) == (False, False)
    make_model(hub, "acme/llama")
    make_repo(hub, "datasets", "acme/chat", {"README.md": CARD})
    facts = gathered(hub, spec(), answers=answers)
    assert (facts.model.num_parameters, facts.dataset.num_rows) == (35, 1000)


@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 403}, {"status": 401}, {"status": 200, "body": "{}"}])
def test_what_was_refused_or_not_answered_is_asked_again(repos: Hub, fault: dict[str, Any]) -> None:
    answers = Answers()
    hub_fault = repos.fail(path=".", times=1000, response=fault)
    facts = gathered(repos, spec(), answers=answers)
    assert (facts.model.num_parameters, facts.account.name, facts.hardware) == (None, None, None)
    hub_fault["times"] = 0
    facts = gathered(repos, spec(), answers=answers)
    assert (facts.model.num_parameters, facts.account.name, facts.dataset.num_rows) == (35, "alice", 1000)
    assert facts.hardware is not None
    assert facts.unanswered == ()


def test_a_token_that_was_refused_is_tried_again(repos: Hub) -> None:
    answers = Answers()
    repos.fail(path="/api/models", method="GET", times=1, response={"status": 401})
    assert gathered(repos, spec(), answers=answers).model.num_parameters == 35  # anonymously
    before = asked(repos, "/api/models")
    gathered(repos, spec(), answers=answers)
    assert asked(repos, "/api/models") == before + 1


def test_files_on_this_machine_are_read_anew(hub: Hub, tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    answers = Answers()
    for count in (1, 2):
        rows.write_text('{"prompt": "x"}\n' * count)
        assert gathered(hub, spec(dataset=str(rows)), answers=answers).dataset.num_rows == count


def test_a_tokenizer_that_was_deleted_is_got_again(repos: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    answers = Answers()
    gathered(repos, spec(), answers=answers)
    before = asked(repos, "tokenizer.json")
    gathered(repos, spec(), answers=answers)
    assert asked(repos, "tokenizer.json") == before > 0
    for path in tmp_path.rglob("tokenizer.json"):
        path.unlink()
    gathered(repos, spec(), answers=answers)
    assert asked(repos, "tokenizer.json") > before


def test_answers_grow_old(repos: Hub) -> None:
    answers = Answers(seconds=0)
    for _ in range(2):
        gathered(repos, spec(), answers=answers)
    assert asked(repos, "whoami") == 2


def test_a_client_keeps_answers_and_a_new_one_has_none(repos: Hub) -> None:
    def client() -> hft.Client:
        return hft.Client(token=TOKEN, endpoint=repos.endpoint)

    mine = client()
    for use in (mine.check, mine.gather, mine.pick_flavor):
        use(spec())
    assert asked(repos, "whoami") == asked(repos, "/api/jobs/hardware") == 1
    client().gather(spec())
    assert asked(repos, "whoami") == 2
    mine.gather(spec(), fresh=True)
    assert asked(repos, "whoami") == 3
    mine.check(spec())
    assert asked(repos, "whoami") == 3


def test_threads_share_what_is_being_asked(repos: Hub) -> None:
    repos.fail(path="whoami", delay=0.3)
    client = hft.Client(token=TOKEN, endpoint=repos.endpoint)
    with ThreadPoolExecutor(8) as pool:
        facts = [*pool.map(lambda _: client.gather(spec()), range(8))]
    assert {each.account.name for each in facts} == {"alice"}
    assert asked(repos, "whoami") == asked(repos, "/api/models/acme/llama$") == 1


def test_nobody_waits_for_an_answer_that_its_asker_has_given_up() -> None:
    answers = Answers()
    _, is_new = answers.join("question", time.monotonic() + 0.02)
    assert is_new
    assert not answers.join("question", time.monotonic() + 60)[1]
    time.sleep(0.03)
    late, is_new = answers.join("question", time.monotonic() + 60)
    assert is_new
    answers.settle("question", late, "answer", keep=True)
    assert answers.find("question") == "answer"


def test_an_answer_that_comes_after_all_was_forgotten_is_not_kept() -> None:
    answers = Answers()
    future, _ = answers.join("question", time.monotonic() + 60)
    waiting: list[str] = []
    thread = threading.Thread(target=lambda: waiting.append(future.result(10)))
    thread.start()
    answers.clear()
    answers.settle("question", future, "old", keep=True)
    thread.join(10)
    assert (waiting, answers.find("question")) == (["old"], None)


def test_no_token_is_in_what_is_kept(repos: Hub) -> None:
    client = hft.Client(token=TOKEN, endpoint=repos.endpoint)
    client.gather(spec())
    (answers,) = [value for value in vars(client).values() if isinstance(value, Answers)]
    held = repr(answers) + "".join(repr(key) for key in answers._entries)
    assert TOKEN not in held
    assert fingerprint(TOKEN) in held
    for copied in (pickle.loads(pickle.dumps(answers)), copy.deepcopy(answers)):
        assert repr(copied) == "Answers(0)"
