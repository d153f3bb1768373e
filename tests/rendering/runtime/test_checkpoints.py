"""What a run goes on from: a whole checkpoint of its own, and nothing that a kill or a late mount left behind."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest

from hfjobs_trainer.rendering.runtime import checkpoints
from hfjobs_trainer.rendering.runtime.checkpoints import (
    Checkpoints,
    copy_files,
    find_flaw,
    read_manifest,
    require_same_batch,
    rotate,
    write_manifest,
)
from hfjobs_trainer.rendering.runtime.mount import await_flush, run_folder, stop_again
from hfjobs_trainer.rendering.runtime.stopping import Stop

MANIFEST = "hft_manifest.json"
FACTS: dict[str, Any] = {
    "run": "mine",
    "step": 4,
    "max_steps": 10,
    "best": None,
    "tokens": 96,
    "world_size": 1,
    "global_batch": 8,
    "nodes": 1,
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("JOB_ID", "RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "HFT_CHECKPOINTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HFT_RUN_ID", "mine")
    monkeypatch.setenv("HFT_FLUSH_SECONDS", "0")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def mount(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """This run's folder in a mounted bucket."""
    place = tmp_path / "mount"
    place.mkdir()
    monkeypatch.setenv("HFT_CHECKPOINTS", str(place))
    return place / "mine"


@pytest.fixture
def keeper() -> Iterator[Callable[..., Checkpoints]]:
    """Makes keepers, and ends their threads."""
    made: list[Checkpoints] = []

    def make(trainer: Trainer, stop: Stop | None = None) -> Checkpoints:
        made.append(Checkpoints(trainer, stop or Stop()))
        return made[-1]

    yield make
    for keep in made:
        keep.pool.close()
        keep.pool.join()


def fill(folder: Path, text: str = "") -> None:
    """What a trainer saves."""
    (folder / "global_step").mkdir(parents=True, exist_ok=True)
    for name in ("model.safetensors", "optimizer.pt", "global_step/shard_0.pt"):
        (folder / name).write_text(f"{name} {text}")


def saved(folder: Path, step: int = 4, rank: int = 0, **facts: Any) -> Path:
    """A whole checkpoint."""
    place = folder / f"checkpoint-{step}"
    fill(place, str(step))
    write_manifest(place, FACTS | {"step": step} | facts, rank)
    return place


def steps(folder: Path) -> list[int]:
    return sorted(checkpoints.list_steps(folder))


class Trainer(SimpleNamespace):
    """What the keeper knows of a trainer."""

    def __init__(self, folder: Path, limit: int | None = None, **args: Any) -> None:
        values: dict[str, Any] = {
            "output_dir": str(folder),
            "save_total_limit": limit,
            "load_best_model_at_end": False,
            "world_size": 1,
            "process_index": 0,
            "local_process_index": 0,
            "per_device_train_batch_size": 4,
            "gradient_accumulation_steps": 2,
        }
        super().__init__(
            args=SimpleNamespace(**values | args),
            state=SimpleNamespace(global_step=0, max_steps=10, best_global_step=None),
            accelerator=SimpleNamespace(wait_for_everyone=lambda: None),
            is_deepspeed_enabled=False,
            is_fsdp_enabled=False,
        )

    def _save_checkpoint(self) -> None:
        fill(Path(self.args.output_dir, f"checkpoint-{self.state.global_step}"), str(self.state.global_step))

    def save(self, step: int, best: int | None = None) -> None:
        self.state.global_step, self.state.best_global_step = step, best
        self._save_checkpoint()


def test_a_manifest_cut_at_any_byte_is_none(tmp_path: Path) -> None:
    place = saved(tmp_path)
    whole = (place / MANIFEST).read_bytes()
    for size in range(len(whole)):
        (place / MANIFEST).write_bytes(whole[:size])
        assert find_flaw(place, 1) == "not whole", size
    (place / MANIFEST).write_bytes(whole)
    assert not find_flaw(place, 1)


def test_a_manifest_that_was_not_renamed_yet_is_none(tmp_path: Path) -> None:
    place = saved(tmp_path)
    (place / MANIFEST).rename(place / "hft_manifest.part")
    assert find_flaw(place, 1) == "not whole"


@pytest.mark.parametrize("damage", ["gone", "empty", "short", "longer", "other"])
@pytest.mark.parametrize("name", ["model.safetensors", "global_step/shard_0.pt"])
def test_a_file_that_is_not_what_was_written_is_named(tmp_path: Path, name: str, damage: str) -> None:
    place = saved(tmp_path)
    content = (place / name).read_bytes()
    changed = {"gone": None, "empty": b"", "short": content[:-1], "longer": content + b" ", "other": content[::-1]}
    (place / name).unlink() if damage == "gone" else (place / name).write_bytes(changed[damage] or b"")
    assert find_flaw(place, 1) == f"damaged, {name}"


def test_a_copy_killed_after_any_byte_is_not_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files come first: whatever of a copy is there without the last byte of the manifest is of no use."""
    source, copied = saved(tmp_path), list[str]()

    def note(path: Path, target: Path) -> None:
        copied.append(path.relative_to(source).as_posix())
        target.write_bytes(path.read_bytes())

    monkeypatch.setattr(shutil, "copyfile", note)
    copy_files(source, tmp_path / "whole")
    monkeypatch.undo()
    assert copied[-1] == MANIFEST
    contents = [(source / name).read_bytes() for name in copied]
    for killed, content in enumerate(contents):
        for size in (0, len(content) // 2, len(content) - 1):
            target = tmp_path / f"killed-{killed}-{size}"
            for name, part in zip(copied[: killed + 1], [*contents[:killed], content[:size]], strict=True):
                (target / name).parent.mkdir(parents=True, exist_ok=True)
                (target / name).write_bytes(part)
            assert find_flaw(target, 1) == "not whole"


def test_what_is_of_another_run_or_of_no_exact_step_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HFT_RUN_ID", "mine")
    assert find_flaw(saved(tmp_path, run="other"), 1) == "of another run"
    assert find_flaw(saved(tmp_path, step=6), 4) == "not after a multiple of 4 steps"
    assert not find_flaw(saved(tmp_path, step=10), 4)  # the last step: nothing follows
    assert not find_flaw(saved(tmp_path, step=8), 4)


def test_several_machines_have_a_manifest_each(tmp_path: Path) -> None:
    facts = {"nodes": 2, "world_size": 4}
    place = saved(tmp_path, **facts)
    (place / "rng_state_2.pth").write_text("of the other machine")
    assert find_flaw(place, 1) == "not whole"
    write_manifest(place, FACTS | facts, rank=2)
    assert sorted(path.name for path in place.glob("*.json")) == ["hft_manifest-0.json", "hft_manifest-1.json"]
    assert not find_flaw(place, 1)
    assert "rng_state_2.pth" in read_manifest(place)["files"]
    (place / "rng_state_2.pth").unlink()
    assert find_flaw(place, 1) == "damaged, rng_state_2.pth"


def test_older_ones_go_once_newer_ones_are_whole(tmp_path: Path) -> None:
    for step in (2, 4, 8):
        saved(tmp_path, step)
    fill(tmp_path / "checkpoint-6")  # torn
    fill(tmp_path / "checkpoint-10")  # still being written
    rotate(tmp_path, 10, 2, 1)
    assert steps(tmp_path) == [4, 6, 8, 10]
    saved(tmp_path, 10)
    rotate(tmp_path, 10, 2, 1)
    assert steps(tmp_path) == [8, 10]


def test_the_best_of_what_is_kept_stays(tmp_path: Path) -> None:
    for step, best in ((2, 2), (4, 4), (6, 2), (8, 4), (10, 8)):
        saved(tmp_path, step, best=best)
    rotate(tmp_path, 10, 2, 1)
    assert steps(tmp_path) == [4, 8, 10]


def test_what_an_abandoned_future_left_does_not_push_out_the_present(tmp_path: Path) -> None:
    """A run that went back to step 4, since 6 and 8 were damaged, keeps what it saves now."""
    for step in (2, 4, 6, 8):
        saved(tmp_path, step)
    rotate(tmp_path, 4, 1, 1)
    assert steps(tmp_path) == [4, 6, 8]


def test_a_save_is_made_whole_and_copied(
    keeper: Callable[..., Checkpoints], tmp_path: Path, mount: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer, stop = Trainer(tmp_path / "out", limit=1), Stop()
    keep = keeper(trainer, stop)
    assert stop.keeper is keep
    assert trainer.args.save_total_limit is None
    for step in (2, 4, 6):
        trainer.save(step)
        assert keep.finish(60) == step
    assert steps(tmp_path / "out") == [6]
    assert steps(mount) == [4, 6]
    told = read_manifest(mount / "checkpoint-6")
    assert {name: told[name] for name in ("run", "step", "max_steps", "global_batch", "nodes", "world_size")} == {
        "run": "mine",
        "step": 6,
        "max_steps": 10,
        "global_batch": 8,
        "nodes": 1,
        "world_size": 1,
    }
    assert not find_flaw(mount / "checkpoint-6", 1)
    assert stop.seconds_to_keep > 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(event["event"], event["step"]) for event in events] == [("hft.kept", step) for step in (2, 4, 6)]
    assert events[0]["place"] == str(mount / "checkpoint-2")
    assert events[0]["bytes"] == sum(size for size, _ in read_manifest(mount / "checkpoint-6")["files"].values())
    keep.forget()
    assert not mount.exists()
    assert steps(tmp_path / "out") == [6]


def test_the_newest_wins_where_copies_are_slow(
    keeper: Callable[..., Checkpoints],
    tmp_path: Path,
    mount: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    trainer, go, begun = Trainer(tmp_path / "out"), Event(), Event()
    keep = keeper(trainer)
    copy: Callable[..., Any] = checkpoints.copy_files

    def wait(*places: Path) -> None:
        begun.set()
        assert go.wait(60)
        copy(*places)

    monkeypatch.setattr(checkpoints, "copy_files", wait)
    trainer.save(2)
    assert begun.wait(60)
    for step in (4, 6, 8, 10):  # 6 is the best
        trainer.save(step, best=6 if step > 4 else None)
    go.set()
    assert keep.finish(60) == 10
    assert [json.loads(line)["step"] for line in capsys.readouterr().out.splitlines()] == [2, 6, 10]
    assert steps(mount) == [6, 10]


def test_a_copy_that_fails_is_a_warning_and_the_next_one_is_kept(
    keeper: Callable[..., Checkpoints], tmp_path: Path, mount: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = Trainer(tmp_path / "out")
    keep = keeper(trainer)
    mount.write_text("in the way")
    trainer.save(2)
    assert keep.finish(60) is None
    mount.unlink()
    trainer.save(4)
    assert keep.finish(60) == 4
    first, second = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert first["event"] == "hft.warning"
    assert first["message"].startswith("Checkpoint 2 was not kept: ")
    assert (second["event"], second["step"]) == ("hft.kept", 4)


def test_what_the_mount_garbles_is_not_kept(
    keeper: Callable[..., Checkpoints],
    tmp_path: Path,
    mount: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    trainer = Trainer(tmp_path / "out")
    keep = keeper(trainer)
    trainer.save(2)
    keep.finish(60)
    copy: Callable[..., Any] = shutil.copyfile

    def lose(source: Path, target: Path) -> None:
        copy(source, target)
        if target.name == "optimizer.pt":
            os.truncate(target, 3)

    monkeypatch.setattr(shutil, "copyfile", lose)
    trainer.save(4)
    assert keep.finish(60) == 2
    assert "optimizer.pt on the mount is not what was written" in capsys.readouterr().out
    assert find_flaw(mount / "checkpoint-4", 1) == "damaged, optimizer.pt"
    assert not find_flaw(mount / "checkpoint-2", 1)


def test_a_suspect_step_makes_no_checkpoint(keeper: Callable[..., Checkpoints], tmp_path: Path) -> None:
    trainer, stop = Trainer(tmp_path / "out"), Stop()
    keep = keeper(trainer, stop)
    stop.suspect = True
    trainer.save(2)
    assert keep.finish(60) is None
    assert find_flaw(tmp_path / "out/checkpoint-2", 1) == "not whole"


def test_other_batches_are_another_training(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = Trainer(tmp_path)
    require_same_batch(FACTS, FACTS, trainer)
    assert not capsys.readouterr().out
    fewer = FACTS | {"world_size": 1, "global_batch": 4}
    with pytest.raises(SystemExit, match=r"of 2 process\(es\), 8 sequences .* here are 1, 4\. .* HFT_NUM_PROCESSES=2"):
        require_same_batch(FACTS | {"world_size": 2}, fewer, trainer)
    require_same_batch(FACTS | {"world_size": 2}, FACTS, trainer)
    assert "1 process(es) go on where 2 stopped" in capsys.readouterr().out
    trainer.is_fsdp_enabled = True
    with pytest.raises(SystemExit, match=r"HFT_NUM_PROCESSES=2 if there are more\."):
        require_same_batch(FACTS | {"world_size": 2}, FACTS, trainer)


def test_only_a_retry_of_a_stopped_job_stops_again(
    keeper: Callable[..., Checkpoints],
    mount: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = {"step": 7, "code": 77, "reason": "ruin", "message": "stopped at step 7", "resumable": False}
    keep = keeper(Trainer(tmp_path / "out"))
    keep.mark(told)  # by hand: there is no retry
    assert not mount.exists()
    monkeypatch.setenv("JOB_ID", "job1")
    stop_again()
    keep.mark(told)
    with pytest.raises(SystemExit) as end:
        stop_again()
    assert end.value.code == 77
    event = json.loads(capsys.readouterr().out)
    assert told.items() <= event.items()
    assert event["event"] == "hft.stopped"
    monkeypatch.setenv("JOB_ID", "job2")  # one that resumes it
    stop_again()


def test_the_end_waits_for_a_mount_that_sends_late(mount: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HFT_FLUSH_SECONDS", "0.3")
    started = time.monotonic()
    await_flush()  # nothing was written
    assert time.monotonic() - started < 0.2
    file = saved(mount) / "late"
    file.touch()
    await_flush()
    assert time.time() >= file.stat().st_mtime + 0.3
    started = time.monotonic()
    await_flush()
    assert time.monotonic() - started < 0.2
    monkeypatch.setenv("HFT_FLUSH_SECONDS", "60")
    await_flush(until=time.time() + 0.1)
    assert time.monotonic() - started < 5
    # what another process removes meanwhile cannot be looked at
    (mount / "gone").symlink_to("nowhere")
    await_flush(until=time.time() + 0.1)
    assert time.monotonic() - started < 5


def test_without_a_run_or_a_mount_there_is_no_folder(mount: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_folder() == mount
    monkeypatch.delenv("HFT_RUN_ID")
    assert run_folder() is None
    monkeypatch.setenv("JOB_ID", "job1")
    assert run_folder() == mount.with_name("job1")
    monkeypatch.setenv("HFT_CHECKPOINTS", str(mount / "nowhere"))
    assert run_folder() is None
