"""The hub backend through the unmodified client, against a Hub that goes wrong in every way that is known."""

from __future__ import annotations

import json
import logging
import os
import pickle
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import hubsim
import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.errors import AuthError, BackendError, HubUnavailable, JobFailed, JobNotFound, QuotaError
from hfjobs_trainer.planning.plan import JobRequest, Plan
from hfjobs_trainer.running.backends.base import JobRecord
from hfjobs_trainer.running.backends.hub import HubBackend
from hfjobs_trainer.running.backends.hub_connection import THREAD, Patience, Secret
from hfjobs_trainer.running.backends.hub_failures import strike_out
from hfjobs_trainer.running.backends.hub_log import Transcript
from hfjobs_trainer.running.job import TOLERATED_FAILURES, Job
from tests.running.places import GOOD_RUN

SECRET = "s3cret 'with' \"quotes\", \\ and ü\nin two lines"
SCRIPT = """\
# /// script
# dependencies = []
# ///
import os
print("color", os.environ["COLOR"], flush=True)
print("secret arrived", len(os.environ["WANDB_API_KEY"]), flush=True)
"""
REQUEST = JobRequest(
    script=SCRIPT,
    name="dpo-qwen",
    flavor="t4-small",
    timeout_seconds=13500,
    env={"COLOR": "blue"},
    labels={"sdk": "hfjobs-trainer", "method": "dpo"},
)
QUICK = Patience(attempts=3, pause=0.02, longest_pause=0.1, answer=10, submission=20, search=0.3, reconnects=5)
POST = {"method": "POST", "path": "/api/jobs/alice$"}
LIST = {"method": "GET", "path": "/api/jobs/alice$"}


def plan(**changes: Any) -> Plan:
    return Plan(spec=cast(Any, None), backend="hub", request=replace(REQUEST, **changes))


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Every test leaves the folder of temporary files empty."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def connect(hub: hubsim.Hub) -> Callable[..., HubBackend]:
    def connect(
        token: str | None = "hf_alice_write", namespace: str | None = "alice", patience: Patience = QUICK
    ) -> HubBackend:
        return HubBackend(token, namespace, hub.endpoint, patience)

    return connect


@pytest.fixture
def backend(connect: Callable[..., HubBackend]) -> HubBackend:
    return connect()


def play(hub: hubsim.Hub, backend: HubBackend, lines: Sequence[str], seconds: float = 0.1, **more: Any) -> JobRecord:
    hub.script(logs=list(lines), runSecs=seconds, **more)
    return backend.submit(plan())


def finish(hub: hubsim.Hub, record: JobRecord) -> hubsim.state.Job:
    job = hub.jobs[record.id.split("/")[1]]
    job.join(20)
    return job


def sent(hub: hubsim.Hub) -> list[dict[str, Any]]:
    """Bodies of the requests that create a job."""
    return [json.loads(entry["body"]) for entry in hub.requests("^/api/jobs/[^/]+$", "POST")]


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
    assert body["command"] == ["uv", "run", "/data/dpo-qwen.py"]
    folder = hub.root / "buckets" / "alice" / "jobs-artifacts" / body["volumes"][0]["path"]
    assert (folder / "dpo-qwen.py").read_text() == SCRIPT

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
    [(429, QuotaError, "too many requests"), (400, BackendError, "injected 400"), (404, BackendError, "injected 404")],
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


# -- one job, and only one

ANSWERS_LOST: dict[str, dict[str, Any]] = {
    "reset after acceptance": {"reset": "after"},
    "reset within the answer": {"reset": "mid"},
    "server error after acceptance": {"rewrite": lambda _status, _body: (502, b"<html>bad gateway</html>")},
    "an answer that is no JSON": {"rewrite": lambda _status, _body: (200, b"<html>welcome</html>")},
    "an answer that is no object": {"rewrite": lambda _status, _body: (200, [])},
    "an empty answer": {"rewrite": lambda _status, _body: (200, None)},
    "a job without a status": {"rewrite": lambda _status, body: (200, {**body, "status": None})},
    "a job without an owner": {"rewrite": lambda _status, body: (200, {**body, "owner": None})},
    "a job of no date": {"rewrite": lambda _status, body: (200, {**body, "createdAt": "yesterday"})},
    "an answer that leads elsewhere": {"rewrite": lambda _status, _body: (302, b"")},
}
NOT_CREATED: dict[str, dict[str, Any]] = {
    "reset before acceptance": {"reset": "before"},
    "server error": {"response": {"status": 500}},
    "bucket unavailable": {"path": "/api/buckets/alice/jobs-artifacts$", "response": {"status": 503}},
}


@pytest.mark.parametrize("fault", ANSWERS_LOST.values(), ids=ANSWERS_LOST)
def test_a_lost_answer_makes_no_second_job(hub: hubsim.Hub, backend: HubBackend, fault: dict[str, Any]) -> None:
    hub.fail(**POST, **fault)
    record = backend.submit(plan())
    assert [f"alice/{name}" for name in hub.jobs] == [record.id]
    assert len(sent(hub)) == 1


@pytest.mark.parametrize("fault", NOT_CREATED.values(), ids=NOT_CREATED)
def test_a_lost_request_is_sent_again(hub: hubsim.Hub, backend: HubBackend, fault: dict[str, Any]) -> None:
    hub.fail(**{**POST, **fault})
    record = backend.submit(plan())
    assert [f"alice/{name}" for name in hub.jobs] == [record.id]
    assert len({body["labels"]["submit-id"] for body in sent(hub)}) == 1


def test_a_job_that_shows_up_late(hub: hubsim.Hub, connect: Callable[..., HubBackend]) -> None:
    hub.cfg["listLagSecs"] = 0.5
    hub.fail(**POST, reset="after")
    record = connect(patience=replace(QUICK, search=20)).submit(plan())
    assert [f"alice/{name}" for name in hub.jobs] == [record.id]
    assert len(sent(hub)) == 1


def test_of_two_jobs_the_older_stays(hub: hubsim.Hub, connect: Callable[..., HubBackend]) -> None:
    hub.script(runSecs=60, logs=["older"])
    hub.script(runSecs=60, logs=["newer"])
    hub.fail(**POST, reset="after")
    hub.fail(**LIST, response={"status": 200, "body": []})  # the first look, and the only one, finds nothing
    record = connect(patience=replace(QUICK, search=0)).submit(plan())
    older, newer = hub.jobs.values()
    assert record.id == f"alice/{older.id}"
    newer.join(20)
    assert (newer.stage, older.canceled.is_set()) == ("CANCELED", False)


def test_a_second_job_that_cannot_be_canceled_is_told_of(hub: hubsim.Hub, connect: Callable[..., HubBackend]) -> None:
    hub.script(count=2, runSecs=60)
    hub.fail(**POST, reset="after")
    hub.fail(**LIST, response={"status": 200, "body": []})
    hub.fail(path="/cancel$", response={"status": 503}, times=99)
    with pytest.warns(RuntimeWarning, match="second one of the same submission") as told:
        record = connect(patience=replace(QUICK, search=0)).submit(plan())
    older, newer = hub.jobs
    assert record.id == f"alice/{older}"
    assert f'hft.Job.from_id("alice/{newer}").cancel()' in str(told[0].message)


def test_a_hub_that_stays_away(hub: hubsim.Hub, backend: HubBackend) -> None:
    hub.fail(**POST, response={"status": 503}, times=99)
    with pytest.raises(HubUnavailable, match=r"503.*not known: before you submit again") as raised:
        backend.submit(plan())
    assert raised.value.cause.status == 503
    assert len(sent(hub)) == QUICK.attempts


def test_a_script_that_cannot_be_uploaded(hub: hubsim.Hub, backend: HubBackend) -> None:
    hub.fail(path="/api/buckets/alice/jobs-artifacts$", response={"status": 503}, times=99)
    with pytest.raises(HubUnavailable, match=r"503.*No job was created"):
        backend.submit(plan())
    assert sent(hub) == []


def test_a_refusal_after_a_lost_answer_does_not_hide_it(hub: hubsim.Hub, backend: HubBackend) -> None:
    hub.cfg["listLagSecs"] = 60
    hub.fail(**POST, reset="after")
    hub.fail(**POST, response={"status": 402})
    with pytest.raises(QuotaError, match="not known: before you submit again") as raised:
        backend.submit(plan())
    hub.cfg["listLagSecs"] = 0
    assert found_as_told(hub, str(raised.value)) == list(hub.jobs) != []


@pytest.mark.parametrize("look", ["status", "cancel", "wait"])
def test_a_job_that_shows_up_after_the_second_one_is_canceled(hub: hubsim.Hub, backend: HubBackend, look: str) -> None:
    hub.script(runSecs=60)
    hub.script(runSecs=0.1 if look == "wait" else 60)
    hub.cfg["listLagSecs"] = 60
    hub.fail(**POST, reset="after")
    job = Job(backend.submit(plan()), backend)
    late, kept = hub.jobs.values()
    assert job.id == f"alice/{kept.id}"
    job.status()  # nothing is to be seen yet
    assert not late.canceled.is_set()
    hub.cfg["listLagSecs"] = 0
    hub.fail(path="/cancel$", response={"status": 503})  # it is tried again
    job.status()
    with pytest.warns(RuntimeWarning, match=f"job alice/{late.id}, .* was canceled"):
        getattr(job, look)()
    late.join(20)
    assert (late.stage, kept.canceled.is_set()) == ("CANCELED", look == "cancel")


def test_only_a_repeated_creation_is_looked_after(hub: hubsim.Hub, backend: HubBackend) -> None:
    record = backend.submit(plan())
    backend.status(record.id)
    backend.cancel(record.id)
    assert hub.requests(LIST["path"], "GET") == []


def found_as_told(hub: hubsim.Hub, text: str) -> list[str]:
    """Ids, without namespace, of the jobs that the call in a message finds."""
    ((namespace, labels),) = re.findall(r'hft\.Client\(namespace="(.*)"\)\.jobs\(labels=(\{.*?\})\)', text)
    client = hft.Client(token="hf_alice_write", namespace=namespace, endpoint=hub.endpoint)
    return [job.id.split("/")[1] for job in client.jobs(labels=json.loads(labels))]


def test_the_way_to_look_leads_to_the_organization_that_pays(hub: hubsim.Hub, backend: HubBackend) -> None:
    hub.fail(method="POST", path="/api/jobs/acme$", reset="after")
    hub.fail(method="GET", path="/api/jobs/acme$", response={"status": 403}, times=99)
    with pytest.raises(HubUnavailable, match="not known") as raised:
        backend.submit(plan(namespace="acme"))
    hub.faults.clear()
    assert found_as_told(hub, str(raised.value)) == list(hub.jobs) != []


def test_interrupting_the_search_tells_where_to_look(hub: hubsim.Hub, backend: HubBackend) -> None:
    def interrupt(status: int, _body: Any) -> tuple[int, Any]:
        os.kill(os.getpid(), signal.SIGINT)
        return status, []

    hub.fail(**POST, reset="after")
    hub.fail(**LIST, rewrite=interrupt)
    with pytest.raises(KeyboardInterrupt) as raised:
        backend.submit(plan())
    (note,) = raised.value.__notes__
    assert found_as_told(hub, note) == list(hub.jobs) != []


def test_nothing_is_sent_again_while_the_outcome_is_unknown(hub: hubsim.Hub, backend: HubBackend) -> None:
    hub.fail(**POST, reset="after")
    hub.fail(**LIST, response={"status": 403}, times=99)
    with pytest.raises(HubUnavailable, match="not known: before you submit again") as raised:
        backend.submit(plan())
    hub.faults.clear()
    assert found_as_told(hub, str(raised.value)) == list(hub.jobs) != []


def test_an_answer_that_cannot_be_read_and_a_job_that_does_not_show_up(hub: hubsim.Hub, backend: HubBackend) -> None:
    hub.cfg["listLagSecs"] = 60
    hub.fail(**POST, rewrite=lambda status, body: (status, {**body, "status": None}))
    with pytest.raises(HubUnavailable, match=r"TypeError.*not known: before you submit again"):
        backend.submit(plan())
    assert len(sent(hub)) == len(hub.jobs) == 1


def test_an_answer_that_never_comes(hub: hubsim.Hub, connect: Callable[..., HubBackend]) -> None:
    hub.fail(**POST, hang="after")
    record = connect(patience=replace(QUICK, submission=3)).submit(plan())
    assert [f"alice/{name}" for name in hub.jobs] == [record.id]
    assert len(sent(hub)) == 1


def test_a_request_that_never_arrives_is_not_repeated(hub: hubsim.Hub, connect: Callable[..., HubBackend]) -> None:
    hub.fail(**POST, hang="before")
    with pytest.raises(HubUnavailable, match=r"no answer within 3 s.*not known"):
        connect(patience=replace(QUICK, submission=3)).submit(plan())
    assert len(sent(hub)) == 1


def test_an_upload_that_was_given_up_creates_no_job(hub: hubsim.Hub, connect: Callable[..., HubBackend]) -> None:
    hub.fail(path="/batch$", delay=1)
    with pytest.raises(HubUnavailable, match=r"no answer within 0\.5 s.*No job was created"):
        connect(patience=replace(QUICK, submission=0.5, search=0)).submit(plan())
    for thread in threading.enumerate():
        if thread.name == THREAD:
            thread.join(20)
    assert [entry["status"] for entry in hub.requests("/batch$")] == [200]
    assert hub.jobs == {}


@pytest.mark.parametrize("change", [{"flavor": "a100x8"}, {"labels": {}}])
def test_another_job_than_was_asked_for_is_canceled(
    hub: hubsim.Hub, backend: HubBackend, change: dict[str, Any]
) -> None:
    hub.script(runSecs=60)
    hub.fail(**POST, rewrite=lambda status, body: (status, {**body, **change}))
    with pytest.raises(BackendError, match=f"{next(iter(change)).rstrip('s')}.*canceled"):
        backend.submit(plan())
    (job,) = hub.jobs.values()
    job.join(20)
    assert job.stage == "CANCELED"


def test_another_job_that_cannot_be_canceled_is_told_of(hub: hubsim.Hub, backend: HubBackend) -> None:
    hub.script(runSecs=60)
    hub.fail(**POST, rewrite=lambda status, body: (status, {**body, "flavor": "a100x8"}))
    hub.fail(path="/cancel$", response={"status": 503}, times=99)
    with pytest.raises(BackendError, match=r"flavor.*may be running.*503") as raised:
        backend.submit(plan())
    assert f'hft.Job.from_id("alice/{next(iter(hub.jobs))}").cancel()' in str(raised.value)


# -- logs

LINES = [f"line {n}" for n in range(12)]
BROKEN_STREAMS: dict[str, list[dict[str, Any]]] = {
    "reset": [{"sse": {"after": 4, "how": "reset"}}],
    "end of a chunk": [{"sse": {"after": 4, "how": "truncate"}}],
    "clean end": [{"sse": {"after": 4, "how": "close"}}],
    "again and again": [{"sse": {"after": n, "how": "reset"}} for n in (2, 4, 3)],
    "readings cut short": [{"sse": {"after": n, "how": "close"}} for n in (3, 5, 8)],
    "unavailable when opened again": [{"sse": {"after": 4, "how": "reset"}}, {"response": {"status": 502}, "times": 3}],
    "unavailable from the start": [{"response": {"status": 503}}],
    "too many requests": [{"response": {"status": 429}}],
}


@pytest.mark.parametrize("faults", BROKEN_STREAMS.values(), ids=BROKEN_STREAMS)
@pytest.mark.parametrize("seconds", [0.1, 0.8], ids=["ended", "running"])
def test_every_line_once(hub: hubsim.Hub, backend: HubBackend, faults: list[dict[str, Any]], seconds: float) -> None:
    record = play(hub, backend, LINES, seconds)
    if seconds < 0.5:
        finish(hub, record)
    for fault in faults:
        hub.fail(path="/logs$", **fault)
    assert list(backend.logs(record.id, follow=True)) == LINES
    assert all(fault["times"] == 0 for fault in hub.faults)


def test_a_job_whose_state_cannot_be_read_for_a_while(hub: hubsim.Hub, backend: HubBackend) -> None:
    record = play(hub, backend, LINES)
    finish(hub, record)
    hub.fail(path="/logs$", sse={"after": 3, "how": "reset"})
    hub.fail(path=f"/{record.id}$", response={"status": 503}, times=4)
    assert list(backend.logs(record.id, follow=True)) == LINES


def test_a_hub_that_keeps_the_end_of_a_log_only(hub: hubsim.Hub, backend: HubBackend) -> None:
    record = play(hub, backend, LINES)
    finish(hub, record)
    hub.fail(path="/logs$", sse={"after": 8, "how": "reset"})
    lines = backend.logs(record.id, follow=True)
    first = [next(lines) for _ in range(7)]
    hub.cfg["logReplayLimit"] = 7
    assert [*first, *lines] == LINES


WAITING = f"""
import os, time
print({chr(10).join(LINES)!r}, flush=True)
while not os.path.exists(os.path.expanduser("~/release")):
    time.sleep(0.02)
"""


@pytest.mark.parametrize("anew", [False, True], ids=["the client goes on", "the stream is opened anew"])
def test_a_running_job_of_which_the_end_is_replayed(hub: hubsim.Hub, backend: HubBackend, anew: bool) -> None:
    record = backend.submit(plan(script=WAITING))
    job = hub.jobs[record.id.split("/")[1]]
    hub.fail(path="/logs$", sse={"after": 5, "how": "reset"})
    if anew:
        hub.fail(path="/logs$", response={"status": 502})  # the client gives up on that

    def release() -> None:
        while len(hub.requests("/logs$")) < (4 if anew else 2):
            time.sleep(0.02)
        (job.dir / "home" / "release").touch()

    thread = threading.Thread(target=release)
    thread.start()
    lines = backend.logs(record.id, follow=True)
    shown = [next(lines) for _ in range(4)]
    hub.cfg["logReplayLimit"] = 9
    shown += lines
    thread.join()
    # the client skips by number what it has not seen: those lines come late, but they come
    assert (shown if anew else sorted(shown, key=LINES.index)) == LINES
    assert (shown == LINES) is anew


def test_a_log_that_cannot_be_read(hub: hubsim.Hub, backend: HubBackend) -> None:
    record = play(hub, backend, LINES)
    hub.fail(path="/logs$", response={"status": 503}, times=99)
    for follow in (True, False):
        with pytest.raises(HubUnavailable, match="503"):
            list(backend.logs(record.id, follow=follow))


def test_reading_a_log_can_be_left(hub: hubsim.Hub, backend: HubBackend) -> None:
    record = play(hub, backend, LINES, 6)
    lines = backend.logs(record.id, follow=True)
    assert next(lines) == "line 0"
    lines.close()
    backend.cancel(record.id)


def test_overwritten_text_is_not_shown(hub: hubsim.Hub, backend: HubBackend) -> None:
    record = play(hub, backend, ["a", " 10%\r 20%\rdone"])
    assert list(backend.logs(record.id, follow=True)) == ["a", "done"]


@pytest.mark.parametrize(
    ("streams", "log", "shown"),
    [
        (["ab"], "abc", "abc"),
        (["ab", "abcd"], "abcd", "abcd"),
        (["abcd"], "ab", "abcd"),
        (["abf"], "abcdef", "abfcde"),
        (["abcd"], "cdef", "abcdef"),
        (["abcd"], "xyz", "abcdxyz"),
        (["aaaa"], "aaaaaa", "aaaaaa"),
        (["abab"], "babx", "ababx"),
        (["abfg"], "bcdefg", "abfgcde"),
        ([], "", ""),
        (["ab"], "", "ab"),
    ],
)
def test_a_transcript_takes_each_line_once(streams: list[str], log: str, shown: str) -> None:
    transcript = Transcript()
    out = ""
    for stream in streams:
        transcript.begin_stream()
        out += "".join(line for line in stream if transcript.is_new(line))
    for _ in range(2):
        out += "".join(transcript.find_new(list(log)))
    assert out == shown
    assert not transcript.is_lost


def test_a_transcript_says_when_a_stream_cannot_be_followed() -> None:
    transcript = Transcript()
    for stream in ("abc", "cde"):
        transcript.begin_stream()
        for line in stream:
            transcript.is_new(line)
    assert transcript.is_lost


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
    assert len(hub.requests(f"/{record.id}$")) == TOLERATED_FAILURES + 1
    with pytest.raises(TimeoutError, match="unknown stage"):
        job.wait(timeout=0.05, poll=0.01)


def test_a_job_that_is_gone_is_not_waited_for(hub: hubsim.Hub, backend: HubBackend) -> None:
    record = backend.submit(plan())
    hub.fail(path=f"/{record.id}$", response={"status": 404})
    with pytest.raises(JobNotFound):
        Job(record, backend).wait()


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


# -- secrets


def tell_all(error: BaseException | None) -> str:
    """All that an exception gives away: words, attributes, what it was raised from, local variables of its frames."""
    if error is None:
        return ""
    told = [str(error), repr(error), repr(error.args), repr(vars(error)), repr(pickle.dumps(error))]
    step = error.__traceback__
    while step is not None:
        if step.tb_frame.f_code.co_filename != __file__:
            told.append(repr(step.tb_frame.f_locals))
        step = step.tb_next
    linked = (error.__cause__, error.__context__, getattr(error, "cause", None))
    return "\n".join([*told, *map(tell_all, linked)])


@pytest.mark.parametrize(
    "fault",
    [
        {**POST, "response": {"status": 403}},
        {**POST, "response": {"status": 400, "body": {"error": "bad: hf_alice_write plain-s3cret"}}},
        {**POST, "response": {"status": 503}, "times": 9},
        {**POST, "reset": "before", "times": 9},
        {"path": "xet-write-token", "response": {"status": 401}, "times": 9},
    ],
)
def test_no_exception_gives_a_secret_away(
    hub: hubsim.Hub, backend: HubBackend, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any]
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "plain-s3cret")
    hub.fail(**fault)
    with pytest.raises(BackendError) as raised:
        backend.submit(plan(secrets=("HF_TOKEN", "WANDB_API_KEY")))
    assert raised.value.cause is not None
    told = tell_all(raised.value)
    assert "plain-s3cret" not in told
    assert "hf_alice_write" not in told


def test_the_hub_gets_secrets_where_they_belong_and_nowhere_else(
    hub: hubsim.Hub, backend: HubBackend, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("WANDB_API_KEY", "plain-s3cret")
    record = backend.submit(plan(secrets=("HF_TOKEN", "WANDB_API_KEY")))
    finish(hub, record)
    list(backend.logs(record.id, follow=True))
    for entry in hub.journal:
        headers = {name: value for name, value in entry["headers"].items() if name.lower() != "authorization"}
        body = entry["body"]
        if (entry["method"], entry["path"]) == ("POST", "/api/jobs/alice"):
            body = {name: value for name, value in json.loads(body).items() if name != "secrets"}
        told = json.dumps([entry["path"], entry["query"], headers, body])
        assert "plain-s3cret" not in told
        assert "hf_alice_write" not in told
    assert caplog.records
    for told in (caplog.text, repr(backend), repr(record), repr(vars(backend))):
        assert "plain-s3cret" not in told
        assert "hf_alice_write" not in told
    for file in (hub.root / "buckets").rglob("*.py"):
        assert "plain-s3cret" not in file.read_text()


FRESH = """
import logging, sys
from hfjobs_trainer.planning.plan import JobRequest, Plan
from hfjobs_trainer.running.backends.hub import HubBackend
assert "huggingface_hub.hf_api" not in sys.modules
import huggingface_hub
names = ("HF_TOKEN", "WANDB_API_KEY")
request = JobRequest("print(1)", "fresh", flavor="t4-small", timeout_seconds=60, secrets=names)
backend = HubBackend()
record = backend.submit(Plan(spec=None, backend="hub", request=request))
print(list(backend.logs(record.id, follow=True)))
huggingface_hub.HfApi().whoami()
"""


def test_a_fresh_process_that_debugs(hub: hubsim.Hub, tmp_path: Path, temporary: Path) -> None:
    env = {name: value for name, value in os.environ.items() if name != "HF_HUB_DISABLE_EXPERIMENTAL_WARNING"}
    env |= {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": "hf_alice_write"}
    env |= {"HF_DEBUG": "1", "WANDB_API_KEY": "plain-s3cret", "TMPDIR": str(temporary)}
    ended = subprocess.run([sys.executable, "-c", FRESH], env=env, capture_output=True, text=True, check=False)
    told = ended.stdout + ended.stderr
    assert ended.returncode == 0, told
    assert "['1']" in ended.stdout
    assert "plain-s3cret" not in told
    assert "hf_alice_write" not in told
    assert "experimental" not in told
    assert "Send: curl" in ended.stderr  # debugging works for all else
    (body,) = sent(hub)
    assert body["secrets"] == {"HF_TOKEN": "hf_alice_write", "WANDB_API_KEY": "plain-s3cret"}
