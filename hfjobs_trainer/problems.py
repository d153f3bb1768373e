"""Problems, and the rules that find them: the ground floor on which every stage stands.

A rule is a generator function with a documented docstring. It is given a context and yields a ``Found`` for each thing
that is wrong; the decorator adds the code. What it needs to know of the outside world it asks for with ``need``: if
that is not known, the rule is listed as unchecked, never silently passed.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from hfjobs_trainer.errors import SpecError
from hfjobs_trainer.tokens import masked

Severity = Literal["error", "warning"]
Stage = Literal["spec", "run"]
Scope = Literal["script", "remote"]
T = TypeVar("T")
C = TypeVar("C")

# Rules register when their module is imported; these hold them all.
RULE_PACKAGES = ("hfjobs_trainer.planning.rules", "hfjobs_trainer.specs.methods")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong; tokens that a value holds are masked in its texts.

    Attributes:
        code: Stable code, such as ``"DATA001"``; explained in ``references/rules.md``.
        path: Dotted path of the field, such as ``"hardware.flavor"``; empty for the whole spec.
        why: What fails and why, one sentence.
        fix: What to type instead; empty when there is no single answer.
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
        for name in ("path", "why", "fix"):
            object.__setattr__(self, name, masked(getattr(self, name)))

    def __str__(self) -> str:
        mark = "" if self.severity == "error" else "(warning) "
        subject = f"{self.path}: " if self.path else ""
        return f"{self.code} {mark}{subject}{self.why}" + (f"\n      fix: {self.fix}" if self.fix else "")


@dataclass(frozen=True, slots=True)
class Unchecked:
    """A rule that could not be applied, and the fact it lacked; a token in its name is masked."""

    code: str
    needs: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "needs", masked(self.needs))

    def __str__(self) -> str:
        return f"{self.code} needs {self.needs}"


class Found(NamedTuple):
    """What a rule yields: the field's path, why it fails, what to type instead."""

    path: str
    why: str
    fix: str = ""


class MissingFact(Exception):
    """Raised by ``need``: the rule cannot be decided without this fact."""


def need(value: T | None, what: str) -> T:
    """Return ``value``, or end the rule as unchecked because ``what`` is not known."""
    if value is None:
        raise MissingFact(what)
    return value


@dataclass(frozen=True, slots=True)
class Rule(Generic[C]):
    """A check with a stable code and a documented reason.

    ``stage`` says when it runs: ``"spec"`` rules see the spec and the facts, ``"run"`` rules also the chosen hardware
    and the resolved values. ``methods`` limits it to some training methods; empty means all.
    ``scripts`` says that it also concerns ``hft.Script``, which has the fields of a job and nothing else.
    """

    code: str
    check: Callable[[C], Iterable[Found]]
    stage: Stage
    scope: Scope
    severity: Severity
    methods: tuple[str, ...]
    scripts: bool = False

    @property
    def doc(self) -> str:
        """The rule's documentation, as written in its docstring."""
        return self.check.__doc__ or ""


RULES: dict[str, Rule[Any]] = {}


def rule(
    code: str,
    *,
    stage: Stage = "spec",
    scope: Scope = "script",
    severity: Severity = "error",
    methods: Sequence[str] = (),
    scripts: bool = False,
) -> Callable[[Callable[[C], Iterable[Found]]], Callable[[C], Iterable[Found]]]:
    """Register a generator function as the rule ``code``.

    Raises:
        ValueError: The code is taken, or the function has no docstring.
    """

    def register(check: Callable[[C], Iterable[Found]]) -> Callable[[C], Iterable[Found]]:
        if code in RULES:
            raise ValueError(f"rule {code} exists already")
        if not check.__doc__:
            raise ValueError(f"rule {code} needs a docstring: it is its documentation")
        RULES[code] = Rule(code, check, stage, scope, severity, tuple(methods), scripts)
        return check

    return register


@cache
def all_rules() -> Mapping[str, Rule[Any]]:
    """Every rule of the package by code, in the order of the codes."""
    for package in RULE_PACKAGES:
        module = importlib.import_module(package)
        for info in pkgutil.iter_modules(module.__path__):
            importlib.import_module(f"{package}.{info.name}")
    return MappingProxyType(dict(sorted(RULES.items())))


def run_rules(
    context: object, *, method: str, stage: Stage, skip_paths: Iterable[str] = ()
) -> tuple[list[Problem], list[Unchecked]]:
    """Apply every rule of ``stage`` that concerns ``method``.

    Args:
        context: Handed to each rule.
        method: Name of the training method, such as ``"dpo"``.
        stage: Which rules to run.
        skip_paths: Fields that did not parse and that the spec lacks: a rule that looks at one of them says nothing.
    """
    problems: list[Problem] = []
    unchecked: list[Unchecked] = []
    skipped = {path.split(".")[0] for path in skip_paths}
    for rule_ in all_rules().values():
        if rule_.stage != stage or (rule_.methods and method not in rule_.methods):
            continue
        if method == "script" and not (rule_.scripts or rule_.methods):
            continue
        try:
            # one by one: what was found before a fact was missed counts
            for found in rule_.check(context):
                if found.path.split(".")[0] not in skipped:
                    problems.append(Problem(rule_.code, *found, severity=rule_.severity, scope=rule_.scope))  # noqa: PERF401
        except MissingFact as missing:
            unchecked.append(Unchecked(rule_.code, str(missing)))
        except AttributeError:
            if not skipped:
                raise
    return problems, unchecked


@dataclass(frozen=True, slots=True)
class Report:
    """The answer of ``hft.check``: every problem, and every rule that lacked a fact."""

    problems: tuple[Problem, ...] = ()
    unchecked: tuple[Unchecked, ...] = ()
    subject: str = "spec"

    @property
    def ok(self) -> bool:
        """Whether nothing stops the run; warnings do not."""
        return not any(problem.severity == "error" for problem in self.problems)

    def raise_for_problems(self) -> None:
        """Raise ``SpecError`` with all problems if there is an error among them."""
        if not self.ok:
            raise SpecError(self.problems, self.subject)

    def __iter__(self) -> Iterator[Problem]:
        return iter(self.problems)

    def __str__(self) -> str:
        lines = [describe(self.problems, self.subject)] if self.problems else [f"no problems in this {self.subject}"]
        return "\n".join([*lines, *(f"  unchecked: {item}" for item in self.unchecked)])


def describe(problems: Sequence[Problem], subject: str) -> str:
    """All problems as one message, the errors first."""
    ordered = sorted(problems, key=lambda problem: problem.severity != "error")
    errors = sum(problem.severity == "error" for problem in problems)
    count = (
        f"{errors or len(problems)} {'problem' if errors else 'warning'}{'' if (errors or len(problems)) == 1 else 's'}"
    )
    tail = "; nothing was submitted" if errors else ""
    return "\n".join([f"{count} in this {subject}{tail}", *(f"  {problem}" for problem in ordered)])
