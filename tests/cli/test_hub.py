"""Commands against the Hub: fresh processes, a simulated Hub."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import hubsim
import pytest

from tests.gathering.repos import CARD, make_model, make_repo

pytestmark = [pytest.mark.usefixtures("hub_env"), pytest.mark.slow]

SCRIPT = "# /// script\n# dependencies = []\n# ///\nprint('hello', flush=True)\n"
SPEC = ["hello.py", "--hardware", "cpu-basic", "--timeout", "10m"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "hello.py").write_text(SCRIPT)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def hft(*words: str, code: int = 0) -> tuple[str, str]:
    """What a command prints on stdout and stderr."""
    command = [sys.executable, "-m", "hfjobs_trainer.cli.main", *words]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout, done.stderr


def told(*words: str, code: int = 0) -> Any:
    return json.loads(hft(*words, "--json", code=code)[0])


def test_a_run_from_submit_to_its_log(hub: hubsim.Hub) -> None:
    found = told("submit", *SPEC, "--wait")
    assert (found["status"]["stage"], found["flavor"]) == ("COMPLETED", "cpu-basic")
    assert [f"alice/{name}" for name in hub.jobs] == [found["id"]]
    assert "hello" in hft("logs", "-f", found["id"])[0].splitlines()
    assert [job["id"] for job in told("jobs", "--backend", "hub")] == [found["id"]]
    assert told("wait", found["id"])["result"]["model"] is None


def test_a_run_that_fails(hub: hubsim.Hub) -> None:
    Path("hello.py").write_text(SCRIPT + "raise SystemExit(3)\n")
    job_id = hft("submit", *SPEC)[0].strip()
    assert "exit code: 3" in told("wait", job_id, code=1)["status"]["message"]
    assert f"JobFailed: job {job_id} ended in ERROR" in hft("wait", job_id, code=1)[1]


def test_a_run_that_is_stopped(hub: hubsim.Hub) -> None:
    hub.script(runSecs=600)
    job_id = hft("submit", *SPEC)[0].strip()
    hft("cancel", job_id)
    hub.jobs[job_id.split("/")[1]].join(20)
    assert told("wait", job_id, code=1)["status"]["stage"] == "CANCELED"


def test_what_is_refused(hub: hubsim.Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "JobNotFound" in hft("wait", "alice/" + "0" * 24, code=3)[1]
    make_model(hub, "acme/tiny", tokenizer__json="{}")
    make_repo(hub, "datasets", "acme/chat", {"README.md": CARD.replace("messages", "completion")})
    Path("sft.yaml").write_text("method: sft\nmodel: acme/tiny\ndataset: acme/chat\nhub_model_id: alice/tuned\n")
    long = ["sft.yaml", "--num_train_epochs", "1e6", "--max-usd", "2", "--hardware.flavor", "t4-small"]
    assert told("submit", *long, code=4)["error"] == "BudgetExceeded"
    assert told("plan", *long, code=4)["ok"] is False
    monkeypatch.setenv("HF_TOKEN", "hf_alice_nojobs")
    hft("submit", *SPEC, code=2)  # its rights are checked before
    assert not hub.jobs


def test_the_lines_of_the_other_client(hub: hubsim.Hub) -> None:
    assert hft("submit", *SPEC, "--show-hf")[0].endswith("hf jobs uv run train.py\n")
    assert hft("cancel", "alice/1", "--show-hf")[0] == "hf jobs cancel alice/1\n"
    assert not hub.jobs


@pytest.mark.parametrize(("answer", "jobs"), [(b"n\n", 0), (b"y\n", 1)], ids=["no", "yes"])
def test_a_person_is_asked_before_it_costs_money(hub: hubsim.Hub, answer: bytes, jobs: int) -> None:
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "hfjobs_trainer.cli.main", "submit", *SPEC]
    with subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower) as process:
        os.close(follower)
        seen = b""
        while b"[y/N]" not in seen:
            seen += os.read(leader, 1024)
        os.write(leader, answer)
        while True:
            try:
                if not (chunk := os.read(leader, 1024)):
                    break
            except OSError:  # the other end is closed
                break
            seen += chunk
        assert process.wait(60) == (0 if jobs else 130)
    os.close(leader)
    assert b"cpu-basic, $0.01 an hour" in seen
    assert len(hub.jobs) == jobs
