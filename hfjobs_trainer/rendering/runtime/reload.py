"""The saved model, loaded once: it is the one that was trained, and ends as that."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from hfjobs_trainer.rendering.runtime.events import report


def compare_ends(trainer: Any, folder: Path, base: Any) -> None:
    """Warn where a saved model formats or ends texts otherwise than in training.

    Its tokenizer is in `folder`; `base` has its generation config, or has none.
    """
    from transformers import GenerationConfig

    trained = trainer.processing_class
    saved = type(trained).from_pretrained(folder)
    eos, own = [getattr(x, "tokenizer", x).eos_token_id for x in (trained, saved)]
    if (own, saved.chat_template) != (eos, trained.chat_template):
        told = "The saved tokenizer has another end of text or chat template"
        report("warning", message=f"{told} than in training: its answers may differ.")
    with suppress(OSError):
        ends = GenerationConfig.from_pretrained(base).eos_token_id
        if ends is not None and eos not in (ends if isinstance(ends, list) else [ends]):
            told = (
                f"generate() stops at token {ends}; in training, texts ended with {eos}"
            )
            report("warning", message=f"{told}: pass it eos_token_id={eos}.")
