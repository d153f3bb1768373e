"""Regular expressions of the user's, matched in bounded time.

Python's own matcher may take longer than the universe lasts (`(a+)+$`), and nothing can stop it but a signal. A pattern
whose cost is plainly small goes to it. Any other is matched as the set of places in it that a text may have reached,
which takes one step for each character; of what that cannot say (a reference back to a group) the answer is unknown.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

_LONGEST = 20_000
"""Characters of the longest pattern."""
_MOST_PLACES = 5_000
"""Places of the largest pattern, once its repetitions are written out."""
_MOST_STEPS = 2_000_000
"""Places that are looked at for one pattern, over all texts: about two seconds."""
_MOST_CHOICES = 4
"""Each choice, such as `(a|b)` or `c?`, may double what the matcher tries."""
_MOST_REPETITIONS = 3
"""So many `.*` in a row cost the third power of a text's length, which is a path of some 60 characters."""


def fullmatch(pattern: str, text: str) -> bool | None:
    """Whether the whole text matches, as ``re.fullmatch`` has it; ``None`` if that would take too long to say.

    Raises:
        re.error: It is no regular expression.
    """
    return _matcher(pattern)(text)


@lru_cache(maxsize=256)
def _matcher(pattern: str) -> Callable[[str], bool | None]:
    if len(pattern) > _LONGEST:
        return lambda text: None
    try:
        compiled = re.compile(pattern)
        parsed = importlib.import_module("re._parser").parse(pattern)
        flags = compiled.flags & ~re.UNICODE
        if _is_cheap(parsed):
            return lambda text: compiled.fullmatch(text) is not None
        # what else a flag changes is not worth the care
        return _Automaton(parsed).matches if not flags & ~re.IGNORECASE else lambda text: None
    except (RecursionError, OverflowError) as error:
        raise re.error(f"it is too large ({error})") from None
    except (_Undecidable, ImportError):
        return lambda text: None


class _Undecidable(Exception):
    """It cannot be said in bounded time what the pattern matches."""


def _is_cheap(parsed: Iterable[Any]) -> bool:
    """Whether no repetition stands in another one, and there are few repetitions and few choices."""
    repetitions = choices = 0
    left = [*parsed]
    while left:
        code, argument = left.pop()
        name = str(code)
        if name in ("MAX_REPEAT", "MIN_REPEAT"):
            low, high, body = argument
            if high == 1:
                choices += 1
                left += body
            elif len(body) == 1 and str(body[0][0]) in _SINGLE:
                repetitions += low != high
            else:
                return False
        elif name == "SUBPATTERN":
            left += argument[3]
        elif name == "BRANCH":
            choices += 1
            left += [item for option in argument[1] for item in option]
        elif name in ("ASSERT", "ASSERT_NOT"):
            left += argument[1]
        elif name not in _SINGLE and name != "AT":
            return False
    return repetitions <= _MOST_REPETITIONS and choices <= _MOST_CHOICES


_SINGLE = ("LITERAL", "NOT_LITERAL", "ANY", "IN")


class _Place(NamedTuple):
    """A place in a pattern.

    Attributes:
        takes: Whether a character leads to the next place; ``None`` if none is needed.
        holds: Whether a text allows it at a position; ``None`` if any does.
        following: The places that come next.
    """

    takes: Callable[[str], bool] | None
    holds: Callable[[str, int], bool] | None
    following: Sequence[int]


class _Automaton:
    """A pattern as places, of which a text reaches some at each of its characters."""

    def __init__(self, parsed: Any) -> None:
        self.places: list[_Place] = []
        self.steps = 0
        self.looks = False
        self.end = self._add(None, None, ())
        self.start = self._sequence(parsed, self.end, bool(parsed.state.flags & re.IGNORECASE))
        self.moves: dict[tuple[frozenset[int], str], frozenset[int]] = {}

    def matches(self, text: str) -> bool | None:
        """Whether the whole text matches; ``None`` if the steps are used up."""
        try:
            return self._runs(self.start, text, 0, self.end, whole=True)
        except _Undecidable:
            return None

    def _runs(self, start: int, text: str, position: int, end: int, *, whole: bool) -> bool:
        reached = self._closed((start,), text, position)
        for index in range(position, len(text)):
            if not whole and end in reached:
                return True
            if not reached:
                return False
            reached = self._moved(reached, text, index)
        return end in reached

    def _moved(self, reached: frozenset[int], text: str, index: int) -> frozenset[int]:
        key = reached, text[index]
        if not self.looks and key in self.moves:
            return self.moves[key]
        self._spend(len(reached))
        taken = [
            following
            for number in reached
            for place in (self.places[number],)
            if place.takes is not None and place.takes(text[index])
            for following in place.following
        ]
        found = self._closed(taken, text, index + 1)
        if not self.looks:
            self.moves[key] = found
        return found

    def _closed(self, places: Iterable[int], text: str, position: int) -> frozenset[int]:
        """The places, and those that are reached from them without a character."""
        found: set[int] = set()
        left = list(places)
        while left:
            number = left.pop()
            if number in found:
                continue
            found.add(number)
            self._spend(1)
            place = self.places[number]
            if place.takes is None and (place.holds is None or place.holds(text, position)):
                left += place.following
        return frozenset(found)

    def _spend(self, steps: int) -> None:
        self.steps += steps
        if self.steps > _MOST_STEPS:
            raise _Undecidable

    # -- building, from the end to the start

    def _add(
        self, takes: Callable[[str], bool] | None, holds: Callable[[str, int], bool] | None, following: Sequence[int]
    ) -> int:
        if len(self.places) >= _MOST_PLACES:
            raise _Undecidable
        self.places.append(_Place(takes, holds, following))
        return len(self.places) - 1

    def _sequence(self, items: Iterable[Any], following: int, folds: bool) -> int:
        for code, argument in reversed([*items]):
            following = self._item(str(code), argument, following, folds)
        return following

    def _item(self, name: str, argument: Any, following: int, folds: bool) -> int:
        if name in _SINGLE:
            return self._add(_character(name, argument, folds), None, (following,))
        if name == "BRANCH":
            return self._add(None, None, [self._sequence(option, following, folds) for option in argument[1]])
        if name == "SUBPATTERN":
            _, added, removed, body = argument
            if (added | removed) & ~re.IGNORECASE:
                raise _Undecidable
            return self._sequence(body, following, (folds or bool(added)) and not removed)
        if name in ("MAX_REPEAT", "MIN_REPEAT"):
            low, high, body = argument
            return self._repeated(low, high, body, following, folds)
        if name == "AT":
            return self._at(str(argument), following)
        if name in ("ASSERT", "ASSERT_NOT"):
            direction, body = argument
            return self._ahead(direction, body, following, folds, wanted=name == "ASSERT")
        raise _Undecidable

    def _repeated(self, low: int, high: Any, body: Any, following: int, folds: bool) -> int:
        if str(high) == "MAXREPEAT":
            # a place that leads to the body, which leads back to it
            self._add(None, None, ())
            loop = len(self.places) - 1
            inner = self._sequence(body, loop, folds)
            self.places[loop] = _Place(None, None, (inner, following))
            following = loop
        else:
            for _ in range(int(high) - low):
                following = self._add(None, None, (self._sequence(body, following, folds), following))
        for _ in range(low):
            following = self._sequence(body, following, folds)
        return following

    def _at(self, where: str, following: int) -> int:
        self.looks = True
        if where not in _POSITIONS:
            raise _Undecidable
        return self._add(None, _POSITIONS[where], (following,))

    def _ahead(self, direction: int, body: Any, following: int, folds: bool, *, wanted: bool) -> int:
        if direction < 0:
            raise _Undecidable
        self.looks = True
        end = self._add(None, None, ())
        start = self._sequence(body, end, folds)

        def holds(text: str, position: int) -> bool:
            return self._runs(start, text, position, end, whole=False) is wanted

        return self._add(None, holds, (following,))


_WORD = re.compile(r"\w")


def _is_word(text: str, position: int) -> bool:
    return 0 <= position < len(text) and _WORD.match(text[position]) is not None


def _on_boundary(text: str, position: int) -> bool:
    return _is_word(text, position - 1) != _is_word(text, position)


_POSITIONS: dict[str, Callable[[str, int], bool]] = {
    "AT_BEGINNING": lambda text, position: position == 0,
    "AT_BEGINNING_STRING": lambda text, position: position == 0,
    "AT_END": lambda text, position: text[position:] in ("", "\n"),
    "AT_END_STRING": lambda text, position: position == len(text),
    "AT_BOUNDARY": _on_boundary,
    "AT_NON_BOUNDARY": lambda text, position: bool(text) and not _on_boundary(text, position),
}
_CATEGORIES = {
    "CATEGORY_DIGIT": re.compile(r"\d"),
    "CATEGORY_NOT_DIGIT": re.compile(r"\D"),
    "CATEGORY_SPACE": re.compile(r"\s"),
    "CATEGORY_NOT_SPACE": re.compile(r"\S"),
    "CATEGORY_WORD": re.compile(r"\w"),
    "CATEGORY_NOT_WORD": re.compile(r"\W"),
}


def _character(name: str, argument: Any, folds: bool) -> Callable[[str], bool]:
    """Whether a character is one that an item of a pattern takes."""
    if name == "ANY":
        return lambda char: char != "\n"
    items = argument if name == "IN" else [(name.removeprefix("NOT_"), argument)]
    takes = [_one_of(str(code), value) for code, value in items if str(code) != "NEGATE"]
    negated = name == "NOT_LITERAL" or any(str(code) == "NEGATE" for code, _ in items)

    def holds(char: str) -> bool:
        forms = {char, char.lower(), char.upper()} if folds else {char}
        return any(take(form) for take in takes for form in forms) is not negated

    return holds


def _one_of(name: str, value: Any) -> Callable[[str], bool]:
    if name == "LITERAL":
        return lambda char: len(char) == 1 and ord(char) == value
    if name == "RANGE":
        low, high = value
        return lambda char: len(char) == 1 and low <= ord(char) <= high
    if name == "CATEGORY":
        matches = _CATEGORIES[str(value)].match
        return lambda char: matches(char) is not None
    raise _Undecidable
