"""Rules about LoRA adapters."""

from __future__ import annotations

import re
from collections.abc import Iterator

from hfjobs_trainer.problems import Found, rule
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.context import Context

_HEAD = "lm_head"


@rule("LORA001")
def no_adapter_on_the_head(context: Context[TrainSpec]) -> Iterator[Found]:
    """An adapter on `lm_head` would not be trained.

    What it does:
        Refuses `target_modules` that name `lm_head`, or are a regular expression that matches it.

    Why:
        TRL multiplies with the weights of `lm_head` itself, past the adapter, and refuses one there once the model is
        loaded.

    Example:
        ```python
        hft.LoRA(target_modules=["q_proj", "v_proj", "lm_head"])
        ```

    Use instead:
        ```python
        hft.LoRA(target_modules=["q_proj", "v_proj"])
        ```
        or, to train the head in full:
        ```python
        hft.LoRA(target_modules=["q_proj", "v_proj"], modules_to_save=["lm_head"])
        ```
    """
    lora = context.spec.lora
    if lora is None or lora.target_modules is None:
        return
    path, targets = "lora.target_modules", lora.target_modules
    if isinstance(targets, list):
        if _HEAD in targets:
            rest = [name for name in targets if name != _HEAD]
            yield Found(path, "an adapter on lm_head would not be trained", f"target_modules={rest or 'None'}")
        return
    try:
        matches = re.fullmatch(targets, _HEAD) is not None
    except re.error as error:
        yield Found(path, f"is no regular expression: {error}", 'a list of names, or "all-linear"')
        return
    if matches:
        yield Found(
            path, "matches lm_head, on which an adapter would not be trained", '"all-linear", which leaves it out'
        )
