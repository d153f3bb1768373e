"""The simulator through the real, unmodified client: what the tests of the backend rest on."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from huggingface_hub import HfApi, JobInfo, Volume, get_session
from huggingface_hub.errors import (
    BadRequestError,
    BucketNotFoundError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    JobNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

import hubsim

SCRIPT = """\
# /// script
# dependencies = []
# [tool.hf-jobs]
# flavor = "t4-small"
# labels = { team = "ml" }
# secrets = ["HF_TOKEN"]
# ///
import json, os, sys
print("args", sys.argv[1:], flush=True)
names = ("JOB_ID", "ACCELERATOR", "CPU_CORES", "MEMORY", "COLOR", "HF_TOKEN")
print(json.dumps({name: os.environ.get(name) for name in names}), flush=True)
print(open(sys.argv[1]).read().strip(), flush=True)
open(os.path.join(os.path.dirname(__file__), "result.txt"), "w").write("from the job")
"""


@pytest.fixture
def api(hub: hubsim.Hub) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token="hf_alice_write")


def as_user(hub: hubsim.Hub, token: str) -> HfApi:
    return HfApi(endpoint=hub.endpoint, token=token)


def run(api: HfApi, code: str = "pass", namespace: str = "alice", **options: Any) -> JobInfo:
    command = ["python", "-c", code]
    return api.run_job(image="python:3.12", command=command, namespace=namespace, **options)


def wait(api: HfApi, job: JobInfo) -> JobInfo:
    return api.wait_for_job(job.id, namespace="alice", poll_interval=0.1, timeout=30)


def logs(api: HfApi, job: JobInfo, **options: Any) -> list[str]:
    return list(api.fetch_job_logs(job_id=job.id, namespace="alice", **options))


def ids(api: HfApi, **labels: str) -> list[str]:
    return [job.id for job in api.list_jobs(labels=labels, namespace="alice")]


def status_of(call: Callable[[], Any]) -> int:
    with pytest.raises(HfHubHTTPError) as raised:
        call()
    return raised.value.response.status_code


def test_it_says_whose_token_it_is(hub: hubsim.Hub, api: HfApi) -> None:
    me = api.whoami()
    assert (me["name"], me["orgs"][0]["name"]) == ("alice", "acme")
    assert me["auth"]["accessToken"]["role"] == "write"
    assert status_of(as_user(hub, "hf_nobody").whoami) == 401


@pytest.mark.parametrize("isolate", ["auto", "off"])
def test_a_uv_job_from_script_to_result(tmp_path: Path, isolate: str) -> None:
    hub, server = hubsim.start(tmp_path / "hub", isolate=isolate)
    api = HfApi(endpoint=hub.endpoint, token="hf_alice_write")
    script, config = tmp_path / "train.py", tmp_path / "c.yaml"
    script.write_text(SCRIPT)
    config.write_text("lr: 1")
    try:
        job = api.run_uv_job(
            str(script),
            script_args=[str(config), "--x", "1"],
            dependencies=["trl"],
            env={"COLOR": "blue"},
            secrets={"HF_TOKEN": "s3cret"},
            flavor="a10g-small",
            timeout="5m",
            labels={"run": "u1"},
            attempts=2,
            namespace="alice",
        )
        assert (job.status.stage, job.secrets, job.labels["run"], job.retry) == ("SCHEDULING", ["HF_TOKEN"], "u1", 1)
        args, env, line = logs(api, job, follow=True)
        assert args.startswith("args ['/")
        assert args.endswith("c.yaml', '--x', '1']")
        expected = {"JOB_ID": job.id, "ACCELERATOR": "a10g-small", "CPU_CORES": "4", "MEMORY": "15Gi"}
        assert json.loads(env) == expected | {"COLOR": "blue", "HF_TOKEN": "s3cret"}
        assert line == "lr: 1"
        ended = wait(api, job)
        assert ended.status.stage == "COMPLETED"
        assert ended.started_at
        assert ended.finished_at
        folder = job.volumes[0].path
        tree = {file.path for file in api.list_bucket_tree("alice/jobs-artifacts", prefix=folder, recursive=True)}
        assert tree == {f"{folder}/train.py", f"{folder}/c.yaml", f"{folder}/result.txt"}
        result = tmp_path / "result.txt"
        api.download_bucket_files("alice/jobs-artifacts", [(f"{folder}/result.txt", result)])
        assert result.read_text() == "from the job"
        (sent,) = hub.requests("^/api/jobs/alice$", "POST")
        body = json.loads(sent["body"])
        assert (body["secrets"], body["timeoutSeconds"]) == ({"HF_TOKEN": "s3cret"}, 300)
        assert body["command"][:4] == ["uv", "run", "--with", "trl"]
    finally:
        hubsim.stop(hub, server)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"labels": {"repo": "a/b"}}, "labels.repo"),
        ({"labels": {"model": "Qwen3-0.6B"}}, "periods"),
        ({"env": {"X": "1"}}, "environment.X"),
        ({"env": {"AB": 1}}, "expected string, received number"),
        ({"flavor": "h100"}, "flavor"),
        ({"timeout": 0.5}, "timeoutSeconds"),
        ({"attempts": 0}, "attempts"),
        ({"network_group": "Big_Group"}, "network.group"),
        ({"volumes": [Volume(type="bucket", source="a/b", mount_path="data")]}, "mountPath"),
        ({"expose": [70000]}, "expose.ports"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_it_refuses_what_the_hub_refuses(api: HfApi, options: dict[str, Any], words: str) -> None:
    with pytest.raises(BadRequestError, match=words):
        run(api, **options)


def test_unknown_fields_are_refused_not_stripped(hub: hubsim.Hub) -> None:
    body = {"dockerImage": "x", "command": ["a"], "flavor": "cpu-basic", "bogus": 1}
    headers = {"Authorization": "Bearer hf_alice_write"}
    answer = httpx2.post(f"{hub.endpoint}/api/jobs/alice", headers=headers, json=body)
    assert answer.status_code == 400
    assert 'Unrecognized key: "bogus"' in answer.json()["error"]


@pytest.mark.parametrize(
    ("token", "namespace", "status"),
    [
        ("hf_alice_read", "alice", 403),
        ("hf_alice_nojobs", "alice", 403),
        ("hf_alice_useronly", "acme", 403),
        ("hf_bob_write", "acme", 403),
        ("hf_carol_write", "carol", 402),
    ],
)
def test_rights_and_credits(hub: hubsim.Hub, token: str, namespace: str, status: int) -> None:
    assert status_of(lambda: run(as_user(hub, token), namespace=namespace)) == status


def test_an_organization_runs_jobs(api: HfApi) -> None:
    assert run(api, namespace="acme").owner.type == "org"


def test_a_job_that_is_not_there(api: HfApi) -> None:
    with pytest.raises(JobNotFoundError):
        api.inspect_job(job_id="6a" + "f" * 22, namespace="alice")


def test_ends_of_a_job(api: HfApi) -> None:
    failing = run(api, "import sys; sys.exit(3)")
    slow = run(api, "import time; time.sleep(60)", timeout=1)
    canceled = run(api, "import time; print('up', flush=True); time.sleep(60)")
    assert next(iter(api.fetch_job_logs(job_id=canceled.id, namespace="alice", follow=True))) == "up"
    api.cancel_job(job_id=canceled.id, namespace="alice")
    ends = [wait(api, job).status for job in (failing, slow, canceled)]
    assert [(end.stage, end.message) for end in ends] == [
        ("ERROR", "Job failed with exit code: 3. Reason: Error"),
        ("ERROR", "Job timeout"),
        ("CANCELED", "Job canceled"),
    ]


ATTEMPT = """
import os, pathlib, sys
bucket, home = pathlib.Path(sys.argv[1]), pathlib.Path.home()
print(sorted(path.name for folder in (home, pathlib.Path()) for path in folder.iterdir()), flush=True)
for folder in (home, pathlib.Path(), bucket):
    (folder / os.environ["JOB_ID"]).touch()
(bucket / str(len(list(bucket.iterdir())))).touch()
sys.exit(len(list(bucket.iterdir())) < 3)
"""


def test_a_failed_attempt_is_tried_again_on_another_disk(hub: hubsim.Hub, api: HfApi) -> None:
    api.create_bucket("alice/kept", private=True)
    command = ["python", "-c", ATTEMPT, "/kept"]
    volumes = [Volume(type="bucket", source="alice/kept", mount_path="/kept")]
    job = api.run_job(image="python:3.12", command=command, attempts=3, volumes=volumes, namespace="alice")
    assert wait(api, job).status.stage == "COMPLETED"
    stages = [stage for _, stage in hub.jobs[job.id].transitions]
    assert stages == ["SCHEDULING", "RUNNING", "SCHEDULING", "RUNNING", "COMPLETED"]
    assert logs(api, job) == ["[]", "[]"]
    assert (hub.bucket_dir("alice/kept") / job.id).exists()


LATE = """
import pathlib, sys, time
bucket = pathlib.Path(sys.argv[1])
print(sorted(path.name for path in bucket.iterdir()), flush=True)
(bucket / "old").unlink()
(bucket / "folder").mkdir()
(bucket / "folder" / "early").write_text("early")
(bucket / "changed").write_text("half")
time.sleep(0.9)
(bucket / "changed").write_text("whole")
(bucket / "late").write_text("late")
"""


def test_what_is_written_late_to_a_bucket_is_lost(hub: hubsim.Hub, api: HfApi) -> None:
    hub.late_writes = 0.3
    api.create_bucket("alice/kept", private=True)
    folder = hub.bucket_dir("alice/kept")
    (folder / "old").write_text("old")
    volumes = [Volume(type="bucket", source="alice/kept", mount_path="/kept")]
    job = api.run_job(image="x", command=["python", "-c", LATE, "/kept"], volumes=volumes, namespace="alice")
    assert wait(api, job).status.stage == "COMPLETED"
    assert logs(api, job) == ["['old']"]
    found = {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}
    assert found == {"folder/early": "early", "changed": "half"}


def test_scripted_jobs_labels_and_pages(hub: hubsim.Hub, api: HfApi) -> None:
    hub.cfg["pageSize"] = 2
    for index in range(5):
        hub.script(match={"group": "p"}, logs=[f"line {index}"], runSecs=0.05)
    jobs = [run(api, labels={"group": "p", "i": str(index)}) for index in range(5)]
    assert {wait(api, job).status.stage for job in jobs} == {"COMPLETED"}
    assert ids(api, group="p") == [job.id for job in reversed(jobs)]
    assert ids(api, group="p", i="3") == [jobs[3].id]
    assert len(hub.requests("^/api/jobs/alice$", "GET")) >= 4
    assert logs(api, jobs[2]) == ["line 2"]
    assert api.update_job_labels(job_id=jobs[0].id, labels={"group": "q"}, namespace="alice").labels == {"group": "q"}
    again = api.rerun_job(job_id=jobs[1].id, namespace="alice")
    assert (again.initiator.type, again.labels["i"]) == ("duplicated-job", "1")


def test_a_list_that_lags(hub: hubsim.Hub, api: HfApi) -> None:
    hub.cfg["listLagSecs"] = 60
    job = run(api, labels={"group": "p"})
    assert ids(api, group="p") == []
    hub.cfg["listLagSecs"] = 0
    assert ids(api, group="p") == [job.id]


WAITING = """
import os, time
print("a\\nb\\nc\\nd", flush=True)
while not os.path.exists(os.path.expanduser("~/release")):
    time.sleep(0.02)
print("e\\nf", flush=True)
"""


@pytest.mark.parametrize("how", ["reset", "truncate", "close"])
def test_a_log_stream_that_is_cut(hub: hubsim.Hub, api: HfApi, how: str) -> None:
    cut = hub.fail(path="/logs", sse={"after": 3, "how": how})
    job = run(api, WAITING)

    def release_after_reconnect() -> None:
        while len(hub.requests("/logs")) < 2:
            time.sleep(0.02)
        (hub.jobs[job.id].dir / "home" / "release").touch()

    thread = threading.Thread(target=release_after_reconnect)
    thread.start()
    assert logs(api, job, follow=True) == ["a", "b", "c", "d", "e", "f"]
    assert cut["times"] == 0
    thread.join()


def test_the_client_loses_the_end_of_a_log(hub: hubsim.Hub, api: HfApi) -> None:
    """Why the backend reads a finished job's log once more."""
    hub.script(logs=["a", "b", "c", "d"], runSecs=0.1)
    job = run(api)
    wait(api, job)
    hub.fail(path="/logs", sse={"after": 3, "how": "reset"})
    assert logs(api, job, follow=True) == ["a", "b"]
    assert logs(api, job) == ["a", "b", "c", "d"]
    assert logs(api, job, tail=2) == ["c", "d"]


def test_a_log_stream_may_stay_open_after_the_end_of_its_job(hub: hubsim.Hub, api: HfApi) -> None:
    hub.cfg |= {"streamsStayOpen": True, "keepaliveSecs": 0.05}
    hub.script(logs=["a", "b"], runSecs=0.1)
    job = run(api)
    wait(api, job)
    address, headers = f"{hub.endpoint}/api/jobs/alice/{job.id}/logs", {"Authorization": "Bearer hf_alice_write"}
    with get_session().stream("GET", address, headers=headers) as response:
        seen = [line for line, _ in zip(response.iter_lines(), range(12), strict=False) if line]
    assert [line[:6] for line in seen] == ["data: "] * 3 + [": keep"] * 3


def test_a_log_may_lag_behind_the_stage_of_its_job(hub: hubsim.Hub, api: HfApi) -> None:
    hub.cfg["logLagSecs"] = 60
    hub.script(logs=["a", "b"], runSecs=0.1)
    job = run(api)
    assert wait(api, job).status.stage == "COMPLETED"
    assert logs(api, job) == logs(api, job, follow=True) == []
    hub.cfg["logLagSecs"] = 0
    assert logs(api, job) == ["a", "b"]


def test_metrics_and_hardware(hub: hubsim.Hub, api: HfApi) -> None:
    hub.script(logs=["x"], runSecs=30)
    job = run(api, flavor="a10g-largex2")
    api.wait_for_job(job.id, namespace="alice", stages=["RUNNING"], poll_interval=0.05)
    (sample,) = api.fetch_job_metrics(job_id=job.id, namespace="alice")
    assert len(sample["gpus"]) == 2
    assert sample["memory_total_bytes"] == 92 * 1024**3
    assert api.list_jobs_hardware()[0].unit_cost_micro_usd == 167


@pytest.fixture
def post() -> dict[str, str]:
    return {"method": "POST", "path": "/api/jobs/alice$"}


@pytest.mark.parametrize(("when", "created"), [("after", 1), ("before", 0)])
def test_a_lost_answer(hub: hubsim.Hub, api: HfApi, post: dict[str, str], when: str, created: int) -> None:
    hub.fail(**post, reset=when)
    with pytest.raises(httpx2.HTTPError):
        run(api, labels={"tag": "lost"})
    assert len(ids(api, tag="lost")) == created


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_an_injected_status(hub: hubsim.Hub, api: HfApi, post: dict[str, str], status: int) -> None:
    hub.fail(**post, response={"status": status})
    assert status_of(lambda: run(api)) == status
    assert hub.jobs == {}


def test_an_answer_that_never_comes(hub: hubsim.Hub, api: HfApi, post: dict[str, str]) -> None:
    hub.fail(**post, hang="after", delay=0.1)

    def submit() -> None:
        with pytest.raises(httpx2.HTTPError):
            run(api, labels={"tag": "hung"})

    thread = threading.Thread(target=submit)
    thread.start()
    while not ids(api, tag="hung"):
        time.sleep(0.02)
    assert thread.is_alive()  # the client bounds this request by no time of its own
    hub.stopping = True
    thread.join(10)
    assert not thread.is_alive()


def test_a_network_group(hub: hubsim.Hub, api: HfApi) -> None:
    code = "import os; print(os.environ['HF_NETWORK_GROUP_PREFIX'] + 'master', os.environ['HF_NETWORK_GROUP_HOSTNAME'])"
    job = run(api, code, network_group="train", network_aliases=["master"])
    assert (job.network.group, job.network.aliases) == ("train", ["master"])
    assert logs(api, job, follow=True) == ["train-master train.group.hubsim"]
    assert hub.hosts_file(hub.jobs[job.id]).read_text().endswith("127.1.1.1 train.group.hubsim train-master\n")


@pytest.mark.parametrize("isolate", ["auto", "off"])
def test_members_of_a_network_group_reach_one_another_by_name(tmp_path: Path, isolate: str) -> None:
    """A name resolves once its member has come, and before that one listens."""
    hub, server = hubsim.start(tmp_path, isolate=isolate)
    client = as_user(hub, "hf_alice_write")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    begin = f"import os, socket, time; main = (os.environ['HF_NETWORK_GROUP_PREFIX'] + 'main', {port})\n"
    listen = "connection, _ = socket.create_server(('', main[1])).accept(); connection.sendall(b'hello')"
    ask = """
for _ in range(400):
    try:
        print(socket.gethostbyname(main[0]), socket.create_connection(main, 5).recv(9).decode())
        break
    except OSError:
        time.sleep(0.05)
"""
    try:
        second = run(client, begin + ask, network_group="pair")
        first = run(client, begin + listen, network_group="pair", network_aliases=["main"])
        hub.jobs[second.id].join(30)
        address, _ = hub.networks[hub.jobs[first.id].network_key][first.id]
        assert hub.jobs[second.id].lines[1:] == [f"{address} hello"]
    finally:
        hubsim.stop(hub, server)


def test_buckets(hub: hubsim.Hub, api: HfApi, tmp_path: Path) -> None:
    source = tmp_path / "volume"
    (source / "sub").mkdir(parents=True)
    (source / "a.txt").write_text("A" * 1000)
    content = os.urandom(300_000) + b"xyz" * 50_000
    (source / "sub" / "big.bin").write_bytes(content)
    volume = api.sync_job_volume(source, "/in", read_only=False, namespace="alice")
    api.sync_bucket(f"hf://buckets/{volume.source}/{volume.path}", str(tmp_path / "back"))
    assert (tmp_path / "back" / "sub" / "big.bin").read_bytes() == content
    assert api.bucket_info(volume.source).private is True
    for name, user in (("alice/none", api), (volume.source, as_user(hub, "hf_bob_write"))):
        with pytest.raises(BucketNotFoundError):
            user.bucket_info(name)
    with pytest.raises(ConnectionError, match="403 Forbidden"):  # from hf_xet
        as_user(hub, "hf_alice_read").batch_bucket_files(volume.source, add=[(b"x", "y")])
    api.batch_bucket_files(volume.source, delete=[f"{volume.path}/a.txt"])
    assert list(api.get_bucket_paths_info(volume.source, [f"{volume.path}/a.txt"])) == []


def make_model(hub: hubsim.Hub, name: str, settings: dict[str, Any] | None = None) -> None:
    folder = hub.root / "models" / name
    folder.mkdir(parents=True)
    header = json.dumps({"w": {"dtype": "F32", "shape": [4, 8], "data_offsets": [0, 128]}}).encode()
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(128))
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "README.md").write_text("---\ntags: [test]\n---\n# tiny\n")
    if settings:
        (folder / ".hubsim.json").write_text(json.dumps(settings))


def test_reading_repositories(hub: hubsim.Hub, api: HfApi, tmp_path: Path) -> None:
    make_model(hub, "tiny/lm")
    info = api.model_info("tiny/lm", files_metadata=True)
    assert (info.safetensors.total, info.tags) == (32, ["test"])
    assert {sibling.rfilename for sibling in info.siblings} == {"model.safetensors", "config.json", "README.md"}
    path = Path(api.snapshot_download("tiny/lm", cache_dir=tmp_path / "cache"))
    assert (path / "model.safetensors").stat().st_size > 128
    assert path.name == info.sha
    assert api.get_safetensors_metadata("tiny/lm").parameter_count == {"F32": 32}
    with pytest.raises(EntryNotFoundError):
        api.hf_hub_download("tiny/lm", "nope.json", cache_dir=tmp_path / "cache")
    with pytest.raises(RevisionNotFoundError):
        api.hf_hub_download("tiny/lm", "config.json", revision="v9", cache_dir=tmp_path / "cache")
    with pytest.raises(RepositoryNotFoundError):
        api.model_info("tiny/absent")


def test_private_and_gated_repositories(hub: hubsim.Hub, api: HfApi, tmp_path: Path) -> None:
    make_model(hub, "tiny/secret", {"private": True})
    make_model(hub, "tiny/gated", {"gated": "manual", "allow": ["bob"]})
    for token, status in ((None, 404), (False, 401)):
        assert status_of(lambda token=token: api.model_info("tiny/secret", token=token)) == status
    assert api.model_info("tiny/gated").gated == "manual"
    with pytest.raises(GatedRepoError):
        api.get_hf_file_metadata(url=f"{hub.endpoint}/tiny/gated/resolve/main/config.json")
    assert as_user(hub, "hf_bob_write").hf_hub_download("tiny/gated", "config.json", cache_dir=tmp_path / "cache")


def test_pushing_and_pinned_revisions(hub: hubsim.Hub, api: HfApi, tmp_path: Path) -> None:
    name = api.create_repo("alice/out", private=True, exist_ok=True).repo_id
    api.create_repo(name, exist_ok=True)
    assert status_of(lambda: api.create_repo("tiny/x")) == 403
    folder = tmp_path / "upload"
    folder.mkdir()
    weights = os.urandom(200_000)
    (folder / "w.safetensors").write_bytes(weights)
    (folder / "notes.md").write_text("v1")
    first = api.upload_folder(repo_id=name, folder_path=folder)
    second = api.upload_file(path_or_fileobj=b"v2", path_in_repo="notes.md", repo_id=name)
    assert api.model_info(name).sha == second.oid
    for revision, text in ((first.oid, "v1"), (second.oid, "v2")):
        file = api.hf_hub_download(name, "notes.md", revision=revision, cache_dir=tmp_path / "cache")
        assert Path(file).read_text() == text
    assert Path(api.hf_hub_download(name, "w.safetensors", cache_dir=tmp_path / "cache")).read_bytes() == weights
    reader = as_user(hub, "hf_alice_read")
    assert status_of(lambda: reader.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id=name)) == 403
    assert (
        status_of(lambda: api.upload_file(path_or_fileobj=b"v3", path_in_repo="notes.md", repo_id=name, revision="b"))
        == 404
    )
    api.create_branch(name, branch="b")
    assert status_of(lambda: api.create_branch(name, branch="b")) == 409
    third = api.upload_file(path_or_fileobj=b"v3", path_in_repo="notes.md", repo_id=name, revision="b")
    found = {branch.name: branch.target_commit for branch in api.list_repo_refs(name).branches}
    assert found == {"main": second.oid, "b": third.oid}
    assert set(api.list_repo_files(name, revision="b")) == set(api.list_repo_files(name))
    assert (hub.root / "models/alice/out/notes.md").read_text() == "v2"
    api.delete_repo(name)
    assert not api.repo_exists(name)


@pytest.mark.torch
def test_a_job_reads_and_pushes_with_the_real_libraries(hub: hubsim.Hub, api: HfApi) -> None:
    make_model(hub, "tiny/lm")
    chat = hub.root / "datasets" / "tiny" / "chat"
    chat.mkdir(parents=True)
    (chat / "train.jsonl").write_text('{"prompt": "p", "completion": "c"}\n' * 3)
    code = """
from datasets import load_dataset
from transformers import AutoConfig
rows = load_dataset("tiny/chat", split="train")
rows.push_to_hub("alice/copy", private=True)
AutoConfig.from_pretrained("tiny/lm").push_to_hub("alice/config")
print(rows.num_rows, load_dataset("alice/copy", split="train")[2]["completion"])
"""
    job = run(api, code, secrets={"HF_TOKEN": "hf_alice_write"})
    assert wait(api, job).status.stage == "COMPLETED", logs(api, job)
    assert logs(api, job)[-1] == "3 c"
    assert "config.json" in api.list_repo_files("alice/config")


@pytest.mark.usefixtures("hub_env")
def test_the_command_line(hub: hubsim.Hub, api: HfApi, tmp_path: Path) -> None:
    (tmp_path / "cli.py").write_text(SCRIPT)
    (tmp_path / "c.yaml").write_text("lr: 2")
    main = "from huggingface_hub.cli.hf import main; main()"
    command = [sys.executable, "-c", main, "jobs", "uv", "run", "--name", "cli", "cli.py", "c.yaml"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    assert "lr: 2" in ended.stdout + ended.stderr
    (job,) = api.list_jobs(labels={"name": "cli"}, namespace="alice")
    assert (job.flavor, job.labels, job.secrets) == ("t4-small", {"name": "cli", "team": "ml"}, ["HF_TOKEN"])


@pytest.fixture
def process(tmp_path: Path) -> Iterator[str]:
    """Endpoint of a simulator in a process of its own."""
    ready = tmp_path / "ready"
    command = [sys.executable, "-m", "hubsim", "--root", str(tmp_path / "hub"), "--ready-file", str(ready)]
    env = {**os.environ, "PYTHONPATH": str(Path(hubsim.__file__).parents[1])}
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL) as running:
        while not (ready.exists() and ready.read_text()):
            assert running.poll() is None
            time.sleep(0.02)
        yield ready.read_text()
        running.terminate()
        assert running.wait(10) == 0


def test_a_process_of_its_own(process: str) -> None:
    def control(path: str, body: Any = None, method: str | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{process}/_sim/{path}", data, method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.loads(answer.read())

    assert control("ping")["ok"] is True
    control("plans", {"logs": ["hello"], "runSecs": 0.05})
    control("config", {"schedSecs": 0})
    control("faults", {"path": "/logs", "response": {"status": 503}})
    api = HfApi(endpoint=process, token="hf_alice_write")
    job = run(api, secrets={"HF_TOKEN": "s3cret"})
    assert wait(api, job).status.stage == "COMPLETED"
    assert status_of(lambda: logs(api, job)) == 503
    assert control("faults", method="DELETE") == []
    (shown,) = control(f"jobs/{job.id}")
    assert (shown["logs"][1:], shown["spec"]["secrets"]) == (["hello"], {"HF_TOKEN": "s3cret"})
    assert [entry["status"] for entry in control("journal?path=/logs")] == [503]
    with pytest.raises(urllib.error.HTTPError, match="400"):
        control("faults", {"nonsense": 1})
