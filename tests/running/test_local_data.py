"""Local data on the Hub: uploaded once under their digest, mounted read-only, and never to a public bucket."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import hubsim
import pytest
from huggingface_hub import HfApi

import hfjobs_trainer as hft
from hfjobs_trainer import contents
from hfjobs_trainer.errors import BackendError
from hfjobs_trainer.planning.show import show_html
from tests.running.places import GOOD_RUN

ROWS = '{"text": "a"}\n{"text": "b"}\n'
MODEL_FILES = {"config.json": '{"model_type": "qwen2"}', "pytorch_model.bin": "", "tokenizer.model": ""}
FIELDS: dict[str, Any] = {
    "model": "alice/tiny",
    "hardware": "t4-small",
    "timeout": "1h",
    "tracking": {"report_to": "none"},
    "output": {"hub_model_id": "alice/out"},
}


@pytest.fixture
def client(hub_env: hubsim.Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> hft.Client:
    monkeypatch.setenv("HFT_HOME", str(tmp_path / "home"))
    (hub_env.root / "models/alice/tiny").mkdir(parents=True)
    for name, text in MODEL_FILES.items():
        (hub_env.root / "models/alice/tiny" / name).write_text(text)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    Path("rows.jsonl").write_text(ROWS)
    return hft.Client(token="hf_alice_write", endpoint=hub_env.endpoint)


def sft(dataset: Any = "rows.jsonl", **fields: Any) -> hft.SFT:
    return hft.SFT(**{**FIELDS, "dataset": dataset, **fields})


def submit(client: hft.Client, hub: hubsim.Hub, spec: hft.SFT | hft.Plan) -> list[tuple[str, str]]:
    """The requests to Hub and storage of one submission, planning left out."""
    plan = spec if isinstance(spec, hft.Plan) else client.plan(spec)
    hub.script(logs=GOOD_RUN[-1:])
    before = len(hub.journal)
    job = client.submit(plan)
    assert isinstance(job, hft.Job)
    asked = [(entry["method"], entry["path"]) for entry in hub.journal[before:]]
    job.wait(timeout=20)
    return asked


def commits(hub: hubsim.Hub) -> list[list[str]]:
    bodies = [entry["body"] for entry in hub.requests("/batch$", "POST")]
    return [sorted(json.loads(line)["path"] for line in body.splitlines()) for body in bodies]


def jobs(hub: hubsim.Hub) -> list[dict[str, Any]]:
    return [json.loads(entry["body"]) for entry in hub.requests("^/api/jobs/[^/]+$", "POST")]


def test_a_file_is_uploaded_once_under_its_digest(client: hft.Client, hub: hubsim.Hub) -> None:
    submit(client, hub, sft())
    digest = contents.hash_file(Path("rows.jsonl"))
    (paths,) = commits(hub)
    assert [re.sub("[0-9a-f]{64}", "*", path) for path in paths] == [
        "hfjobs-trainer/*/script.py",
        "hfjobs-trainer/data/*/rows.jsonl",
    ]
    stored = hub.root / "buckets/alice/jobs-artifacts/hfjobs-trainer/data" / digest / "rows.jsonl"
    assert stored.read_text() == ROWS
    mounted = jobs(hub)[0]["volumes"]
    volume, script = [each for each in mounted if each["mountPath"] != "/hft/checkpoints"]
    assert volume == {
        "type": "bucket",
        "source": "alice/jobs-artifacts",
        "mountPath": f"/hft/data/{digest}",
        "path": f"hfjobs-trainer/data/{digest}",
        "readOnly": True,
    }
    assert script["mountPath"] == "/data"
    # another run of the same data, its script but one
    submit(client, hub, sft(learning_rate=1e-5))
    assert [len(paths) for paths in commits(hub)] == [2, 1]
    # and one that was there altogether: nothing is sent but the job
    bucket = "/api/buckets/alice/jobs-artifacts"
    assert submit(client, hub, sft()) == [
        ("GET", "/api/jobs/alice"),  # whether an identical one goes on
        ("POST", f"{bucket}/paths-info"),
        ("GET", bucket),
        ("POST", "/api/jobs/alice"),
    ]


def test_other_content_of_the_same_size_and_time_is_another_file(client: hft.Client, hub: hubsim.Hub) -> None:
    plan = client.plan(sft())
    submit(client, hub, plan)
    file = Path("rows.jsonl")
    before = file.stat()
    file.write_text(ROWS.replace("a", "c"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(BackendError, match=r"rows\.jsonl has changed since the run was planned .* Plan it again"):
        client.submit(plan)
    assert len(hub.jobs) == 1
    submit(client, hub, client.plan(sft()))
    stored = (hub.root / "buckets/alice/jobs-artifacts/hfjobs-trainer/data").glob("*/rows.jsonl")
    assert sorted(path.read_text() for path in stored) == sorted([ROWS, ROWS.replace("a", "c")])
    file.unlink()
    with pytest.raises(BackendError, match=r"rows\.jsonl has changed"):
        client.submit(plan)


def test_a_file_that_changes_while_it_is_uploaded_stays_nowhere(client: hft.Client, hub: hubsim.Hub) -> None:
    def change(status: int, body: Any) -> tuple[int, Any]:
        Path("rows.jsonl").write_text("{}")
        return status, body

    hub.fail(method="POST", path="/batch", rewrite=change)
    with pytest.raises(BackendError, match=r"rows\.jsonl changed while it was uploaded: submit the run again"):
        client.submit(sft())
    assert not list((hub.root / "buckets/alice/jobs-artifacts").rglob("rows.jsonl"))
    assert hub.jobs == {}


def test_what_was_tampered_with_in_the_bucket_is_sent_again(client: hft.Client, hub: hubsim.Hub) -> None:
    for other in ("", ROWS.replace("a", "c")):
        submit(client, hub, sft())
        (stored,) = (hub.root / "buckets/alice/jobs-artifacts").rglob("rows.jsonl")
        stored.write_text(other)
    submit(client, hub, sft())
    assert stored.read_text() == ROWS


def test_a_public_bucket_is_refused(client: hft.Client, hub: hubsim.Hub) -> None:
    HfApi(hub.endpoint, "hf_alice_write").create_bucket("alice/jobs-artifacts", private=False)
    with pytest.raises(BackendError, match=r"everyone could read .*rows\.jsonl.* alice/jobs-artifacts is public"):
        client.submit(sft())
    assert commits(hub) == []
    assert hub.jobs == {}


def test_a_bucket_that_has_become_public_is_refused(client: hft.Client, hub: hubsim.Hub) -> None:
    submit(client, hub, sft())
    api = HfApi(hub.endpoint, "hf_alice_write")
    api.delete_bucket("alice/jobs-artifacts")
    api.create_bucket("alice/jobs-artifacts", private=False)
    with pytest.raises(BackendError, match="alice/jobs-artifacts is public"):
        client.submit(sft(learning_rate=1e-5))
    assert len(commits(hub)) == len(hub.jobs) == 1


def test_a_bucket_that_was_deleted_meanwhile_is_made_and_filled_again(client: hft.Client, hub: hubsim.Hub) -> None:
    submit(client, hub, sft())
    HfApi(hub.endpoint, "hf_alice_write").delete_bucket("alice/jobs-artifacts")
    submit(client, hub, sft(learning_rate=1e-5))
    assert [len(paths) for paths in commits(hub)] == [2, 2]
    assert HfApi(hub.endpoint, "hf_alice_write").bucket_info("alice/jobs-artifacts").private


def test_the_runs_of_a_schedule_and_later_attempts_find_it(client: hft.Client, hub: hubsim.Hub) -> None:
    spec = sft(hardware={"flavor": "t4-small", "attempts": 2}, save_steps=10)
    scheduled = client.submit(spec, schedule="@weekly")
    assert isinstance(scheduled, hft.ScheduledJob)
    assert [len(paths) for paths in commits(hub)] == [2]
    hub.script(logs=GOOD_RUN[-1:])
    job = scheduled.trigger()
    job.wait(timeout=20)
    (started,) = hub.jobs.values()
    digest = contents.hash_file(Path("rows.jsonl"))
    (volume,) = [item for item in started.spec["volumes"] if item["mountPath"] == f"/hft/data/{digest}"]
    assert (volume["source"], volume["readOnly"]) == ("alice/jobs-artifacts", True)
    plan = client.plan(spec)
    Path("rows.jsonl").write_text("{}")
    with pytest.raises(BackendError, match=r"rows\.jsonl has changed since the run was planned"):
        client.submit(plan, schedule="@weekly")
    assert len(hub.schedules) == 1


def test_equal_content_travels_once_and_several_nodes_share_it(client: hft.Client, hub: hubsim.Hub) -> None:
    Path("copy.jsonl").write_text(ROWS)
    spec = sft(["rows.jsonl", "copy.jsonl"], eval_dataset="rows.jsonl", hardware={"flavor": "a10g-largex2", "nodes": 2})
    plan = client.plan(spec)
    assert [item.fields for item in plan.request.data] == [("dataset", "dataset.mixed_with.0", "eval_dataset")]
    hub.script(count=2, logs=[])
    client.submit(plan)
    assert [body["volumes"][0]["mountPath"] for body in jobs(hub)] == [
        f"/hft/data/{contents.hash_file(Path('rows.jsonl'))}"
    ] * 2
    assert [len(paths) for paths in commits(hub)] == [2]


def test_folders_and_rows_travel_as_well(client: hft.Client, hub: hubsim.Hub) -> None:
    files = [f"my-model/{name}" for name in (*MODEL_FILES, "optimizer.pt")]
    for name in (*files, "data/a/train.jsonl", "data/.env", "data/b.py"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(ROWS if name.endswith("jsonl") else "{}")
    spec = sft("./data", model="./my-model", eval_dataset=[{"text": "c"}])
    submit(client, hub, spec)
    data = [path.split("/", 3)[3] for path in commits(hub)[0] if path.startswith("hfjobs-trainer/data/")]
    assert sorted(data) == ["data/a/train.jsonl", *sorted(f"my-model/{name}" for name in MODEL_FILES), "rows.jsonl"]


def test_a_file_that_is_added_to_a_folder_changes_it(client: hft.Client, hub: hubsim.Hub) -> None:
    for name in ("my-model", "data"):
        Path(name).mkdir()
    for name, text in MODEL_FILES.items():
        Path("my-model", name).write_text(text)
    Path("data/a.jsonl").write_text(ROWS)
    plan = client.plan(sft("./data", model="./my-model"))
    Path("data/notes.md").write_text("no data")
    Path("my-model/optimizer.pt").write_text("not loaded")
    submit(client, hub, plan)
    Path("data/b.jsonl").write_text(ROWS)
    with pytest.raises(BackendError, match=r"data/b\.jsonl was added since the run was planned\. Plan it again"):
        client.submit(plan)
    assert len(hub.jobs) == 1
    plan = client.plan(sft("./data", model="./my-model"))
    Path("my-model/tokenizer.json").write_text("{}")
    with pytest.raises(BackendError, match=r"my-model/tokenizer\.json was added"):
        client.submit(plan)


@pytest.mark.parametrize("name", ["empty.csv", "nothing"])
def test_data_without_rows_are_not_to_be_pushed(client: hft.Client, name: str) -> None:
    Path("empty.csv").touch()
    Path("nothing").mkdir()
    Path("nothing/README.md").write_text("nothing yet")
    for backend in ("hub", "local"):
        (problem,) = client.check(sft(f"./{name}"), backend=backend).problems
        assert (problem.code, problem.fix) == ("DATA012", "")


@pytest.mark.parametrize(("namespace", "readers"), [(None, "only you"), ("acme", "every member of acme")])
def test_the_plan_says_what_goes_where_and_who_can_read_it(
    client: hft.Client, namespace: str | None, readers: str
) -> None:
    plan = client.plan(sft(str(Path("rows.jsonl").absolute()), namespace=namespace))
    owner, digest = namespace or "alice", contents.hash_file(Path("rows.jsonl"))
    target = f"{owner}/jobs-artifacts/hfjobs-trainer/data/{digest[:12]}..."
    assert f"dataset: rows.jsonl, {len(ROWS)} bytes, to {target}, read-only in the job" in str(plan)
    assert f"{readers} can read it" in str(plan)
    assert "local data</th>" in show_html(plan)
    assert f'volumes = ["hf://buckets/{owner}/jobs-artifacts/hfjobs-trainer/data/{digest}:/hft/data/' in plan.script
    for text in (plan.script, str(plan), repr(plan), show_html(plan)):
        assert str(Path.cwd()) not in text
    assert f'DATASET = (\n    "rows.jsonl@sha256:{digest}"\n)' in plan.script
    assert str(Path.cwd()) not in repr(plan.request)
    assert plan.request.labels["spec"] == hft_digest(plan.script)[:12]


def hft_digest(script: str) -> str:
    return re.findall(r'^# digest = "(\w+)"$', script, re.MULTILINE)[0]
