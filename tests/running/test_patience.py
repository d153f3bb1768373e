"""How long the Hub is waited for: refusals as one too many, what is told meanwhile, and the time for all of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import hubsim
import pytest

import hfjobs_trainer as hft
from hfjobs_trainer.answers import Answers
from hfjobs_trainer.running.backends import hub_account
from hfjobs_trainer.running.backends.hub_connection import Patience
from hfjobs_trainer.running.backends.hub_failures import read_retry_after
from hfjobs_trainer.running.reuse import CANCEL_SECONDS
from tests.running.hub_runs import LIST, POST, QUICK, plan, sent

ROOT = Path(__file__).parents[2]
NOW = "Wed, 21 Oct 2026 07:28:00 GMT"
LATER = "Wed, 21 Oct 2026 07:28:25 GMT"


@pytest.fixture(autouse=True)
def nothing_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_account, "_OWNERS", Answers())


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "25"}, 25.0),
        ({"retry-after": " 1.5 "}, 1.5),
        ({"Retry-After": LATER, "Date": NOW}, 25.0),
        ({"Retry-After": NOW, "Date": LATER}, 0.0),
        ({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({"RateLimit": '"api";r=0;t=55', "RateLimit-Policy": '"fixed window";"api";q=500;w=300'}, 55.0),
        ({"ratelimit": "r=0; t=7", "Retry-After": "3"}, 7.0),
        ({"RateLimit": '"api";r=10;t=55'}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-1"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "9" * 400}, None),
        ({"Retry-After": ""}, None),
        ({}, None),
    ],
)
def test_what_the_hub_asks_to_wait(headers: dict[str, str], seconds: float | None) -> None:
    assert read_retry_after(headers) == seconds


@pytest.mark.parametrize(
    "headers", [{"Retry-After": "0"}, {"Retry-After": NOW, "Date": NOW}, {"RateLimit": "r=0;t=0"}, {}]
)
def test_a_creation_that_was_one_too_many_is_made_again(
    hub: hubsim.Hub, backend: hft.HubBackend, headers: dict[str, str]
) -> None:
    hub.fail(**POST, response={"status": 429, "headers": headers}, times=2)
    record = backend.submit(plan())
    assert [f"alice/{name}" for name in hub.jobs] == [record.id]
    assert len(sent(hub)) == 3
    assert len({body["labels"]["submit-id"] for body in sent(hub)}) == 1
    assert hub.requests(LIST["path"], "GET") == []  # it was refused, so nothing is looked for


CALLS: dict[str, tuple[str, Callable[[hft.HubBackend, str], object]]] = {
    "whoami": ("/whoami", lambda backend, _: backend.list({})),
    "what is in the bucket": ("/paths-info$", lambda backend, _: backend.submit(plan())),
    "the upload": ("/batch$", lambda backend, _: backend.submit(plan(script="print(2)\n"))),
    "the list": ("/api/jobs/alice$", lambda backend, _: backend.list({})),
    "a job": ("/api/jobs/alice/[^/]+$", lambda backend, job: backend.status(job)),
    "cancel": ("/cancel$", lambda backend, job: backend.cancel(job)),
    "its log": ("/logs$", lambda backend, job: [*backend.logs(job, follow=False)]),
    "a schedule": (
        "/api/scheduled-jobs/alice$",
        lambda backend, _: backend.schedules.submit(plan(schedule="@weekly")),
    ),
}


@pytest.mark.parametrize(("path", "call"), CALLS.values(), ids=CALLS)
def test_every_call_is_made_again(
    hub: hubsim.Hub,
    connect: Callable[..., hft.HubBackend],
    path: str,
    call: Callable[[hft.HubBackend, str], object],
    caplog: pytest.LogCaptureFixture,
) -> None:
    hub.script(runSecs=0)
    backend = connect(namespace=None)
    job = f"alice/{backend.submit(plan(namespace='alice')).id.split('/')[1]}"
    hub.jobs[job.split("/")[1]].join(20)
    seen = len(hub.journal)
    hub.fail(path=path, response={"status": 429, "headers": {"Retry-After": "0"}}, times=2)
    call(backend, job)
    refused = [entry["status"] for entry in hub.journal[seen:] if re.search(path, entry["path"])]
    assert refused[:2] == [429, 429]
    assert refused[2] in (200, 404)
    assert "Rate limited" not in caplog.text  # the client itself would wait in silence


def test_too_many_for_too_long(hub: hubsim.Hub, connect: Callable[..., hft.HubBackend]) -> None:
    hub.fail(**POST, response={"status": 429}, times=999)
    with pytest.raises(hft.QuotaError, match=r"too many requests, even after waiting \d+ s\. Wait a few minutes"):
        connect(patience=replace(QUICK, quota=1.5)).submit(plan())
    assert len(sent(hub)) > 3
    assert hub.jobs == {}


def test_a_wait_that_is_too_long_is_not_begun(hub: hubsim.Hub, backend: hft.HubBackend) -> None:
    hub.fail(**POST, response={"status": 429, "headers": {"Retry-After": "3600"}}, times=999)
    with pytest.raises(hft.QuotaError, match=r"too many requests.*\. Wait 1 h and try again"):
        backend.submit(plan())
    assert len(sent(hub)) == 1


def told(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("hft: ")]


def test_what_takes_long_is_told_once(
    hub: hubsim.Hub, connect: Callable[..., hft.HubBackend], capsys: pytest.CaptureFixture[str]
) -> None:
    hub.fail(**POST, response={"status": 429, "headers": {"Retry-After": "1"}})
    hub.fail(path="/paths-info$", delay=0.5)
    hub.fail(path="/batch$", delay=1.5)
    connect(patience=replace(QUICK, notice=0.3, pause=0.1, quota=20)).submit(plan())
    assert told(capsys) == [
        "hft: the Hub has not answered yet",
        "hft: the upload of the script takes longer than usual",
        "hft: too many requests: waiting 1 s, as the Hub asks",
    ]


def test_a_job_without_an_answer_is_found_meanwhile(
    hub: hubsim.Hub, connect: Callable[..., hft.HubBackend], capsys: pytest.CaptureFixture[str]
) -> None:
    hub.cfg["listLagSecs"] = 0.5
    hub.fail(**POST, hang="after")
    record = connect(patience=replace(QUICK, notice=0.2, submission=600)).submit(plan())
    assert [f"alice/{name}" for name in hub.jobs] == [record.id]
    assert told(capsys) == ["hft: the Hub has not answered yet; looking for the job under its label"]


def test_what_is_quick_is_not_told(backend: hft.HubBackend, capsys: pytest.CaptureFixture[str]) -> None:
    backend.submit(plan())
    assert told(capsys) == []


@pytest.mark.parametrize("slow", ["/paths-info$", "/batch$", POST["path"]])
def test_all_requests_together_have_an_end(hub: hubsim.Hub, connect: Callable[..., hft.HubBackend], slow: str) -> None:
    patience = replace(QUICK, attempts=10**6, answer=600, submission=600, total=1, aftermath=0.5, notice=0.2, quota=600)
    hub.fail(path=slow, method="POST", response={"status": 429, "headers": {"Retry-After": "0"}}, times=10**6)
    with pytest.raises(hft.QuotaError):
        connect(patience=patience).submit(plan(script=f"print({slow!r})\n"))
    assert hub.jobs == {}


def test_a_creation_that_hangs_has_an_end(hub: hubsim.Hub, connect: Callable[..., hft.HubBackend]) -> None:
    hub.fail(**POST, hang="before")
    patience = replace(QUICK, submission=600, total=2, aftermath=0.5, notice=0.2)
    with pytest.raises(hft.HubUnavailable, match="not known: before you submit again"):
        connect(patience=patience).submit(plan())
    assert len(sent(hub)) == 1


def longest(patience: Patience, *, nodes: int = 1, reuse: bool = False) -> float:
    """The longest that the requests of ``submit`` can take, from the plan on, seconds.

    All up to the last creation share ``total``, whatever they are. Then the job may be looked for, and what is not
    wanted of it canceled, or all other nodes. With ``reuse``, identical jobs are looked for patiently, once more
    afterwards, and the later one of two is canceled.
    """
    first_look = patience.answer + patience.quota if reuse else patience.search
    creation = patience.total + (2 if nodes == 1 else 3) * patience.aftermath
    second_look = patience.search + CANCEL_SECONDS if reuse else 0.0
    return first_look + creation + second_look


def test_the_longest_time_is_the_documented_one() -> None:
    text = (ROOT / "references/running.md").read_text("utf-8")
    found = re.search(
        r"never take longer than (\d+) minutes \((\d+) on several nodes, (\d+) more with `reuse=True`\)", text
    )
    assert found is not None
    alone, nodes, more = (60 * int(minutes) for minutes in found.groups())
    patience = Patience()
    assert alone - 60 < longest(patience) <= alone
    assert nodes - 60 < longest(patience, nodes=2) <= nodes
    assert more - 60 < longest(patience, reuse=True) - longest(patience) <= more


def test_no_single_wait_is_longer_than_all_together() -> None:
    patience = Patience()
    single: Iterable[float] = (patience.answer, patience.submission, patience.quota, patience.notice)
    assert max(single) + patience.submission < patience.total
    assert patience.search + patience.answer < patience.aftermath


def test_a_creation_that_came_too_early_is_made_again(hub: hubsim.Hub, backend: hft.HubBackend) -> None:
    hub.fail(**POST, response={"status": 425}, times=2)
    backend.submit(plan())
    assert (len(hub.jobs), len(hub.requests("^/api/jobs/alice$", "GET"))) == (1, 0)


def test_what_failed_is_told_and_not_that_the_time_is_over(
    hub: hubsim.Hub, connect: Callable[..., hft.HubBackend]
) -> None:
    hub.fail(**LIST, hang="before", times=99)
    backend = connect(patience=replace(QUICK, answer=0.5, quota=0.2, notice=0.5))
    with pytest.raises(hft.HubUnavailable, match=r"no answer within 0\.5 s"):
        backend.find({}, "alice")


def test_a_time_that_is_over_is_not_named_as_the_next_one(hub: hubsim.Hub, backend: hft.HubBackend) -> None:
    hub.fail(**POST, response={"status": 429, "headers": {"Retry-After": NOW, "Date": NOW}}, times=99)
    with pytest.raises(hft.QuotaError, match=r"even after waiting \d+ s\. Wait a few minutes and try again"):
        backend.submit(plan())
