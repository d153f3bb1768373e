"""A training script as the renderer makes them, for the tests to start: SFT on as many processes as it is told."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from examples import tiny
from hfjobs_trainer.rendering.runtime.conclude import conclude
from hfjobs_trainer.rendering.runtime.device import accumulation_steps, prepare_machine, settle_dtype
from hfjobs_trainer.rendering.runtime.events import progress_callback
from hfjobs_trainer.rendering.runtime.relaunch import finish, relaunch
from hfjobs_trainer.rendering.runtime.tracking import track


def main() -> None:
    started = time.time()
    model, folder = sys.argv[1:3]
    settled = prepare_machine("sft", "tiny", gpus=0, precision="bf16")

    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    track("distributed", "pair", "palette", None, True, {})
    args = SFTConfig(
        output_dir=folder,
        max_steps=4,
        save_steps=2,
        logging_steps=1,
        per_device_train_batch_size=2,
        gradient_accumulation_steps=accumulation_steps(global_batch_size=8, per_device_batch_size=2),
        model_init_kwargs={"dtype": settle_dtype("bfloat16")},
        report_to="trackio",
        trackio_static_space_id=False,
        **settled,
    )
    trainer = SFTTrainer(
        model, args, train_dataset=Dataset.from_list(tiny.dataset_rows("messages")), callbacks=[progress_callback()]
    )
    trainer.train()
    trainer.save_model()
    (Path(folder) / f"rank-{os.environ.get('RANK', 'alone')}").touch()
    conclude(trainer, started)
    finish()


if __name__ == "__main__":
    relaunch(gpus=0)
    main()
