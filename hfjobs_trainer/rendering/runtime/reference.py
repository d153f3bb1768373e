"""The reference model that changes with the trained one, which no trainer saves."""

from pathlib import Path
from typing import Any


def keep_reference(trainer: Any) -> None:
    """Save the reference with each checkpoint, and load it where a run is resumed."""
    import torch

    args, save = trainer.args, trainer._save_checkpoint
    load = trainer._load_optimizer_and_scheduler
    sharded = trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled
    part = args.process_index if sharded else 0

    def weights() -> list[Any]:
        found = list(trainer.ref_model.parameters())
        found = [getattr(each, "ds_tensor", each).detach() for each in found]
        return [getattr(each, "_local_tensor", each) for each in found]

    def save_both(*given: Any, **named: Any) -> None:
        save(*given, **named)
        folder = Path(args.output_dir, f"checkpoint-{trainer.state.global_step}")
        if args.process_index == part:
            torch.save(
                [each.cpu() for each in weights()], folder / f"reference-{part}.pt"
            )

    def load_both(checkpoint: Any) -> None:
        load(checkpoint)
        if checkpoint is not None:
            held = torch.load(
                Path(checkpoint, f"reference-{part}.pt"), weights_only=True
            )
            for each, value in zip(weights(), held, strict=True):
                each.copy_(value)

    trainer._save_checkpoint = save_both
    trainer._load_optimizer_and_scheduler = load_both
