"""Six steps that keep checkpoints, killed in the fifth where ``KILL`` is set; ``PLAYS_NODES``: each on its machine."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from importlib import import_module
from pathlib import Path
from typing import Any

from examples import tiny
from hfjobs_trainer.rendering.runtime.checkpoints import Checkpoints
from hfjobs_trainer.rendering.runtime.conclude import conclude
from hfjobs_trainer.rendering.runtime.events import progress_callback, report
from hfjobs_trainer.rendering.runtime.reference import keep_reference
from hfjobs_trainer.rendering.runtime.relaunch import finish
from hfjobs_trainer.rendering.runtime.stopping import Stop
from hfjobs_trainer.rendering.runtime.training import train


def main() -> None:
    started = time.time()
    if "PLAYS_NODES" in os.environ:
        os.environ |= {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
        folder = Path(f"node-{os.environ['RANK']}")
        folder.mkdir(exist_ok=True)
        os.chdir(folder)

    from transformers import TrainerCallback

    datasets, trl = import_module("datasets"), import_module("trl")

    common: dict[str, Any] = {
        "output_dir": "out",
        "max_steps": 6,
        "save_steps": 2,
        "logging_steps": 1,
        "per_device_train_batch_size": 2,
        "learning_rate": 1e-3,
        "weight_decay": 0.1,
        "lr_scheduler_type": "constant",
        "model_init_kwargs": {"dtype": "float32", "attention_dropout": 0.2, "attn_implementation": "eager"},
        "report_to": "none",
        "use_cpu": True,
        "bf16": False,
    }
    trainer: Any
    if os.environ["METHOD"] == "dpo":
        synced = {
            "sync_ref_model": True,
            "ref_model_sync_steps": 2,
            "ref_model_mixup_alpha": 0.5,
            "disable_dropout": False,
        }
        rows = datasets.Dataset.from_list(tiny.dataset_rows("preference_chat"))
        trainer = trl.DPOTrainer(os.environ["MODEL"], args=trl.DPOConfig(**common, **synced), train_dataset=rows)
    else:
        rows = datasets.Dataset.from_list(tiny.dataset_rows("messages"))
        trainer = trl.SFTTrainer(os.environ["MODEL"], args=trl.SFTConfig(**common), train_dataset=rows)

    class Kill(TrainerCallback):
        def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            if "KILL" in os.environ and state.global_step == 4:
                stop.keeper.finish(60)
                trainer.accelerator.wait_for_everyone()
                os.kill(os.getpid(), signal.SIGKILL)

    trainer.add_callback(progress_callback(started))
    trainer.add_callback(Kill())
    if os.environ["METHOD"] == "dpo":
        keep_reference(trainer)
    stop = Stop()
    Checkpoints(trainer, stop)
    train(trainer, stop)
    trainer.save_model()
    if trainer.is_world_process_zero():
        weights = hashlib.sha256(Path("out/model.safetensors").read_bytes()).hexdigest()
        report("weights", digest=weights)
    stop.keeper.finish()
    conclude(trainer, started)
    finish()


if __name__ == "__main__":
    main()
