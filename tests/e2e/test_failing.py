"""What ends a run is told in one line behind its traceback: memory and disk that are full, a reward, a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hfjobs_trainer.rendering.paste import import_lines, paste
from tests.e2e.methods import Inputs, Warm, render_to

ROOT = Path(__file__).parents[2]
QUIET: dict[str, Any] = {"eval_fraction": None, "eval_strategy": "no", "eval_steps": None, "max_steps": 4}
AT_STEP_3 = """\
    from transformers import TrainerCallback

    class Plant(TrainerCallback):
        def on_step_begin(self, args, state, control, **kwargs):
            if state.global_step == 2:
                {what}

    trainer.add_callback(Plant())
"""


def fail(inputs: Inputs, warm: Warm, folder: Path, method: str, planted: str, **changes: Any) -> Any:
    """Run a script in which something was planted: its last line, what stands before it, and its last event."""
    script = render_to(folder, method, inputs.fields(method, **QUIET, **changes))
    text, place = script.read_text("utf-8"), "    stop = Stop("
    assert place in text
    script.write_text(text.replace(place, planted + place, 1), "utf-8")
    assert warm.start(script, HFT_FLUSH_SECONDS="0", HFT_RUN_ID=folder.name) == 1
    *before, line = (folder / "err-0.txt").read_text().splitlines()
    events = [text for text in (folder / "out-0.txt").read_text().splitlines() if text.startswith('{"event": "hft.')]
    return line, "\n".join(before), json.loads(events[-1])


def test_memory_that_cannot_be_had(inputs: Inputs, warm: Warm, tmp_path: Path) -> None:
    planted = AT_STEP_3.format(what="import torch; torch.empty(2**50)")
    line, before, event = fail(inputs, warm, tmp_path, "sft", planted)
    assert line.startswith("hft: out of host memory in train(), after step 2: RuntimeError: ")
    assert "can't allocate memory" in line
    assert line.endswith(". The last whole checkpoint is of step 2")
    assert "Traceback (most recent call last):" in before
    assert (event["event"], event["what"], event["step"], event["checkpoint"]) == ("hft.failed", "host_memory", 2, 2)
    assert list(Path(event["place"]).glob("hft_manifest.json"))


def test_a_disk_that_is_full(inputs: Inputs, warm: Warm, tmp_path: Path) -> None:
    """The kernel's own full device takes the place of a file of the third checkpoint."""
    full = """\
    folder = Path(args.output_dir, "checkpoint-3")
    folder.mkdir(parents=True)
    (folder / "optimizer.pt").symlink_to("/dev/full")
"""
    line, before, event = fail(inputs, warm, tmp_path, "sft", full)
    assert line.startswith("hft: out of disk space in _save_checkpoint(), after step 3: ")
    assert line.endswith(". The last whole checkpoint is of step 2")
    assert "Traceback (most recent call last):" in before
    assert (event["what"], event["step"], event["checkpoint"]) == ("disk_space", 3, 2)


def broken_reward(completions: list[Any], trainer_state: Any, **_: Any) -> list[float]:
    """Raises an error in its third step."""
    scores = {"short": 1.0}
    return [scores["short" if trainer_state.global_step < 2 else "long"] for _ in completions]


def test_a_reward_that_raises(inputs: Inputs, warm: Warm, tmp_path: Path) -> None:
    line, before, event = fail(inputs, warm, tmp_path, "grpo", "", reward_funcs=[broken_reward])
    assert line.startswith("hft: the reward broken_reward failed in train(), after step 2: KeyError: 'long', at line ")
    assert ': return [scores["short" if trainer_state.global_step < 2 else "long"] for _ in completions]. ' in line
    assert line.endswith(". The last whole checkpoint is of step 2")
    assert "in broken_reward" in before
    assert (event["what"], event["checkpoint"]) == ("reward", 2)


RELAUNCHED = """\
def main():
    if os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


if __name__ == "__main__":
    sys.excepthook = partial(tell_failure, looks=[first_to_fail])
    relaunch(gpus=0, models={})
    main()
"""


@pytest.mark.torch
@pytest.mark.slow
def test_of_a_process_that_is_killed_its_parent_tells(tmp_path: Path) -> None:
    names = ["tell_failure", "first_to_fail", "relaunch"]
    pasted = paste(names, ["relaunch_several", "reload_model"])
    more = ["import signal", "import time", "import os", "import sys", "from functools import partial"]
    script = tmp_path / "script.py"
    parts = [import_lines(pasted.imports, more), pasted.constants, pasted.source, RELAUNCHED]
    script.write_text("from __future__ import annotations\n" + "\n\n".join(parts), "utf-8")
    whole = tmp_path / "mount/run/checkpoint-40"
    whole.mkdir(parents=True)
    (whole / "hft_manifest.json").write_text(json.dumps({"nodes": 1, "files": {}}))
    env = {"HFT_NUM_PROCESSES": "2", "CUDA_VISIBLE_DEVICES": "", "HFT_RUN_ID": "run", "HFT_CHECKPOINTS": "mount"}
    done = subprocess.run(
        [sys.executable, script], cwd=tmp_path, env=os.environ | env, capture_output=True, text=True, timeout=300
    )
    *before, line = done.stderr.splitlines()
    why = "MemoryError: a process of this run was killed by signal 9, as happens where memory is full"
    assert line == f"hft: out of host memory in relaunch(): {why}. The last whole checkpoint is of step 40"
    assert any("ChildFailedError" in text for text in before)
    assert any("exitcode" in text and "-9" in text for text in before)
    (event,) = [json.loads(text) for text in done.stdout.splitlines() if text.startswith("{")]
    assert (event["event"], event["what"], event["checkpoint"]) == ("hft.failed", "host_memory", 40)
    assert done.returncode == 1
