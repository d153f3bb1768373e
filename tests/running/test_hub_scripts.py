"""Scripts on the Hub: uploaded once, kept under their digest; and what a job is asked for beside its script."""

from __future__ import annotations

import hashlib
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
from huggingface_hub import HfApi

from hfjobs_trainer.errors import BackendError
from hfjobs_trainer.planning.plan import Volume
from hfjobs_trainer.running.backends.hub import HubBackend
from hfjobs_trainer.running.backends.hub_connection import Connection
from hfjobs_trainer.running.backends.hub_scripts import folder_of, store
from hfjobs_trainer.running.backends.hub_submission import UV_IMAGE
from tests.running.hub_runs import POST, QUICK, SCRIPT, finish, plan, sent

pytestmark = pytest.mark.usefixtures("temporary")


def uploads(hub: hubsim.Hub) -> list[list[str]]:
    """Paths of each commit to a bucket."""
    bodies = [entry["body"] for entry in hub.requests("/batch$", "POST")]
    return [[json.loads(line)["path"] for line in body.splitlines()] for body in bodies]


def stored(hub: hubsim.Hub, script: str) -> Path:
    return hub.root / "buckets" / "alice" / "jobs-artifacts" / folder_of(script) / "script.py"


def test_a_script_is_kept_under_its_digest_and_no_job_can_change_it(hub: hubsim.Hub, backend: HubBackend) -> None:
    finish(hub, backend.submit(plan()))
    folder = f"hfjobs-trainer/{hashlib.sha256(SCRIPT.encode()).hexdigest()}"
    assert uploads(hub) == [[f"{folder}/script.py"]]
    assert stored(hub, SCRIPT).read_bytes() == SCRIPT.encode()
    (body,) = sent(hub)
    assert body["volumes"] == [
        {
            "type": "bucket",
            "source": "alice/jobs-artifacts",
            "mountPath": "/data",
            "path": folder,
            "readOnly": True,
        }
    ]
    assert [bucket.private for bucket in HfApi(hub.endpoint, "hf_alice_write").list_buckets("alice")] == [True]


def test_a_script_that_is_there_is_not_sent_again(hub: hubsim.Hub, connect: Callable[..., HubBackend]) -> None:
    connect().submit(plan())
    before = len(hub.journal)
    connect().submit(plan(name="another", env={"COLOR": "red"}))
    asked = [(entry["method"], entry["path"]) for entry in hub.journal[before:]]
    assert asked[:2] == [("POST", "/api/buckets/alice/jobs-artifacts/paths-info"), ("POST", "/api/jobs/alice")]
    assert len(uploads(hub)) == 1
    connect().submit(plan(script="print(2)"))
    assert [len(paths) for paths in uploads(hub)] == [1, 1]


def test_in_a_loop_of_new_scripts_the_bucket_is_looked_at_once(
    hub: hubsim.Hub, connect: Callable[..., HubBackend]
) -> None:
    HfApi(hub.endpoint, "hf_alice_write").create_bucket("alice/jobs-artifacts", private=True)
    before = len(hub.journal)
    for number in range(3):
        connect().submit(plan(script=f"print({number})"))
    asked = [entry["path"] for entry in hub.journal[before:]]
    assert asked.count("/api/buckets/alice/jobs-artifacts") == 1
    assert asked.count("/api/buckets/alice/jobs-artifacts/paths-info") == 1
    assert [len(paths) for paths in uploads(hub)] == [1, 1, 1]


def test_a_bucket_that_is_deleted_in_between_is_made_again(hub: hubsim.Hub, backend: HubBackend) -> None:
    backend.submit(plan())
    HfApi(hub.endpoint, "hf_alice_write").delete_bucket("alice/jobs-artifacts")
    backend.submit(plan(script="print(2)"))
    assert stored(hub, "print(2)").read_text() == "print(2)"


def test_a_script_that_is_there_takes_no_right_to_write(hub: hubsim.Hub, connect: Callable[..., HubBackend]) -> None:
    connect().submit(plan())
    rights = [{"entity": {"name": "alice", "type": "user"}, "permissions": ["repo.content.read", "job.write"]}]
    hub.accounts.tokens["hf_runs_only"] = {"user": "alice", "role": "fineGrained", "scoped": rights}
    connect("hf_runs_only").submit(plan())
    assert len(hub.jobs) == 2


@pytest.mark.parametrize("fault", [{"reset": "after"}, {"reset": "before"}, {"response": {"status": 500}}])
def test_a_creation_that_is_repeated_uploads_nothing_again(
    hub: hubsim.Hub, backend: HubBackend, fault: dict[str, Any]
) -> None:
    hub.fail(**POST, **fault)
    backend.submit(plan())
    assert len(uploads(hub)) == 1


def test_the_nodes_of_a_run_share_one_upload(hub: hubsim.Hub, backend: HubBackend) -> None:
    hub.script(count=3)
    backend.submit(plan(nodes=3, flavor="a10g-large"))
    assert len(uploads(hub)) == 1
    assert {body["volumes"][0]["path"] for body in sent(hub)} == {folder_of(SCRIPT)}


def test_a_script_that_was_tampered_with_does_not_run(hub: hubsim.Hub, backend: HubBackend) -> None:
    script = "print('mine')"
    finish(hub, backend.submit(plan(script=script)))
    for other in ("print('evil')", "print('nine')", ""):
        stored(hub, script).write_text(other)
        record = backend.submit(plan(script=script))
        assert list(backend.logs(record.id, follow=True)) == ["mine"]
        assert stored(hub, script).read_text() == script


def test_without_a_hash_to_compare_a_script_is_sent_again(
    hub: hubsim.Hub, backend: HubBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hf_xet

    monkeypatch.delattr(hf_xet, "hash_files")  # as in a version that no longer has it
    for _ in range(2):
        backend.submit(plan())
    assert len(uploads(hub)) == len(hub.jobs) == 2


def test_many_scripts_go_in_one_commit(hub: hubsim.Hub) -> None:
    connection = Connection("hf_alice_write", hub.endpoint, QUICK)
    store(connection, "alice", ["a", "b"])
    store(connection, "alice", ["a", "b", "c", "ü", ""])
    assert [set(paths) for paths in uploads(hub)] == [
        {f"{folder_of(script)}/script.py" for script in commit} for commit in (["a", "b"], ["c", "ü", ""])
    ]
    for script in ("a", "b", "c", "ü", ""):
        assert stored(hub, script).read_text("utf-8") == script


def test_a_bucket_that_everyone_can_read_is_told_of(hub: hubsim.Hub, backend: HubBackend) -> None:
    HfApi(hub.endpoint, "hf_alice_write").create_bucket("alice/jobs-artifacts", private=False)
    with pytest.warns(RuntimeWarning, match=r"everyone can read .* alice/jobs-artifacts is public"):
        backend.submit(plan())


def test_an_upload_of_which_a_part_fails_creates_no_job(hub: hubsim.Hub, backend: HubBackend) -> None:
    failed = {"success": False, "processed": 1, "succeeded": 0, "failed": [{"path": "x", "error": "quota exceeded"}]}
    hub.fail(path="/batch$", response={"status": 422, "body": failed})
    with pytest.raises(BackendError, match="quota exceeded"):
        backend.submit(plan())
    assert sent(hub) == []


QUIET = """
import sys
from hfjobs_trainer.planning.plan import JobRequest, Plan
from hfjobs_trainer.running.backends.hub import HubBackend
request = JobRequest("print(1)", "quiet", flavor="t4-small", timeout_seconds=60)
record = HubBackend().submit(Plan(spec=None, backend="hub", request=request))
"""


def test_neither_bars_nor_words_of_the_client_reach_the_screen(hub: hubsim.Hub, tmp_path: Path) -> None:
    env = {name: value for name, value in os.environ.items() if name != "HF_HUB_DISABLE_PROGRESS_BARS"}
    env |= {"HF_ENDPOINT": hub.endpoint, "HF_HOME": str(tmp_path / "home"), "HF_TOKEN": "hf_alice_write"}
    ended = subprocess.run([sys.executable, "-c", QUIET], env=env, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert len(uploads(hub)) == 1


# -- what is asked for beside the script


def test_a_request_is_what_the_clients_own_call_sends(hub: hubsim.Hub, backend: HubBackend, tmp_path: Path) -> None:
    hub.script(count=2)
    backend.submit(plan())
    file = tmp_path / "script.py"
    file.write_text(SCRIPT)
    request = plan().request
    labels, env = dict(request.labels), dict(request.env)
    call: Any = HfApi(hub.endpoint, "hf_alice_write").run_uv_job
    call(str(file), flavor="t4-small", timeout=13500, labels=labels, name=request.name, env=env, namespace="alice")
    ours, theirs = sent(hub)
    assert ours["dockerImage"] == theirs["dockerImage"] == UV_IMAGE
    del ours["labels"]["submit-id"]
    for body in (ours, theirs):
        (volume,) = body["volumes"]
        del volume["path"], volume["readOnly"]
    assert ours == theirs


def test_what_a_request_leaves_out_is_not_sent(hub: hubsim.Hub, backend: HubBackend) -> None:
    backend.submit(plan())
    (body,) = sent(hub)
    assert set(body) == {
        *("command", "arguments", "environment", "flavor", "timeoutSeconds", "labels", "volumes", "dockerImage")
    }


@pytest.mark.parametrize(
    ("field", "value", "key", "on_the_wire"),
    [
        ("attempts", 3, "attempts", 3),
        ("ssh", True, "ssh", {"enabled": True}),
        ("expose", (8000, 9000), "expose", {"ports": [8000, 9000], "portsPublic": []}),
        ("resource_group_id", "66670e5163145ca562cb1988", "resourceGroupId", "66670e5163145ca562cb1988"),
    ],
)
def test_what_a_request_asks_for_is_sent_as_the_hub_calls_it(
    hub: hubsim.Hub, backend: HubBackend, field: str, value: Any, key: str, on_the_wire: Any
) -> None:
    backend.submit(plan(**{field: value}))
    (body,) = sent(hub)
    assert body[key] == on_the_wire


def test_volumes_are_mounted_beside_the_script(hub: hubsim.Hub, backend: HubBackend) -> None:
    (hub.root / "datasets" / "me" / "data").mkdir(parents=True)
    (hub.root / "buckets" / "alice" / "mine" / "part").mkdir(parents=True)
    volumes = (
        Volume("dataset", "me/data", "/rows", revision="main"),
        Volume("bucket", "alice/mine", "/kept", read_only=False, path="part"),
    )
    backend.submit(plan(volumes=volumes))
    (body,) = sent(hub)
    *asked, script = body["volumes"]
    assert asked == [
        {"type": "dataset", "source": "me/data", "mountPath": "/rows", "revision": "main"},
        {"type": "bucket", "source": "alice/mine", "mountPath": "/kept", "readOnly": False, "path": "part"},
    ]
    assert script["mountPath"] == "/data"


@pytest.mark.parametrize("mount", ["/data", "/data/"])
def test_the_place_of_the_script_is_taken(hub: hubsim.Hub, backend: HubBackend, mount: str) -> None:
    with pytest.raises(BackendError, match=r"/data, where the script .* mount_path"):
        backend.submit(plan(volumes=(Volume("bucket", "alice/mine", mount),)))
    assert hub.journal == []


def test_a_job_with_attempts_is_started_again(hub: hubsim.Hub, backend: HubBackend) -> None:
    hub.script(exitCode=[1, 0], logs=["x"])
    record = backend.submit(plan(attempts=2))
    finish(hub, record)
    assert backend.status(record.id).succeeded


def test_every_node_is_asked_for_with_the_same(hub: hubsim.Hub, backend: HubBackend) -> None:
    hub.script(count=2)
    backend.submit(replace(plan(nodes=2, ssh=True, attempts=2)))
    assert [(body["ssh"], body["attempts"]) for body in sent(hub)] == [({"enabled": True}, 2)] * 2
