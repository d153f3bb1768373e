"""An adapter merged into the model that it was trained on."""

import os
from pathlib import Path
from typing import Any

from hfjobs_trainer.rendering.runtime.events import report


def merge_adapter(
    trainer: Any, auto_class: Any, model: str, first: Any = None, **options: Any
) -> Path | None:
    """Save a whole model that has the trained adapter in its weights.

    The adapter is added to the weights as they were published, never to quantized
    ones, in the memory of the machine rather than of its GPU.

    Args:
        trainer: The trainer, done with training and its adapter saved.
        auto_class: Class that loads the model, such as `AutoModelForCausalLM`.
        model: The model under the adapter.
        first: An adapter that was merged before training, with its options.
        options: What `from_pretrained` takes, such as `dtype` and `revision`.

    Returns:
        The folder of the merged model; None in all processes but the main one.
    """
    if not trainer.is_world_process_zero():
        return None
    import peft
    from transformers.integrations.deepspeed import unset_hf_deepspeed_config

    adapters: Any = peft.PeftModel
    # One process loads all of it: nothing is to be spread over the others.
    unset_hf_deepspeed_config()
    os.environ.pop("ACCELERATE_USE_FSDP", None)
    trained = trainer.accelerator.unwrap_model(trainer.model)
    size = trained.config.get_text_config().vocab_size
    base = auto_class.from_pretrained(model, device_map=None, **options)
    if base.config.get_text_config().vocab_size != size:
        base.resize_token_embeddings(size)
    if first is not None:
        name, first_options = first
        base = adapters.from_pretrained(base, name, **first_options).merge_and_unload()
    folder = Path(trainer.args.output_dir).absolute()
    trainer.merged = folder / "merged"
    merged = adapters.from_pretrained(base, folder).merge_and_unload(safe_merge=True)
    merged.save_pretrained(trainer.merged)
    trainer.processing_class.save_pretrained(trainer.merged)
    report("saved", step=trainer.state.global_step, path=str(trainer.merged))
    return trainer.merged
