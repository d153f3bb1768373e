"""A training script as the renderer makes them, for the tests to start: SFT on as many processes as it is told."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from examples import tiny
from hfjobs_trainer.rendering.runtime.conclude import conclude
from hfjobs_trainer.rendering.runtime.events import progress_callback, report
from hfjobs_trainer.rendering.runtime.machine import accumulation_steps, find_machine, settle_dtype, settle_precision
from hfjobs_trainer.rendering.runtime.relaunch import finish, relaunch
from hfjobs_trainer.rendering.runtime.track_trackio import end_tracking, track


def main() -> None:
    started = time.time()
    model, folder = sys.argv[1:3]
    machine = find_machine()
    report("start", method="sft", model="tiny", **machine._asdict())

    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    track("distributed", {}, name="pair", group="palette", space_id=None, private=True)
    args = SFTConfig(
        output_dir=folder,
        max_steps=4,
        save_steps=2,
        logging_steps=1,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=accumulation_steps(global_batch_size=8, per_device_batch_size=2),
        model_init_kwargs={"dtype": settle_dtype(machine, "bfloat16")},
        report_to="trackio",
        trackio_static_space_id=False,
        use_cpu=machine.device == "cpu",
        **settle_precision(machine, "bf16"),
    )
    trainer = SFTTrainer(
        model, args, train_dataset=Dataset.from_list(tiny.dataset_rows("messages")), callbacks=[progress_callback(0.0)]
    )
    trainer.train()
    trainer.save_model()
    (Path(folder) / f"rank-{os.environ.get('RANK', 'alone')}").touch()
    conclude(trainer, started)
    end_tracking()
    finish()


if __name__ == "__main__":
    relaunch(gpus=0)
    main()
