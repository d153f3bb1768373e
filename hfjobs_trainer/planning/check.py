"""The rules that apply to a spec, and what they find."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import replace
from typing import Never, cast

from hfjobs_trainer.facts import Facts
from hfjobs_trainer.facts.backends import BackendTraits
from hfjobs_trainer.planning.context import Context
from hfjobs_trainer.planning.gaps import lacks
from hfjobs_trainer.planning.rules import load_rules
from hfjobs_trainer.planning.understand import understand
from hfjobs_trainer.problems import RULES, MissingFact, Problem, Rule, Stage, Unchecked
from hfjobs_trainer.specs.base import JobSpec, TrainSpec
from hfjobs_trainer.specs.registry import METHODS
from hfjobs_trainer.specs.unparsed import Unparsed, provide_check

STAGES: tuple[Stage, ...] = ("spec", "run")


def all_rules() -> Mapping[str, Rule[Never]]:
    """All rules of the package by code, ordered by code; loads every method."""
    load_rules()
    for name in METHODS:
        METHODS[name]
    return dict(sorted(RULES.items()))


def rules_for(spec: type[JobSpec]) -> Iterator[Rule[Never]]:
    """The rules that apply to a spec class, ordered by code; loads no other method than its own."""
    load_rules()
    lineage, fields = frozenset(spec.METHOD.lineage), spec.model_fields.keys()
    training = spec.TRAINING if issubclass(spec, TrainSpec) else None
    for code in sorted(RULES):
        rule = RULES[code]
        if (
            (not lineage.isdisjoint(rule.methods) if rule.methods else training or rule.scripts)
            and (not rule.fields or fields >= set(rule.fields))
            and (not rule.any_field or not fields.isdisjoint(rule.any_field))
            and (not rule.traits or all(getattr(training, trait) for trait in rule.traits))
        ):
            yield rule


def run_rules(
    context: Context[JobSpec], stages: Sequence[Stage], unparsed: Set[str] = frozenset()
) -> tuple[list[Problem], list[Unchecked]]:
    """Apply every rule of these stages that applies to the spec; where no machine is rented, only those of the script.

    Args:
        context: Passed to each rule.
        stages: Which rules to run, and in which order their problems are told.
        unparsed: Fields that did not parse and that the spec lacks: a rule that reads one of them finds nothing.
    """
    applying = [rule for rule in rules_for(type(context.spec)) if context.backend.rents or rule.scope == "script"]
    rules = [rule for stage in stages for rule in applying if rule.stage == stage]
    found: dict[str, tuple[list[Problem], MissingFact | None]] = {}
    for stage in stages:
        # those of the machine come after those of the spec
        found |= {rule.code: _apply(rule, context, unparsed) for rule in rules if rule.first and rule.stage == stage}
        context = replace(context, told=frozenset(item.path for problems, _ in found.values() for item in problems))
    found |= {rule.code: _apply(rule, context, unparsed) for rule in rules if not rule.first}
    problems = [problem for rule in rules for problem in found[rule.code][0]]
    lacking = [(rule.code, found[rule.code][1]) for rule in rules]
    # the others' problems are known only now: a first rule may lack what follows from that of another
    unchecked = [
        lacks(code, str(fact), fact.about, context.spec, context.facts)
        for code, fact in lacking
        if fact and not context.is_told(*fact.about)
    ]
    return problems, unchecked


def _apply(
    rule: Rule[Never], context: Context[JobSpec], unparsed: Set[str]
) -> tuple[list[Problem], MissingFact | None]:
    # its conditions guarantee the fields that it reads
    check = cast("Rule[Context[JobSpec]]", rule).check
    problems: list[Problem] = []
    try:
        # one by one: what was found before a fact turned out to be missing counts
        for found in check(context):
            if found.path.split(".")[0] not in unparsed:
                problems.append(Problem(rule.code, *found, severity=rule.severity, scope=rule.scope))  # noqa: PERF401
    except MissingFact as missing:
        return problems, missing
    except Unparsed:
        pass
    return problems, None


def check(context: Context[JobSpec]) -> tuple[tuple[Problem, ...], tuple[Unchecked, ...]]:
    """All problems, and the rules that could not be checked; if no machine is rented, only those of the script."""
    problems, unchecked = run_rules(context, STAGES)
    return tuple(problems), tuple(unchecked)


def check_parsed(spec: JobSpec, unparsed: Set[str], backend: BackendTraits) -> list[Problem]:
    """The problems that rules find in the fields that did parse; see ``specs.unparsed``."""
    understood = None
    if isinstance(spec, TrainSpec):
        with suppress(Unparsed):
            understood = understand(spec, Facts())
    problems, _ = run_rules(Context(spec, backend=backend, understood=understood), ["spec"], unparsed)
    return problems


provide_check(check_parsed)
