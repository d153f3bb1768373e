"""The hub backend through the unmodified client, against a Hub that goes wrong in every way that is known."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import hubsim
import pytest

from hfjobs_trainer.errors import AuthError, BackendError, HubUnavailable, JobFailed, JobNotFound, QuotaError
from hfjobs_trainer.running.backends.hub import HubBackend
from hfjobs_trainer.running.backends.hub_connection import Secret
from hfjobs_trainer.running.backends.hub_failures import strike_out
from hfjobs_trainer.running.job import Job
from tests.running.hub_runs import POST, QUICK, SCRIPT, SECRET, finish, plan, play, sent, tell_all
from tests.running.places import GOOD_RUN

pytestmark = pytest.mark.usefixtures("temporary")


# -- a run that goes well


def test_from_submission_to_the_end(
    hub: hubsim.Hub, backend: HubBackend, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    record = backend.submit(plan(secrets=("HF_TOKEN", "WANDB_API_KEY"), image="python:3.12"))
    assert list(backend.logs(record.id, follow=True)) == ["color blue", f"secret arrived {len(SECRET)}"]
    status = backend.status(record.id)
    assert (status.stage, status.is_terminal, status.succeeded) == ("COMPLETED", True, True)
    assert status.created_at < status.started_at < status.finished_at
    assert status.created_at.tzinfo is not None
    assert list(backend.logs(record.id, follow=False)) == ["color blue", f"secret arrived {len(SECRET)}"]

    (body,) = sent(hub)
    submit_id = body["labels"].pop("submit-id")
    assert len(submit_id) == 32
    assert body["labels"] == {"sdk": "hfjobs-trainer", "method": "dpo", "name": "dpo-qwen"}
    assert (body["flavor"], body["timeoutSeconds"], body["dockerImage"]) == ("t4-small", 13500, "python:3.12")
    assert body["environment"] == {"COLOR": "blue"}
    assert body["secrets"] == {"HF_TOKEN": "hf_alice_write", "WANDB_API_KEY": SECRET}
    assert body["command"] == ["uv", "run", "/data/script.py"]
    folder = hub.root / "buckets" / "alice" / "jobs-artifacts" / body["volumes"][0]["path"]
    assert (folder / "script.py").read_text() == SCRIPT

    assert record == backend.inspect(record.id)
    assert record.id == f"alice/{next(iter(hub.jobs))}"
    assert record.url == f"{hub.endpoint}/jobs/{record.id}"
    assert (record.flavor, record.labels["submit-id"]) == ("t4-small", submit_id)
    assert SECRET not in "".join(capsys.readouterr())


def test_the_owner_of_the_token_is_asked_for_once(hub: hubsim.Hub, connect: Callable[..., HubBackend]) -> None:
    backend = connect(namespace=None)
    first, second = (play(hub, backend, ["x"]) for _ in range(2))
    assert {record.id.split("/")[0] for record in (first, second)} == {"alice"}
    assert backend.inspect(first.id.split("/")[1]) == first
    assert len(hub.requests("whoami")) == 1


def test_an_organization_pays(hub: hubsim.Hub, backend: HubBackend) -> None:
    record = backend.submit(plan(namespace="acme"))
    assert record.id.startswith("acme/")
    assert finish(hub, record).namespace == "acme"


@pytest.mark.usefixtures("hub_env")
def test_the_token_of_the_environment(hub: hubsim.Hub, connect: Callable[..., HubBackend]) -> None:
    record = connect(token=None).submit(plan(secrets=("HF_TOKEN",)))
    assert finish(hub, record).spec["secrets"] == {"HF_TOKEN": "hf_alice_write"}


def test_each_submission_has_an_id_of_its_own(hub: hubsim.Hub, backend: HubBackend) -> None:
    same = plan()
    ids = {backend.submit(same).labels["submit-id"] for _ in range(2)}
    assert len(ids) == len(hub.jobs) == 2


# -- refusals


@pytest.mark.parametrize(
    ("token", "namespace", "kind", "words"),
    [
        (None, "alice", AuthError, ["no Hugging Face token", "hf auth login", "HF_TOKEN"]),
        (" \n", "alice", AuthError, ["no Hugging Face token"]),
        ("hf_nobody", "alice", AuthError, ["does not accept this token", "hf auth login", "HF_TOKEN"]),
        ("hf_nobody", None, AuthError, ["does not accept this token"]),
        ("hf_alice_nojobs", "alice", AuthError, ["job.write", "'alice'", "settings/tokens"]),
        ("hf_alice_norepos", "alice", AuthError, ["repo.write", "'alice'"]),
        ("hf_alice_useronly", "acme", AuthError, ["repo.write", "'acme'"]),
        ("hf_carol_write", "carol", QuotaError, ["'carol'", "https://huggingface.co/settings/billing"]),
    ],
)
def test_who_may_not_submit(
    hub: hubsim.Hub,
    connect: Callable[..., HubBackend],
    token: str | None,
    namespace: str | None,
    kind: type[BackendError],
    words: list[str],
) -> None:
    with pytest.raises(kind) as raised:
        connect(token, namespace).submit(plan())
    assert [word for word in words if word not in str(raised.value)] == []
    assert hub.jobs == {}
    assert token or hub.journal == []


def test_a_token_read_from_a_file(hub: hubsim.Hub, connect: Callable[..., HubBackend]) -> None:
    connect("hf_alice_write\r\n").submit(plan())
    assert len(hub.jobs) == 1


@pytest.mark.parametrize(
    "token", ["hf_alice_write\nsecond", "export HF_TOKEN=hf_alice_write", "hf_alice_write\x00", "hf_ä"]
)
def test_what_is_no_token_is_refused_and_not_shown(
    hub: hubsim.Hub, connect: Callable[..., HubBackend], token: str
) -> None:
    with pytest.raises(AuthError, match="no token has") as raised:
        connect(token).submit(plan())
    assert token[:5] not in tell_all(raised.value)
    assert hub.journal == []


@pytest.mark.parametrize("shown", [str, repr, json.dumps, lambda text: repr(text.encode())])
def test_a_hidden_value_is_struck_out_however_it_is_quoted(shown: Callable[[str], str]) -> None:
    secret = "first 'half'\nsecond half"
    text = strike_out(f"a header {shown(secret)} is refused", (Secret(secret),))
    assert "half" not in text
    assert text.startswith("a header ")


def test_a_refusal_within_the_upload(hub: hubsim.Hub, backend: HubBackend) -> None:
    hub.fail(path="xet-write-token", response={"status": 403}, times=9)
    with pytest.raises(AuthError, match=r"'alice'.*403"):
        backend.submit(plan())
    assert sent(hub) == []


@pytest.mark.parametrize(
    ("status", "kind", "words"),
    [(400, BackendError, "injected 400"), (404, BackendError, "injected 404")],
)
def test_what_is_refused_is_not_sent_again(
    hub: hubsim.Hub, backend: HubBackend, status: int, kind: type[BackendError], words: str
) -> None:
    hub.fail(**POST, response={"status": status})
    with pytest.raises(BackendError, match=words) as raised:
        backend.submit(plan())
    assert type(raised.value) is kind
    assert len(sent(hub)) == 1


def test_a_spending_limit_is_no_missing_right(hub: hubsim.Hub, backend: HubBackend) -> None:
    hub.fail(**POST, response={"status": 403, "body": {"error": "Resource group spend limit reached"}})
    with pytest.raises(QuotaError, match=r"spending limit is reached.*Resource group spend limit"):
        backend.submit(plan())


def test_the_hub_says_what_is_wrong_with_a_request(backend: HubBackend) -> None:
    with pytest.raises(BackendError, match=r"environment\.X"):
        backend.submit(plan(env={"X": "1"}))


@pytest.mark.parametrize(("name", "words"), [("flavor", "flavor"), ("timeout_seconds", "timeout")])
def test_no_default_of_the_server_is_relied_on(hub: hubsim.Hub, backend: HubBackend, name: str, words: str) -> None:
    with pytest.raises(BackendError, match=f"without a {words}.*{words.replace('flavor', 'hardware')}="):
        backend.submit(plan(**{name: None}))
    assert hub.journal == []


def test_a_secret_without_a_value(hub: hubsim.Hub, backend: HubBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("OTHER_KEY", "")
    with pytest.raises(AuthError, match=r"WANDB_API_KEY, OTHER_KEY.*export WANDB_API_KEY="):
        backend.submit(plan(secrets=("HF_TOKEN", "WANDB_API_KEY", "OTHER_KEY")))
    assert hub.journal == []


def test_an_offline_client_says_so(hub: hubsim.Hub, tmp_path: Path) -> None:
    code = "from hfjobs_trainer.running.backends.hub import HubBackend; HubBackend('t', 'alice').status('alice/1')"
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_ENDPOINT": hub.endpoint}
    ended = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert "HF_HUB_OFFLINE" in ended.stderr.splitlines()[-1]
    assert hub.journal == []


# -- jobs that exist


def test_a_job_that_is_not_there(backend: HubBackend) -> None:
    for name in ("alice/6affffffffffffffffffffff", "nonsense/../x", ""):
        for call in (
            backend.inspect,
            backend.status,
            backend.cancel,
            lambda name: list(backend.logs(name, follow=True)),
            lambda name: list(backend.logs(name, follow=False)),
        ):
            with pytest.raises(JobNotFound, match="job"):
                call(name)


@pytest.mark.parametrize("fault", [{"response": {"status": 503}}, {"reset": "before"}, {"response": {"status": 429}}])
def test_reading_a_job_waits_out_an_outage(hub: hubsim.Hub, backend: HubBackend, fault: dict[str, Any]) -> None:
    record = backend.submit(plan())
    fault = hub.fail(path=f"/{record.id}", **fault, times=2)
    assert backend.inspect(record.id) == record
    assert fault["times"] == 0


def test_an_outage_that_lasts(hub: hubsim.Hub, backend: HubBackend) -> None:
    record = backend.submit(plan())
    hub.fail(path=f"/{record.id}", response={"status": 503}, times=99)
    with pytest.raises(HubUnavailable, match="503"):
        backend.status(record.id)
    assert len(hub.requests(f"/{record.id}$")) == QUICK.attempts


@pytest.mark.parametrize("fault", [{"response": {"status": 503}}, {"reset": "before"}, {"response": {"status": 429}}])
def test_waiting_for_the_end_waits_out_an_outage(hub: hubsim.Hub, backend: HubBackend, fault: dict[str, Any]) -> None:
    record = play(hub, backend, GOOD_RUN)
    finish(hub, record)
    job = Job(record, backend)
    faults = [hub.fail(path=f"/{record.id}(/logs)?$", **fault, times=5 * QUICK.attempts)]
    assert job.wait(poll=0.01) is job
    faults.append(hub.fail(path=f"/{record.id}(/logs)?$", **fault, times=4 * QUICK.attempts))
    assert job.result().steps == 3
    faults.append(hub.fail(path=f"/{record.id}(/logs)?$", **fault, times=4))
    assert job.watch().succeeded
    assert [one["times"] for one in faults] == [0, 0, 0]


def test_an_outage_that_lasts_is_raised_or_ends_with_the_time(hub: hubsim.Hub, backend: HubBackend) -> None:
    record = backend.submit(plan())
    hub.fail(path=f"/{record.id}", response={"status": 503}, times=999)
    job = Job(record, HubBackend("hf_alice_write", "alice", hub.endpoint, replace(QUICK, attempts=1)))
    with pytest.raises(HubUnavailable, match="503"):
        job.wait(poll=0.01)
    assert len(hub.requests(f"/{record.id}$")) == QUICK.reconnects + 1
    with pytest.raises(TimeoutError, match="unknown stage"):
        job.wait(timeout=0.05, poll=0.01)


def test_a_job_that_stays_gone_is_not_waited_for(hub: hubsim.Hub, backend: HubBackend) -> None:
    record = backend.submit(plan())
    hub.fail(path=f"/{record.id}$", response={"status": 404}, times=99)
    with pytest.raises(JobNotFound):
        Job(record, backend).wait(poll=0.1)


def test_a_failure_is_told_though_its_log_cannot_be_read(hub: hubsim.Hub, backend: HubBackend) -> None:
    record = play(hub, backend, ["x"], exitCode=1)
    finish(hub, record)
    hub.fail(path="/logs$", response={"status": 503}, times=99)
    with pytest.raises(JobFailed, match="exit code: 1") as raised:
        Job(record, backend).raise_for_status()
    assert raised.value.log_tail == ()


def test_a_question_without_an_answer(hub: hubsim.Hub, connect: Callable[..., HubBackend]) -> None:
    hub.fail(path="/alice/1$", hang="before")
    with pytest.raises(HubUnavailable, match=r"no answer within 0\.2 s"):
        connect(patience=replace(QUICK, answer=0.2, attempts=1)).status("alice/1")


def test_how_jobs_end(hub: hubsim.Hub, backend: HubBackend) -> None:
    failed, slow = play(hub, backend, ["x"], exitCode=1), play(hub, backend, ["x"], message="Job timeout", exitCode=143)
    ends = []
    for record in (failed, slow):
        finish(hub, record)
        status = backend.status(record.id)
        ends.append((status.stage, status.message, status.succeeded))
    assert ends == [("ERROR", "Job failed with exit code: 1. Reason: Error", False), ("ERROR", "Job timeout", False)]


@pytest.mark.parametrize("answer", [200, 409])
def test_canceling_twice(hub: hubsim.Hub, backend: HubBackend, answer: int) -> None:
    hub.cfg["cancelFinished"] = answer
    record = play(hub, backend, ["x"], 60)
    hub.fail(path="/cancel$", response={"status": 503})
    backend.cancel(record.id)
    finish(hub, record)
    assert backend.status(record.id).stage == "CANCELED"
    backend.cancel(record.id)


def test_canceling_takes_a_right(hub: hubsim.Hub, backend: HubBackend, connect: Callable[..., HubBackend]) -> None:
    record = play(hub, backend, ["x"], 60)
    with pytest.raises(AuthError, match=r"cancel the job in 'alice'.*job\.write"):
        connect("hf_alice_read").cancel(record.id)


def test_jobs_are_found_by_their_labels(hub: hubsim.Hub, backend: HubBackend) -> None:
    hub.cfg["pageSize"] = 2
    hub.script(count=9)
    made = [backend.submit(plan(labels={"group": "a", "n": str(n)})).id for n in range(3)]
    other = backend.submit(plan(labels={"group": "b"})).id
    assert [record.id for record in backend.list({"group": "a"})] == made[::-1]
    assert [record.id for record in backend.list({"group": "a", "n": "1"})] == [made[1]]
    assert backend.list({"group": "c"}) == []
    assert [record.id for record in backend.list({})] == [other, *made[::-1]]


def test_ports_cost_extra(hub: hubsim.Hub, backend: HubBackend) -> None:
    hub.script(count=2, runSecs=0.1)
    for ports, price in (((), 0.4), ((8000,), 0.41)):
        job = Job(backend.submit(plan(expose=ports)), backend)
        finish(hub, job.record)
        assert job.cost() == pytest.approx(price / 60)
