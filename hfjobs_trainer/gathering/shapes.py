"""Shapes of rows that are known, and what makes them those that TRL takes.

A shape is told by columns and values together, and only where one reading is left; everything else stays as it is, and
the rules propose what to do. The functions that convert are those of the script (``rendering/runtime/shapes.py``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from hfjobs_trainer.facts.shape import Conversion, Misfit, Shape
from hfjobs_trainer.gathering.attempt import attempt
from hfjobs_trainer.gathering.seen import Seen
from hfjobs_trainer.gathering.shapes_of_pairs import PAIRS
from hfjobs_trainer.gathering.shapes_of_prompts import PROMPTS
from hfjobs_trainer.gathering.shapes_of_talks import TALKS
from hfjobs_trainer.gathering.texts import Formats
from hfjobs_trainer.gathering.values import Json
from hfjobs_trainer.rendering.runtime import shapes

# More steps than a row can need.
_MOST = 8
_RECOGNIZERS: tuple[Callable[[Seen], Conversion | Misfit | None], ...] = (*TALKS, *PAIRS, *PROMPTS)
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        shapes.as_messages,
        shapes.as_turns,
        shapes.cut_prompt,
        shapes.drop_weights,
        shapes.join_instruction,
        shapes.join_parts,
        shapes.parse_columns,
        shapes.put_system_first,
        shapes.split_by_weight,
        shapes.take_preference,
        shapes.take_prompt,
        shapes.tell_instruction,
    )
}


def recognize(
    rows: Sequence[Json], columns: tuple[str, ...], formats: Formats, named: Iterable[str] = ()
) -> Shape | None:
    """How rows become those that the method takes; ``None`` where they are so already, or nothing certain is known.

    Args:
        rows: Rows as the spec keeps and renames them.
        columns: Their columns, those of values that were not read included.
        formats: Sets of columns that the method takes, the usual one first.
        named: Columns that the spec gave their names, which are neither dropped nor renamed again.
    """
    meant = frozenset(named)
    steps: list[Conversion] = []
    seen = Seen(list(rows), columns, formats)
    while seen.rows and len(steps) < _MOST:
        found = _recognize(seen, meant)
        if isinstance(found, Misfit):
            return Shape(tuple(steps), found)
        if found is None:
            break
        after = attempt(lambda rows=seen.rows, step=found: _convert(rows, step))
        if after is None:
            break
        steps.append(found)
        seen = Seen(after, found.columns_after(seen.columns), formats)
    return Shape(tuple(steps)) if steps else None


def _recognize(seen: Seen, meant: frozenset[str]) -> Conversion | Misfit | None:
    found = (attempt(lambda look=look: look(seen)) for look in _RECOGNIZERS)
    return next((step for step in found if step and not _overrules(step, meant)), None)


def _overrules(step: Conversion | Misfit, meant: frozenset[str]) -> bool:
    return isinstance(step, Conversion) and not step.function and not meant.isdisjoint((*step.drops, *step.renames))


def converted(rows: Sequence[Json], shape: Shape) -> list[Json]:
    """The rows after the conversions of ``shape``, as far as they can be converted."""
    done = list(rows)
    for step in shape.conversions:
        done = [new for row in done for new in attempt(lambda row=row, step=step: _convert([row], step)) or []]
    return done


def _convert(rows: Iterable[Json], step: Conversion) -> list[Json]:
    function = _FUNCTIONS.get(step.function)
    made: list[Json] = []
    for row in rows:
        named = {step.renames.get(name, name): value for name, value in row.items()}
        left = {name: value for name, value in named.items() if name not in step.drops}
        if function is None:
            made.append(left)
        elif step.several:
            made += function(named, **step.options)
        else:
            made.append(left | function(named, **step.options))
    return made
