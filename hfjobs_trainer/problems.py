"""Problems, and the rules that find them: the ground floor on which every stage stands.

A rule is a generator function with a documented docstring. It is given a context and yields a ``Found`` for each thing
that is wrong; the decorator adds the code. What it needs to know of the outside world it asks for with ``need``: if
that is not known, the rule is listed as unchecked, never silently passed. Where it is not known because of a problem
that was told already (a model that does not exist has no size), it is not listed either: one mistake is told once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, Literal, NamedTuple, Never, Self, TypeVar

from hfjobs_trainer.display import html_section, html_table, plural, text, within
from hfjobs_trainer.errors import SpecError, count_problems, describe, in_brief
from hfjobs_trainer.tokens import masked

Severity = Literal["error", "warning"]
Stage = Literal["spec", "run"]
Scope = Literal["script", "remote"]
T = TypeVar("T")
C = TypeVar("C", contravariant=True)


# Characters, so that a report can be read whatever stands in a spec; the longest of ordinary specs have a third of it.
_LONGEST_PATH, _LONGEST_WHY, _LONGEST_FIX = 200, 2_000, 4_000
# Of control characters those but tab and line feed; marks that reorder a line; and halves of surrogate pairs.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def _told(text: str, most: int) -> str:
    """A text as a message has it."""
    # cut well beyond what is shown before tokens are looked for, and again behind it: no half of one is left
    text = masked(text if len(text) <= 4 * most else within(text, 4 * most))
    return _UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape").decode(), within(text, most))


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem of a spec. Tokens in its texts are masked, and what a terminal would obey or not show is escaped.

    A path or a sentence that is very long is cut; a fix that is, is left out, since half of one does not paste.

    Attributes:
        code: Stable code, such as ``"DATA001"``; explained in ``references/rules.md``.
        path: Dotted path of the field, such as ``"hardware.flavor"``; empty for the whole spec.
        why: What fails and why, one sentence.
        fix: What to type instead: keyword arguments for ``spec.replace``, such as ``learning_rate=1e-5``, or one line
            for a shell; empty if there is no single fix.
        severity: ``"error"`` stops the run, ``"warning"`` does not.
        scope: ``"script"`` if the script itself is wrong, ``"remote"`` if only running it on HF Jobs would fail.
    """

    code: str
    path: str
    why: str
    fix: str = ""
    severity: Severity = "error"
    scope: Scope = "script"

    def __post_init__(self) -> None:
        object.__setattr__(self, "path", _told(self.path, _LONGEST_PATH))
        object.__setattr__(self, "why", _told(self.why, _LONGEST_WHY))
        object.__setattr__(self, "fix", _told(self.fix, _LONGEST_FIX) if len(self.fix) <= _LONGEST_FIX else "")

    def __str__(self) -> str:
        mark = "" if self.severity == "error" else "(warning) "
        subject = f"{self.path}: " if self.path else ""
        return f"{self.code} {mark}{subject}{self.why}" + (f"\n      fix: {self.fix}" if self.fix else "")


Cause = Literal["", "unasked", "unanswered", "refused", "absent"]


@dataclass(frozen=True, slots=True)
class Unchecked:
    """A rule that could not be checked, and the fact that was missing. Tokens in its texts are masked.

    Attributes:
        code: Code of the rule.
        needs: The fact, such as ``"the columns of me/data"``.
        why: Why it is not known, a clause, such as ``"the Hub has not answered for me/data: HTTP status 503, asked 3
            times"``; empty where that does not lie with the Hub.
        cause: The same for code: the Hub was not asked (``"unasked"``), did not answer (``"unanswered"``: it may,
            later), refused (``"refused"``), or has no such thing (``"absent"``).
    """

    code: str
    needs: str
    why: str = field(default="", compare=False)
    cause: Cause = field(default="", compare=False)

    def __post_init__(self) -> None:
        for name in ("needs", "why"):
            object.__setattr__(self, name, _told(getattr(self, name), _LONGEST_PATH * 2))

    def __str__(self) -> str:
        return f"{self.code}: unknown: {self.needs}" + (f" ({self.why})" if self.why else "")


ReasonKind = Literal[
    "unknown",
    "no gpu",
    "gpus",
    "bf16",
    "price",
    "batch",
    "memory",
    "server",
    "host memory",
    "disk",
    "checkpoints",
    "cap",
    "dearer",
    "slower",
]


class Reason(str):
    """A reason against a machine: a text for people, and a kind for code.

    Args:
        kind: The kind of reason: ``"unknown"`` (cannot be estimated), ``"no gpu"``, ``"gpus"`` (too few or too many),
            ``"bf16"``, ``"price"`` (per hour), ``"batch"`` (it cannot be divided among the GPUs), ``"memory"`` (of its
            GPUs), ``"server"`` (GPUs of the vLLM server), ``"host memory"``, ``"disk"`` (too small for the weights),
            ``"checkpoints"`` (the disk is too small for all of them), ``"cap"`` (on the whole run), ``"dearer"`` or
            ``"slower"`` (the run fits, but costs less or is faster on the one that was chosen).
        text: The reason as text.
    """

    __slots__ = ("kind",)
    kind: ReasonKind

    def __new__(cls, kind: ReasonKind, text: str) -> Self:  # noqa: D102 - the class says it
        reason = super().__new__(cls, text)
        reason.kind = kind
        return reason

    @property
    def text(self) -> str:
        """The text alone."""
        return str(self)

    def __str__(self) -> str:
        return "".join(self)

    def __reduce__(self) -> tuple[type[Reason], tuple[ReasonKind, str]]:
        return Reason, (self.kind, self.text)


class Found(NamedTuple):
    """What a rule yields: the field's path, why it fails, what to type instead."""

    path: str
    why: str
    fix: str = ""


class Unknown(str):
    """Something that is unknown: a text for people, and for code what it is a fact about.

    Args:
        text: What is unknown, such as ``"the size of me/model"``.
        about: Paths of the fields on which it depends.
        settled: Whether these were looked up: then the answer does not say it, and the user has to decide.
    """

    __slots__ = ("about", "settled")
    about: tuple[str, ...]
    settled: bool

    def __new__(cls, text: str, about: Sequence[str], settled: bool) -> Self:  # noqa: D102 - the class says it
        unknown = super().__new__(cls, text)
        unknown.about, unknown.settled = tuple(about), settled
        return unknown

    def __reduce__(self) -> tuple[type[Unknown], tuple[str, tuple[str, ...], bool]]:
        return Unknown, ("".join(self), self.about, self.settled)


class MissingFact(Exception):
    """Raised by ``need``: the rule cannot be checked without this fact; ``about`` has the fields that it is about."""

    def __init__(self, what: str, about: Sequence[str] = ()) -> None:
        super().__init__(what)
        self.about = tuple(about)


def need(value: T | None, what: str, *about: str) -> T:
    """Return ``value``, or end the rule as unchecked because ``what`` is unknown.

    Args:
        value: The fact.
        what: What to call it.
        *about: Paths of the fields that it is a fact about, such as ``"model"``. If a problem of one of them was told
            by a rule that comes first, this only follows from it, and is not listed.
    """
    if value is None:
        raise MissingFact(what, about)
    return value


@dataclass(frozen=True, slots=True)
class Rule(Generic[C]):
    """A check with a stable code and a documented reason.

    ``stage`` says when it runs: ``"spec"`` rules see the spec and the facts, ``"run"`` rules also the chosen hardware
    and the resolved values.
    It concerns every training method that has all of ``fields``, one of ``any_field``, and a training step with all of
    ``traits``, which are attributes of ``specs.training.Training``; empty means no condition. ``methods`` limits it to
    some methods, and to those that extend them.
    ``scripts`` says that it also concerns ``hft.Script``, which has the fields of a job and nothing else.
    ``first`` says that it comes before the others: while it finds a problem of a field, nothing that is a fact about
    that field can be known, so rules that ``need`` one are neither told nor listed.
    """

    code: str
    check: Callable[[C], Iterable[Found]]
    stage: Stage
    scope: Scope
    severity: Severity
    fields: tuple[str, ...] = ()
    any_field: tuple[str, ...] = ()
    traits: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    scripts: bool = False
    first: bool = False

    @property
    def doc(self) -> str:
        """The rule's documentation, as written in its docstring."""
        return self.check.__doc__ or ""


RULES: dict[str, Rule[Never]] = {}
"""Every rule whose module is loaded, by code."""


def rule(
    code: str,
    *,
    stage: Stage = "spec",
    scope: Scope = "script",
    severity: Severity = "error",
    fields: Sequence[str] = (),
    any_field: Sequence[str] = (),
    traits: Sequence[str] = (),
    methods: Sequence[str] = (),
    scripts: bool = False,
    first: bool = False,
) -> Callable[[Callable[[C], Iterable[Found]]], Callable[[C], Iterable[Found]]]:
    """Register a generator function as the rule ``code``; the keywords are those of ``Rule``.

    Raises:
        ValueError: The code is taken, or the function has no docstring.
    """

    def register(check: Callable[[C], Iterable[Found]]) -> Callable[[C], Iterable[Found]]:
        if code in RULES:
            raise ValueError(f"rule {code} exists already")
        if not check.__doc__:
            raise ValueError(f"rule {code} needs a docstring: it is its documentation")
        RULES[code] = Rule(
            code,
            check,
            stage,
            scope,
            severity,
            tuple(fields),
            tuple(any_field),
            tuple(traits),
            tuple(methods),
            scripts,
            first,
        )
        return check

    return register


@dataclass(frozen=True, slots=True)
class Report:
    """The result of ``hft.check``: every problem, and every rule that could not be checked."""

    problems: tuple[Problem, ...] = ()
    unchecked: tuple[Unchecked, ...] = ()
    subject: str = "spec"

    @property
    def ok(self) -> bool:
        """Whether there are no errors; warnings are allowed."""
        return not any(problem.severity == "error" for problem in self.problems)

    def raise_for_problems(self) -> None:
        """Raise ``SpecError`` with all problems if there is an error among them."""
        if not self.ok:
            raise SpecError(self.problems, self.subject)

    def __iter__(self) -> Iterator[Problem]:
        return iter(self.problems)

    def __repr__(self) -> str:
        return f"Report({self.headline}, {len(self.unchecked)} unchecked)"

    @property
    def headline(self) -> str:
        """How many errors and warnings there are, in words."""
        return count_problems(self.problems) + f" in this {self.subject}"

    def _repr_html_(self) -> str:
        body = html_problems(self.problems) if self.problems else ""
        again = f"<p>{text(self.again)}</p>" if self.again else ""
        return f"<p>{text(self.headline)}</p>{body}{html_unchecked(self.unchecked)}{again}"

    def __str__(self) -> str:
        lines = [describe(self.problems, self.subject)] if self.problems else [f"no problems in this {self.subject}"]
        lines += [f"  unchecked: {item}" for item in in_short(self.unchecked)]
        return "\n".join([*lines, *([f"  {self.again}"] if self.again else [])])

    @property
    def again(self) -> str:
        """What to type where the Hub has not answered; empty if that was not so."""
        unanswered = any(item.cause == "unanswered" for item in self.unchecked)
        return "hft.check(spec) asks again for what the Hub has not answered" if unanswered else ""


def html_problems(problems: Sequence[Problem]) -> str:
    """The problems as a table, errors first; of a great many, the first ones."""
    shown, rest = in_brief(problems)
    rows = [(item.code, item.severity, item.path, item.why, item.fix) for item in shown]
    table = html_table(("code", "severity", "field", "what is wrong", "what to type instead"), rows)
    return table + "".join(f"<p>{text(line)}</p>" for line in rest)


def in_short(unchecked: Iterable[Unchecked]) -> list[Unchecked]:
    """The same; rules of one area that lack the same fact are one item if they are three in a row, or more.

    Such as ``"DATA013 to DATA021, DATA025 and DATA026"``.
    """
    runs: list[list[Unchecked]] = []
    for item in unchecked:
        last = runs[-1][-1] if runs else None
        if last and (last.needs, last.why, last.code[:-3]) == (item.needs, item.why, item.code[:-3]):
            runs[-1].append(item)
        else:
            runs.append([item])
    short = [[replace(run[0], code=_codes([item.code for item in run]))] if len(run) > 2 else run for run in runs]
    return [item for run in short for item in run]


def _codes(codes: Sequence[str]) -> str:
    """Codes of one area in words, three or more that follow one another as a range."""
    runs: list[list[str]] = []
    for code in codes:
        if runs and code[-3:].isdigit() and code[-3:] == f"{int(runs[-1][-1][-3:]) + 1:03}":
            runs[-1].append(code)
        else:
            runs.append([code])
    words = [word for run in runs for word in ([f"{run[0]} to {run[-1]}"] if len(run) > 2 else run)]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def html_unchecked(unchecked: Sequence[Unchecked]) -> str:
    """The rules that could not be checked, folded; nothing if there are none."""
    if not unchecked:
        return ""
    rows = [(item.code, item.needs, item.why) for item in in_short(unchecked)]
    table = html_table(("rule", "what is unknown", "why"), rows)
    return html_section(f"{plural(len(unchecked), 'rule')} not checked", table)
