"""Checkpoints in the output repository: the newest alone, believed only if it is this run's."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import hubsim
import huggingface_hub
import pytest

from hfjobs_trainer.rendering.runtime.checkpoints_hub import HubCheckpoints
from hfjobs_trainer.rendering.runtime.stopping import Stop

REPO = "alice/model"


class Trainer(SimpleNamespace):
    """What the keeper knows of a trainer."""

    def _save_checkpoint(self) -> None:
        step = self.state.global_step
        folder = Path(self.args.output_dir, f"checkpoint-{step}")
        folder.mkdir(parents=True)
        for name in ("model.safetensors", f"only-{step}.pt"):
            (folder / name).write_text(f"{name} {step}")


@pytest.fixture
def keep(hub: hubsim.Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubCheckpoints]:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", hub.endpoint)
    template = hub.endpoint + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setenv("HFT_RUN_ID", "mine")
    monkeypatch.delenv("HFT_CHECKPOINTS", raising=False)
    huggingface_hub.HfApi(token="hf_alice_write").create_repo(REPO, private=True)
    args: dict[str, Any] = {
        "output_dir": str(tmp_path / "out"),
        "hub_token": "hf_alice_write",
        "hub_revision": None,
        "save_total_limit": None,
        "world_size": 1,
        "process_index": 0,
        "local_process_index": 0,
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 1,
    }
    trainer = Trainer(
        args=SimpleNamespace(**args),
        hub_model_id=REPO,
        state=SimpleNamespace(global_step=0, max_steps=10, best_global_step=None),
        accelerator=SimpleNamespace(wait_for_everyone=lambda: None),
    )
    made = HubCheckpoints(trainer, Stop())
    yield made
    made.pool.close()
    made.pool.join()


def test_the_newest_checkpoint_is_in_the_repository(
    keep: HubCheckpoints, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keep.fetch()  # none yet, which is no fault
    assert "warning" not in capsys.readouterr().out
    for step in (2, 4):
        keep.trainer.state.global_step = step
        keep.trainer._save_checkpoint()
        assert keep.finish(60) == step
    assert f'"place": "{REPO}/last-checkpoint"' in capsys.readouterr().out
    api = huggingface_hub.HfApi(token="hf_alice_write")
    names = {name for name in api.list_repo_files(REPO) if "checkpoint" in name}
    assert names == {f"last-checkpoint/{name}" for name in ("hft_manifest.json", "model.safetensors", "only-4.pt")}

    shutil.rmtree(keep.folder)  # another machine
    keep.fetch()
    assert keep.restore(4) == ""
    assert (keep.folder / "checkpoint-4/only-4.pt").read_text() == "only-4.pt 4"
    assert [path.name for path in keep.folder.iterdir()] == ["checkpoint-4"]

    monkeypatch.setenv("HFT_RUN_ID", "another")
    shutil.rmtree(keep.folder)
    keep.fetch()
    assert not keep.folder.exists()

    keep.forget()
    assert not [name for name in api.list_repo_files(REPO) if "checkpoint" in name]


def test_a_repository_that_cannot_be_asked_is_a_warning(
    keep: HubCheckpoints, hub: hubsim.Hub, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.fail(path="/api/models/alice/model", times=9, response={"status": 403})
    keep.fetch()
    assert "no checkpoint was had of alice/model" in capsys.readouterr().out
