"""Scripts that exist already: read once from a real HTTP server, planned, and really run."""

from __future__ import annotations

import hashlib
import importlib
import json
import shutil
import threading
import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from pathlib import Path
from typing import Any

import hubsim
import pytest
from huggingface_hub import HfApi

import hfjobs_trainer as hft
from examples import tiny
from hfjobs_trainer.codegen.pages import blocks, run
from hfjobs_trainer.facts import AccountFacts, Facts, ScriptFacts
from hfjobs_trainer.gathering import gather
from hfjobs_trainer.gathering.script import _raw
from hfjobs_trainer.planning.pins import pins
from hfjobs_trainer.running.backends.inprocess import InProcessBackend
from hfjobs_trainer.specs.script_header import read_header

# What a script may hold that would break a careless wrapper.
HOSTILE = '''\
# /// script
# requires-python = ">=3.11"
# dependencies = []
# [[tool.uv.index]]
# name = "mine"
# url = "https://example.invalid/simple"
# explicit = true
# ///
"""Doc with \'\'\' and \\\\ and {{ braces }} and \u202e and \x0c."""
from __future__ import annotations
import sys, pathlib
print("args", sys.argv[1:], __name__, pathlib.Path(sys.argv[0]).name)
sys.exit(int(sys.argv[-1]))
'''


class Server(ThreadingHTTPServer):
    """Serves a folder and remembers what was asked."""

    asked: list[tuple[str, str | None]]


class Handler(SimpleHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("authorization")))
        super().do_GET()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Server, Path, str]]:
    folder = tmp_path / "served"
    folder.mkdir()
    server = Server(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    server.asked = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server, folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def local(root: Path, **options: Any) -> hft.LocalBackend:
    return hft.LocalBackend(root / "runs", python="current", **options)


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", ["official_sft", "official_dpo"])
def test_the_recipes_for_official_scripts(server: Any, name: str) -> None:
    """Those of the guide, with the scripts of the installed TRL: no problem, and the script takes its command line."""
    _, folder, url = server
    page = "references/training_patterns.md"
    text = Path(__file__).parents[2].joinpath(page).read_text(encoding="utf-8")
    (recipe,) = [block for block in blocks(page, text) if "official_sft" in block.code]
    found: dict[str, Any] = {"hft": hft}
    run(recipe, found)
    file = Path(found[name].script).name
    (folder / file).write_bytes(files("trl.scripts").joinpath(file).read_bytes())
    spec = found[name].replace(script=f"{url}/{file}")
    plan = hft.Client(token="none").plan(spec, facts=gather(spec, endpoint=url, backend="local"))
    assert [item for item in plan.problems if item.code.startswith("SCRIPT")] == []
    here = ("--use_cpu", "--bf16", "false")
    parser = importlib.import_module(f"trl.scripts.{file.removesuffix('.py')}").make_parser()
    _, config, *_ = parser.parse_args_and_config(args=[*spec.script_args, *here])
    assert (config.push_to_hub, config.report_to) == (True, ["trackio"])


def test_an_official_script_of_trl_trains_from_its_url(
    server: Any, tmp_path: Path, tiny_model: Path, tiny_data: Callable[[tiny.Format], Path]
) -> None:
    """TRL's own `sft.py`, in an environment made from its own header, under the versions that were tested."""
    served, folder, url = server
    original = files("trl.scripts").joinpath("sft.py").read_bytes()
    (folder / "sft.py").write_bytes(original)
    data = tiny_data("messages").parent / "as-dataset"
    data.mkdir(exist_ok=True)
    (data / "train.jsonl").write_bytes(tiny_data("messages").read_bytes())
    arguments = f"--model_name_or_path {tiny_model} --dataset_name {data} --max_steps 2 --logging_steps 1"
    job = hft.submit_script(
        script=f"{url}/sft.py",
        script_args=[
            *arguments.split(),
            "--output_dir",
            "out",
            "--report_to",
            "trackio",
            "--use_cpu",
            "--bf16",
            "false",
        ],
        tracking={"project": "colors", "name": "first", "group": "tries"},
        labels={"for": "a-test"},
        env={"OMP_NUM_THREADS": "1"},
        backend=hft.LocalBackend(tmp_path / "runs"),
    )
    result = job.result()
    assert (result.steps, result.metrics["loss"] is not None) == (2, True)
    assert result.model is not None
    assert (Path(result.model) / "model.safetensors").exists()
    assert [event.step for event in job.events() if event.kind == "log" and "loss" in event.metrics] == [1, 2]
    assert next(event.kind for event in job.events()) == "start"
    assert job.record.labels["for"] == "a-test"
    assert job.record.labels["method"] == "script"
    assert len(served.asked) == 1, "read once"

    assert result.folder is not None
    script = (result.folder / "script.py").read_text("utf-8")
    header = read_header(script)
    assert set(read_header(original.decode()).dependencies) <= set(header.dependencies)
    assert pins().requirement("trl") in header.uv["constraint-dependencies"]
    assert hashlib.sha256(original).hexdigest() in script
    rows = (result.folder / "trackio" / "colors.db").read_bytes()
    assert b"tries" in rows
    assert b"train/loss" in rows


@pytest.mark.torch
def test_any_script_runs_as_it_is(server: Any, tmp_path: Path) -> None:
    served, folder, url = server
    (folder / "plain.py").write_text(HOSTILE, "utf-8")
    spec = hft.Script(f"{url}/plain.py", script_args=["it's", "--x={{ y }}", "0"], tracking={"report_to": "none"})
    job = hft.submit(spec, backend=local(tmp_path))
    job.wait().raise_for_status()
    assert "args [\"it's\", '--x={{ y }}', '0'] __main__ plain.py" in list(job.logs())
    assert [event.kind for event in job.events()] == ["start", "end"]
    failed = hft.submit(spec.replace(script_args=["3"]), backend=local(tmp_path)).wait()
    assert failed.status().stage == "ERROR"
    assert [event.kind for event in failed.events()] == ["start"]
    assert served.asked == [("/plain.py", None)] * 2


def test_an_official_script_of_trl_trains_as_a_job_and_leaves_its_model_on_the_hub(
    hub_env: hubsim.Hub, tiny_model: Path, tiny_data: Callable[[tiny.Format], Path]
) -> None:
    """From a private repository to a private repository: script, model, rows and result lie on the Hub alone."""
    root, address = hub_env.root, f"{hub_env.endpoint}/datasets/alice/scripts/blob/main/sft.py"
    shutil.copytree(tiny_model, root / "models/alice/tiny")
    for name, file, content in (
        ("scripts", "sft.py", files("trl.scripts").joinpath("sft.py").read_bytes()),
        ("chats", "train.jsonl", tiny_data("messages").read_bytes()),
    ):
        (root / "datasets/alice" / name).mkdir(parents=True)
        (root / "datasets/alice" / name / file).write_bytes(content)
    (root / "datasets/alice/scripts/.hubsim.json").write_text('{"private": true}')
    (root / "models/alice/tiny/.hubsim.json").write_text('{"private": true}')
    client = hft.Client(token="hf_alice_write", endpoint=hub_env.endpoint)
    arguments = "--model_name_or_path alice/tiny --dataset_name alice/chats --max_steps 2 --logging_steps 1 --use_cpu"
    arguments += " --bf16 false --output_dir out --push_to_hub --hub_model_id alice/tiny-sft --hub_private_repo true"
    spec = hft.Script(
        address,
        script_args=[*arguments.split(), "--report_to", "none"],
        hardware="t4-small",
        timeout="20m",
        tracking={"group": "tries", "report_to": "none"},
    )

    plan = client.plan(spec)
    job = client.submit(plan)
    assert isinstance(plan, hft.Plan)
    assert isinstance(job, hft.Job)
    lines = list(job.logs(follow=True))
    result = job.wait(timeout=60).raise_for_status().result()

    assert result.steps == 2
    assert [event.step for event in job.events() if event.kind == "log" and "loss" in event.metrics] == [1, 2]
    api = HfApi(endpoint=hub_env.endpoint, token="hf_alice_write")
    info = api.model_info("alice/tiny-sft")
    assert info.private
    assert {"model.safetensors", "config.json"} <= {file.rfilename for file in info.siblings or ()}
    (sent,) = [json.loads(entry["body"]) for entry in hub_env.requests("/api/jobs/alice$", "POST")]
    assert (sent["flavor"], sent["timeoutSeconds"], list(sent["secrets"])) == ("t4-small", 1500, ["HF_TOKEN"])
    assert sent["labels"].items() >= {"method": "script", "group": "tries", "spec": spec.digest[:12]}.items()
    assert "hf_alice_write" not in "\n".join([plan.script, str(plan), repr(job), *lines])
    assert [found.id for found in client.jobs(group="tries")] == [job.id]


def test_what_travels_is_what_was_read(server: Any, hub: hubsim.Hub) -> None:
    _, folder, url = server
    client = hft.Client(token="hf_alice_write", endpoint=hub.endpoint)
    (folder / "plain.py").write_text(HOSTILE, "utf-8")
    spec = hft.Script(
        f"{url}/plain.py", script_args=["0"], hardware="cpu-basic", timeout="10m", extra_dependencies=["a==1"]
    )
    plan = client.plan(spec)
    (folder / "plain.py").write_text("changed\n", "utf-8")
    space: dict[str, Any] = {}
    source = plan.script[plan.script.index("SOURCE = (") : plan.script.index('if __name__ == "__main__"')]
    exec(source, space)  # noqa: S102
    assert space["SOURCE"] == HOSTILE
    table = tomllib.loads(
        "\n".join(line[2:] for line in plan.script.split("# ///\n")[0].splitlines()[1:]),
    )
    assert table["dependencies"] == ["a==1"]
    assert table["tool"]["uv"]["index"] == [{"name": "mine", "url": "https://example.invalid/simple", "explicit": True}]
    assert table["tool"]["hf-jobs"]["flavor"] == "cpu-basic"
    digest = hashlib.sha256(HOSTILE.encode()).hexdigest()
    assert f"sha256 {digest}" in str(plan)
    assert plan.request.timeout_seconds == 750
    assert client.check(spec.replace(sha256=digest)).problems[0].code == "SCRIPT002"


def test_the_plan_is_what_any_backend_gets(server: Any, hub: hubsim.Hub, tmp_path: Path) -> None:
    _, folder, url = server
    (folder / "x.py").write_text("# /// script\n# dependencies = ['trl']\n# ///\nprint(1)\n", "utf-8")
    backend = InProcessBackend()
    client = hft.Client(token="hf_alice_write", endpoint=hub.endpoint)
    spec = hft.Script(
        f"{url}/x.py", script_args=["--push_to_hub"], hardware="t4-small", timeout="1h", namespace="alice"
    )
    job = client.submit(spec, backend=backend)
    assert job.id.startswith("inprocess/script-x")
    (plan,) = backend.plans
    request = plan.request
    assert request.labels["spec"] == spec.digest[:12]
    assert request.secrets == ("HF_TOKEN",)
    assert len(request.env["HFT_RUN_ID"]) == 32
    (tmp_path / "saved.py").write_text(request.script, "utf-8")
    assert hft.load(tmp_path / "saved.py") == spec
    planned = client.plan(spec.to_dict(), backend="hub").request.labels
    assert {name: value for name, value in request.labels.items() if name != "inputs"} == planned


def test_one_process_per_gpu_unless_the_script_launches_itself(server: Any, hub: hubsim.Hub) -> None:
    _, folder, url = server
    client = hft.Client(token="hf_alice_write", endpoint=hub.endpoint)
    (folder / "x.py").write_text("print(1)\n", "utf-8")

    def ending(**hardware: Any) -> str:
        spec = hft.Script(f"{url}/x.py", hardware={"flavor": "a10g-largex4", **hardware}, timeout=60)
        return client.plan(spec).script.split('if __name__ == "__main__":')[-1]

    assert "relaunch(gpus=0)" in ending()
    assert "relaunch(gpus=1)" in ending(strategy="single")
    assert "relaunch(gpus=2)" in ending(num_gpus=2)
    assert "relaunch" not in ending(strategy="user")


def test_two_processes_train_one_model(
    tmp_path: Path, tiny_model: Path, tiny_data: Callable[[tiny.Format], Path]
) -> None:
    script = tmp_path / "two.py"
    script.write_text(
        "import os, sys\nfrom datasets import load_dataset\nfrom trl import SFTConfig, SFTTrainer\n"
        "data = load_dataset('json', data_files=sys.argv[2], split='train')\n"
        "args = SFTConfig(output_dir='out', max_steps=2, logging_steps=1, bf16=False, use_cpu=True)\n"
        "trainer = SFTTrainer(sys.argv[1], args=args, train_dataset=data)\ntrainer.train()\n"
        "assert trainer.accelerator.num_processes == 2\n",
        "utf-8",
    )
    spec = hft.Script(
        str(script),
        script_args=[str(tiny_model), str(tiny_data("messages"))],
        tracking={"report_to": "none"},
        env={"HFT_NUM_PROCESSES": "2", "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
    )
    job = hft.submit(spec, backend=local(tmp_path))
    assert job.result().steps == 2
    assert [event.data["world_size"] for event in job.events() if event.kind == "start"] == [2]


@pytest.mark.torch
def test_arguments_that_name_local_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.py").write_text("import sys\nprint('got', open(sys.argv[1]).read(), sys.argv[2])\n", "utf-8")
    (tmp_path / "config.yaml").write_text("content", "utf-8")
    (tmp_path / "word").touch()
    spec = hft.Script("x.py", script_args=["config.yaml", "word"], hardware="t4-small", timeout=60)
    remote = {problem.code: problem for problem in hft.check(spec, backend="hub")}
    assert remote["SCRIPT005"].why.startswith("config.yaml is a file on this machine")
    # where nothing is sent, it is found wherever the run folder is
    job = hft.submit(spec, backend=local(tmp_path)).wait()
    assert "got content word" in list(job.logs())
    with pytest.raises(hft.SpecError, match="SCRIPT005"):
        hft.submit(spec, backend=InProcessBackend())
    # paths of the machine where it will run are nobody's business here
    there = spec.replace(script_args=["/mnt/x.yaml", "new.toml", "--config=c.yaml"])
    assert "SCRIPT005" not in {problem.code for problem in hft.check(there, backend="hub")}


FOUND: dict[str, Any] = {"text": "print(1)\n", "sha256": "0" * 64}


@pytest.mark.parametrize(
    ("spec", "found", "code"),
    [
        ({}, {"text": None, "problem": "HTTP status 404"}, "SCRIPT001"),
        ({"sha256": "1" * 64}, FOUND, "SCRIPT002"),
        ({}, FOUND | {"text": "<!doctype html>"}, "SCRIPT003"),
        ({}, FOUND | {"text": "def f(:\n"}, "SCRIPT003"),
        ({}, FOUND | {"text": "# /// script\n# dependencies = 3\n# ///\n"}, "SCRIPT003"),
        ({}, FOUND, "SCRIPT004"),
        ({"hardware": "auto"}, FOUND, "SCRIPT006"),
        ({}, FOUND | {"text": "from trl import TrlParser\n"}, "SCRIPT007"),
    ],
)
def test_what_is_wrong_is_told(spec: dict[str, Any], found: dict[str, Any], code: str) -> None:
    fields = {"script": "https://example.invalid/x.py", "hardware": "t4-small", "timeout": 60, **spec}
    facts = Facts(script=ScriptFacts(**found), account=AccountFacts(has_token=True, name="me"))
    report = hft.check({"method": "script", **fields}, facts=facts, backend="hub")
    assert code in {problem.code for problem in report.problems}


def test_a_good_script_has_no_problems() -> None:
    text = "# /// script\n# dependencies = ['trl']\n# ///\nfrom trl import TrlParser\n"
    spec = hft.Script(
        "https://example.invalid/x.py", script_args=["--report_to=trackio"], hardware="t4-small", timeout="1h"
    )
    me = AccountFacts(has_token=True, name="me")
    report = hft.check(spec, facts=Facts(script=ScriptFacts(text, "0" * 64), account=me), backend="hub")
    assert (report.problems, report.unchecked) == ((), ())


def test_reading(server: Any, tmp_path: Path) -> None:
    served, folder, url = server
    (folder / "latin.py").write_bytes(b"# \xff\n")

    def problem_of(script: str, **options: Any) -> str:
        found = hft.gather(hft.Script(script), backend="local", **options).script
        assert found is not None
        return found.problem or ""

    assert problem_of(f"{url}/none.py") == "HTTP status 404"
    assert problem_of(f"{url}/latin.py") == "it is not UTF-8 text"
    assert problem_of(f"{url}/latin.py", offline=True) == "the plan is made offline"
    assert problem_of("http://127.0.0.1:9/x.py").startswith("the download failed")
    assert problem_of(str(tmp_path / "none.py")) == "No such file or directory"
    (folder / "private.py").write_text("print(1)\n", "utf-8")
    served.asked.clear()
    hub = hft.Client(token="hf_own", endpoint=url)
    assert hub.gather(hft.Script(f"{url}/private.py"), backend="local").script is not None
    other = hft.Client(token="hf_own", endpoint="http://127.0.0.1:9")
    assert other.gather(hft.Script(f"{url}/private.py"), backend="local").script is not None
    assert served.asked == [("/private.py", "Bearer hf_own"), ("/private.py", None)], "the token is for the Hub alone"


def test_pages_that_show_a_file() -> None:
    hub = "https://huggingface.co"
    assert (
        _raw("https://github.com/huggingface/trl/blob/main/trl/scripts/sft.py", hub)
        == "https://raw.githubusercontent.com/huggingface/trl/main/trl/scripts/sft.py"
    )
    assert _raw(f"{hub}/datasets/me/x/blob/main/a.py", hub) == f"{hub}/datasets/me/x/resolve/main/a.py"
    assert _raw("https://example.org/blob/a.py", hub) == "https://example.org/blob/a.py"


def test_versions_that_the_script_says_are_left_alone() -> None:
    assert not read_header("print(1)").found
    family = pins().packages

    def pinned(*dependencies: str, uv: str = "") -> bool:
        lines = [f"dependencies = {list(dependencies)}", *([f"[tool.uv]\n# {uv}"] if uv else [])]
        return read_header("# /// script\n" + "".join(f"# {line}\n" for line in lines) + "# ///\n").pinned(family)

    assert not pinned("trl", "numpy==1.0", "trl[vllm]")
    assert pinned("trl==1.10.0")
    assert pinned("trl @ git+https://example.org/trl")
    assert pinned("trl", uv='exclude-newer = "2025-01-01T00:00:00Z"')


def test_specs_of_scripts() -> None:
    spec = hft.Script("a/b.py", hardware="t4-small")
    assert spec == hft.Script(script="a/b.py", hardware={"flavor": "t4-small"})
    assert spec.replace(hardware=None) == hft.Script("a/b.py")
    assert (spec.stem, hft.Script("https://x.org/y.py?z=1").stem) == ("b", "y")
    with pytest.raises(hft.SpecError) as caught:
        hft.Script("a/b.py", script_arg=["x"], sha256="abc", timeout="never", hardware="t4-small")
    assert {problem.path for problem in caught.value.problems} == {"script_arg", "sha256", "timeout"}
