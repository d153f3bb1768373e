"""Rules about how long the rows of the datasets are."""

from __future__ import annotations

import math
from collections.abc import Iterator

from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.planning.duration.lengths import FEWEST_CHARACTERS, LENGTH_STEP, share_above
from hfjobs_trainer.problems import Found, need, rule
from hfjobs_trainer.specs.base import TrainSpec

# The share that is let pass: the longest few rows are hardly ever worth the memory that they take.
_TOLERATED = 0.05
# Strategies of packing that lose nothing (TRL 1.16: data_utils.py, pack_dataset).
_SPLITTING = ("bfd_split", "wrapped")


@rule("DATA011", severity="warning", traits=["long_rows"])
def most_rows_stay_whole(context: Context[TrainSpec]) -> Iterator[Found]:
    """Most rows are no longer than `max_length`.

    What it does:
        Warns where more than 5% of the rows are longer than `max_length` tokens, by a sample of the training dataset:
        up to 512 rows of a local one, up to 100 of one on the Hub, counted with the model's own tokenizer where the
        package `tokenizers` is installed. Rows that are counted in characters pass only if they are so short that no
        language could make them too long. Datasets with images are passed over: their text says little.

    Why:
        TRL cuts off the end of a longer row in silence, and with it the end of the answer, so that the model learns to
        stop nowhere; `Reward` drops such rows altogether. The default is 1024.

    Example:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-0.5B", dataset="me/long-conversations")
        ```

    Use instead:
        ```python
        hft.SFT(model="Qwen/Qwen2.5-0.5B", dataset="me/long-conversations", max_length=4096)
        ```
    """
    data = next(iter(context.datasets), None)
    if data is None or data.path != "dataset":
        return
    limit, training = context.field("max_length", int), type(context.spec).TRAINING
    packs = training.packs and context.field("packing", bool)
    splits = packs and context.field("packing_strategy", str) in _SPLITTING
    if limit is None or splits or {"image", "images"} & set(data.columns or ()):
        return
    lengths = data.facts.lengths
    if lengths is not None and lengths.unit == "characters":
        is_short = share_above(lengths, limit * FEWEST_CHARACTERS) <= _TOLERATED
        lengths = lengths if is_short else None
    known = need(lengths, f"how many tokens the rows of {data.id} have", "dataset", "model")
    share = share_above(known, limit)
    if known.unit == "tokens" and share > _TOLERATED:
        longest = LENGTH_STEP * math.ceil(known.p95 / LENGTH_STEP)
        longer = f"about {share:.0%} of the rows of {data.id} are longer than {limit} tokens"
        why = f"{longer}, and are {training.long_rows}; {longest} are enough for 95% of them, if memory allows"
        yield Found("max_length", why, f"max_length={longest}")
