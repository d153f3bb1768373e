"""Rules about how long the rows of the datasets are."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.planning.duration.lengths import FEWEST_CHARACTERS, LENGTH_STEP, share_above
from hfjobs_trainer.planning.rendered import (
    by_row,
    enough_for,
    limit_of,
    longest_of_rows,
    rendered,
    share_lost,
)
from hfjobs_trainer.planning.rules.model.lengths import reach
from hfjobs_trainer.problems import Found, need, rule
from hfjobs_trainer.specs.base import TrainSpec

# The share that is let pass: the longest few rows are hardly ever worth the memory that they take.
_TOLERATED = 0.05


@rule("DATA011", severity="warning", traits=["long_rows"])
def most_rows_stay_whole(context: Context[TrainSpec]) -> Iterator[Found]:
    """Most rows are no longer than `max_length`.

    What it does:
        Warns where more than 5% of the rows are longer than `max_length` tokens, by a sample of the training dataset:
        up to 64 rows as the chat template renders them where the libraries for that are installed; else up to 512 rows
        of a local one, up to 100 of one on the Hub, counted with the model's own tokenizer where the package
        `tokenizers` is installed. Rows that are counted in characters pass only if they are so short that no
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
    limit, training = limit_of(context.spec), type(context.spec).TRAINING
    if limit is None or {"image", "images"} & set(data.columns or ()):
        return
    told = f"of the rows of {data.id} are longer than {limit} tokens, and are {training.long_rows}"
    rows = rendered(context.spec, context.facts)
    if rows is not None and rows.sequences:
        share, lost = _above(longest_of_rows(rows), limit), share_lost(by_row(rows), context.spec, limit)
        # where none is left, TOK006 tells
        if share > _TOLERATED and lost < 1:
            longest = enough_for(rows, 0.99, reach(context))
            more = f"; of {lost:.0%} nothing is left to train on" if lost and training.long_rows == "truncated" else ""
            why = f"about {share:.0%} {told}{more}"
            if (left := _above(longest_of_rows(rows), longest)) <= _TOLERATED:
                why = f"{why}; {longest} are enough for 99% of them, if memory allows"
                yield Found("max_length", why, f"max_length={longest}")
            else:
                yield Found("max_length", f"{why}; the model's {longest} positions hold {1 - left:.0%} of them")
        return
    lengths = data.facts.lengths
    if lengths is not None and lengths.unit == "characters":
        is_short = share_above(lengths, limit * FEWEST_CHARACTERS) <= _TOLERATED
        lengths = lengths if is_short else None
    known = need(lengths, f"how many tokens the rows of {data.id} have", "dataset", "model")
    share = share_above(known, limit)
    if known.unit == "tokens" and share > _TOLERATED:
        longest = LENGTH_STEP * math.ceil(known.p95 / LENGTH_STEP)
        why = f"about {share:.0%} {told}; {longest} are enough for 95% of them, if memory allows"
        yield Found("max_length", why, f"max_length={longest}")


def _above(lengths: Sequence[int], limit: int) -> float:
    return sum(length > limit for length in lengths) / len(lengths)
