"""How long rows are, from a sample of them: in tokens where the model's tokenizer is at hand, else in characters."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from hfjobs_trainer.facts.dataset import SHARES, LengthFacts
from hfjobs_trainer.gathering.attempt import attempt
from hfjobs_trainer.gathering.texts import Formats, RowText, Text, read_text
from hfjobs_trainer.gathering.values import Json

Count = Callable[[Sequence[str]], Sequence[float]]
"""Number of tokens of each text."""

MESSAGE_TOKENS = 5
"""What a chat template adds to a message, tokens.

ChatML: ``<|im_start|>``, the role, a line break, ``<|im_end|>``, a line break (Qwen2.5: tokenizer_config.json). Llama 3
and Gemma 2 add as many. A system prompt that the template adds by itself is not counted.
"""
END_TOKENS = 1
"""What ends a plain text: one token (TRL 1.16: trainer/sft_trainer.py, "Adding EOS")."""
MAX_CHARACTERS = 1_000_000
"""Most characters that are tokenized: about a second's work on one core."""


def measure(rows: Iterable[Json], formats: Formats, count: Count | None) -> LengthFacts | None:
    """Lengths of ``rows``; ``None`` if none of them has text in one of ``formats``.

    Args:
        rows: Values by column, renamed as the spec says.
        formats: Sets of columns that the method takes.
        count: Counts tokens; ``None`` to count characters.
    """
    texts = [text for row in rows if (text := attempt(lambda row=row: read_text(row, formats)))]
    if not texts:
        return None
    counted = attempt(lambda: _in_tokens(texts, count)) if count else None
    return counted or _summary("characters", [_length(text, _characters) for text in texts])


def merge(lengths: Sequence[LengthFacts | None], weights: Sequence[float | None]) -> LengthFacts | None:
    """Lengths of the rows of several datasets together; ``None`` where one is unknown, or the units differ.

    Args:
        lengths: Those of each dataset.
        weights: Its share of the rows, in any unit.
    """
    known = [item for item in lengths if item is not None]
    shares = [weight for weight in weights if weight is not None]
    total = sum(shares)
    if len(known) < len(lengths) or len(shares) < len(lengths) or len({item.unit for item in known}) != 1 or not total:
        return None
    shares = [share / total for share in shares]
    points = sorted(
        (value, share * weight)
        for item, share in zip(known, shares, strict=True)
        for value, weight in _weighed(item)
        if share
    )
    prompts = [item.prompt_mean for item in known if item.prompt_mean is not None]
    return replace(
        known[0],
        sampled=sum(item.sampled for item in known),
        mean=sum(item.mean * share for item, share in zip(known, shares, strict=True)),
        quantiles=tuple(_at(points, share) for share in SHARES),
        counted_p99=_at(points, 0.99),
        prompt_mean=sum(mean * share for mean, share in zip(prompts, shares, strict=True))
        if len(prompts) == len(known)
        else None,
    )


def _in_tokens(texts: Sequence[RowText], count: Count) -> LengthFacts:
    few = _spread(texts, max(1, MAX_CHARACTERS * len(texts) // max(1, sum(map(_all_characters, texts)))))
    parts = [part for text in few for part in (text.prompt, *text.answers) if part is not None]
    pieces = list(dict.fromkeys(piece for part in parts for piece in part.pieces))
    tokens = dict(zip(pieces, count(pieces), strict=True))

    def length(part: Text) -> float:
        return sum(tokens[piece] for piece in part.pieces) + MESSAGE_TOKENS * part.messages

    return _summary("tokens", [_length(text, length, END_TOKENS) for text in few])


def _length(text: RowText, length: Callable[[Text], float], end: int = 0) -> tuple[float, float | None]:
    """Length of a row and of its prompt; ``end`` is what ends a plain answer."""
    prompt = length(text.prompt) if text.prompt else None
    answers = [length(answer) + (0 if answer.messages else end) for answer in text.answers]
    answer = sum(answers) / len(answers) if answers else 0.0
    return (prompt or 0.0) + answer, prompt


def _summary(unit: str, lengths: Sequence[tuple[float, float | None]]) -> LengthFacts:
    rows = sorted(row for row, _ in lengths)
    prompts = [prompt for _, prompt in lengths if prompt is not None]
    return LengthFacts(
        unit="tokens" if unit == "tokens" else "characters",
        sampled=len(rows),
        mean=sum(rows) / len(rows),
        quantiles=tuple(rows[math.ceil(share * len(rows)) - 1] for share in SHARES),
        prompt_mean=sum(prompts) / len(prompts) if len(prompts) == len(rows) else None,
        counted_p99=rows[math.ceil(0.99 * len(rows)) - 1],
    )


def _weighed(lengths: LengthFacts) -> list[tuple[float, float]]:
    """Each known length, with the share of the rows that it stands for."""
    each = 1 / len(SHARES)
    *most, longest = [(value, each) for value in lengths.quantiles]
    return [*most, (lengths.p99, each - 0.01), (longest[0], 0.01)]


def _at(points: Sequence[tuple[float, float]], share: float) -> float:
    """The smallest value that ``share`` of the weights do not exceed, of values and weights in order."""
    below = 0.0
    for value, weight in points:
        below += weight
        if below >= share - 1e-9:
            return value
    return points[-1][0]


def _spread(texts: Sequence[RowText], count: int) -> Sequence[RowText]:
    return texts if count >= len(texts) else [texts[index * len(texts) // count] for index in range(count)]


def _characters(text: Text) -> float:
    return float(sum(map(len, text.pieces)))


def _all_characters(text: RowText) -> int:
    return sum(len(piece) for part in (text.prompt, *text.answers) if part for piece in part.pieces)
