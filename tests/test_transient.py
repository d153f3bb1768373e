"""What may pass of what a Hub answers: one definition, and one in the scripts that says the same."""

from __future__ import annotations

import json

import httpx2
import pytest
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

from hfjobs_trainer.gathering.answer import ask
from hfjobs_trainer.rendering.runtime.push import may_pass
from hfjobs_trainer.running.backends.hub_failures import Failure
from hfjobs_trainer.transient import http_status, is_transient, is_transient_status

STATUSES = range(400, 600)
TRANSIENT = {408, 425, 429, *range(500, 600)}


def refusal(status: int) -> HfHubHTTPError:
    request = httpx2.Request("GET", "http://hub.test/api")
    return HfHubHTTPError("no", response=httpx2.Response(status, request=request))


def test_a_status_may_pass() -> None:
    assert {status for status in STATUSES if is_transient_status(status)} == TRANSIENT
    assert {status for status in STATUSES if is_transient(refusal(status))} == TRANSIENT
    assert {status for status in STATUSES if Failure.of(refusal(status)).is_transient} == TRANSIENT


def test_facts_are_asked_for_again_after_what_may_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hfjobs_trainer.gathering.answer.PAUSES", (0.0, 0.0))

    def asked(status: int) -> int:
        calls = 0

        def call() -> None:
            nonlocal calls
            calls += 1
            raise refusal(status)

        ask(call, float("inf"))
        return calls

    again = {status for status in STATUSES if asked(status) == 3}
    assert again == TRANSIENT - {501}  # with which the dataset viewer refuses for good


def test_a_script_pushes_again_after_the_same_and_after_conflicts_of_commits() -> None:
    # a repository that is gone is made anew, once
    assert {status for status in STATUSES if may_pass(refusal(status), [])} == TRANSIENT | {404, 409, 412}
    assert not may_pass(refusal(404), [404])


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (httpx2.ConnectError("refused"), True),
        (httpx2.ReadTimeout("late"), True),
        (TimeoutError("late"), True),
        (ConnectionError("reset by peer"), True),
        (ConnectionError("HTTP status server error (503 Service Unavailable)"), True),
        (ConnectionError("HTTP status client error (403 Forbidden)"), False),
        (json.JSONDecodeError("no", "", 0), True),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "no"), True),
        (KeyError("id"), True),
        (RuntimeError("Internal error: Invalid response: failed to parse"), True),
        (RuntimeError("Data processing error"), False),
        (OfflineModeIsEnabled("HF_HUB_OFFLINE"), False),
        (ValueError("an argument of ours"), False),
        (TypeError("no"), False),
        (FileNotFoundError("no"), False),
    ],
)
def test_a_failure_without_a_status_may_pass(error: Exception, passes: bool) -> None:
    assert is_transient(error) is passes
    assert Failure.of(error).is_transient is passes


def test_the_status_of_an_upload_stands_in_its_text() -> None:
    assert http_status(ConnectionError("HTTP status server error (503 Service Unavailable)")) == 503
    assert http_status(ConnectionError("reset")) is None
    assert http_status(OfflineModeIsEnabled("a 404 Page")) is None
