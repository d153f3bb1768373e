"""Compare a run on every flavor on offer."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import islice

from hfjobs_trainer.errors import SpecError
from hfjobs_trainer.facts import Facts
from hfjobs_trainer.facts.backends import LOCAL
from hfjobs_trainer.planning.assemble import draft
from hfjobs_trainer.planning.changes import changes_here
from hfjobs_trainer.planning.choose import Search, freed, survey
from hfjobs_trainer.planning.estimate import Estimate, FlavorComparison
from hfjobs_trainer.planning.hardware.catalogue import snapshot
from hfjobs_trainer.planning.remedies import adds_no_error
from hfjobs_trainer.planning.understand import understand
from hfjobs_trainer.specs.base import TrainSpec
from hfjobs_trainer.specs.fixes import keywords

MOST_TRIED = 12
"""Most changes that are tried on the flavors on which the run does not fit."""


def compare(spec: TrainSpec, facts: Facts) -> FlavorComparison:
    """Compare a run on every flavor on offer, whichever the spec names."""
    run, hardware = understand(spec, facts), facts.hardware or snapshot()
    found = sorted(survey(run, hardware), key=lambda each: (each.reason is not None, each.layout is None, each.cost))
    rows = [replace(each, duration=None) if each.verdict == "does not fit" else each for each in found]
    return FlavorComparison(tuple(_with_fixes(spec, facts, rows)), hardware.source)


def _with_fixes(spec: TrainSpec, facts: Facts, rows: list[Estimate]) -> list[Estimate]:
    """The rows, each that the run does not fit on with the nearest change with which it does."""
    fixes: dict[str, str] = {}
    small = [row for row in rows if row.reason is not None and row.reason.kind in ("memory", "server")]
    if not small:
        return rows
    plan = partial(draft, facts=facts, backend=LOCAL, seeks=False)
    before = plan(spec)
    for fields in islice(changes_here(spec, before.run), MOST_TRIED):
        left = [row.machine for row in small if row.machine.name not in fixes]
        if not left:
            break
        try:
            changed = spec.replace(**fields)
        except SpecError:
            continue
        search = Search(freed(understand(changed, facts)))
        fitting = [machine.name for machine in left if search.estimate(machine).reason is None]
        if fitting and adds_no_error(before, plan(changed)):
            fixes |= dict.fromkeys(fitting, keywords(fields))
    return [replace(row, fix=fixes.get(row.machine.name, "")) for row in rows]
