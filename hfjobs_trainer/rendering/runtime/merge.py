"""An adapter merged into the model that it was trained on."""

import os
from pathlib import Path
from typing import Any

from hfjobs_trainer.rendering.runtime.clock import seconds_left
from hfjobs_trainer.rendering.runtime.deadline import SLOWEST
from hfjobs_trainer.rendering.runtime.events import report


def merge_adapter(
    trainer: Any,
    auto_class: Any,
    model: str,
    first: Any = None,
    optional: bool = False,
    **options: Any,
) -> Path | None:
    """Save a whole model that has the trained adapter in its weights.

    The adapter is added to the weights as they were published, never to quantized
    ones, in the memory of the machine rather than of its GPU.

    Args:
        trainer: The trainer, done with training and its adapter saved.
        auto_class: Class that loads the model, such as `AutoModelForCausalLM`.
        model: The model under the adapter.
        first: An adapter that was merged before training, with its options.
        optional: Whether it may be left out where little time is left.
        options: What `from_pretrained` takes, such as `dtype` and `revision`.

    Returns:
        The folder of the merged model; None in all processes but the main one, and
        where there was no time.
    """
    if not trainer.is_world_process_zero():
        return None
    import peft
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    adapters: Any = peft.PeftModel
    trained = trainer.accelerator.unwrap_model(trainer.model)
    folder = Path(trainer.args.output_dir).absolute()
    # It is loaded, saved and pushed, in 16 bits.
    seconds = 60 + 3 * 2 * trained.num_parameters() / SLOWEST
    if optional and seconds_left() < seconds:
        saved = getattr(trainer, "hub_model_id", None) or folder
        told = f"No time is left to merge the adapter, some {seconds:.0f} s: to do so,"
        how = f"AutoPeftModelForCausalLM.from_pretrained({str(saved)!r})"
        report("warning", message=f"{told} {how}.merge_and_unload()")
        return None
    # One process loads all of it: nothing is to be spread over the others.
    unset_hf_deepspeed_config()
    os.environ.pop("ACCELERATE_USE_FSDP", None)
    size = trained.config.get_text_config().vocab_size
    base = auto_class.from_pretrained(model, device_map=None, **options)
    if base.config.get_text_config().vocab_size != size:
        base.resize_token_embeddings(size)
    if first is not None:
        name, first_options = first
        base = adapters.from_pretrained(base, name, **first_options).merge_and_unload()
    trainer.merged = folder / "merged"
    merged = adapters.from_pretrained(base, folder).merge_and_unload(safe_merge=True)
    merged.save_pretrained(trainer.merged)
    trainer.processing_class.save_pretrained(trainer.merged)
    report("saved", step=trainer.state.global_step, path=str(trainer.merged))
    return trainer.merged
