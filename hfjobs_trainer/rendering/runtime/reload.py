"""The saved model, loaded once: it is the one that was trained, and ends as that."""

from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from hfjobs_trainer.rendering.runtime.events import report


def compare_ends(trainer: Any, folder: Path, base: Any) -> None:
    """Warn where the saved model begins or ends texts otherwise than in training."""
    trained: Any = trainer.processing_class
    saved, ends = trained.from_pretrained(folder), None
    eos, own = [getattr(x, "tokenizer", x).eos_token_id for x in (trained, saved)]
    with suppress(OSError):  # many a model has no such file
        config: Any = import_module("transformers").GenerationConfig
        ends = config.from_pretrained(base).eos_token_id
    if (own, saved.chat_template) != (eos, trained.chat_template):
        told = "The saved tokenizer has another chat template or end of text"
        report("warning", message=f"{told} than in training: answers will differ.")
    if ends is not None and eos not in (ends if isinstance(ends, list) else [ends]):
        told = f"generate() stops at token {ends}, texts ended with {eos} in training"
        report("warning", message=f"{told}: pass it eos_token_id={eos}.")
