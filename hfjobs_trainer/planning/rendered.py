"""Rows as tokens, as a spec would have them: what of the facts still holds for it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

from hfjobs_trainer.facts import Facts, RenderedWith, SequenceTokens, TemplateFacts
from hfjobs_trainer.planning.duration.lengths import LENGTH_STEP
from hfjobs_trainer.specs.base import TrainSpec

# Strategies of packing that lose nothing (TRL 1.16: data_utils.py, pack_dataset).
_SPLITTING = ("bfd_split", "wrapped")


def rendered_with(spec: TrainSpec) -> RenderedWith:
    """What of a spec decides how its rows are rendered."""
    path, completion = field_of(spec, "chat_template_path"), field_of(spec, "completion_only_loss")
    return RenderedWith(
        type(spec).TRAINING.renders,
        path if isinstance(path, str) else None,
        field_of(spec, "assistant_only_loss") is True,
        completion if isinstance(completion, bool) else None,
        spec.processing_class,
    )


def field_of(spec: TrainSpec, name: str) -> object:
    """A field that only some methods have; ``None`` for the others."""
    return getattr(spec, name) if name in type(spec).model_fields else None


def rendered(spec: TrainSpec, facts: Facts) -> TemplateFacts | None:
    """The rows as tokens; ``None`` if they were not rendered, or as another spec would have them."""
    known = facts.template
    return known if known and not known.why_not and known.made_with == rendered_with(spec) else None


def end_of_sequence(spec: TrainSpec, known: TemplateFacts) -> str | None:
    """The token with which the tokenizer ends a sequence, once the trainer has read its arguments."""
    asked = field_of(spec, "eos_token")
    # a template that is cloned brings its own, after `eos_token` was read
    return known.eos_token if known.cloned or not isinstance(asked, str) else asked


def by_row(known: TemplateFacts) -> list[list[SequenceTokens]]:
    """The sequences of each row: both answers of a pair are one row."""
    rows: dict[int, list[SequenceTokens]] = {}
    for tokens in known.sequences:
        rows.setdefault(tokens.row, []).append(tokens)
    return list(rows.values())


def longest_of_rows(known: TemplateFacts) -> list[int]:
    """Tokens of the longer sequence of each row, before anything is cut, in order."""
    return sorted(max(tokens.tokens for tokens in row) for row in by_row(known))


def enough_for(known: TemplateFacts, share: float, positions: int | None) -> int:
    """A ``max_length`` that holds this share of the rows, or all of the model's positions if those are fewer."""
    lengths = longest_of_rows(known)
    enough = LENGTH_STEP * math.ceil(lengths[math.ceil(share * len(lengths)) - 1] / LENGTH_STEP)
    return min(enough, positions or enough)


def limit_of(spec: TrainSpec) -> int | None:
    """Tokens beyond which rows are cut or dropped; ``None`` if none are, or rows are split and lose nothing."""
    limit, training = field_of(spec, "max_length"), type(spec).TRAINING
    packs = training.packs and field_of(spec, "packing") is True
    splits = packs and field_of(spec, "packing_strategy") in _SPLITTING
    return limit if isinstance(limit, int) and training.long_rows is not None and not splits else None


def kept_end(spec: TrainSpec) -> Literal["start", "end"]:
    """Which end of a row is kept where it is cut."""
    # GKD keeps the last tokens (TRL 1.16: experimental/utils.py)
    ends = field_of(spec, "truncation_mode") == "keep_end" or type(spec).TRAINING.renders == "last_answer"
    return "end" if ends else "start"


def share_lost(rows: Sequence[Sequence[SequenceTokens]], spec: TrainSpec, limit: int | None) -> float:
    """Share of the rows that lose all that is trained, by ``limit`` tokens alone: 0 to 1."""
    end, drops = kept_end(spec), type(spec).TRAINING.long_rows == "dropped"

    def is_lost(row: Sequence[SequenceTokens]) -> bool:
        if drops:
            return limit is not None and any(tokens.tokens > limit for tokens in row)
        return is_trained(row) and not any(tokens.kept(limit, end) for tokens in row)

    return sum(map(is_lost, rows)) / len(rows) if rows else 0.0


def is_trained(row: Sequence[SequenceTokens]) -> bool:
    """Whether some token of a row is trained, before anything is cut."""
    return any(tokens.kept(None) for tokens in row)


def chat_template_kwargs(spec: TrainSpec) -> Mapping[str, Any]:
    """What the template is given beside the messages, by the spec."""
    given = field_of(spec, "chat_template_kwargs")
    return cast("Mapping[str, Any]", given) if isinstance(given, Mapping) else {}
