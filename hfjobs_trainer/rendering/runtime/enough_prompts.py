"""Enough prompts for one batch of answers."""

import sys
from typing import Any


def require_prompts(trainer: Any) -> None:
    """End a run whose prompts do not fill one batch: the trainer would take no step.

    A streamed dataset does not tell how many rows it has; it is found out at the end.
    """
    args, data = trainer.args, trainer.train_dataset
    needed = args.generation_batch_size // args.num_generations
    if hasattr(data, "__len__") and len(data) < needed:
        sys.exit(
            f"There are {len(data)} prompts to train on, and {needed} are answered at"
            f" once ({args.generation_batch_size} answers, {args.num_generations} to"
            " each prompt): not one step would be taken. Use more rows, a smaller"
            " per_device_train_batch_size or fewer gradient_accumulation_steps."
        )
