"""Every tracker but trackio, really used: a tiny model trains under the pins of its script's own header."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hfjobs_trainer as hft
from examples import tiny
from hfjobs_trainer.find_uv import find_links, find_uv
from hfjobs_trainer.planning.arguments.trackers import TRACKERS, has_space
from hfjobs_trainer.planning.pins import pins

Train = Callable[..., hft.Job]


@pytest.fixture
def train(
    tmp_path: Path, tiny_model: Path, tiny_data: Callable[[tiny.Format], Path], monkeypatch: pytest.MonkeyPatch
) -> Train:
    """A function that trains two steps with a tracker, in an environment made from the script's header."""
    for name in {name for row in TRACKERS.values() for name in (row.secret, *dict(row.unless)) if name}:
        monkeypatch.delenv(name, raising=False)
    # where wandb would look for a stored key
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))

    def run(reporter: str | list[str], **env: str) -> hft.Job:
        spec = hft.SFT(
            model=str(tiny_model),
            dataset=str(tiny_data("messages")),
            max_steps=2,
            save_steps=1,
            logging_steps=1,
            per_device_train_batch_size=2,
            output_dir="model",
            tracking={
                "report_to": reporter,
                "project": "colors",
                "name": "first",
                "group": "tries",
                "config": {} if reporter == "tensorboard" else {"hue": "blue"},
            },
            env={"OMP_NUM_THREADS": "1", **env},
        )
        job = hft.submit(spec, backend=hft.LocalBackend(tmp_path / "runs"))
        job.wait().raise_for_status()
        return job

    return run


def folder_of(job: hft.Job) -> Path:
    assert job.record.folder is not None
    return Path(job.record.folder)


def warnings_of(job: hft.Job) -> list[str]:
    return [event.data["message"] for event in job.events() if event.kind == "warning"]


def retry(job: hft.Job, **env: str) -> None:
    """Run the job once more under the identity that it had, from its checkpoint to two steps further."""
    folder, spec = folder_of(job), hft.load(folder_of(job) / "script.py")
    assert isinstance(spec, hft.SFT)
    longer = spec.replace(max_steps=4, resume_from_checkpoint=str(folder / "model/checkpoint-2"))
    script = folder / "script.py"  # uv keeps the environment of this path
    script.write_text(hft.render(longer, backend="local", offline=True), "utf-8")
    command = [find_uv(), "run", "--no-project", "--python", sys.executable, str(script)]
    variables = os.environ | find_links() | spec.env | {"HFT_RUN_ID": folder.name, "CUDA_VISIBLE_DEVICES": ""} | env
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    logged = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"event": "hft.log"')]
    assert [event["step"] for event in logged if "loss" in event["metrics"]] == [3, 4]


def test_tensorboard_writes_into_the_models_folder_retries_included(train: Train) -> None:
    job = train("tensorboard")
    files = list((folder_of(job) / "model/runs/colors/tries/first").iterdir())
    assert [file.name.split(".")[0] for file in files] == ["events"]
    assert b"train/loss" in files[0].read_bytes()
    assert warnings_of(job) == []
    retry(job)
    # readers of a folder take its files for one run
    files = list(files[0].parent.iterdir())
    assert len(files) == 2
    assert all(b"train/loss" in file.read_bytes() for file in files)


def rows(database: Path, query: str) -> list[Any]:
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        return connection.execute(query).fetchall()


def test_mlflow_gets_experiment_group_metrics_and_one_run_retries_included(train: Train, tmp_path: Path) -> None:
    database = tmp_path / "mlflow.db"
    job = train("mlflow", MLFLOW_TRACKING_URI=f"sqlite:///{database}")
    assert ("colors",) in rows(database, "select name from experiments")
    assert rows(database, "select name, status from runs") == [("first", "FINISHED")]
    tags = dict(rows(database, "select key, value from tags"))
    assert (tags["group"], tags["hue"]) == ("tries", "blue")
    assert tags["hft_run_id"] == folder_of(job).name
    steps = rows(database, "select step from metrics where key = 'loss' order by step")
    assert steps == [(1,), (2,)]
    assert warnings_of(job) == []
    retry(job)
    assert rows(database, "select name, status from runs") == [("first", "FINISHED")]
    steps = rows(database, "select step from metrics where key = 'loss' order by step")
    assert steps == [(1,), (2,), (3,), (4,)]


def test_mlflow_that_is_away_does_not_stop_the_training(train: Train) -> None:
    job = train("mlflow", MLFLOW_TRACKING_URI="http://127.0.0.1:9", MLFLOW_HTTP_REQUEST_MAX_RETRIES="0")
    (warning,) = warnings_of(job)
    assert "mlflow.db" in warning
    assert rows(folder_of(job) / "mlflow.db", "select count(*) from metrics where key = 'loss'") == [(2,)]


def offline_run(job: hft.Job) -> bytes:
    (file,) = folder_of(job).glob("wandb/offline-run-*/run-*.wandb")
    return file.read_bytes()


def test_wandb_offline_keeps_project_group_metrics_and_one_run_retries_included(train: Train) -> None:
    job = train(["tensorboard", "wandb"], WANDB_MODE="offline")
    content = offline_run(job)
    (beside,) = (folder_of(job) / "model/runs").glob("*/events.*")
    assert b"train/loss" in beside.read_bytes()
    assert all(text in content for text in (b"colors", b"tries", b"first", b"blue", b"train/loss"))
    assert warnings_of(job) == []
    retry(job)
    # one file per process, of one run: `wandb sync` joins them by its id
    files = sorted(folder_of(job).glob("wandb/offline-run-*/run-*.wandb"))
    assert len(files) == 2
    assert files[0].name == files[1].name
    assert all(b"train/loss" in file.read_bytes() for file in files)


def test_wandb_without_a_key_does_not_stop_the_training(train: Train) -> None:
    job = train("wandb")
    (warning,) = warnings_of(job)
    assert "wandb sync" in warning
    assert b"train/loss" in offline_run(job)


# -- what a rented machine is given


def plan(reporter: str, **fields: Any) -> hft.Plan:
    fields = {
        "hardware": "a10g-large",
        "timeout": "1h",
        "tracking": {"report_to": reporter, **fields.pop("at", {})},
    } | fields
    return hft.plan(hft.SFT(model="me/model", dataset="me/data", **fields), offline=True)


@pytest.mark.parametrize(
    ("reporter", "secrets"),
    [*((name, (row.secret,) if row.secret else ()) for name, row in TRACKERS.items()), ("none", ())],
)
def test_secrets_go_by_name_and_packages_by_pin(reporter: str, secrets: tuple[str, ...]) -> None:
    made = plan(reporter, at={"space_id": "me/space"} if has_space(reporter) else {})
    # a Space is made with the account's token
    assert made.request.secrets == (*secrets, *(["HF_TOKEN"] if has_space(reporter) else []))
    for package in TRACKERS:
        assert (f'"{pins().requirement(package)}"' in made.script) == (package == reporter)


def test_a_secret_that_is_not_needed_is_not_asked_for() -> None:
    assert plan("mlflow", env={"MLFLOW_TRACKING_URI": "https://mlflow.example"}).request.secrets == ()
    assert plan("wandb", secrets=["WANDB_API_KEY"]).request.secrets == ("WANDB_API_KEY",)
    for name, row in TRACKERS.items():
        for variable, value in row.unless:
            assert plan(name, env={variable: value}).request.secrets == ()


def test_the_plan_says_where_the_metrics_go() -> None:
    assert "wandb project fruit, group sizes" in str(plan("wandb", at={"project": "fruit", "group": "sizes"}))
    assert "TensorBoard files in model-SFT/runs/sizes" in str(plan("tensorboard", at={"group": "sizes"}))
