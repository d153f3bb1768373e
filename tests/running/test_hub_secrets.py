"""Tokens and secrets reach the Hub where they belong, and nothing else."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import hubsim
import pytest

from hfjobs_trainer.errors import BackendError
from hfjobs_trainer.running.backends.hub import HubBackend
from tests.running.hub_runs import POST, finish, plan, sent, tell_all

pytestmark = pytest.mark.usefixtures("temporary")


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
from hfjobs_trainer.running.backends.hub_connection import Patience
assert "huggingface_hub.hf_api" not in sys.modules
import huggingface_hub
names = ("HF_TOKEN", "WANDB_API_KEY")
request = JobRequest("print(1)", "fresh", flavor="t4-small", timeout_seconds=60, secrets=names)
backend = HubBackend(patience=Patience(settle=0.0))
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
