"""The client looks from outside for what a run says that it pushed."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import hubsim
import pytest
from huggingface_hub import HfApi

from hfjobs_trainer.errors import AuthError, HubUnavailable
from hfjobs_trainer.running.audit import verify_push
from hfjobs_trainer.running.backends.hub_connection import Connection, Patience
from hfjobs_trainer.running.events import Event

PATIENCE = Patience(attempts=2, pause=0.0, answer=10.0)


def push(hub: hubsim.Hub, folder: Path, name: str = "alice/model") -> Event:
    """What a script reports of the push of a model."""
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text('{"model_type": "tiny"}')
    (folder / "model.safetensors").write_bytes(name.encode())
    api = HfApi(endpoint=hub.endpoint, token="hf_alice_write")
    api.create_repo(name, private=True)
    commit = api.upload_folder(repo_id=name, folder_path=folder)
    found: list[Any] = api.get_paths_info(name, ["config.json", "model.safetensors"], revision=commit.oid)
    files = {file.path: file.lfs.sha256 if file.lfs else file.blob_id for file in found}
    return Event("audited", 0.0, {"repo": name, "commit": commit.oid, "branch": None, "files": files})


@pytest.fixture
def connection(hub: hubsim.Hub) -> Connection:
    return Connection("hf_alice_write", hub.endpoint, PATIENCE)


@pytest.fixture
def audited(hub: hubsim.Hub, tmp_path: Path) -> Event:
    return push(hub, tmp_path / "model")


def changed(event: Event, **data: Any) -> Event:
    return Event(event.kind, event.time, {**event.data, **data})


def test_all_is_there(hub: hubsim.Hub, connection: Connection, audited: Event) -> None:
    hub.journal.clear()

    assert verify_push([Event("log", 0.0), audited], connection) is None
    assert len(hub.journal) == 1


def test_nothing_was_pushed(hub: hubsim.Hub, connection: Connection) -> None:
    assert verify_push([Event("end", 0.0)], connection) is None
    assert not hub.journal


def test_a_later_commit_of_somebody_else_does_not_matter(
    hub: hubsim.Hub, connection: Connection, audited: Event
) -> None:
    (hub.root / "models/alice/model/config.json").write_text("{}")

    assert verify_push([audited], connection) is None


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ({"model-00002.safetensors": "0" * 64}, "model-00002.safetensors"),
        ({"model.safetensors": "0" * 64}, "model.safetensors"),
        ({"config.json": "0" * 40}, "config.json"),
        ({f"{number}.bin": "0" * 64 for number in range(7)}, "4.bin and 2 more"),
    ],
)
def test_a_file_is_missing_or_another(
    connection: Connection, audited: Event, files: dict[str, str], named: str
) -> None:
    text = verify_push([changed(audited, files={**audited.data["files"], **files})], connection)

    assert text is not None
    assert "alice/model at commit" in text
    assert text.endswith(f"saved: {named}" if len(files) == 1 else named)


def test_the_commit_or_the_repository_is_gone(hub: hubsim.Hub, connection: Connection, audited: Event) -> None:
    text = verify_push([changed(audited, commit="1" * 40)], connection)
    assert "commit 111111111111, but this commit is not on the Hub" in str(text)

    shutil.rmtree(hub.root / "models/alice/model")
    assert "but this repository is not on the Hub" in str(verify_push([audited], connection))


def test_each_repository_is_looked_at(hub: hubsim.Hub, connection: Connection, audited: Event, tmp_path: Path) -> None:
    merged = push(hub, tmp_path / "merged", "alice/model-merged")
    assert verify_push([audited, merged], connection) is None

    shutil.rmtree(hub.root / "models/alice/model-merged")
    assert "alice/model-merged" in str(verify_push([audited, merged], connection))


def test_what_was_pushed_to_a_branch_before_a_stop_is_passed_over(connection: Connection, audited: Event) -> None:
    partial = changed(audited, branch="partial", commit="1" * 40)

    assert verify_push([audited, partial], connection) is None
    assert verify_push([partial], connection) is None


def test_a_hub_that_does_not_answer_says_nothing_about_the_model(
    hub: hubsim.Hub, connection: Connection, audited: Event
) -> None:
    hub.fail(path="/paths-info/", response={"status": 503})
    assert verify_push([audited], connection) is None  # the second time

    hub.fail(path="/paths-info/", response={"status": 503}, times=2)
    with pytest.raises(HubUnavailable, match="cannot look at alice/model"):
        verify_push([audited], connection)
    hub.fail(path="/paths-info/", response={"status": 403})
    with pytest.raises(AuthError):
        verify_push([audited], connection)
